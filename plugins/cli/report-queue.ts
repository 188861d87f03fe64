/**
 * `reports pending`, `send` and `drop`: the reports of days that are over and have not gone yet. The command cannot put mail into a
 * running Haraka's queue; it leaves a wish in the store, which a worker takes up within about a minute.
 */
import { randomUUID } from 'node:crypto'
import type { Store } from '../store'
import { partOf } from '../store/tally'
import { dayOf, isoDay, readDay, startOfDay } from '../tlsrpt/names'
import {
  CLOSING_MS,
  COMMON,
  NOTE_MS,
  partLease,
  readState,
  readWishes,
  reportNote,
  WISHES,
  WISHES_LEASE,
  writeWishes,
} from '../tlsrpt/schedule'
import { PARTS, type Day, type DomainDay, type Tallies } from '../tlsrpt/types'
import { normalizeHostName } from '../x509/names'
import { printable, utc, wrap } from './words'

export interface QueueReport {
  readonly version: 1
  readonly command: 'reports pending' | 'reports send' | 'reports drop'
  readonly reports: readonly PendingReport[]
  readonly problem: string | null
  readonly exitCode: number
}

export interface PendingReport {
  readonly domain: string
  /** In UTC. */
  readonly day: string
  readonly tries: number
  /** Null before the first try. */
  readonly nextTry: string | null
  /** Of the last try. */
  readonly trouble: string | null
}

export interface Queue {
  readonly tallies: Tallies
  readonly store: Pick<Store, 'getNote' | 'setNote' | 'acquire' | 'release'>
  readonly now: number
}

/** Parts that are read side by side. */
const AT_ONCE = 16
/** What one note of the store holds. */
const MOST_WISHES = 900
const LEASE_MS = 10_000
const everywhere = { everywhere: true }

/** Reports of the last two days; of older ones nothing is left. */
export async function reportsPending(queue: Queue): Promise<QueueReport> {
  const today = dayOf(queue.now)
  const found: PendingReport[] = []
  for (const day of [today - 2, today - 1]) {
    for (let first = 0; first < PARTS; first += AT_ONCE) {
      const parts = Array.from({ length: AT_ONCE }, (_none, n) => first + n)
      const read = await Promise.all(parts.map((part) => queue.tallies.readPart(day, part)))
      for (const part of read) {
        if (!part.ok) return answer('pending', found, `the counts cannot be read: ${part.detail}`)
        for (const counted of part.value) {
          const pending = await pendingOf(queue, counted)
          if (typeof pending === 'string') return answer('pending', found, pending)
          if (pending !== undefined) found.push(pending)
        }
      }
    }
  }
  return answer('pending', found, null)
}

/** @returns what went wrong where the store cannot be read; undefined: it has gone */
async function pendingOf(
  { store }: Queue,
  { domain, day }: DomainDay,
): Promise<PendingReport | string | undefined> {
  const note = await store.getNote(domain, reportNote(day), everywhere)
  if (!note.ok) return `the store cannot be read: ${note.detail}`
  const state = readState(note.value)
  if (state.kind === 'over') return undefined
  const at = { domain, day: isoDay(day) }
  if (state.kind === 'untried') return { ...at, tries: 0, nextTry: null, trouble: null }
  const { tries, next, why } = state
  return { ...at, tries, nextTry: new Date(next).toISOString(), trouble: printable(why) }
}

/** @param date `2026-11-27`; left out: yesterday */
export async function reportsSend(
  queue: Queue,
  domain: string,
  date: string | undefined,
): Promise<QueueReport> {
  const wanted = await find(queue, domain, date)
  if (typeof wanted === 'string') return answer('send', [], wanted)
  const { store } = queue
  const { day } = wanted
  if (queue.now < startOfDay(day + 1) + CLOSING_MS) {
    return answer('send', [], `${isoDay(day)} is not over: its report goes after midnight, UTC`)
  }
  const pending = await pendingOf(queue, wanted)
  if (typeof pending === 'string') return answer('send', [], pending)
  if (pending === undefined) return answer('send', [], 'the report has gone, or was given up')
  const problem = await underLease(store, WISHES_LEASE, async () => {
    const note = await store.getNote(COMMON, WISHES, everywhere)
    if (!note.ok) return `the store cannot be read: ${note.detail}`
    const before = readWishes(note.value).filter(
      (wish) => wish.day !== day || wish.domain !== wanted.domain,
    )
    const text = writeWishes([...before, { day, domain: wanted.domain }])
    if (text.length > MOST_WISHES) return 'as many reports as can be are waiting to be sent'
    const noted = await store.setNote(COMMON, WISHES, text, NOTE_MS, everywhere)
    return noted.ok ? null : `the store took no note: ${noted.detail}`
  })
  return answer('send', problem === null ? [pending] : [], problem)
}

export async function reportsDrop(
  queue: Queue,
  domain: string,
  date: string | undefined,
): Promise<QueueReport> {
  const wanted = await find(queue, domain, date)
  if (typeof wanted === 'string') return answer('drop', [], wanted)
  const pending = await pendingOf(queue, wanted)
  if (typeof pending === 'string') return answer('drop', [], pending)
  const lease = partLease(wanted.day, partOf(wanted.domain))
  const problem = await underLease(queue.store, lease, async () => {
    const dropped = await queue.tallies.drop(wanted)
    return dropped.ok ? null : `the counts are still there: ${dropped.detail}`
  })
  const at = { domain: wanted.domain, day: isoDay(wanted.day) }
  const none = { ...at, tries: 0, nextTry: null, trouble: null }
  return answer('drop', problem === null ? [pending ?? none] : [], problem)
}

async function find(
  { tallies, now }: Queue,
  domain: string,
  date: string | undefined,
): Promise<DomainDay | string> {
  const day: Day = (date === undefined ? undefined : readDay(date)) ?? dayOf(now) - 1
  const name = normalizeHostName(domain) ?? domain
  const read = await tallies.readDomain(day, name)
  if (!read.ok) return `the counts cannot be read: ${read.detail}`
  return read.value ?? `nothing was counted of ${name} on ${isoDay(day)}, or its report has gone`
}

/** @returns what the task said, or why it was not done */
async function underLease(
  store: Queue['store'],
  name: string,
  task: () => Promise<string | null>,
): Promise<string | null> {
  const owner = randomUUID()
  const taken = await store.acquire(name, owner, LEASE_MS, everywhere)
  if (!taken.ok) return `the store cannot be asked: ${taken.detail}`
  if (!taken.value) return 'a worker is at it just now; try once more'
  try {
    return await task()
  } finally {
    await store.release(name, owner)
  }
}

function answer(
  verb: 'pending' | 'send' | 'drop',
  reports: readonly PendingReport[],
  problem: string | null,
): QueueReport {
  return {
    version: 1,
    command: `reports ${verb}`,
    reports,
    problem: problem === null ? null : printable(problem),
    exitCode: problem === null ? 0 : 1,
  }
}

export function queueText({ command, reports, problem }: QueueReport): readonly string[] {
  const told = reports.flatMap((report) => {
    const { domain, day, tries, nextTry, trouble } = report
    const name = `${printable(domain)} ${day}`
    switch (command) {
      case 'reports send':
        return wrap('', `The report ${name} is sent within about a minute.`)
      case 'reports drop':
        return wrap('', `The report ${name} is dropped.`)
      case 'reports pending': {
        const next = nextTry === null ? 'not tried yet' : `next try ${utc(Date.parse(nextTry))}`
        const count = tries === 0 ? '' : `, tries: ${tries}`
        return [
          ...wrap('', `${name}: ${next}${count}`),
          ...(trouble === null ? [] : wrap('  trouble  ', trouble)),
        ]
      }
    }
  })
  return [
    ...told,
    ...(command === 'reports pending' && reports.length === 0 && problem === null
      ? ['No report is waiting.']
      : []),
    ...(problem === null ? [] : wrap('', `Problem: ${problem}`)),
  ]
}
