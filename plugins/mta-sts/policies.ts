/**
 * What MTA-STS says about a domain now: TXT record, cached policy, fetch, and the rules between them (RFC 8461 §3, §5).
 *
 * Promises: a cached policy within its lifetime holds, whatever becomes of TXT record, policy host and store; a policy is
 * fetched when the TXT id is another than the cached one's, once for all who wait, also in other workers; a warm answer
 * costs no I/O; many who ask at once for an unknown domain cause one look at it. Never rejects.
 */
import { setMaxListeners } from 'node:events'
import { createPolicyAdmin, type PolicyAdmin } from './admin'
import { createCachedPolicies } from './cached-policies'
import { fetchFailed, type Held, txtFailed } from './conclude'
import { askTxtRecord } from './discover'
import { createFetchOnce, type FetchPolicy } from './fetch-once'
import { createFirstLook } from './first-look'
import { createUseMarks } from './in-use'
import { createLooks, type Progress } from './look'
import { tellMissed } from './missed'
import { policyDomain } from './policy-domain'
import { createRefresh } from './refresh'
import { beforeAbort, listenTo } from './store-changes'
import type { StsLookup, StsLookupOptions, StsPolicies, StsProblem } from './types'
import type { Resolver } from '../dnssec-stub/types'
import { createLeases } from '../store/leases'
import type { Logger, Store } from '../store/types'

export interface StsPoliciesOptions {
  readonly resolver: Resolver
  readonly store: Store
  /** Fetches within settings.fetchTimeoutMs: fetchPolicy of fetch.ts, with its settings filled in. */
  readonly fetch: FetchPolicy
  /** Milliseconds, in all, in which lookups stood in line: no time limit counts them; default: none. */
  readonly stoodInLineMs?: () => number
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** From 0 to below 1: spreads the refreshes. */
  readonly random: () => number
  readonly log: Logger
  /** Told of each published policy that cannot be had; left out: a warning, once a day and domain. */
  readonly missed?: (domain: string, problem: StsProblem) => void
  readonly settings: {
    readonly fetchTimeoutMs: number
    readonly refreshIntervalMs: number
    /** For the TXT lookup that mail waits for; default: as long as the resolver takes. */
    readonly txtTimeoutMs?: number
    /** How long a TXT lookup that failed slowly is not tried again; default 5 minutes. */
    readonly unknownForMs?: number
    /** How long a worker that died in a fetch can hold the others up; default 10 s. */
    readonly leaseMs?: number
  }
}

export interface ManagedStsPolicies extends StsPolicies, PolicyAdmin {
  /** The warm answer, without I/O; undefined where a lookup must ask. */
  peek(domain: string): StsLookup | undefined
  /** Begins to refresh in the background. */
  startRefreshing(): void
  /** Ends that, and what it has under way; lookups go on. */
  stopRefreshing(): void
  /** To be told when `settings` say something else. */
  settingsChanged(): void
  /** Refreshes now the policies that are due; how many fetches were made. */
  refreshDue(): Promise<number>
  /** Ends waiting, fetching and refreshing; the store stays open, it is its owner's. */
  close(): Promise<void>
}

/** A look that goes on for all who join it. */
interface Flight {
  readonly outcome: Promise<StsLookup>
  readonly progress: Progress
}

/** Before the store has answered, a policy may be in it. */
const NOT_READ_YET: Held = { kind: 'unread', detail: 'no answer yet' }

/** Milliseconds for which a worker that died in a fetch keeps the others from it; one that lives prolongs its lease. */
const LEASE = 10_000

export function createStsPolicies(options: StsPoliciesOptions): ManagedStsPolicies {
  const { resolver, store, clock, log, settings, stoodInLineMs = () => 0 } = options
  const stopping = new AbortController()
  const { signal } = stopping
  // Every lookup and fetch under way listens to it: many of them are no leak, and no warning to the operator.
  setMaxListeners(0, signal)
  const cached = createCachedPolicies({ store, marks: createUseMarks(store, clock), clock, log })
  const changes = listenTo(store, (domain) => cached.stale(domain))
  const question = { resolver, stoodInLineMs, clock, signal, background: false }
  const askTxt = (domain: string, fresh: boolean) =>
    askTxtRecord({ ...question, domain, fresh, timeoutMs: settings.txtTimeoutMs })
  const leaseMs = settings.leaseMs ?? LEASE
  const leases = createLeases(store, leaseMs)
  const fetchOnce = createFetchOnce({
    store,
    leases,
    fetch: options.fetch,
    clock,
    log,
    patienceMs: () => 2 * settings.fetchTimeoutMs,
    signal,
    changed: changes.wait,
  })
  const firstLook = createFirstLook({
    leases,
    stored: fetchOnce.stored,
    changed: changes.wait,
    patienceMs: leaseMs,
    signal,
  })
  const refresh = createRefresh({
    ...options,
    fetchOnce,
    askTxt: (domain, signal) => {
      const ahead = { fresh: false, background: true, timeoutMs: undefined }
      return askTxtRecord({ ...question, ...ahead, domain, signal })
    },
  })
  const { look, afterFetch } = createLooks({
    store,
    cached,
    askTxt,
    fetchOnce,
    firstLook,
    clock,
    missed: options.missed ?? tellMissed(options),
    settings,
  })
  const admin = createPolicyAdmin({ store, cached, askTxt, fetchOnce, afterFetch, clock, log })

  const flights = new Map<string, Flight>()
  const join = (domain: string, fresh: boolean): Flight => {
    // A fresh lookup must not join one that began earlier.
    const key = fresh ? `${domain} anew` : domain
    const current = flights.get(key)
    if (current !== undefined) return current
    const progress: Progress = { stage: 'txt', held: cached.remembered(domain, NOT_READ_YET) }
    const outcome = look(domain, fresh, progress)
      .catch((error: unknown) => txtFailed(progress.held, String(error)))
      .finally(() => flights.delete(key))
    const flight = { outcome, progress }
    flights.set(key, flight)
    return flight
  }

  return {
    ...admin,
    peek(domain) {
      const direct = cached.peek(domain)
      if (direct !== undefined) return direct
      const name = policyDomain(domain)
      return name === undefined || name === domain ? undefined : cached.peek(name)
    },
    async lookup(domain: string, { signal, recheck = false }: StsLookupOptions = {}) {
      const name = policyDomain(domain)
      if (name === undefined) return { kind: 'none' }
      const repeated = recheck ? undefined : cached.peek(name)
      if (repeated !== undefined) return repeated
      const { outcome, progress } = join(name, recheck)
      return beforeAbort(outcome, signal, () => knownSoFar(progress))
    },
    startRefreshing: () => refresh.start(),
    stopRefreshing: () => refresh.stop(),
    settingsChanged: () => refresh.settingsChanged(),
    refreshDue: () => refresh.due(),
    async close() {
      stopping.abort()
      changes.stop()
      refresh.stop()
      await Promise.all([...flights.values()].map(({ outcome }) => outcome))
      await refresh.ended()
      await leases.returned()
    },
  }
}

/** The caller's time is over; the flight goes on for those who come later. */
function knownSoFar({ stage, held }: Progress): StsLookup {
  return stage === 'txt'
    ? txtFailed(held, 'no answer in time')
    : fetchFailed(held, { reason: 'sts-policy-fetch-error', detail: 'no policy in time' })
}
