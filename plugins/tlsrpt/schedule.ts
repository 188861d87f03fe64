/**
 * When a report is due, when it is tried again, and what the store keeps of that, as text. Pure.
 *
 * What others may have written into the store is refused as if it were absent.
 */
import { createHash } from 'node:crypto'
import { startOfDay } from './names'
import { PARTS, type Day } from './types'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
/** Milliseconds after the end of a day by which each worker has told what it counted. */
export const CLOSING_MS = 15 * MINUTE
/** Milliseconds after the first try at which a report is given up (RFC 8460 §5.5). */
export const GIVEN_UP_AFTER_MS = 24 * HOUR
const FIRST_PAUSE = 30 * MINUTE
const LONGEST_PAUSE = 8 * HOUR
/** A day is of use until its last report is given up; the notes live somewhat longer. */
export const NOTE_MS = 72 * HOUR
/** No mail goes to a domain of this name (RFC 2606), so its notes are free. */
export const COMMON = 'tlsrpt.invalid'
const MOST_WHY = 300

/** Where in the spread a cluster begins, so that not all senders begin with the same domains: 0 ≤ x < 1. */
export function beginOf(cluster: string): number {
  return createHash('sha256').update(cluster).digest().readUInt32BE(0) / 2 ** 32
}

/**
 * Parts are due one after the other over the spread.
 * @param begin of the cluster
 * @returns milliseconds since the epoch
 */
export function dueAt(day: Day, part: number, begin: number, spreadSeconds: number): number {
  const share = (part / PARTS + begin) % 1
  return startOfDay(day + 1) + CLOSING_MS + Math.floor(share * spreadSeconds * 1000)
}

/** Milliseconds until the next try: 30 minutes, 1 hour, 2, 4, 8, 8. */
export function pauseAfter(tries: number): number {
  return Math.min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE)
}

export function isOver(first: number, now: number): boolean {
  return now - first >= GIVEN_UP_AFTER_MS
}

/** What is known of the report of a domain and day. */
export type ReportState =
  | { readonly kind: 'untried' }
  /** Taken by a destination, or given up: nothing more is done. */
  | { readonly kind: 'over' }
  | {
      readonly kind: 'trying'
      readonly tries: number
      /** Milliseconds since the epoch. */
      readonly first: number
      readonly next: number
      /** The last trouble; one line. */
      readonly why: string
    }

export function reportNote(day: Day): string {
  return `report/${day}`
}

export function writeState(state: Exclude<ReportState, { kind: 'untried' }>): string {
  if (state.kind === 'over') return 'over'
  const { tries, first, next, why } = state
  return `tries ${tries} ${first} ${next} ${why.slice(0, MOST_WHY)}`
}

export function readState(text: string | undefined): ReportState {
  if (text === 'over') return { kind: 'over' }
  const [, tries, first, next, why = ''] =
    /^tries (\d{1,3}) (\d{1,15}) (\d{1,15}) ([^]*)$/.exec(text ?? '') ?? []
  if (tries === undefined) return { kind: 'untried' }
  return { kind: 'trying', tries: Number(tries), first: Number(first), next: Number(next), why }
}

/** A clock that was set back must not keep a report waiting for days. */
export function mustWait(state: ReportState, now: number): boolean {
  return state.kind === 'trying' && now < state.next && state.next - now <= LONGEST_PAUSE
}

/** What is known of a part of a day. */
export interface PartState {
  /** When to look at it again, in milliseconds since the epoch; Infinity: it is done. */
  readonly next: number
  /** Reports sent so far. */
  readonly sent: number
}

export function partNote(day: Day, part: number): string {
  return `report-part/${day}x${part}`
}

export function writePart({ next, sent }: PartState): string {
  return `${next === Infinity ? 'done' : next} ${sent}`
}

export function readPart(text: string | undefined): PartState {
  const [, next, sent] = /^(done|\d{1,15}) (\d{1,9})$/.exec(text ?? '') ?? []
  if (next === undefined) return { next: 0, sent: 0 }
  return { next: next === 'done' ? Infinity : Number(next), sent: Number(sent) }
}

/** A report that the operator wants sent at the next look, before its time. */
export interface Wish {
  readonly day: Day
  readonly domain: string
}

export const WISHES = 'report-wishes'
export const WISHES_LEASE = 'report/wishes'

export function writeWishes(wishes: readonly Wish[]): string {
  return wishes.map(({ day, domain }) => `${day} ${domain}`).join('\n')
}

export function readWishes(text: string | undefined): readonly Wish[] {
  return (text ?? '').split('\n').flatMap((line) => {
    const [, day, domain] = /^(\d{1,6}) ([a-z0-9._-]{1,253})$/.exec(line) ?? []
    return day === undefined || domain === undefined ? [] : [{ day: Number(day), domain }]
  })
}

export function partLease(day: Day, part: number): string {
  return `report/${day}/${part}`
}
