/**
 * Keeps what a resolver said, in process, no longer than its TTL and together with its security (RFC 6698 §8.2), and
 * makes one lookup of many that ask the same at the same time. Failures are kept for seconds only: long enough to spare
 * a struggling resolver, too short for an attacker to gain from one. Bounded in entries and in the size of each;
 * what was not used for longest goes first.
 */
import { canonicalName } from './names'
import type { Denial, Failure, Outcome, RecordType, ResolveOptions, Resolver } from './types'

export interface CacheOptions {
  /** Milliseconds of a clock that never steps. */
  readonly now: () => number
  /** Answers, denials and failures together. */
  readonly maxEntries: number
  /** Nothing is kept for longer, whatever its TTL; seconds. */
  readonly maxTtl?: number
  /** For how long a failure is kept; seconds. */
  readonly failureTtl?: number
}

export interface CachedResolver extends Resolver {
  /** What is known without asking anybody; undefined where a lookup is needed. */
  cachedOutcome<T extends RecordType>(name: string, type: T): Outcome<T> | undefined
  /** Forgets everything; lookups under way go on for those who wait for them, and leave nothing behind. */
  clear(): void
  /** As `clear`, for all that is not secure. */
  forgetInsecure(): void
}

const MAX_TTL = 3600
const FAILURE_TTL = 5
/** Rarely does an RRset that mail needs come near this; larger ones are asked for again. */
const MAX_OCTETS_KEPT = 8192

type AnyOutcome = Outcome<RecordType>

interface Entry {
  /** As of `asOf`, so that its TTL is what is left. */
  outcome: AnyOutcome
  asOf: number
  readonly expires: number
}

interface Flight {
  readonly outcome: Promise<AnyOutcome>
  readonly abort: AbortController
  waiters: number
}

export function cached(resolver: Resolver, options: CacheOptions): CachedResolver {
  const { now, maxEntries, maxTtl = MAX_TTL, failureTtl = FAILURE_TTL } = options
  /** In order of last use. */
  const entries = new Map<string, Entry>()
  const flights = new Map<string, Flight>()

  const keep = (key: string, outcome: AnyOutcome): void => {
    const seconds = Math.min(maxTtl, secondsToKeep(outcome, failureTtl))
    if (seconds <= 0 || octetsOf(outcome) > MAX_OCTETS_KEPT) return
    const asOf = now()
    entries.delete(key)
    entries.set(key, { outcome, asOf, expires: asOf + seconds * 1000 })
    for (const oldest of entries.keys()) {
      if (entries.size <= maxEntries) break
      entries.delete(oldest)
    }
  }

  const known = (key: string): AnyOutcome | undefined => {
    const entry = entries.get(key)
    if (entry === undefined) return undefined
    const time = now()
    entries.delete(key)
    if (time >= entry.expires) return undefined
    entries.set(key, entry)
    const elapsed = Math.floor((time - entry.asOf) / 1000)
    if (elapsed > 0) {
      entry.outcome = aged(entry.outcome, elapsed)
      entry.asOf += elapsed * 1000
    }
    return entry.outcome
  }

  const start = (key: string, name: string, type: RecordType): Flight => {
    const abort = new AbortController()
    const outcome = settled(resolver, name, type, abort.signal).then((result) => {
      // After clear() it is nobody's any more: what it found was asked of whoever was asked before.
      if (flights.get(key) === flight) {
        flights.delete(key)
        keep(key, result)
      }
      return result
    })
    const flight: Flight = { outcome, abort, waiters: 0 }
    flights.set(key, flight)
    return flight
  }

  /** The last waiter who leaves ends the lookup; nobody's leaving ends another's. */
  const leave = (key: string, flight: Flight): void => {
    flight.waiters--
    if (flight.waiters > 0 || flights.get(key) !== flight) return
    flights.delete(key)
    flight.abort.abort()
  }

  return {
    // What is kept under a key that names type T came from a lookup of T.
    cachedOutcome<T extends RecordType>(name: string, type: T): Outcome<T> | undefined {
      const canonical = canonicalName(name)
      return canonical === undefined
        ? undefined
        : (known(keyOf(canonical, type)) as Outcome<T> | undefined)
    },
    async resolve<T extends RecordType>(
      name: string,
      type: T,
      { signal, fresh = false }: ResolveOptions = {},
    ): Promise<Outcome<T>> {
      const canonical = canonicalName(name)
      if (canonical === undefined) return resolver.resolve(name, type)
      if (signal?.aborted === true) return aborted()
      const key = keyOf(canonical, type)
      const outcome = fresh ? undefined : known(key)
      if (outcome !== undefined) return outcome as Outcome<T>

      const flight = flights.get(key) ?? start(key, name, type)
      flight.waiters++
      try {
        return (await orAborted(flight.outcome, signal)) as Outcome<T>
      } finally {
        leave(key, flight)
      }
    },
    clear() {
      entries.clear()
      flights.clear()
    },
    forgetInsecure() {
      for (const [key, { outcome }] of entries) {
        if (outcome.kind === 'failed' || outcome.security === 'insecure') entries.delete(key)
      }
      flights.clear()
    },
  }
}

function keyOf(name: string, type: RecordType): string {
  return `${type} ${name}`
}

/** A resolver that breaks its promise and rejects is a failed lookup, not the end of its callers. */
async function settled(
  resolver: Resolver,
  name: string,
  type: RecordType,
  signal: AbortSignal,
): Promise<AnyOutcome> {
  try {
    return await resolver.resolve(name, type, { signal })
  } catch (error: unknown) {
    const detail = error instanceof Error ? error.message : 'the resolver threw'
    return { kind: 'failed', cause: 'servfail', detail }
  }
}

function orAborted(outcome: Promise<AnyOutcome>, signal?: AbortSignal): Promise<AnyOutcome> {
  if (signal === undefined) return outcome
  return new Promise((resolve) => {
    const abort = (): void => resolve(aborted())
    signal.addEventListener('abort', abort, { once: true })
    void outcome.then((result) => {
      signal.removeEventListener('abort', abort)
      resolve(result)
    })
  })
}

function aborted(): Failure {
  return { kind: 'failed', cause: 'aborted', detail: 'aborted' }
}

function secondsToKeep(outcome: AnyOutcome, failureTtl: number): number {
  if (outcome.kind !== 'failed') return outcome.ttl
  return outcome.cause === 'bad-name' || outcome.cause === 'aborted' ? 0 : failureTtl
}

function aged(outcome: AnyOutcome, seconds: number): AnyOutcome {
  if (outcome.kind === 'failed') return outcome
  const ttl = Math.max(0, outcome.ttl - seconds)
  return outcome.kind === 'answer' ? { ...outcome, ttl } : ({ ...outcome, ttl } satisfies Denial)
}

function octetsOf(outcome: AnyOutcome): number {
  if (outcome.kind === 'failed') return outcome.detail.length
  const names = outcome.aliases.reduce((sum, alias) => sum + alias.length, 0)
  if (outcome.kind !== 'answer') return names
  return outcome.records.reduce((sum, record) => {
    if (typeof record === 'string' || Buffer.isBuffer(record)) return sum + record.length
    return sum + 8 + ('exchange' in record ? record.exchange.length : record.data.length)
  }, names)
}
