/**
 * The report of one domain and day: whether it is wanted, tried, tried again, sent or given up.
 *
 * Promises: each try stands in the store before it is made; a report that was taken is never sent again once that is noted; the
 * counts are forgotten only after it. Where the store does not answer, nothing is sent.
 */
import type { Store } from '../store'
import { troubleText } from '../x509/trouble'
import type { Delivered, ReportToSend } from './deliver'
import type { Destination } from './record'
import {
  isOver,
  mustWait,
  NOTE_MS,
  pauseAfter,
  readState,
  reportNote,
  writeState,
  type ReportState,
} from './schedule'
import type { DomainDay, Tallies } from './types'

/** What `_smtp._tls` says now. */
export type RecordFound =
  | { readonly kind: 'record'; readonly destinations: readonly Destination[] }
  /** None, or none that counts. */
  | { readonly kind: 'none' }
  | { readonly kind: 'failed'; readonly detail: string }

export interface OneReportTools {
  readonly tallies: Pick<Tallies, 'drop'>
  readonly store: Pick<Store, 'getNote' | 'setNote'>
  /** Whether a report on these counts is wanted at all (only_failures, never). */
  readonly isWanted: (counted: DomainDay) => boolean
  readonly findRecord: (domain: string) => Promise<RecordFound>
  readonly deliver: (report: ReportToSend, to: readonly Destination[]) => Promise<Delivered>
  readonly cluster: string
  readonly clock: () => number
  /** Resolves when another report may be sent. */
  readonly turn: () => Promise<void>
  /** Aborted: nothing more is begun. */
  readonly signal: AbortSignal
  readonly givenUp: (why: 'time' | 'bound' | 'refused', domain: string, detail: string) => void
  readonly recordFound: (kind: RecordFound['kind']) => void
}

export type Handled =
  | { readonly kind: 'over' }
  | { readonly kind: 'sent' }
  /** @property next milliseconds since the epoch */
  | { readonly kind: 'later'; readonly next: number }
  /** The store does not answer, or the turn is over. */
  | { readonly kind: 'stop' }

export interface Handling {
  readonly dueAt: number
  /** False: as many were sent today as may be. */
  readonly mayBeSent: boolean
  /** The operator wants it now: the pause after a try does not count. */
  readonly atOnce?: boolean
}

/** Tries to note that a report was taken; each loss of that is a repeat. */
const NOTE_TRIES = 3

export function createOneReport(
  tools: OneReportTools,
): (counted: DomainDay, how: Handling) => Promise<Handled> {
  const { store, tallies, clock, signal } = tools
  const everywhere = { everywhere: true }

  const note = ({ domain, day }: DomainDay, state: Exclude<ReportState, { kind: 'untried' }>) =>
    store.setNote(domain, reportNote(day), writeState(state), NOTE_MS, everywhere)

  async function finish(counted: DomainDay): Promise<boolean> {
    for (let tries = 1; tries <= NOTE_TRIES; tries++) {
      if ((await note(counted, { kind: 'over' })).ok) {
        // If that fails, it is done at the next look, by the note.
        await tallies.drop(counted)
        return true
      }
    }
    return false
  }

  async function giveUp(
    counted: DomainDay,
    why: 'time' | 'bound' | 'refused',
    detail: string,
  ): Promise<Handled> {
    if (!(await finish(counted))) return { kind: 'stop' }
    tools.givenUp(why, counted.domain, detail)
    return { kind: 'over' }
  }

  async function tryIt(
    counted: DomainDay,
    state: ReportState,
    destinations: readonly Destination[],
  ): Promise<Handled> {
    const { first, next, tries } = following(state, clock())
    await tools.turn()
    if (signal.aborted) return { kind: 'stop' }
    const trying = { kind: 'trying', tries, first, next, why: 'under way' } as const
    if (!(await note(counted, trying)).ok) return { kind: 'stop' }
    const report = { counted, cluster: tools.cluster, firstTried: first }
    const delivered = await safely(tools.deliver(report, destinations))
    switch (delivered.kind) {
      case 'taken':
        return (await finish(counted)) ? { kind: 'sent' } : { kind: 'later', next }
      case 'refused':
        return giveUp(counted, 'refused', delivered.detail)
      case 'failed':
        await note(counted, { ...trying, why: delivered.detail })
        return { kind: 'later', next }
    }
  }

  return async (counted, { dueAt, mayBeSent, atOnce = false }) => {
    const { domain, day } = counted
    const found = await store.getNote(domain, reportNote(day), everywhere)
    if (!found.ok || signal.aborted) return { kind: 'stop' }
    const state = readState(found.value)
    if (state.kind === 'over') {
      await tallies.drop(counted)
      return { kind: 'over' }
    }
    if (!atOnce && state.kind === 'trying' && mustWait(state, clock())) {
      return { kind: 'later', next: state.next }
    }
    const first = state.kind === 'trying' ? state.first : dueAt
    if (isOver(first, clock())) {
      return giveUp(counted, 'time', state.kind === 'trying' ? state.why : 'nobody could send it')
    }
    if (!tools.isWanted(counted)) {
      await tallies.drop(counted)
      return { kind: 'over' }
    }
    const record = await safeRecord(tools.findRecord(domain))
    tools.recordFound(record.kind)
    switch (record.kind) {
      case 'none':
        await tallies.drop(counted)
        return { kind: 'over' }
      case 'failed': {
        const after = following(state, clock())
        const noted = await note(counted, { kind: 'trying', ...after, why: record.detail })
        return noted.ok ? { kind: 'later', next: after.next } : { kind: 'stop' }
      }
      case 'record':
        return mayBeSent
          ? tryIt(counted, state, record.destinations)
          : giveUp(counted, 'bound', 'most_reports')
    }
  }
}

function following(
  state: ReportState,
  now: number,
): { readonly tries: number; readonly first: number; readonly next: number } {
  const before = state.kind === 'trying' ? state : { tries: 0, first: now }
  const tries = Math.min(before.tries + 1, 999)
  return { tries, first: before.first, next: now + pauseAfter(tries) }
}

/** A mistake of ours costs this report a try, and nobody else anything. */
async function safely(delivering: Promise<Delivered>): Promise<Delivered> {
  try {
    return await delivering
  } catch (error: unknown) {
    return { kind: 'failed', detail: troubleText(error) }
  }
}

async function safeRecord(finding: Promise<RecordFound>): Promise<RecordFound> {
  try {
    return await finding
  } catch (error: unknown) {
    return { kind: 'failed', detail: troubleText(error) }
  }
}
