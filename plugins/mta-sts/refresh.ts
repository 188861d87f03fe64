/**
 * Fetches policies again before they expire (RFC 8461 §3.3, §10.2), about daily, whatever the TXT record says and whether or
 * not mail flows, so that a policy host that was down for a day costs no protection.
 *
 * Promises: one worker in the cluster looks through the list at a time, and one fetch per domain; only domains to which
 * mail went within half a year; a failure leaves the old policy with its own expiry and is said to the operator, once a
 * day, long before it. Never rejects.
 */
import { randomUUID } from 'node:crypto'
import type { Logger, Store } from '../store/types'
import { toKnown, writeProblem } from './known'
import type { Obtain } from './obtain'
import type { TxtVerdict } from './discover'
import type { KnownPolicy, StsProblem } from './types'

export interface RefreshTools {
  readonly store: Store
  readonly obtain: Obtain
  readonly askTxt: (domain: string) => Promise<TxtVerdict>
  readonly clock: () => number
  readonly random: () => number
  readonly log: Logger
  readonly settings: { readonly refreshIntervalMs: number }
  readonly signal: AbortSignal
}

export interface Refresh {
  start(): void
  /** @returns how many policies were fetched, or tried */
  due(): Promise<number>
  stop(): Promise<void>
}

/** The note under which the last failure of a refresh is kept until one succeeds or a day has passed. */
export const REFRESH_FAILED = 'refresh-failed'
const REFRESH_PAUSED = 'refresh-paused'
const REFRESH_WARNED = 'refresh-warned'
const ROUND = 'refresh'

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** Days without mail after which a domain is refreshed no more. */
const UNUSED = 180
/** Fetches at the same time. */
const AT_ONCE = 4

export function createRefresh(tools: RefreshTools): Refresh {
  const { store, obtain, clock, random, log, settings, signal } = tools
  const owner = randomUUID()
  let timer: NodeJS.Timeout | undefined
  let round: Promise<number> | undefined

  /** Milliseconds between two looks at the list: far less than a refresh interval, and never the same twice. */
  const pause = (): number =>
    Math.min(HOUR, settings.refreshIntervalMs / 24) * (0.75 + random() / 2)

  const isDue = (known: KnownPolicy): boolean => {
    const lifetime = known.policy.maxAge * 1000
    // A policy that lives less than two hours would have to be asked for all day long; the next mail fetches it.
    if (lifetime < 2 * HOUR) return false
    const age = clock() - known.fetchedAt
    const spread = 1 - random() / 10
    return age < -HOUR || age >= Math.min(settings.refreshIntervalMs * spread, lifetime / 2)
  }

  const isUsed = async (domain: string): Promise<boolean> => {
    const today = Math.floor(clock() / DAY)
    const last = await store.lastUsed(domain)
    if (!last.ok) return true
    // Without a mark (Redis evicts what it likes) the half year begins now.
    if (last.value === undefined) await store.markUsed(domain, today)
    return last.value === undefined || today - last.value <= UNUSED
  }

  const fail = async (known: KnownPolicy, problem: StsProblem): Promise<void> => {
    const { domain, policy, expiresAt } = known
    await store.setNote(domain, REFRESH_PAUSED, 'failed', HOUR)
    if (policy.mode === 'none') return
    await store.setNote(domain, REFRESH_FAILED, writeProblem(problem), DAY)
    const warned = await store.getNote(domain, REFRESH_WARNED)
    if (warned.ok && warned.value !== undefined) return
    await store.setNote(domain, REFRESH_WARNED, 'warned', DAY)
    log.warn(
      `mta-sts: the policy of ${domain} (${policy.mode}) cannot be refreshed and ends on ` +
        `${new Date(expiresAt).toISOString()}: ${problem.reason}, ${problem.detail}`,
    )
  }

  /** @returns whether a fetch was made */
  const refreshOne = async (domain: string): Promise<boolean> => {
    const found = await store.getPolicy(domain)
    const known = found.ok && found.value !== undefined ? toKnown(found.value, clock()) : undefined
    if (known === undefined || !isDue(known) || !(await isUsed(domain))) return false
    const paused = await store.getNote(domain, REFRESH_PAUSED)
    if (paused.ok && paused.value !== undefined) return false
    const txt = await tools.askTxt(domain)
    if (known.policy.mode === 'none' && (txt.kind === 'none' || txt.kind === 'invalid')) {
      await store.deletePolicy(domain)
      return false
    }
    const id = txt.kind === 'record' ? txt.id : known.id
    if ((await obtain.failure(domain, id)) !== undefined) return false
    const obtained = await obtain.anew(domain, id, known.fetchedAt)
    if (obtained === undefined) return false
    if (obtained.ok) {
      for (const note of [REFRESH_FAILED, REFRESH_WARNED])
        await store.setNote(domain, note, 'over', 1)
    } else if (!signal.aborted) await fail(known, obtained.problem)
    return true
  }

  const runRound = async (): Promise<number> => {
    // Kept to its end: within it the list needs no second look by anybody.
    const taken = await store.acquire(ROUND, owner, pause() / 2)
    if (taken.ok && !taken.value) return 0
    const domains = await store.listDomains()
    const waiting = domains.ok ? [...domains.value] : []
    let fetched = 0
    const work = async (): Promise<void> => {
      for (let domain = waiting.pop(); domain !== undefined; domain = waiting.pop()) {
        if (signal.aborted) return
        if (await refreshOne(domain)) fetched += 1
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
    timer = setTimeout(() => void due().finally(schedule), pause())
    timer.unref()
  }

  return {
    start: schedule,
    due,
    async stop() {
      clearTimeout(timer)
      await round
    },
  }
}
