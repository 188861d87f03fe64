/**
 * Puts the counting around what is counted, so that planner, policies and fetch know nothing of it. A tap passes on what
 * goes through it, unchanged: outcome, rejection and order of events. Where metrics are off there is no tap at all.
 */
import type { Planner } from '../delivery/planner'
import type { Plan } from '../delivery/types'
import type { StsLookup, StsLookupOptions, StsPolicies, StsProblem } from '../mta-sts/types'
import { NO_METRICS, sourceOf } from './metrics'
import type { LookupSource, Metrics } from './metrics'

/** @param now Milliseconds of a clock that never steps. */
export function tapPlanner(planner: Planner, metrics: Metrics, now: () => number): Planner {
  if (metrics === NO_METRICS) return planner
  const timed = async (decide: () => Promise<Plan>): Promise<Plan> => {
    const began = now()
    const passed = () => (now() - began) / 1000
    try {
      const plan = await decide()
      metrics.decided(plan.outcome.kind, passed())
      return plan
    } catch (err: unknown) {
      metrics.decided('failed', passed())
      throw err
    }
  }
  return {
    planForDomain: (domain, options) => timed(() => planner.planForDomain(domain, options)),
    planForRoute: (route, options) => timed(() => planner.planForRoute(route, options)),
  }
}

type PeekingPolicies = Required<StsPolicies>

type Fetched = { readonly ok: true } | { readonly ok: false; readonly problem: StsProblem }

export interface StsTap {
  /** What deliveries ask, counted. */
  policies(sts: PeekingPolicies): PeekingPolicies
  /** How policies are fetched, counted. */
  fetch<T extends Fetched>(
    fetch: (domain: string, signal: AbortSignal, inBackground?: boolean) => Promise<T>,
  ): (domain: string, signal: AbortSignal, inBackground?: boolean) => Promise<T>
}

/**
 * A fetch is a delivery's where a delivery waits for that domain as it begins, else a refresh.
 * @param now Milliseconds of a clock that never steps.
 */
export function createStsTap(metrics: Metrics, now: () => number): StsTap {
  if (metrics === NO_METRICS) return { policies: (sts) => sts, fetch: (fetch) => fetch }
  const waiting = new Map<string, number>()
  const wait = (domain: string, by: 1 | -1) => {
    const count = (waiting.get(domain) ?? 0) + by
    if (count > 0) waiting.set(domain, count)
    else waiting.delete(domain)
  }

  const lookedUp = (source: LookupSource, { kind, problem }: StsLookup) => {
    metrics.policyLookedUp(source, problem?.reason)
    if (kind === 'none' && problem !== undefined) metrics.policyUnavailable(problem.reason)
  }

  const ask = async (
    sts: PeekingPolicies,
    domain: string,
    options: StsLookupOptions | undefined,
  ): Promise<StsLookup> => {
    wait(domain, 1)
    try {
      const lookup = await sts.lookup(domain, options)
      lookedUp(sourceOf(lookup), lookup)
      return lookup
    } finally {
      wait(domain, -1)
    }
  }

  return {
    policies(sts) {
      const peek = (domain: string) => {
        const warm = sts.peek(domain)
        if (warm !== undefined) lookedUp('warm', warm)
        return warm
      }
      return {
        peek,
        async lookup(domain, options) {
          const warm = options?.recheck === true ? undefined : peek(domain)
          return warm ?? ask(sts, domain, options)
        },
      }
    },
    fetch: (fetch) => async (domain, signal, inBackground) => {
      const cause = waiting.has(domain) ? 'delivery' : 'refresh'
      const began = now()
      const outcome = await fetch(domain, signal, inBackground)
      const result = outcome.ok ? 'ok' : outcome.problem.reason
      metrics.policyFetched(cause, result, (now() - began) / 1000)
      return outcome
    },
  }
}
