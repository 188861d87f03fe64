/** Finds the addresses of a host that others named, by our own resolver, and leaves out those that must not be connected to. */
import type { Outcome, Resolver } from '../dnssec-stub/types'
import { isPublicAddress } from './address'

/** A name with a thousand addresses must not make us knock at a thousand doors. */
const MAX_ADDRESSES = 8

export interface AddressesOptions {
  readonly resolver: Resolver
  /** Private, loopback and documentation addresses will do as well. */
  readonly allowPrivate: boolean
  /** No mail waits for it. */
  readonly inBackground?: boolean | undefined
}

export type Addresses =
  /** At least one. */
  | { readonly ok: true; readonly addresses: readonly string[] }
  | { readonly ok: false; readonly detail: string }

/** Both families, alternating, IPv4 first: a broken IPv6 is by far the more frequent of the two. */
export async function addressesOf(
  host: string,
  { resolver, allowPrivate, inBackground = false }: AddressesOptions,
  signal: AbortSignal,
): Promise<Addresses> {
  const how = { signal, background: inBackground }
  const [a, aaaa] = await Promise.all([
    resolver.resolve(host, 'A', how),
    resolver.resolve(host, 'AAAA', how),
  ])
  const v4 = a.kind === 'answer' ? a.records : []
  const v6 = aaaa.kind === 'answer' ? aaaa.records : []
  const found: string[] = []
  for (let index = 0; index < Math.max(v4.length, v6.length); index++) {
    found.push(...v4.slice(index, index + 1), ...v6.slice(index, index + 1))
  }
  const usable = found.filter((address) => allowPrivate || isPublicAddress(address))
  if (usable.length > 0) return { ok: true, addresses: usable.slice(0, MAX_ADDRESSES) }
  const detail =
    found.length > 0
      ? `has only addresses that are not public (${found.slice(0, 3).join(', ')})`
      : `A: ${inWords(a)}, AAAA: ${inWords(aaaa)}`
  return { ok: false, detail: `${host}: ${detail}` }
}

function inWords(outcome: Outcome<'A'> | Outcome<'AAAA'>): string {
  return outcome.kind === 'failed' ? `${outcome.cause} (${outcome.detail})` : outcome.kind
}
