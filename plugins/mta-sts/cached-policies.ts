/**
 * The cached policies: those of the store, and over them this worker's own memory of policies and outcomes, which costs no I/O.
 */
import { type Held, held } from './conclude'
import type { UseMarks } from './in-use'
import { createL1Cache } from './l1-cache'
import { wordsOf } from './one-line'
import { toKnown } from './policy-lifetime'
import type { StsLookup } from './types'
import type { Logger, Store } from '../store/types'

export interface CachedPolicies {
  /** The last outcome, as long as it may be repeated. */
  peek(domain: string): StsLookup | undefined
  /**
   * The cached policy, from the store and from this worker's memory.
   * @param passing for a count: with Redis, this machine takes no copy
   */
  load(domain: string, passing?: boolean): Promise<Held>
  /** The policy in this worker's memory alone. */
  remembered(domain: string, otherwise: Held): Held
  /**
   * Keeps an outcome for as long as it may be repeated, and tells the operator where a problem begins.
   * @param unsaved the store did not take the policy
   * @returns the outcome
   */
  remember(domain: string, lookup: StsLookup, ttlMs: number, unsaved?: boolean): StsLookup
  /** This worker forgets all of a domain. */
  drop(domain: string): void
  /** The next lookup asks again; the policy stays known. Without a domain: all of them. */
  stale(domain?: string): void
}

export interface CachedPoliciesTools {
  readonly store: Store
  readonly marks: UseMarks
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'notice'>
}

export function createCachedPolicies(tools: CachedPoliciesTools): CachedPolicies {
  const { store, marks, clock, log } = tools
  const l1 = createL1Cache(clock)

  const tellProblem = (domain: string, lookup: StsLookup, before: StsLookup['problem']): void => {
    if (lookup.kind !== 'policy' || lookup.problem === undefined) return
    const { reason, detail } = lookup.problem
    // Said when it begins and when it becomes another, not at each look.
    if (before?.reason === reason && before.detail === detail) return
    log.notice(
      `mta-sts: the cached policy of ${domain} holds (${lookup.known.policy.mode}): ${reason}, ${wordsOf(detail)}`,
    )
  }

  return {
    peek(domain) {
      const lookup = l1.fresh(domain)
      if (lookup?.kind === 'policy') marks.mark(domain)
      return lookup
    },
    async load(domain, passing = false) {
      const found = await store.getPolicy(domain, { passing })
      const own = l1.known(domain)
      if (!found.ok) return own ? held(own.policy) : { kind: 'unread', detail: found.detail }
      const known = found.value === undefined ? undefined : toKnown(found.value, clock())
      // A policy that the store never took cannot have been purged from it.
      if (
        own?.unsaved === true &&
        (known === undefined || own.policy.fetchedAt > known.fetchedAt)
      ) {
        return held(own.policy)
      }
      if (known === undefined) l1.drop(domain)
      return held(known)
    },
    remembered(domain, otherwise) {
      const own = l1.known(domain)
      return own === undefined ? otherwise : held(own.policy)
    },
    remember(domain, lookup, ttlMs, unsaved = false) {
      // The store may be readable again at the next call.
      if (lookup.kind === 'store-unread') return lookup
      const own = l1.known(domain)
      const known = lookup.kind === 'policy' ? lookup.known : undefined
      // The store has not saved this policy yet: the flag stays.
      const still = own?.unsaved === true && own.policy.fetchedAt === known?.fetchedAt
      l1.put(domain, lookup, ttlMs, unsaved || still)
      if (lookup.kind === 'policy') marks.mark(domain)
      tellProblem(domain, lookup, own?.problem)
      return lookup
    },
    drop: (domain) => {
      l1.drop(domain)
    },
    stale: (domain) => {
      l1.stale(domain)
    },
  }
}
