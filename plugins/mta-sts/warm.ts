/**
 * What this worker knows without asking anybody: the outcome of the last look at each domain, for as long as its TXT
 * answer lives, and its policy for as long as that lives.
 *
 * Promises: bounded in memory by the size of what it holds, least recently looked up first out; never answers with a
 * policy beyond its lifetime, nor with an outcome older than its TTL, also after the clock was set back.
 */
import { currentPolicy } from './known'
import type { KnownPolicy, StsLookup, StsProblem } from './types'

/** Octets, about: policies are a few hundred each, and at most 64 KiB. */
const MOST_OCTETS = 8_388_608
/** About what an entry costs beside the text of its policy. */
const ENTRY_OCTETS = 600
/** Milliseconds: a look at the store and the DNS is due at least that often, also where a TTL is longer. */
const LONGEST = 300_000

interface Entry {
  readonly lookup: StsLookup
  readonly known: KnownPolicy | undefined
  /** The store did not take it: then its absence there says nothing. */
  readonly unsaved: boolean
  readonly since: number
  until: number
  readonly octets: number
}

export interface Warm {
  /** The last outcome, if it is still fresh. */
  fresh(domain: string): StsLookup | undefined
  /** The policy known here, fresh outcome or not. */
  known(domain: string):
    | {
        readonly policy: KnownPolicy
        readonly unsaved: boolean
        /** What went wrong at the last look, if anything. */
        readonly problem: StsProblem | undefined
      }
    | undefined
  /** @param ttlMs milliseconds for which the outcome may be repeated */
  put(domain: string, lookup: StsLookup, ttlMs: number, unsaved?: boolean): void
  /** The next lookup must look again; the policy stays known. Without a domain: all of them. */
  stale(domain?: string): void
  drop(domain: string): void
}

export function createWarm(clock: () => number, most = MOST_OCTETS): Warm {
  const entries = new Map<string, Entry>()
  let octets = 0

  const drop = (domain: string): void => {
    octets -= entries.get(domain)?.octets ?? 0
    entries.delete(domain)
  }
  return {
    fresh(domain) {
      const entry = entries.get(domain)
      if (entry === undefined) return undefined
      const now = clock()
      if (now >= entry.until || now < entry.since) return undefined
      if (entry.known !== undefined && now >= entry.known.expiresAt) return undefined
      return entry.lookup
    },
    known(domain) {
      const entry = entries.get(domain)
      if (entry?.known === undefined) return undefined
      const policy = currentPolicy(entry.known, clock())
      if (policy === undefined) return undefined
      return { policy, unsaved: entry.unsaved, problem: entry.lookup.problem }
    },
    put(domain, lookup, ttlMs, unsaved = false) {
      drop(domain)
      const now = clock()
      const known = lookup.kind === 'policy' ? lookup.known : undefined
      const text = known?.policy.lines.reduce((sum, line) => sum + 3 * line.length + 40, 0) ?? 0
      // What was fetched then is, from now on, out of the cache.
      const repeated: StsLookup = lookup.kind === 'policy' ? { ...lookup, source: 'cache' } : lookup
      const entry: Entry = {
        lookup: repeated,
        known,
        unsaved,
        since: now,
        until: now + Math.min(Math.max(ttlMs, 0), LONGEST),
        octets: ENTRY_OCTETS + text,
      }
      entries.set(domain, entry)
      octets += entry.octets
      for (const oldest of entries.keys()) {
        if (octets <= most) break
        drop(oldest)
      }
    },
    stale(domain) {
      const touched = domain === undefined ? [...entries.values()] : [entries.get(domain)]
      for (const entry of touched) if (entry !== undefined) entry.until = 0
    },
    drop,
  }
}
