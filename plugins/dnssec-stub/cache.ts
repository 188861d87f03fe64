/**
 * Keeps a resolver's outcomes, in process, no longer than its TTL and together with its security (RFC 6698 §8.2), and
 * makes one lookup of many that ask the same at the same time. Failures are kept for seconds only: long enough to spare
 * a struggling resolver, too short for an attacker to gain from one. Bounded in octets of memory; the outcome that was not used
 * for longest goes first, and large answers cannot push out small ones.
 */
import { boundedMap } from '../bounded/map'
import { ARRAY, OBJECT, ofAscii, ofText } from '../bounded/octets'
import { onAbort } from './abort'
import { canonicalName } from './names'
import { byThemselves, octetsOfRecords } from './rdata'
import type { Denial, Failure, Outcome, RecordType, ResolveOptions, Resolver } from './types'

export interface CacheOptions {
  /** Milliseconds of a clock that never steps. */
  readonly now: () => number
  /** Of memory, for answers, denials and failures together, counted as what they take there; about 300 each. */
  readonly maxOctets: number
  /** Nothing is kept for longer, whatever its TTL; seconds. */
  readonly maxTtl?: number
  /** For how long a failure is kept; seconds. */
  readonly failureTtl?: number
}

export interface CachedResolver extends Resolver {
  /** The outcome that is kept, without a lookup; undefined where one is needed. */
  cachedOutcome<T extends RecordType>(name: string, type: T): Outcome<T> | undefined
  /** Forgets everything; lookups under way go on for those who wait for them, and leave nothing behind. */
  clear(): void
  /** As `clear`, for all that is not secure. */
  forgetInsecure(): void
  /** Of memory, about, that all that is kept takes now. */
  readonly octets: number
}

/** Seconds: nothing is kept for longer, whatever its TTL, here or by those who ask. */
export const MAX_TTL = 3600
const FAILURE_TTL = 5
/** Octets of memory. Rarely does an RRset that mail needs come near this; larger ones are asked for again. */
const MAX_OCTETS_KEPT = 8192
/** Octets above which an outcome is a large one, and the share of the memory that is theirs. */
const LARGE = 2048
const SHARE_OF_LARGE = 1 / 8

type AnyOutcome = Outcome<RecordType>

interface Entry {
  /** As of `asOf`, so that its TTL is what is left. */
  outcome: AnyOutcome
  asOf: number
}

interface Flight {
  readonly outcome: Promise<AnyOutcome>
  readonly abort: AbortController
  waiters: number
}

export function cached(resolver: Resolver, options: CacheOptions): CachedResolver {
  const { now, maxOctets, maxTtl = MAX_TTL, failureTtl = FAILURE_TTL } = options
  const entries = boundedMap<Entry>({
    mostOctets: maxOctets * (1 - SHARE_OF_LARGE),
    large: { above: LARGE, mostOctets: maxOctets * SHARE_OF_LARGE },
    now,
  })
  const flights = new Map<string, Flight>()

  const keep = (key: string, type: RecordType, outcome: AnyOutcome): void => {
    const seconds = Math.min(maxTtl, secondsToKeep(outcome, failureTtl))
    const octets = octetsOf(type, outcome)
    if (seconds <= 0 || octets > MAX_OCTETS_KEPT) return
    const asOf = now()
    const entry = { outcome: kept(type, outcome, seconds), asOf }
    entries.set(key, entry, octets, asOf + seconds * 1000)
  }

  const known = (key: string): AnyOutcome | undefined => {
    const entry = entries.get(key)
    if (entry === undefined) return undefined
    const elapsed = Math.floor((now() - entry.asOf) / 1000)
    if (elapsed > 0) {
      entry.outcome = aged(entry.outcome, elapsed)
      entry.asOf += elapsed * 1000
    }
    return entry.outcome
  }

  const start = (
    flightKey: string,
    key: string,
    name: string,
    type: RecordType,
    background: boolean,
  ): Flight => {
    const abort = new AbortController()
    const outcome = settled(resolver, name, type, { signal: abort.signal, background }).then(
      (result) => {
        // clear() came meanwhile: this answer may be from the previous resolver; do not keep it.
        if (flights.get(flightKey) === flight) {
          flights.delete(flightKey)
          keep(key, type, result)
        }
        return result
      },
    )
    const flight: Flight = { outcome, abort, waiters: 0 }
    flights.set(flightKey, flight)
    return flight
  }

  /** The last waiter who leaves ends the lookup; no waiter ends another's. */
  const leave = (key: string, flight: Flight): void => {
    flight.waiters--
    if (flight.waiters > 0 || flights.get(key) !== flight) return
    flights.delete(key)
    flight.abort.abort()
  }

  return {
    // An outcome under a key that names type T came from a lookup of T.
    cachedOutcome<T extends RecordType>(name: string, type: T): Outcome<T> | undefined {
      const canonical = canonicalName(name)
      return canonical === undefined
        ? undefined
        : (known(keyOf(canonical, type)) as Outcome<T> | undefined)
    },
    async resolve<T extends RecordType>(
      name: string,
      type: T,
      { signal, fresh = false, background = false }: ResolveOptions = {},
    ): Promise<Outcome<T>> {
      const canonical = canonicalName(name)
      if (canonical === undefined) return resolver.resolve(name, type)
      if (signal?.aborted === true) return aborted()
      const key = keyOf(canonical, type)
      const outcome = fresh ? undefined : known(key)
      if (outcome !== undefined) return outcome as Outcome<T>

      // A lookup that mail waits for joins none in the background, which has its turn later; the other way round it may.
      const inFront = flights.get(key)
      const flightKey = background && inFront === undefined ? `background ${key}` : key
      const flight = flights.get(flightKey) ?? start(flightKey, key, name, type, background)
      flight.waiters++
      try {
        return (await orAborted(flight.outcome, signal)) as Outcome<T>
      } finally {
        leave(flightKey, flight)
      }
    },
    clear() {
      entries.clear()
      flights.clear()
    },
    forgetInsecure() {
      for (const [key, { outcome }] of entries.entries()) {
        if (outcome.kind === 'failed' || outcome.security === 'insecure') entries.delete(key)
      }
      flights.clear()
    },
    get octets() {
      return entries.octets
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
  options: ResolveOptions,
): Promise<AnyOutcome> {
  try {
    return await resolver.resolve(name, type, options)
  } catch (error: unknown) {
    return broken(error)
  }
}

function broken(error: unknown): Failure {
  const detail = error instanceof Error ? error.message : 'the resolver threw'
  return { kind: 'failed', cause: 'servfail', detail }
}

function orAborted(outcome: Promise<AnyOutcome>, signal?: AbortSignal): Promise<AnyOutcome> {
  if (signal === undefined) return outcome
  return new Promise((resolve) => {
    const leave = onAbort(signal, () => resolve(aborted()))
    const settle = (result: AnyOutcome): void => {
      leave()
      resolve(result)
    }
    outcome.then(settle, (error: unknown) => settle(broken(error)))
  })
}

function aborted(): Failure {
  return { kind: 'failed', cause: 'aborted', detail: 'aborted' }
}

function secondsToKeep(outcome: AnyOutcome, failureTtl: number): number {
  if (outcome.kind !== 'failed') return outcome.ttl
  return outcome.cause === 'bad-name' || outcome.cause === 'aborted' ? 0 : failureTtl
}

function kept(type: RecordType, outcome: AnyOutcome, ttl: number): AnyOutcome {
  switch (outcome.kind) {
    case 'failed':
      return outcome
    case 'nodata':
    case 'nxdomain':
      return { ...outcome, ttl }
    case 'answer':
      return { ...outcome, records: byThemselves(type, outcome.records), ttl }
  }
}

function aged(outcome: AnyOutcome, seconds: number): AnyOutcome {
  if (outcome.kind === 'failed') return outcome
  const ttl = Math.max(0, outcome.ttl - seconds)
  return outcome.kind === 'answer' ? { ...outcome, ttl } : ({ ...outcome, ttl } satisfies Denial)
}

/** What an outcome takes of memory when it is kept, with what is kept beside it. */
export function octetsOf<T extends RecordType>(type: T, outcome: Outcome<T>): number {
  if (outcome.kind === 'failed') {
    return 4 * OBJECT + ofText(outcome.detail) + ofText(outcome.extendedError?.text ?? '')
  }
  const base = outcome.aliases.reduce((sum, alias) => sum + ofAscii(alias), 4 * OBJECT + ARRAY)
  return outcome.kind === 'answer' ? base + octetsOfRecords(type, outcome.records) : base
}
