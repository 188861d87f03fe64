/**
 * What this worker knows without asking anybody: the outcome of the last look at each domain, for as long as its TXT
 * answer lives, and its policy for as long as that lives.
 *
 * Promises: bounded in octets of memory, least recently used first out, and large policies push out large ones only; never answers
 * with a policy beyond its lifetime, nor with an outcome older than its TTL, also after the clock was set back.
 */
import { boundedMap } from '../bounded/map'
import { OBJECT, ofAscii, ofText, PART } from '../bounded/octets'
import { currentPolicy } from './policy-lifetime'
import type { KnownPolicy, StsLookup, StsProblem } from './types'

/** Octets of memory for domains without a policy: 20,000 of them, most of the world. */
const MOST_WITHOUT = 5_242_880
/** And for those with one: about 1,400 each. Large ones have a room of their own, a fifth as large. */
const MOST_OCTETS = 3_145_728
export const LARGE = 4096
const SHARE_OF_LARGE = 1 / 5
/** Milliseconds: a look at the store and the DNS is due at least that often, also where a TTL is longer. */
const LONGEST = 300_000
/** Milliseconds for which an expired policy stays: a clock that jumps ahead and back again must not have cost a policy. */
const GRACE = 86_400_000

interface Entry {
  readonly lookup: StsLookup
  readonly known: KnownPolicy | undefined
  /** The store did not take it: then its absence there says nothing. */
  readonly unsaved: boolean
  readonly since: number
  until: number
}

const NONE: StsLookup = { kind: 'none' }

export interface L1Cache {
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
  /** Of memory, about, that all entries take now. */
  readonly octets: number
}

export function createL1Cache(now: () => number, most = MOST_OCTETS): L1Cache {
  const entries = boundedMap<Entry>({
    mostOctets: most,
    large: { above: LARGE, mostOctets: most * SHARE_OF_LARGE },
    now,
  })
  /** Domains without a policy, of which there is no more to be said: since when that is known. */
  const without = boundedMap<number>({ mostOctets: Math.min(MOST_WITHOUT, 2 * most), now })

  const drop = (domain: string): void => {
    entries.delete(domain)
    without.delete(domain)
  }
  return {
    fresh(domain) {
      const since = without.get(domain)
      if (since !== undefined) return now() < since ? undefined : NONE
      const entry = entries.get(domain)
      if (entry === undefined) return undefined
      const time = now()
      if (time >= entry.until || time < entry.since) return undefined
      if (entry.known !== undefined && time >= entry.known.expiresAt) return undefined
      return entry.lookup
    },
    known(domain) {
      const entry = entries.get(domain)
      if (entry?.known === undefined) return undefined
      const policy = currentPolicy(entry.known, now())
      if (policy === undefined) return undefined
      return { policy, unsaved: entry.unsaved, problem: entry.lookup.problem }
    },
    put(domain, lookup, ttlMs, unsaved = false) {
      drop(domain)
      const since = now()
      const until = since + Math.min(Math.max(ttlMs, 0), LONGEST)
      if (lookup.kind === 'none' && lookup.problem === undefined) {
        without.set(domain, since, OBJECT / 3, until)
        return
      }
      const known = lookup.kind === 'policy' ? lookup.known : undefined
      // Later answers are cache hits.
      const repeated: StsLookup = lookup.kind === 'policy' ? { ...lookup, source: 'cache' } : lookup
      entries.set(
        domain,
        { lookup: repeated, known, unsaved, since, until },
        octetsOf(lookup),
        known === undefined ? until : known.expiresAt + GRACE,
      )
    },
    stale(domain) {
      if (domain === undefined) {
        without.clear()
        for (const [, entry] of entries.entries()) entry.until = 0
        return
      }
      without.delete(domain)
      const entry = entries.get(domain)
      if (entry !== undefined) entry.until = 0
    },
    drop,
    get octets() {
      return entries.octets + without.octets
    },
  }
}

/** Of memory, about: entry, lookup, policy and their parts; each line is a part of the whole text, as is each pattern. */
export function octetsOf(lookup: StsLookup): number {
  const problem = lookup.problem === undefined ? 0 : OBJECT + ofText(lookup.problem.detail)
  if (lookup.kind !== 'policy') return 3 * OBJECT + problem
  const { id, policy } = lookup.known
  const text = policy.lines.reduce((sum, line) => sum + 2 * line.length + PART, 0)
  return 8 * OBJECT + problem + ofAscii(id) + text + PART * policy.mx.length
}
