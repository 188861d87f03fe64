/**
 * Fetches policies again before they expire (RFC 8461 §3.3, §10.2), about daily, whatever the TXT record says and whether or
 * not mail flows, so that a policy host that was down for a day costs no protection.
 *
 * Promises: a round looks only at the domains whose time has come on the store's agenda, each given to one worker of the
 * cluster, and makes one fetch per domain; only domains to which mail went within half a year; a failure leaves the old
 * policy with its own expiry and is said to the operator, once a day, long before it. Never rejects.
 */
import { setMaxListeners } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { wordsOf } from './one-line'
import type { Logger, Store } from '../store/types'
import { isGivenUp } from './in-use'
import { toKnown, writeProblem } from './policy-lifetime'
import { BACK_OFF, type FetchOnce } from './fetch-once'
import type { TxtVerdict } from './discover'
import type { KnownPolicy, StsProblem } from './types'

export interface RefreshTools {
  readonly store: Store
  readonly fetchOnce: FetchOnce
  readonly askTxt: (domain: string, signal: AbortSignal) => Promise<TxtVerdict>
  readonly clock: () => number
  readonly random: () => number
  readonly log: Logger
  readonly settings: { readonly refreshIntervalMs: number }
}

export interface Refresh {
  start(): void
  /** The next round comes as the interval has it that the settings name now. */
  settingsChanged(): void
  /** @returns how many policies were fetched, or tried */
  due(): Promise<number>
  /** Begins no more, and ends lookups and fetches under way; the policies that they were to renew stay as they are. */
  stop(): void
  /** Resolves when nothing is under way any longer. */
  ended(): Promise<void>
}

/** The note under which the last failure of a refresh is kept until one succeeds or a day has passed. */
export const REFRESH_FAILED = 'refresh-failed'
const REFRESH_WARNED = 'refresh-warned'

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** Milliseconds until a domain without mail is looked at again: it may be in use by then. */
const UNUSED_PAUSE = 6 * HOUR
/** Fetches at the same time: policy hosts that hang must not keep the others from their turn. */
const AT_ONCE = 16
/** Domains that a worker takes off the agenda at once, and milliseconds in which it must be through with them. */
const TAKEN = 4 * AT_ONCE
const TAKEN_FOR = HOUR / 2
/**
 * A policy that lives shorter would have to be asked for all day long; the next mail fetches it. A refresh is due at half of
 * max_age, and a round comes within 75 minutes: below three hours the policy could expire in between.
 */
const SHORTEST = 3 * HOUR

/**
 * When the refresh in the background has its turn.
 * @param spread from 0 (as early as may be) to 1 (as late)
 * @returns milliseconds since the epoch; undefined for a policy that lives too short to be refreshed
 */
export function refreshTime(
  { policy, fetchedAt }: Pick<KnownPolicy, 'policy' | 'fetchedAt'>,
  refreshIntervalMs: number,
  spread: number,
): number | undefined {
  if (policy.maxAge * 1000 < SHORTEST) return undefined
  return fetchedAt + Math.min(refreshIntervalMs * (0.9 + spread / 10), policy.maxAge * 500)
}

interface Looked {
  readonly fetched: boolean
  /** Milliseconds since the epoch. */
  readonly again: number | undefined
}
const NOTHING: Looked = { fetched: false, again: undefined }

export function createRefresh(tools: RefreshTools): Refresh {
  const { store, fetchOnce, clock, random, log, settings } = tools
  const stopping = new AbortController()
  const { signal } = stopping
  // Sixteen lookups and fetches listen to it at a time: no leak.
  setMaxListeners(0, signal)
  let timer: NodeJS.Timeout | undefined
  /** The interval for which the timer was set. */
  let timedFor: number | undefined
  let round: Promise<number> | undefined

  /** Milliseconds between two rounds: far less than a refresh interval, and never the same twice. */
  const pause = (): number =>
    Math.min(HOUR, settings.refreshIntervalMs / 24) * (0.75 + random() / 2)

  const isDue = (known: KnownPolicy): boolean => {
    const earliest = refreshTime(known, settings.refreshIntervalMs, 0)
    if (earliest === undefined) return false
    return known.fetchedAt > clock() + HOUR || clock() >= earliest
  }

  /** When a policy is to be looked at; one that lives too short to be refreshed, when it is over. */
  const dueTime = (known: KnownPolicy): number => {
    const time = refreshTime(known, settings.refreshIntervalMs, random())
    return time === undefined ? known.expiresAt + HOUR : Math.max(time, clock() + 1)
  }

  const isUsed = async (domain: string): Promise<boolean> => {
    const today = Math.floor(clock() / DAY)
    const last = await store.lastUsed(domain)
    if (!last.ok) return true
    // Without a mark (Redis evicts what it likes) the half year begins now.
    if (last.value === undefined) await store.markUsed(domain, today)
    return !isGivenUp(last.value, clock())
  }

  const fail = async (known: KnownPolicy, problem: StsProblem): Promise<void> => {
    const { domain, policy, expiresAt } = known
    if (policy.mode === 'none') return
    await store.setNote(domain, REFRESH_FAILED, writeProblem(problem), DAY)
    const warned = await store.getNote(domain, REFRESH_WARNED)
    if (warned.ok && warned.value !== undefined) return
    await store.setNote(domain, REFRESH_WARNED, 'warned', DAY)
    log.warn(
      `mta-sts: the policy of ${domain} (${policy.mode}) cannot be refreshed and ends on ` +
        `${new Date(expiresAt).toISOString()}: ${problem.reason}, ${wordsOf(problem.detail)}`,
    )
  }

  const forgetFailures = async (domain: string): Promise<void> => {
    for (const note of [REFRESH_FAILED, REFRESH_WARNED]) {
      const found = await store.getNote(domain, note)
      if (found.ok && found.value !== undefined) await store.setNote(domain, note, 'over', 1)
    }
  }

  /** @returns whether a fetch was made, and when to look at the domain again; undefined: never */
  const refreshOne = async (domain: string): Promise<Looked> => {
    const found = await store.getPolicy(domain)
    if (!found.ok) return { fetched: false, again: clock() + HOUR }
    if (found.value === undefined) return NOTHING
    const known = toKnown(found.value, clock())
    // The store removes expired policies.
    if (known === undefined) return { fetched: false, again: clock() + DAY }
    if (!isDue(known)) return { fetched: false, again: dueTime(known) }
    if (!(await isUsed(domain))) return { fetched: false, again: clock() + UNUSED_PAUSE }
    const txt = await tools.askTxt(domain, signal)
    if (known.policy.mode === 'none' && (txt.kind === 'none' || txt.kind === 'invalid')) {
      await store.deletePolicy(domain)
      return NOTHING
    }
    const id = txt.kind === 'record' ? txt.id : known.id
    const later = { fetched: false, again: clock() + BACK_OFF }
    if ((await fetchOnce.failure(domain, id)) !== undefined) return later
    const obtained = await fetchOnce.anew(domain, id, known.fetchedAt, signal)
    if (obtained === undefined) return later
    if (!obtained.ok) {
      if (!signal.aborted) await fail(known, obtained.problem)
      return { fetched: true, again: clock() + HOUR * (0.75 + random() / 2) }
    }
    await forgetFailures(domain)
    const isKept = obtained.known.policy.maxAge > 0
    return { fetched: true, again: isKept ? dueTime(obtained.known) : undefined }
  }

  const look = async (domain: string): Promise<boolean> => {
    const { fetched, again } = await refreshOne(domain)
    await store.plan(domain, again)
    return fetched
  }

  const runRound = async (): Promise<number> => {
    let waiting: string[] = []
    let more = true
    let taking: Promise<void> | undefined
    const take = async (): Promise<void> => {
      const now = clock()
      const beyond = now + 2 * Math.max(DAY, settings.refreshIntervalMs)
      const taken = await store.takeDue({ now, beyond, until: now + TAKEN_FOR, limit: TAKEN })
      waiting = taken.ok ? [...taken.value.domains] : []
      more = taken.ok && taken.value.more
      // A store in memory answers within the same turn, and mail must get its own.
      await nextTurn()
    }
    let fetched = 0
    const work = async (): Promise<void> => {
      while (!signal.aborted) {
        const domain = waiting.pop()
        if (domain === undefined) {
          if (!more && taking === undefined) return
          await (taking ??= take().finally(() => (taking = undefined)))
          continue
        }
        if (await look(domain)) fetched += 1
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    return fetched
  }

  const due = (): Promise<number> => {
    round ??= runRound()
      .catch((error: unknown) => {
        log.error(`mta-sts: refreshing failed: ${String(error)}`)
        return 0
      })
      .finally(() => (round = undefined))
    return round
  }

  const schedule = (): void => {
    if (signal.aborted) return
    clearTimeout(timer)
    timedFor = settings.refreshIntervalMs
    timer = setTimeout(() => {
      due().then(schedule, schedule)
    }, pause())
    timer.unref()
  }

  return {
    start: schedule,
    settingsChanged() {
      // For the same interval a pause is not begun anew: settings that change all the time would put the round off for ever.
      if (timer !== undefined && timedFor !== settings.refreshIntervalMs) schedule()
    },
    due,
    stop() {
      stopping.abort()
      clearTimeout(timer)
    },
    async ended() {
      await round
    },
  }
}
