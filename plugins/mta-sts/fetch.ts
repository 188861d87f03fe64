/**
 * Fetches the policy of a domain over HTTPS (RFC 8461 §3.3).
 *
 * Promises: one total deadline over DNS, TCP, TLS and HTTP; the addresses come from our resolver, are judged, and are the
 * ones connected to (a second lookup could be answered differently); every address gets its share of the time, so that
 * a dead IPv6 does not cost the policy. Never throws, never rejects.
 * Refuses: addresses that are not public, unless the operator allows them; and what https-get.ts refuses.
 */
import net from 'node:net'
import { timeLimit } from '../dnssec-stub'
import type { Outcome, Resolver } from '../dnssec-stub/types'
import { isPublicAddress } from './address'
import {
  getPolicy,
  type HttpsTarget,
  openHttps,
  type Opened,
  type TrustIn,
  trustIn,
} from './https-get'
import { oneLine } from './one-line'
import { parsePolicy } from './policy'
import type { StsPolicy, StsProblem } from './types'

export interface FetchOptions {
  /** The policy domain: lower case A-labels, no trailing dot. */
  readonly domain: string
  readonly resolver: Resolver
  /** PEM roots; left out: Node's own. */
  readonly ca?: string | undefined
  /** For many fetches: rememberTrust of https-get.ts. */
  readonly trust?: TrustIn
  /** Milliseconds for everything (RFC 8461 §3.3 suggests a minute). */
  readonly timeoutMs: number
  /** Octets of the body (RFC 8461 §3.3 suggests 64 KiB). */
  readonly maxBody: number
  /** Also connect to private, loopback and documentation addresses. */
  readonly allowPrivate: boolean
  readonly signal?: AbortSignal
  /** No mail waits for it. */
  readonly inBackground?: boolean | undefined
  /** Milliseconds, in all, in which lookups stood in line, which do not count; default: none. */
  readonly stoodInLineMs?: () => number
  /** 443 outside of tests. */
  readonly port?: number
  readonly connect?: HttpsTarget['connect']
}

export type FetchOutcome =
  /** `body` is what `policy` was parsed from. */
  | { readonly ok: true; readonly policy: StsPolicy; readonly body: Buffer }
  /** Treat as if the domain had no MTA-STS, unless an unexpired policy is cached (RFC 8461 §3.3). */
  | { readonly ok: false; readonly problem: StsProblem }

/** A name with a thousand addresses must not make us knock at a thousand doors. */
const MAX_ADDRESSES = 8
/** Milliseconds for TCP and TLS to one address while another one is left to try. */
const MAX_OPENING = 10_000

export async function fetchPolicy(options: FetchOptions): Promise<FetchOutcome> {
  const deadline = new AbortController()
  const abort = (): void => deadline.abort()
  const limit = timeLimit(options.timeoutMs, options.stoodInLineMs ?? (() => 0))
  limit.signal.addEventListener('abort', abort, { once: true })
  let timer: NodeJS.Timeout | undefined
  options.signal?.addEventListener('abort', abort, { once: true })
  if (options.signal?.aborted === true) abort()
  try {
    return await fetchWithin(options, deadline.signal, () => {
      // Nothing of it stands in line any more.
      timer = setTimeout(abort, options.timeoutMs)
    })
  } finally {
    limit.stop()
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', abort)
    abort()
  }
}

async function fetchWithin(
  options: FetchOptions,
  signal: AbortSignal,
  addressesFound: () => void,
): Promise<FetchOutcome> {
  const host = `mta-sts.${options.domain}`
  const found = await addressesOf(host, options, signal)
  addressesFound()
  if (!found.ok) return found
  let problem = fetchError(`${host}: no time left`)
  for (const [index, address] of found.addresses.entries()) {
    if (signal.aborted) break
    const target: HttpsTarget = {
      host,
      address,
      port: options.port ?? 443,
      ca: options.ca,
      trust: options.trust ?? trustIn,
      maxBody: options.maxBody,
      connect: options.connect ?? ((to, port) => net.connect({ host: to, port })),
    }
    const left = found.addresses.length - index
    const share = left === 1 ? options.timeoutMs : options.timeoutMs / found.addresses.length
    const opened = await openWithin(
      target,
      left === 1 ? share : Math.min(share, MAX_OPENING),
      signal,
    )
    if (opened.ok) return read(opened, target, signal)
    problem = opened.problem
  }
  return { ok: false, problem }
}

async function read(
  opened: Extract<Opened, { ok: true }>,
  target: HttpsTarget,
  signal: AbortSignal,
): Promise<FetchOutcome> {
  const fetched = await getPolicy(opened.socket, target, signal)
  if (!fetched.ok) return fetched
  const parsed = parsePolicy(fetched.body)
  if (parsed.ok) return { ok: true, policy: parsed.policy, body: fetched.body }
  return { ok: false, problem: { reason: 'sts-policy-invalid', detail: parsed.detail } }
}

async function openWithin(target: HttpsTarget, ms: number, total: AbortSignal): Promise<Opened> {
  const own = new AbortController()
  const abort = (): void => own.abort()
  const timer = setTimeout(abort, ms)
  total.addEventListener('abort', abort, { once: true })
  if (total.aborted) abort()
  try {
    return await openHttps(target, own.signal)
  } finally {
    clearTimeout(timer)
    total.removeEventListener('abort', abort)
  }
}

type Addresses =
  | { readonly ok: true; readonly addresses: readonly string[] }
  | { readonly ok: false; readonly problem: StsProblem }

/** Both families, alternating, IPv4 first: a broken IPv6 is by far the more frequent of the two. */
async function addressesOf(
  host: string,
  { resolver, allowPrivate, inBackground = false }: FetchOptions,
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
  return { ok: false, problem: fetchError(`${host}: ${detail}`) }
}

function inWords(outcome: Outcome<'A'> | Outcome<'AAAA'>): string {
  return outcome.kind === 'failed' ? `${outcome.cause} (${outcome.detail})` : outcome.kind
}

function fetchError(detail: string): StsProblem {
  return { reason: 'sts-policy-fetch-error', detail: oneLine(detail) }
}
