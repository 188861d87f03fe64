/**
 * Looks the TXT record of a policy domain up (RFC 8461 §3.1). Never rejects: a failed lookup is an outcome of its own, and
 * is never taken for "no record".
 */
import { timeLimit } from '../dnssec-stub'
import type { Outcome, Resolver } from '../dnssec-stub/types'
import { parseRecords } from './record'

/** What the TXT lookup of a domain says. */
export type TxtVerdict =
  | { readonly kind: 'record'; readonly id: string; readonly ttlMs: number }
  | { readonly kind: 'none' | 'invalid'; readonly detail: string; readonly ttlMs: number }
  /** `slow`: mail had to wait for it, and would at the next look as well. */
  | { readonly kind: 'failed'; readonly detail: string; readonly slow: boolean }

export interface TxtQuestion {
  readonly resolver: Resolver
  readonly domain: string
  /** Ends the lookup: the worker stops. */
  readonly signal: AbortSignal
  /** Asks past any cache: the last look before mail comes back (RFC 8461 §5.1), or the operator's wish. */
  readonly fresh: boolean
  /** No mail waits for it. */
  readonly background: boolean
  /** For all of it, milliseconds; without it, as long as the resolver takes. */
  readonly timeoutMs: number | undefined
  /** Milliseconds, in all, in which lookups stood in line: they are not counted. */
  readonly stoodInLineMs: () => number
  readonly clock: () => number
}

/** Milliseconds after which a failure is one that mail waited for. */
const SLOW = 1000

/** The TXT lookup, with one more try after a failure that came at once (RFC 8461 §10.2 leaves it to us). */
export async function askTxtRecord(question: TxtQuestion): Promise<TxtVerdict> {
  const { domain, fresh, signal, clock } = question
  const name = `_mta-sts.${domain}`
  const began = clock()
  let outcome = await ask(name, question, fresh)
  const isSlow = () =>
    outcome.kind === 'failed' &&
    (outcome.cause === 'timeout' || outcome.cause === 'aborted' || clock() - began >= SLOW)
  if (outcome.kind === 'failed' && !isSlow() && !signal.aborted) {
    outcome = await ask(name, question, true)
  }
  if (outcome.kind === 'failed') {
    const detail = `TXT ${name}: ${outcome.cause} (${outcome.detail})`
    return { kind: 'failed', detail, slow: isSlow() && !signal.aborted }
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

async function ask(
  name: string,
  { resolver, signal, background, timeoutMs, stoodInLineMs }: TxtQuestion,
  fresh: boolean,
): Promise<Outcome<'TXT'>> {
  if (timeoutMs === undefined) {
    return resolver.resolve(name, 'TXT', { signal, fresh, background })
  }
  const limit = timeLimit(timeoutMs, stoodInLineMs)
  const end = new AbortController()
  const abort = (): void => end.abort()
  signal.addEventListener('abort', abort, { once: true })
  limit.signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    const outcome = await resolver.resolve(name, 'TXT', { signal: end.signal, fresh, background })
    const isLate = outcome.kind === 'failed' && limit.signal.aborted
    return isLate
      ? { kind: 'failed', cause: 'timeout', detail: `no answer within ${timeoutMs} ms` }
      : outcome
  } finally {
    limit.stop()
    signal.removeEventListener('abort', abort)
  }
}
