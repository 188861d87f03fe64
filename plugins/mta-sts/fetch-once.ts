/**
 * Gets the policy of a domain fetched once, by one worker, and stored for all (RFC 8461 §3.3).
 *
 * Promises: one fetch at a time per domain in the whole cluster, under a lease; a worker that does not get the lease waits for
 * the holder's result, and no longer than the lease when the holder died; after a failed fetch none for the same id within five
 * minutes, by any worker. With a store that fails it goes on alone. Never rejects.
 * It keeps a policy only when a whole new one has come: a failure replaces nothing.
 */
import { boundedMap } from '../bounded/map'
import { OBJECT, ofText } from '../bounded/octets'
import type { Logger, PolicyRecord, Store } from '../store/types'
import type { FetchOutcome } from './fetch'
import type { Leases } from '../store/leases'
import { newlyFetched, readProblem, toKnown, writeProblem } from './policy-lifetime'
import { wordsOf } from './one-line'
import type { KnownPolicy, StsProblem } from './types'

export interface FetchOnceTools {
  readonly store: Store
  /** Fetches a policy within its own deadline. */
  readonly fetch: FetchPolicy
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly log: Logger
  readonly leases: Leases
  /** Milliseconds for which one waits for other workers' fetches; asked each time, as settings may change. */
  readonly patienceMs: () => number
  /** Ends all waiting and fetching: the worker stops. */
  readonly signal: AbortSignal
  /** Resolves when the domain's policy changed, or after `ms`. */
  readonly changed: (domain: string, ms: number) => Promise<void>
}

export type Obtained =
  | {
      readonly ok: true
      readonly known: KnownPolicy
      readonly source: 'cache' | 'fetched'
      /** False where the store did not take it. */
      readonly saved: boolean
    }
  /** `retryAfterMs`: until then asking again gives the same. */
  | { readonly ok: false; readonly problem: StsProblem; readonly retryAfterMs: number }

/** Milliseconds without another fetch of the same id after a failed one (RFC 8461 §3.3: five minutes or longer). */
export const BACK_OFF = 300_000
/** Milliseconds between two looks at whether the holder of the lease is done; a change is heard of at once. */
const FIRST_LOOK = 50
const LONGEST_LOOK = 500
/** Octets of memory for failures; some 800 each. */
const MOST_FAILURES = 524_288
/** Milliseconds for which a failure found in the store may be repeated without another look. */
const RECALL = 30_000

/** @param inBackground No mail waits for it. */
export type FetchPolicy = (
  domain: string,
  signal: AbortSignal,
  inBackground: boolean,
) => Promise<FetchOutcome>

export interface FetchOnce {
  /** The policy of a domain that is stored and holds now. */
  readonly stored: (domain: string) => Promise<KnownPolicy | undefined>
  /** The policy under this id: from the store if another worker was quicker, else fetched. */
  byId(domain: string, id: string): Promise<Obtained>
  /**
   * Fetches anew.
   * @param after if a policy fetched later than this is stored by now, there is nothing to do; Infinity: the operator asks,
   *   whatever is stored and whatever has failed before
   * @param signal ends the fetch, in the place of the signal that ends them all
   * @returns undefined where another worker is doing it, or has just done it or failed
   */
  anew(
    domain: string,
    id: string,
    after: number,
    signal?: AbortSignal,
  ): Promise<Obtained | undefined>
  /** The failure that still forbids a fetch of this id. */
  failure(domain: string, id: string): Promise<StsProblem | undefined>
}

export function createFetchOnce(tools: FetchOnceTools): FetchOnce {
  const { store, clock, log } = tools
  /** Failures of this worker, for when the store does not keep them. */
  const failures = boundedMap<{ readonly problem: StsProblem; readonly at: number }>({
    mostOctets: MOST_FAILURES,
    now: clock,
  })

  const failure = async (domain: string, id: string): Promise<StsProblem | undefined> => {
    const own = failures.get(`${domain} ${id}`)
    const passed = own === undefined ? BACK_OFF : clock() - own.at
    if (own !== undefined && passed >= 0 && passed < BACK_OFF) return own.problem
    const note = await store.getNote(domain, `failed/${id}`)
    return note.ok && note.value !== undefined ? readProblem(note.value) : undefined
  }

  const fail = async (domain: string, id: string, problem: StsProblem): Promise<Obtained> => {
    const at = clock()
    const octets = 2 * OBJECT + ofText(problem.detail)
    failures.set(`${domain} ${id}`, { problem, at }, octets, at + BACK_OFF)
    await store.setNote(domain, `failed/${id}`, writeProblem(problem), BACK_OFF)
    log.notice(
      `mta-sts: no policy for ${domain} under id ${id}: ${problem.reason}, ${wordsOf(problem.detail)}`,
    )
    return { ok: false, problem, retryAfterMs: BACK_OFF }
  }

  /** The caller holds the lease, or goes on without one. */
  const fetchAndSave = async (
    domain: string,
    id: string,
    signal = tools.signal,
    inBackground = false,
  ): Promise<Obtained> => {
    const outcome = await tools.fetch(domain, signal, inBackground)
    if (!outcome.ok) {
      if (signal.aborted) return { ok: false, problem: outcome.problem, retryAfterMs: 0 }
      return fail(domain, id, outcome.problem)
    }
    const known = newlyFetched(domain, id, outcome.policy, clock())
    failures.delete(`${domain} ${id}`)
    const saved = await save(store, known, outcome.body)
    log.info(
      `mta-sts: policy of ${domain} fetched: id=${id} mode=${known.policy.mode} max_age=${known.policy.maxAge}`,
    )
    if (!saved)
      log.warn(
        `mta-sts: the policy of ${domain} is known to this worker only, the store did not take it`,
      )
    return { ok: true, known, source: 'fetched', saved }
  }

  const stored = async (domain: string): Promise<KnownPolicy | undefined> => {
    const found = await store.getPolicy(domain)
    return found.ok && found.value !== undefined ? toKnown(found.value, clock()) : undefined
  }
  const underLease = <T>(domain: string, act: () => Promise<T>): Promise<T | undefined> =>
    tools.leases.under(`fetch/${domain}`, act)

  return {
    stored,
    failure,
    async byId(domain, id) {
      const { signal } = tools
      const started = clock()
      let pause = FIRST_LOOK
      while (!signal.aborted) {
        const problem = await failure(domain, id)
        if (problem !== undefined) return { ok: false, problem, retryAfterMs: RECALL }
        const obtained = await underLease(domain, async (): Promise<Obtained> => {
          // Between the look that found nothing and the lease another worker may have been through all of it.
          const known = await stored(domain)
          if (known?.id === id) return { ok: true, known, source: 'cache', saved: true }
          const since = await failure(domain, id)
          if (since !== undefined) return { ok: false, problem: since, retryAfterMs: RECALL }
          return fetchAndSave(domain, id)
        })
        if (obtained !== undefined) return obtained
        const waited = clock() - started
        if (waited > tools.patienceMs() || waited < 0) break
        await tools.changed(domain, pause)
        pause = Math.min(2 * pause, LONGEST_LOOK)
        const known = await stored(domain)
        if (known?.id === id) return { ok: true, known, source: 'cache', saved: true }
      }
      const detail = signal.aborted
        ? 'the worker stops'
        : 'another worker is still fetching the policy'
      return { ok: false, problem: { reason: 'sts-policy-fetch-error', detail }, retryAfterMs: 0 }
    },
    anew: (domain, id, after, signal) =>
      underLease(domain, async () => {
        const known = await stored(domain)
        if (known !== undefined && known.fetchedAt > after) return undefined
        // Between the caller's look and the lease another worker may have tried and failed.
        if (after !== Infinity && (await failure(domain, id)) !== undefined) return undefined
        return fetchAndSave(domain, id, signal, after !== Infinity)
      }),
  }
}

/** max_age 0 means: keep nothing, not even what was there before (RFC 8461 §3.2). */
async function save(store: Store, known: KnownPolicy, body: Buffer): Promise<boolean> {
  const { domain, id, fetchedAt, expiresAt } = known
  if (known.policy.maxAge === 0) return (await store.deletePolicy(domain)).ok
  const record: PolicyRecord = { domain, id, text: body.toString('utf8'), fetchedAt, expiresAt }
  return (await store.setPolicy(record)).ok
}
