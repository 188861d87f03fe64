/**
 * Whose turn it is to send a day's reports, when, and how long it is tried.
 *
 * Promises: each part of a day is one worker's at a time in the whole cluster; what is about to be done stands in the store before
 * it is done, so that a crash between any two steps loses no report and repeats at most the one under way, with the same id and the
 * same contents: a part of a day is closed for counts before it is read. Where the store cannot be asked nobody sends. One domain's
 * trouble is its own. Never rejects.
 */
import type { Logger, Store } from '../store'
import type { Leases } from '../store/leases'
import { createOneReport } from './one-report'
import type { Handled, OneReportTools } from './one-report'
import { dayOf, startOfDay } from './names'
import {
  beginOf,
  CLOSING_MS,
  COMMON,
  dueAt,
  NOTE_MS,
  partLease,
  partNote,
  readPart,
  readWishes,
  type Wish,
  WISHES,
  WISHES_LEASE,
  writePart,
  writeWishes,
} from './schedule'
import { partOf } from '../store/tally'
import { PARTS, type Day, type DomainDay, type Tallies } from './types'

export interface RoundsSettings {
  readonly enabled: boolean
  readonly spreadSeconds: number
  /** Reports a day. */
  readonly mostReports: number
}

export interface RoundsTools extends Omit<OneReportTools, 'cluster' | 'signal'> {
  readonly tallies: Tallies
  readonly store: Pick<Store, 'getNote' | 'setNote'>
  readonly leases: Pick<Leases, 'under'>
  readonly rounds: () => RoundsSettings
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** 0 ≤ x < 1. */
  readonly random: () => number
  readonly log: Logger
}

/** Of parts that are due and not done, as far as this worker knows. */
export interface RoundsState {
  readonly partsPending: number
  /** Seconds since the oldest of them was due. */
  readonly oldestPendingSeconds: number
}

export interface Rounds {
  /** Does what is due. Two looks of one worker do not overlap. */
  look(): Promise<void>
  /** Looks soon, and then about once a minute. */
  start(): void
  /** Begins nothing any more. */
  stop(): void
  state(): RoundsState
}

/** All who share the store. */
interface Cluster {
  readonly name: string
  readonly begin: number
}

/** Domains of a part that are looked after at a time. */
const AT_A_TIME = 4
/** Milliseconds for which a store that is back is filled with counts before a day is closed; tally.ts tries every ten seconds. */
const BACK_MS = 120_000
const MINUTE = 60_000
const SECOND = 1000
const HANDLED = 'handled'

export function createRounds(tools: RoundsTools): Rounds {
  const { tallies, store, leases, clock, random, log } = tools
  /** When each part is to be looked at again, by day. */
  const known = new Map<Day, Map<number, number>>()
  const ending = new AbortController()
  let looking = false
  let timer: NodeJS.Timeout | undefined
  let cluster: Cluster | undefined
  let saidBound: Day | undefined
  /** Infinity: the store is away. */
  let quietUntil = 0

  /** Yesterday, and the day before, of which the last reports are given up in the course of today. */
  const days = (): readonly Day[] => [dayOf(clock()) - 2, dayOf(clock()) - 1]

  function nextOf(day: Day, part: number): number {
    return known.get(day)?.get(part) ?? 0
  }

  function remember(day: Day, part: number, next: number): void {
    const ofDay = known.get(day) ?? new Map<number, number>()
    known.set(day, ofDay.set(part, next))
  }

  function due({ begin }: Cluster): readonly { readonly day: Day; readonly part: number }[] {
    const now = clock()
    const { spreadSeconds } = tools.rounds()
    return days().flatMap((day) =>
      Array.from({ length: PARTS }, (_none, part) => ({ day, part })).filter(
        ({ part }) => now >= dueAt(day, part, begin, spreadSeconds) && now >= nextOf(day, part),
      ),
    )
  }

  /** How many reports may still be sent of a day; undefined: the store does not say. */
  async function budget(day: Day): Promise<number | undefined> {
    const notes = await Promise.all(
      Array.from({ length: PARTS }, (_none, part) =>
        store.getNote(COMMON, partNote(day, part), { everywhere: true }),
      ),
    )
    let sent = 0
    for (const note of notes) {
      if (!note.ok) return undefined
      sent += readPart(note.value).sent
    }
    return tools.rounds().mostReports - sent
  }

  async function doPart(day: Day, part: number, from: Cluster, lease: AbortSignal): Promise<void> {
    const note = await store.getNote(COMMON, partNote(day, part), { everywhere: true })
    if (!note.ok) return
    const before = readPart(note.value)
    if (clock() < before.next) {
      remember(day, part, before.next)
      return
    }
    let read = await tallies.readPart(day, part)
    if (!read.ok) return
    if (read.value.length > 0) {
      // Counts that come between two tries would change a report under its id. Most parts are empty, and each closing costs a write.
      const closed = await tallies.close(day, part)
      if (!closed.ok) return
      read = await tallies.readPart(day, part)
      if (!read.ok) return
    }
    const left = read.value.length === 0 ? 0 : await budget(day)
    if (left === undefined) return
    const signal = AbortSignal.any([lease, ending.signal])
    const done = await eachOf(read.value, day, part, from, left, signal)
    // The lease may be another's by now, and the note as well.
    if (lease.aborted) return
    const after = { next: done.next, sent: before.sent + done.sent }
    const kept = await store.setNote(COMMON, partNote(day, part), writePart(after), NOTE_MS, {
      everywhere: true,
    })
    if (kept.ok) remember(day, part, after.next)
  }

  /** @returns when to look again: at once, where it came to an end before its time */
  async function eachOf(
    domains: readonly DomainDay[],
    day: Day,
    part: number,
    from: Cluster,
    left: number,
    signal: AbortSignal,
  ): Promise<{ readonly next: number; readonly sent: number }> {
    const { spreadSeconds } = tools.rounds()
    const one = createOneReport({ ...tools, cluster: from.name, signal })
    let next = Infinity
    let sent = 0
    let stopped = false
    const queue = domains.values()
    const worker = async (): Promise<void> => {
      for (const counted of queue) {
        if (signal.aborted || stopped) {
          stopped = true
          return
        }
        const mayBeSent = sent < left
        if (!mayBeSent) tellBound(day)
        const handled: Handled = await one(counted, {
          dueAt: dueAt(day, part, from.begin, spreadSeconds),
          mayBeSent,
        })
        if (handled.kind === 'stop') stopped = true
        if (handled.kind === 'sent') sent += 1
        if (handled.kind === 'later') next = Math.min(next, handled.next)
      }
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, worker))
    return { next: stopped ? 0 : next, sent }
  }

  function tellBound(day: Day): void {
    if (saidBound === day) return
    saidBound = day
    log.warn(
      `tlsrpt.most_reports=${tools.rounds().mostReports} reports of a day are sent; the others are dropped`,
    )
  }

  /** The operator's wishes; what cannot be fulfilled now is kept. */
  async function fulfilWishes(from: Cluster): Promise<void> {
    const asked = await store.getNote(COMMON, WISHES, { everywhere: true })
    if (!asked.ok || readWishes(asked.value).length === 0) return
    await leases.under(
      WISHES_LEASE,
      async (lease) => {
        const note = await store.getNote(COMMON, WISHES, { everywhere: true })
        if (!note.ok) return
        const kept: Wish[] = []
        for (const wish of readWishes(note.value)) {
          if (!(await fulfil(wish, from, lease))) kept.push(wish)
        }
        const ttl = kept.length === 0 ? 1 : NOTE_MS
        await store.setNote(COMMON, WISHES, writeWishes(kept), ttl, { everywhere: true })
      },
      { everywhere: true },
    )
  }

  /** @returns whether the wish is over */
  async function fulfil(
    { day, domain }: Wish,
    from: Cluster,
    lease: AbortSignal,
  ): Promise<boolean> {
    // What is still being counted is no day's report.
    if (clock() < startOfDay(day + 1) + CLOSING_MS) return false
    const handled = await leases.under(
      partLease(day, partOf(domain)),
      async (partsLease) => {
        const closed = await tallies.close(day, partOf(domain))
        if (!closed.ok) return undefined
        const read = await tallies.readDomain(day, domain)
        if (!read.ok) return undefined
        if (read.value === undefined) return HANDLED
        const signal = AbortSignal.any([lease, partsLease, ending.signal])
        const one = createOneReport({ ...tools, cluster: from.name, signal })
        const { kind } = await one(read.value, { dueAt: clock(), mayBeSent: true, atOnce: true })
        return kind === 'stop' ? undefined : HANDLED
      },
      { everywhere: true },
    )
    return handled === HANDLED
  }

  async function lookOnce(): Promise<void> {
    const letters = await tallies.cluster()
    if (!letters.ok) {
      quietUntil = Infinity
      return
    }
    // What the others counted meanwhile comes first.
    if (quietUntil === Infinity) quietUntil = clock() + BACK_MS
    const quietFor = quietUntil - clock()
    if (quietFor > 0 && quietFor <= BACK_MS) return
    if (cluster?.name !== letters.value) {
      cluster = { name: letters.value, begin: beginOf(letters.value) }
    }
    for (const day of known.keys()) if (!days().includes(day)) known.delete(day)
    await fulfilWishes(cluster)
    const parts = due(cluster)
      .map((each) => ({ ...each, draw: random() }))
      .sort((a, b) => a.draw - b.draw)
    for (const { day, part } of parts) {
      if (ending.signal.aborted || !tools.rounds().enabled) return
      const from = cluster
      await leases.under(partLease(day, part), (lease) => doPart(day, part, from, lease), {
        everywhere: true,
      })
    }
  }

  async function look(): Promise<void> {
    if (looking || ending.signal.aborted || !tools.rounds().enabled) return
    looking = true
    try {
      await lookOnce()
    } catch (error: unknown) {
      log.error(`reports could not be looked after: ${String(error)}`)
    } finally {
      looking = false
    }
  }

  function plan(ms: number): void {
    const again = () => {
      if (!ending.signal.aborted) plan(MINUTE * (0.75 + random() / 2))
    }
    timer = setTimeout(() => {
      look().then(again, again)
    }, ms).unref()
  }

  return {
    look,
    start() {
      if (timer === undefined && !ending.signal.aborted) plan(SECOND * (2 + 8 * random()))
    },
    stop() {
      ending.abort()
      clearTimeout(timer)
    },
    state() {
      if (cluster === undefined || !tools.rounds().enabled)
        return { partsPending: 0, oldestPendingSeconds: 0 }
      const now = clock()
      const { spreadSeconds } = tools.rounds()
      const { begin } = cluster
      const ages = days().flatMap((day) =>
        Array.from({ length: PARTS }, (_none, part) =>
          nextOf(day, part) === Infinity ? -1 : now - dueAt(day, part, begin, spreadSeconds),
        ).filter((age) => age >= 0),
      )
      return {
        partsPending: ages.length,
        oldestPendingSeconds: Math.max(0, ...ages) / SECOND,
      }
    },
  }
}
