/**
 * Looks the TXT record of a policy domain up (RFC 8461 §3.1). Never rejects: a failed lookup is an outcome of its own, and
 * is never taken for "no record".
 */
import type { Outcome, Resolver } from '../dnssec-stub/types'
import { parseRecords } from './record'

/** What the TXT lookup of a domain says. */
export type TxtVerdict =
  | { readonly kind: 'record'; readonly id: string; readonly ttlMs: number }
  | { readonly kind: 'none' | 'invalid'; readonly detail: string; readonly ttlMs: number }
  | { readonly kind: 'failed'; readonly detail: string }

/**
 * The TXT lookup, with one more try after a failure (RFC 8461 §10.2 leaves it to us).
 * @param fresh Asks past any cache: the last look before mail comes back (RFC 8461 §5.1), or the operator's wish.
 */
export async function askTxtRecord(
  resolver: Resolver,
  domain: string,
  signal: AbortSignal,
  fresh = false,
): Promise<TxtVerdict> {
  const name = `_mta-sts.${domain}`
  let outcome: Outcome<'TXT'> = await resolver.resolve(name, 'TXT', { signal, fresh })
  if (outcome.kind === 'failed' && !signal.aborted) {
    outcome = await resolver.resolve(name, 'TXT', { signal, fresh: true })
  }
  if (outcome.kind === 'failed') {
    return { kind: 'failed', detail: `TXT ${name}: ${outcome.cause} (${outcome.detail})` }
  }
  const ttlMs = outcome.ttl * 1000
  if (outcome.kind !== 'answer') return { kind: 'none', detail: `no TXT record at ${name}`, ttlMs }
  const record = parseRecords(outcome.records)
  switch (record.kind) {
    case 'record':
      return { ...record, ttlMs }
    case 'none':
      return { kind: 'none', detail: `no TXT record at ${name} is one of MTA-STS`, ttlMs }
    case 'invalid':
      return { kind: 'invalid', detail: `TXT ${name}: ${record.detail}`, ttlMs }
  }
}
