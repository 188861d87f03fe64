/**
 * One look at a domain: the cached policy, the TXT record, and a fetch where the record names another policy (RFC 8461 §3.3).
 * A failed fetch or an invalid policy never replaces or extends a cached one.
 */
import type { CachedPolicies } from './cached-policies'
import { fetchFailed, policyIn, txtFailed, type Held } from './conclude'
import type { TxtVerdict } from './discover'
import type { FetchOnce, Obtained } from './fetch-once'
import type { FirstLook } from './first-look'
import { LARGE, octetsOf } from './l1-cache'
import { readProblem } from './policy-lifetime'
import { REFRESH_FAILED } from './refresh'
import { nextStep } from './rule'
import type { KnownPolicy, StsLookup, StsProblem } from './types'
import type { Store } from '../store/types'

/** How far a look has come, for a caller whose time is over. */
export interface Progress {
  stage: 'txt' | 'fetch'
  held: Held
}

export interface Looks {
  /** @param fresh asks for the TXT record whatever is cached, and past the resolver's cache */
  readonly look: (domain: string, fresh: boolean, progress: Progress) => Promise<StsLookup>
  /** Concludes from a fetch beside the cached policy, and remembers that. */
  readonly afterFetch: (domain: string, obtained: Obtained, found: Held, ttlMs: number) => StsLookup
}

export interface LooksTools {
  readonly store: Store
  readonly cached: CachedPolicies
  readonly askTxt: (domain: string, fresh: boolean) => Promise<TxtVerdict>
  readonly fetchOnce: FetchOnce
  readonly firstLook: FirstLook
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly missed: (domain: string, problem: StsProblem) => void
  /** `unknownForMs`: how long a TXT lookup that failed slowly is not tried again; default 5 minutes. Read anew each time. */
  readonly settings: { readonly unknownForMs?: number }
}

/** Milliseconds for which a policy that some worker has just fetched needs no look at the TXT record by another one. */
const JUST_FETCHED = 30_000
/**
 * Milliseconds for which mail waits no more for a TXT record that did not come: without a cached policy it goes on, or waits
 * for its next attempt, as `txt_failure` says; with one that policy holds.
 */
const UNKNOWN_FOR = 300_000
/** Octets of memory for large policies that are held while the DNS is asked. One for which there is no room holds unasked. */
const MOST_HELD = 4_194_304

export function createLooks(tools: LooksTools): Looks {
  const { store, cached, askTxt, fetchOnce, firstLook, clock, missed, settings } = tools

  const justFetched = (domain: string, known: KnownPolicy): StsLookup =>
    cached.remember(domain, { kind: 'policy', known, source: 'cache' }, JUST_FETCHED)

  const keep = async (domain: string, known: KnownPolicy, ttlMs: number): Promise<StsLookup> => {
    const note = await store.getNote(domain, REFRESH_FAILED)
    const problem =
      note.ok && note.value !== undefined && known.policy.mode !== 'none'
        ? { problem: readProblem(note.value) }
        : {}
    return cached.remember(domain, { kind: 'policy', known, source: 'cache', ...problem }, ttlMs)
  }

  const afterFetch: Looks['afterFetch'] = (domain, obtained, found, ttlMs) => {
    if (!obtained.ok) {
      if (found.kind === 'none') missed(domain, obtained.problem)
      const ttl = Math.min(ttlMs, obtained.retryAfterMs)
      return cached.remember(domain, fetchFailed(found, obtained.problem), ttl)
    }
    const lookup: StsLookup = { kind: 'policy', known: obtained.known, source: obtained.source }
    if (obtained.known.policy.maxAge > 0) {
      return cached.remember(domain, lookup, ttlMs, !obtained.saved)
    }
    cached.drop(domain)
    return lookup
  }

  const afterTxt = async (
    domain: string,
    found: Held,
    txt: TxtVerdict,
    progress: Progress,
  ): Promise<StsLookup> => {
    const step = nextStep(found, txt, settings.unknownForMs ?? UNKNOWN_FOR)
    switch (step.act) {
      case 'answer':
        if (step.ttlMs === undefined) return step.lookup
        return cached.remember(domain, step.lookup, step.ttlMs)
      case 'forget':
        await store.deletePolicy(domain)
        return cached.remember(domain, { kind: 'none' }, step.ttlMs)
      case 'keep':
        return keep(domain, step.known, step.ttlMs)
      case 'fetch': {
        progress.stage = 'fetch'
        const obtained = await fetchOnce.byId(domain, step.id)
        return afterFetch(domain, obtained, found, step.ttlMs)
      }
    }
  }

  let holding = 0
  const holds = async (found: Held, look: () => Promise<StsLookup>): Promise<StsLookup> => {
    const known = policyIn(found)
    const octets = known === undefined ? 0 : octetsOf({ kind: 'policy', known, source: 'cache' })
    if (octets <= LARGE) return look()
    if (holding + octets > MOST_HELD)
      return txtFailed(found, 'too many large policies are under way')
    holding += octets
    try {
      return await look()
    } finally {
      holding -= octets
    }
  }

  return {
    afterFetch,
    async look(domain, fresh, progress) {
      const loaded = cached.load(domain).then((found) => (progress.held = found))
      if (fresh) {
        const asked = askTxt(domain, true)
        const found = await loaded
        return holds(found, async () => afterTxt(domain, found, await asked, progress))
      }
      const found = await loaded
      if (found.kind === 'policy') {
        const age = clock() - found.known.fetchedAt
        if (age >= 0 && age < JUST_FETCHED) return justFetched(domain, found.known)
        return holds(found, async () =>
          afterTxt(domain, found, await askTxt(domain, false), progress),
        )
      }
      const first = await firstLook(domain, async () =>
        afterTxt(domain, found, await askTxt(domain, false), progress),
      )
      return first.by === 'us' ? first.found : justFetched(domain, first.known)
    },
  }
}
