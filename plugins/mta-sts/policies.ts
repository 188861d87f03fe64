/**
 * What MTA-STS says about a domain now: TXT record, cached policy, fetch, and the rules between them (RFC 8461 §3, §5).
 *
 * Promises: a cached policy within its lifetime holds, whatever becomes of TXT record, policy host and store; a policy is
 * fetched when the TXT id is another than the cached one's, once for all who wait, also in other workers; a warm answer
 * costs no I/O; many who ask at once for a domain that nobody knows cause one look at it. Never rejects.
 * Refuses: to let a failure, or a policy that is none, replace or lengthen anything.
 */
import { setMaxListeners } from 'node:events'
import { boundedMap } from '../bounded/map'
import { own } from '../bounded/octets'
import type { Resolver } from '../dnssec-stub/types'
import type { Logger, Store } from '../store/types'
import { normalizeHostName } from '../x509/names'
import { beforeAbort, listenTo } from './changes'
import { createLookOnce } from './cold'
import { fetchFailed, held, policyIn, txtFailed, withoutRecord } from './conclude'
import type { Held } from './conclude'
import { askTxtRecord, type TxtVerdict } from './discover'
import type { FetchPolicy } from './obtain'
import { isGivenUp } from './in-use'
import { readProblem, toKnown } from './known'
import { createLeases } from '../store/leases'
import { tellMissed } from './missed'
import { createObtain, type Obtained } from './obtain'
import { wordsOf } from './one-line'
import { eachPolicy } from './each'
import { createRefresh, REFRESH_FAILED } from './refresh'
import type { KnownPolicy, StsLookup, StsLookupOptions, StsPolicies, StsProblem } from './types'
import { createWarm } from './warm'

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

export interface ManagedStsPolicies extends StsPolicies {
  /** The warm answer, without I/O; undefined where a lookup must ask. */
  peek(domain: string): StsLookup | undefined
  /** Begins to refresh in the background. */
  startRefreshing(): void
  /** Ends that, and what it has under way; lookups go on. */
  stopRefreshing(): void
  /** To be told when `settings` say something else. */
  settingsChanged(): void
  /** Refreshes now what is due; how many fetches were made. */
  refreshDue(): Promise<number>
  /**
   * Every policy that holds now, one after the other: there may be millions. One may come twice.
   * Rejects where the store cannot say what it has.
   */
  each(): AsyncIterable<KnownPolicy>
  /** Every policy that holds now, as far as the store says. */
  list(): Promise<readonly KnownPolicy[]>
  /**
   * The policy of a domain that holds now, asking nobody but the store.
   * Rejects where the store cannot be read and this worker knows of none.
   */
  show(domain: string): Promise<KnownPolicy | undefined>
  /** How a kept policy is looked after, as far as the store says. */
  upkeep(domain: string): Promise<PolicyUpkeep>
  /** Looks at the TXT record and fetches, whatever is cached; a failure leaves the cached policy. */
  refresh(domain: string): Promise<StsLookup>
  /** Forgets a policy, for all workers. @returns whether the store did */
  purge(domain: string): Promise<boolean>
  /** Ends waiting, fetching and refreshing; the store stays open, it is its owner's. */
  close(): Promise<void>
}

export interface PolicyUpkeep {
  /** Why the last refresh failed, within a day of it. */
  readonly problem?: StsProblem
  /** The last day on which mail went there, about: days since the epoch. */
  readonly lastUsed?: number
  /** No mail for so long that the policy is refreshed no more. */
  readonly givenUp: boolean
}

interface Flight {
  readonly outcome: Promise<StsLookup>
  stage: 'txt' | 'fetch'
  held: Held
}

/** Before the store has answered, a policy may be in it. */
const NOT_READ_YET: Held = { kind: 'unread', detail: 'no answer yet' }

const DAY = 86_400_000
/** Octets of memory for the days on which domains were marked as in use, by this worker; some 230 each. */
const MOST_MARKS = 1_048_576
/** Days for which the mark that a domain is in use need not be renewed. */
const MARK_EVERY = 7
/** Milliseconds for which a worker that died in a fetch keeps the others from it; who lives prolongs its lease. */
const LEASE = 10_000
/** Milliseconds for which a policy that some worker has just fetched needs no look at the TXT record by another one. */
const JUST_FETCHED = 30_000
/**
 * Milliseconds for which mail waits no more for a TXT record that did not come: without a cached policy it goes on, or waits
 * for its next attempt, as `txt_failure` says; with one that policy holds.
 */
const UNKNOWN_FOR = 300_000
/** `_mta-sts.` and the policy host must still be names. */
const MAX_DOMAIN = 253 - '_mta-sts.'.length

export function createStsPolicies(options: StsPoliciesOptions): ManagedStsPolicies {
  const { resolver, store, clock, log, settings } = options
  const warm = createWarm(clock)
  const flights = new Map<string, Flight>()
  const usedOn = boundedMap<number>({ mostOctets: MOST_MARKS, now: clock })
  const stopping = new AbortController()
  // Every lookup and fetch under way listens to it: many of them are no leak, and no warning to the operator.
  setMaxListeners(0, stopping.signal)
  const changes = listenTo(store, (domain) => warm.stale(domain))
  const { stoodInLineMs = () => 0 } = options
  const question = { resolver, stoodInLineMs, clock, signal: stopping.signal, background: false }
  const askTxt = (domain: string, fresh = false) =>
    askTxtRecord({ ...question, domain, fresh, timeoutMs: settings.txtTimeoutMs })
  const leaseMs = settings.leaseMs ?? LEASE
  const leases = createLeases(store, leaseMs)
  const obtain = createObtain({
    store,
    leases,
    fetch: options.fetch,
    clock,
    log,
    patienceMs: () => 2 * settings.fetchTimeoutMs,
    signal: stopping.signal,
    changed: changes.wait,
  })
  const missed = options.missed ?? tellMissed(options)
  const lookOnce = createLookOnce({
    leases,
    stored: obtain.stored,
    changed: changes.wait,
    patienceMs: leaseMs,
    signal: stopping.signal,
  })
  const refresh = createRefresh({
    ...options,
    obtain,
    askTxt: (domain, signal) => {
      const ahead = { fresh: false, background: true, timeoutMs: undefined }
      return askTxtRecord({ ...question, ...ahead, domain, signal })
    },
  })

  /** Once a day and domain: what is in use is refreshed. */
  const markUsed = (domain: string): void => {
    const today = Math.floor(clock() / DAY)
    if (usedOn.get(domain) === today) return
    usedOn.set(domain, today, 0, clock() + DAY)
    store
      .lastUsed(domain)
      .then((last) => {
        const age = last.ok && last.value !== undefined ? today - last.value : Infinity
        // Half a year needs no mark for each day, and a look costs less than a write.
        return age >= 0 && age < MARK_EVERY ? undefined : store.markUsed(domain, today)
      })
      // Marked at the next use, if need be.
      .catch(() => usedOn.delete(domain))
  }

  const peekCanonical = (domain: string): StsLookup | undefined => {
    const lookup = warm.fresh(domain)
    if (lookup?.kind === 'policy') markUsed(domain)
    return lookup
  }

  /** The cached policy, from the store and from this worker's own memory. */
  const load = async (domain: string, passing = false): Promise<Held> => {
    const found = await store.getPolicy(domain, { passing })
    const own = warm.known(domain)
    if (!found.ok) return own ? held(own.policy) : { kind: 'unread', detail: found.detail }
    const known = found.value === undefined ? undefined : toKnown(found.value, clock())
    // What the store never took cannot have been purged from it.
    if (own?.unsaved === true && (known === undefined || own.policy.fetchedAt > known.fetchedAt)) {
      return held(own.policy)
    }
    if (known === undefined) warm.drop(domain)
    return held(known)
  }
  const loadKnown = async (domain: string): Promise<KnownPolicy | undefined> =>
    policyIn(await load(domain, true))

  const remembered = (domain: string, otherwise: Held): Held => {
    const own = warm.known(domain)
    return own === undefined ? otherwise : held(own.policy)
  }

  const run = async (
    domain: string,
    fresh: boolean,
    flight: () => Flight | undefined,
  ): Promise<StsLookup> => {
    const loaded = load(domain).then((found) => {
      const own = flight()
      if (own !== undefined) own.held = found
      return found
    })
    if (fresh) {
      const [found, txt] = await Promise.all([loaded, askTxt(domain, true)])
      return judge(domain, found, txt, flight)
    }
    const found = await loaded
    if (found.kind === 'policy') {
      const age = clock() - found.known.fetchedAt
      if (age >= 0 && age < JUST_FETCHED) return takeOver(domain, found.known)
      return judge(domain, found, await askTxt(domain), flight)
    }
    const look = await lookOnce(domain, async () =>
      judge(domain, found, await askTxt(domain), flight),
    )
    return look.by === 'us' ? look.found : takeOver(domain, look.known)
  }

  /** What another worker found a moment ago. */
  const takeOver = (domain: string, known: KnownPolicy): StsLookup =>
    remember(domain, { kind: 'policy', known, source: 'cache' }, JUST_FETCHED)

  /** What the TXT record means beside the cached policy; fetches where it names another. */
  const judge = async (
    domain: string,
    found: Held,
    txt: TxtVerdict,
    flight: () => Flight | undefined,
  ): Promise<StsLookup> => {
    const known = policyIn(found)
    if (txt.kind === 'failed') {
      const lookup = txtFailed(found, txt.detail)
      // What the store could not say is asked again at once: mail waits for it.
      if (lookup.kind === 'store-unread') return lookup
      return txt.slow ? remember(domain, lookup, settings.unknownForMs ?? UNKNOWN_FOR) : lookup
    }
    if (txt.kind !== 'record') {
      if (known?.policy.mode === 'none') {
        // Nothing was enforced, and nobody claims a policy any more: there is nothing left to keep.
        await store.deletePolicy(domain)
        return remember(domain, { kind: 'none' }, txt.ttlMs)
      }
      return remember(domain, withoutRecord(found, txt.detail), txt.ttlMs)
    }
    if (known?.id === txt.id) {
      const note = await store.getNote(domain, REFRESH_FAILED)
      const problem =
        note.ok && note.value !== undefined && known.policy.mode !== 'none'
          ? { problem: readProblem(note.value) }
          : {}
      return remember(domain, { kind: 'policy', known, source: 'cache', ...problem }, txt.ttlMs)
    }
    const own = flight()
    if (own !== undefined) own.stage = 'fetch'
    const obtained = await obtain.byId(domain, txt.id)
    return conclude(domain, obtained, found, txt.ttlMs)
  }

  const remember = (
    domain: string,
    lookup: StsLookup,
    ttlMs: number,
    unsaved = false,
  ): StsLookup => {
    // What the store holds may be known again with the next call.
    if (lookup.kind === 'store-unread') return lookup
    const own = warm.known(domain)
    const known = lookup.kind === 'policy' ? lookup.known : undefined
    // Looked at once more, it has still not been taken by the store.
    const still = own?.unsaved === true && own.policy.fetchedAt === known?.fetchedAt
    warm.put(domain, lookup, ttlMs, unsaved || still)
    if (lookup.kind === 'policy') markUsed(domain)
    if (lookup.kind === 'policy' && lookup.problem !== undefined) {
      const { reason, detail } = lookup.problem
      // Said when it begins and when it becomes another, not at each look.
      if (own?.problem?.reason === reason && own.problem.detail === detail) return lookup
      log.notice(
        `mta-sts: the cached policy of ${domain} holds (${lookup.known.policy.mode}): ${reason}, ${wordsOf(detail)}`,
      )
    }
    return lookup
  }

  const conclude = (domain: string, obtained: Obtained, found: Held, ttlMs: number): StsLookup => {
    if (!obtained.ok) {
      if (found.kind === 'none') missed(domain, obtained.problem)
      const ttl = Math.min(ttlMs, obtained.retryAfterMs)
      return remember(domain, fetchFailed(found, obtained.problem), ttl)
    }
    const lookup: StsLookup = { kind: 'policy', known: obtained.known, source: obtained.source }
    if (obtained.known.policy.maxAge > 0) return remember(domain, lookup, ttlMs, !obtained.saved)
    warm.drop(domain)
    return lookup
  }

  const join = (domain: string, fresh: boolean): Flight => {
    // Whoever wants a fresh look gets nothing out of one that began before.
    const key = fresh ? `${domain} anew` : domain
    const current = flights.get(key)
    if (current !== undefined) return current
    const outcome = run(domain, fresh, () => flights.get(key))
      .catch((error: unknown) => txtFailed(flights.get(key)?.held ?? NOT_READ_YET, String(error)))
      .finally(() => flights.delete(key))
    const flight: Flight = { outcome, stage: 'txt', held: remembered(domain, NOT_READ_YET) }
    flights.set(key, flight)
    return flight
  }

  /** The caller's time is over: what is known now; the flight goes on for those who come later. */
  const givenUp = ({ stage, held: found }: Flight): StsLookup =>
    stage === 'txt'
      ? txtFailed(found, 'no answer in time')
      : fetchFailed(found, { reason: 'sts-policy-fetch-error', detail: 'no policy in time' })

  return {
    peek(domain) {
      const direct = peekCanonical(domain)
      if (direct !== undefined) return direct
      const name = policyDomain(domain)
      return name === undefined || name === domain ? undefined : peekCanonical(name)
    },
    async lookup(domain: string, { signal, recheck = false }: StsLookupOptions = {}) {
      const name = policyDomain(domain)
      if (name === undefined) return { kind: 'none' }
      if (!recheck) {
        const lookup = peekCanonical(name)
        if (lookup !== undefined) return lookup
      }
      const flight = join(name, recheck)
      return beforeAbort(flight.outcome, signal, () => givenUp(flight))
    },
    startRefreshing: () => refresh.start(),
    stopRefreshing: () => refresh.stop(),
    settingsChanged: () => refresh.settingsChanged(),
    refreshDue: () => refresh.due(),
    each: () => eachPolicy(store, loadKnown),
    async list() {
      const known = new Map<string, KnownPolicy>()
      try {
        for await (const policy of eachPolicy(store, loadKnown)) known.set(policy.domain, policy)
      } catch (error) {
        log.warn(`mta-sts: the store does not list its policies: ${String(error)}`)
      }
      return [...known.values()]
    },
    async show(domain) {
      const name = policyDomain(domain)
      if (name === undefined) return undefined
      const found = await load(name)
      if (found.kind === 'unread') throw new Error(`the store cannot be read: ${found.detail}`)
      return policyIn(found)
    },
    async upkeep(domain) {
      const [failed, used] = await Promise.all([
        store.getNote(domain, REFRESH_FAILED),
        store.lastUsed(domain),
      ])
      const lastUsed = used.ok ? used.value : undefined
      return {
        ...(failed.ok && failed.value !== undefined ? { problem: readProblem(failed.value) } : {}),
        ...(lastUsed === undefined ? {} : { lastUsed }),
        givenUp: isGivenUp(lastUsed, clock()),
      }
    },
    async refresh(domain) {
      const name = policyDomain(domain)
      if (name === undefined) return { kind: 'none' }
      const [found, txt] = await Promise.all([load(name), askTxt(name, true)])
      if (txt.kind === 'failed') return txtFailed(found, txt.detail)
      if (txt.kind !== 'record') return withoutRecord(found, txt.detail)
      const obtained = await obtain.anew(name, txt.id, Infinity)
      if (obtained !== undefined) return conclude(name, obtained, found, txt.ttlMs)
      const detail = 'another worker is fetching the policy'
      return fetchFailed(found, { reason: 'sts-policy-fetch-error', detail })
    },
    async purge(domain) {
      const name = policyDomain(domain)
      if (name === undefined) return false
      warm.drop(name)
      const purged = await store.deletePolicy(name)
      warm.drop(name)
      return purged.ok
    },
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

/** @returns the domain as policies are kept by it; undefined for what can have none (addresses, names too long) */
function policyDomain(domain: string): string | undefined {
  const name = normalizeHostName(domain)
  return name === undefined || name.length > MAX_DOMAIN ? undefined : own(name)
}
