/**
 * What this worker has to say of destinations, on its way to the store: kept in memory, bounded, and given over every ten seconds.
 *
 * Promises: nothing here waits and nothing throws; a note that is given over twice counts once; while the store fails, notes wait. A
 * process that is killed loses its last ten seconds: of a message that waits the next try tells again.
 */
import { setImmediate as pause } from 'node:timers/promises'
import type { HostEnd } from '../delivery/host-end'
import type { Stored, WaitingNote, WaitingStore } from '../store'
import { joinMarks, MOST_NOTES, WAITING_PARTS, waitingPart } from '../store/waiting'
import { messageMark, saidOfDestination, writeKeptBack } from './kept-back'

export interface WaitingTools {
  /** Rejects, or fails, where there is none; then notes wait. */
  readonly store: () => Promise<Pick<WaitingStore, 'noteWaiting'>>
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly log: { warn(text: string): void; notice(text: string): void }
}

export interface Waiting {
  /** @param message what tells this message from others */
  ended(message: string, end: HostEnd): void
  /** Gives over what is there. Never rejects. */
  flush(): Promise<void>
  /** The worker is about to end, and may still deliver for a minute: gives over at once, and every second from then on. */
  retire(): Promise<void>
}

/** Milliseconds between two times of giving over; the first note after a rest waits no longer than the shorter one. */
export const EVERY = 10_000
const SOON = 1_000
/** Destinations of which something is to be said: some ten mebioctets where each waits. */
export const MOST_PENDING = 5_000

export function createWaiting({ store, clock, log }: WaitingTools): Waiting {
  let pending = new Map<string, WaitingNote>()
  let every = EVERY
  let flushed = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let flushing: Promise<void> | undefined
  let failing = false
  let full = false

  /** The later of two notes of a destination after the earlier one. */
  const note = (later: WaitingNote): void => {
    const earlier = pending.get(later.domain)
    if (earlier === undefined && pending.size >= MOST_PENDING) return
    pending.set(later.domain, earlier === undefined ? later : joined(earlier, later))
  }

  const giveOver = async (to: Pick<WaitingStore, 'noteWaiting'>, notes: readonly WaitingNote[]) => {
    const parts = Array.from({ length: WAITING_PARTS }, (): WaitingNote[] => [])
    for (const one of notes) parts[waitingPart(one.domain)]?.push(one)
    let trouble: string | undefined
    for (const [part, ofPart] of parts.entries()) {
      for (let from = 0; from < ofPart.length; from += MOST_NOTES) {
        // Deliveries have their turn in between.
        await pause()
        const some = ofPart.slice(from, from + MOST_NOTES)
        const noted = trouble === undefined ? await to.noteWaiting(part, some) : undefined
        if (noted?.ok !== true) {
          trouble ??= noted?.detail
          for (const earlier of some) putBack(earlier)
        } else if (noted.value > 0) tellFull()
      }
    }
    return trouble
  }

  /** What has been said meanwhile is later. */
  const putBack = (earlier: WaitingNote): void => {
    const later = pending.get(earlier.domain)
    if (later === undefined && pending.size >= MOST_PENDING) return
    pending.set(earlier.domain, later === undefined ? earlier : joined(earlier, later))
  }

  const tellFull = (): void => {
    if (!full) log.warn('mail to more destinations waits than "haraka-tls-policy waiting" can show')
    full = true
  }

  const flushAll = async (): Promise<void> => {
    flushed = clock()
    const notes = [...pending.values()]
    pending = new Map()
    const to = await opened(store)
    let trouble: string | undefined
    if (to.ok) trouble = await giveOver(to.value, notes)
    else {
      trouble = to.detail
      for (const earlier of notes) putBack(earlier)
    }
    if (trouble !== undefined && !failing) {
      log.warn(`which destinations wait is kept in memory, the store does not take it: ${trouble}`)
    } else if (trouble === undefined && failing) {
      log.notice('the store takes again which destinations wait')
    }
    failing = trouble !== undefined
    if (pending.size > 0) plan()
  }

  const flush = (): Promise<void> => {
    flushing ??= flushAll().finally(() => (flushing = undefined))
    return flushing
  }

  const plan = (): void => {
    if (timer !== undefined) return
    const rest = failing ? every : Math.max(SOON, every - (clock() - flushed))
    timer = setTimeout(
      () => {
        timer = undefined
        // What was not written stays, and is written at the next round.
        flush().catch(() => undefined)
      },
      Math.min(rest, every),
    ).unref()
  }

  return {
    ended(message, end) {
      const said = saidOfDestination(end)
      if (said === undefined) return
      const now = clock()
      if (said.kind === 'took-mail') note({ domain: said.domain, endedAt: now })
      else {
        const text = writeKeptBack(said.why)
        const held = { since: now, last: now, marks: [messageMark(message)], text }
        note({ domain: said.domain, held })
      }
      plan()
    },
    flush,
    async retire() {
      every = SOON
      clearTimeout(timer)
      timer = undefined
      await flush()
    },
  }
}

/** Both as one note: a success ends what was held before it. */
function joined(earlier: WaitingNote, later: WaitingNote): WaitingNote {
  if (later.endedAt !== undefined) return later
  const { held } = earlier
  if (later.held === undefined || held === undefined) return { ...earlier, ...later }
  const marks = joinMarks(held.marks, later.held.marks)
  return { ...earlier, held: { ...later.held, since: held.since, marks } }
}

async function opened(
  store: WaitingTools['store'],
): Promise<Stored<Pick<WaitingStore, 'noteWaiting'>>> {
  try {
    return { ok: true, value: await store() }
  } catch (error) {
    return { ok: false, detail: error instanceof Error ? error.message : String(error) }
  }
}
