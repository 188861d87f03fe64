/**
 * What is kept of destinations whose mail a policy keeps back: one record each, which all workers write. Pure: this is how a note
 * changes a record, whatever it is kept in; redis/waiting.ts says the same in Lua, and one contract test holds all to it.
 *
 * A store knows domains, times, marks of messages and a text here, and nothing of policies. It promises that a note counts once,
 * however often it comes; that a record ends by itself; and that there are only so many, of so many octets each.
 */
import { isDomain, readTime } from './record'

/** That mail was kept back. */
export interface Held {
  /** Milliseconds since the epoch. */
  readonly since: number
  readonly last: number
  /** messageMark of each message, in order, at most MOST_MARKS. */
  readonly marks: readonly string[]
  /** Of the last time. */
  readonly text: string
}

/** What has become of a destination: first that it took mail, then that mail was kept back, where both are there. */
export interface WaitingNote {
  readonly domain: string
  /** It took mail then: a record that is no younger is over. */
  readonly endedAt?: number
  readonly held?: Held
}

export interface WaitingRecord extends Held {
  readonly domain: string
}

/** Into so many parts all destinations fall. */
export const WAITING_PARTS = 16
/** Records of one part; beyond them there is no room for another destination. */
export const MOST_WAITING = 640
/** Of a record: the smallest marks of all its messages. As many messages are counted one by one, and more are estimated by them. */
export const MOST_MARKS = 64
const MARK_DIGITS = 8
/** Octets of the text. */
export const WAITING_OCTETS = 1_500
/** Milliseconds after the last time: more than between two tries of a message, and over a weekend. */
export const WAITING_LIFE = 3 * 86_400_000
/** Milliseconds by which a record may be of the future; beyond them, a clock was wrong. */
const AHEAD = 86_400_000
/** Notes in one call. */
export const MOST_NOTES = 100

/** @returns the reason why they are none, or undefined */
export function whyNoNotes(part: number, notes: readonly WaitingNote[]): string | undefined {
  if (!isWaitingPart(part)) return 'not a part'
  if (notes.length > MOST_NOTES) return `more than ${MOST_NOTES} notes`
  return notes.every((note) => isNote(note, part)) ? undefined : 'not a note'
}

export function isWaitingPart(part: number): boolean {
  return Number.isInteger(part) && part >= 0 && part < WAITING_PARTS
}

/** To which part a domain belongs. */
export function waitingPart(domain: string): number {
  let sum = 0
  for (const char of domain) sum = (sum * 31 + char.charCodeAt(0)) % 65_521
  return sum % WAITING_PARTS
}

function isNote({ domain, endedAt, held }: WaitingNote, part: number): boolean {
  if (!isDomain(domain) || waitingPart(domain) !== part) return false
  if (endedAt !== undefined && !isTime(endedAt)) return false
  return held === undefined || readHeld(writeHeld(held)) !== undefined
}

function isTime(at: number): boolean {
  return readTime(String(at)) !== undefined
}

/**
 * @param before the record as it is kept
 * @param now milliseconds since the epoch
 * @returns the record as it is to be kept; undefined: none
 */
export function applyNote(
  before: string | undefined,
  { endedAt, held }: WaitingNote,
  now: number,
): string | undefined {
  const known = readAlive(before, now)
  const left = known && endedAt !== undefined && known.last <= endedAt ? undefined : known
  if (held === undefined) return left && writeHeld(left)
  if (left === undefined) return writeHeld(held)
  const latest = held.last >= left.last ? held : left
  return writeHeld({
    since: Math.min(left.since, held.since),
    last: latest.last,
    marks: joinMarks(left.marks, held.marks),
    text: latest.text,
  })
}

/** The smallest of both, in order. */
export function joinMarks(one: readonly string[], other: readonly string[]): readonly string[] {
  return [...new Set([...one, ...other])].sort().slice(0, MOST_MARKS)
}

/**
 * How many messages left these marks.
 * @returns `exact`: they were counted; else it is an estimate, within some 13 %
 */
export function countOf(marks: readonly string[]): {
  readonly count: number
  readonly exact: boolean
} {
  const largest = marks.at(-1)
  if (largest === undefined || marks.length < MOST_MARKS)
    return { count: marks.length, exact: true }
  // The k-th smallest of n marks that are spread evenly over the whole is about k/n of it.
  const share = (Number.parseInt(largest, 16) + 1) / 16 ** MARK_DIGITS
  return { count: Math.max(MOST_MARKS, Math.round((MOST_MARKS - 1) / share)), exact: false }
}

/** `<since> <last> <marks> <text>`. */
function writeHeld({ since, last, marks, text }: Held): string {
  return `${since} ${last} ${marks.join('')} ${text}`
}

const HELD = /^([0-9]{1,15}) ([0-9]{1,15}) ((?:[0-9a-f]{8}){1,64}) ([\x20-\x7e]*)$/

function readHeld(text: string): Held | undefined {
  const [, since = '', last = '', digits = '', words = ''] = HELD.exec(text) ?? []
  const marks = digits.match(/.{8}/g) ?? []
  const isSorted = marks.every((mark, at) => at === 0 || (marks[at - 1] ?? '') < mark)
  if (marks.length === 0 || !isSorted || words.length > WAITING_OCTETS) return undefined
  if (Number(since) > Number(last)) return undefined
  return { since: Number(since), last: Number(last), marks, text: words }
}

/** @returns undefined for what is over, and for what is no record: others may be able to write there, and may have written anything */
export function readAlive(text: unknown, now: number): Held | undefined {
  if (typeof text !== 'string' || text.length > 2 * WAITING_OCTETS) return undefined
  const held = readHeld(text)
  if (held === undefined) return undefined
  return held.last + WAITING_LIFE > now && held.last <= now + AHEAD ? held : undefined
}

/** The records of a part. */
export function readRecords(
  found: Iterable<readonly [string, unknown]>,
  now: number,
): readonly WaitingRecord[] {
  const records: WaitingRecord[] = []
  for (const [domain, text] of found) {
    const held = isDomain(domain) ? readAlive(text, now) : undefined
    if (held !== undefined && records.length < MOST_WAITING) records.push({ domain, ...held })
  }
  return records
}

/** Where the records of a part are. */
export interface WaitingFields {
  get(domain: string): string | undefined
  /** @param text undefined: none any more */
  put(domain: string, text: string | undefined): void
  entries(): Iterable<readonly [string, string]>
}

/** @returns how many destinations found no room */
export function applyNotes(
  fields: WaitingFields,
  notes: readonly WaitingNote[],
  now: number,
): number {
  let lost = 0
  for (const note of notes) {
    const before = fields.get(note.domain)
    const after = applyNote(before, note, now)
    if (after === before) continue
    if (before === undefined && isFull(fields, now)) lost += 1
    else fields.put(note.domain, after)
  }
  return lost
}

function isFull(fields: WaitingFields, now: number): boolean {
  const all = [...fields.entries()]
  if (all.length < MOST_WAITING) return false
  const over = all.filter(([, text]) => readAlive(text, now) === undefined)
  for (const [domain] of over) fields.put(domain, undefined)
  return all.length - over.length >= MOST_WAITING
}
