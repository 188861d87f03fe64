/**
 * Tallies: counters of a day that all workers raise together, with the texts that say what is counted. Pure: this is how a batch is
 * added to a part, whatever the part is kept in; redis/tally.ts says the same in Lua, and one contract test holds all to it.
 *
 * A store knows domains, names, counts and texts here, and nothing of reports. It promises that a batch counts once, however often it
 * comes; that a part stays below its bounds, whoever fills it, and as it is once it is sealed; and that what did not fit is said.
 */
import { createHash } from 'node:crypto'
import { isDomain } from './record'

/** A counter, and the texts that must stand beside it. */
export interface TallyWay {
  readonly counter: string
  readonly texts?: readonly (readonly [name: string, text: string])[]
}

export interface TallyAdd {
  readonly domain: string
  readonly by: number
  /** The first one for which there is room is taken: from the most telling to the coarsest. */
  readonly ways: readonly TallyWay[]
}

/** What one worker adds to one part of a day. */
export interface TallyBatch {
  /** Whole days since the epoch, UTC. */
  readonly day: number
  /** 0 to 255: partOf of each domain in it. */
  readonly part: number
  /** Letters and digits that no other worker has. */
  readonly worker: string
  /** Counts up with each batch of this worker for this part; the same number again is the same batch, and counts no second time. */
  readonly sequence: number
  readonly adds: readonly TallyAdd[]
}

/** A count in digits, or a text. */
export interface TallyEntry {
  readonly domain: string
  readonly name: string
  readonly value: string
}

/** What a part is kept in. */
export interface TallyFields {
  get(field: string): string | undefined
  put(field: string, value: string): void
}

/**
 * Of names that differ in their last word only, one domain takes so many, by their first word. Names of other kinds are few by
 * themselves.
 */
export const MOST_NAMES: Readonly<Record<string, number>> = { P: 16, D: 30, E: 10 }
/** Octets of a part beyond which nothing with a new text fits, and beyond which nothing new does at all. */
export const PART_OCTETS = { withTexts: 524_288, all: 1_048_576 }
/** Octets of texts of one domain. */
export const DOMAIN_OCTETS = 98_304
/** Octets of one text. */
export const TEXT_OCTETS = 8_192
/** Counted for each field beside its own octets. */
export const FIELD_OCTETS = 16
/** Adds in one batch. */
export const MOST_ADDS = 100
/** Days that are kept, the running one included: a report may be tried until the end of the second day after. */
export const KEPT_DAYS = 3
const LARGEST_COUNT = 4_294_967_295

const NAME = /^[A-Z](?: [A-Za-z0-9_-]{1,40}){1,2}$/
const WORKER = /^[A-Za-z0-9]{1,40}$/
/** The field of a part in which its octets are counted. */
export const OCTETS = '.'
/** The field of a part that stands in it once it takes nothing more. */
export const SEAL = '!'

/** To which part of a day a domain belongs. */
export function partOf(domain: string): number {
  return createHash('sha256').update(domain).digest()[0] ?? 0
}

export function workerField(worker: string): string {
  return `~${worker}`
}

/** Where the names of a bounded kind are counted; undefined for those that are not. */
export function groupOf(
  name: string,
): { readonly group: string; readonly most: number } | undefined {
  const most = MOST_NAMES[name.slice(0, 1)]
  return most === undefined ? undefined : { group: name.slice(0, name.lastIndexOf(' ')), most }
}

/** @returns the reason why a batch is none, or undefined */
export function whyNoBatch({ day, part, worker, sequence, adds }: TallyBatch): string | undefined {
  if (!isDay(day) || !isPart(part)) return 'not a part of a day'
  if (!WORKER.test(worker) || !Number.isSafeInteger(sequence) || sequence < 1) return 'not a batch'
  if (adds.length > MOST_ADDS) return `more than ${MOST_ADDS} adds`
  return adds.every((add) => isAdd(add, part)) ? undefined : 'not an add'
}

export function isDay(day: number): boolean {
  return Number.isInteger(day) && day >= 0 && day < 1_000_000
}

export function isPart(part: number): boolean {
  return Number.isInteger(part) && part >= 0 && part < 256
}

function isAdd({ domain, by, ways }: TallyAdd, part: number): boolean {
  if (!isDomain(domain) || partOf(domain) !== part) return false
  if (!Number.isSafeInteger(by) || by < 1 || by > LARGEST_COUNT || ways.length === 0) return false
  return ways.every(
    ({ counter, texts = [] }) =>
      isTallyName(counter) &&
      texts.every(([name, text]) => isTallyName(name) && Buffer.byteLength(text) <= TEXT_OCTETS),
  )
}

export function isTallyName(name: string): boolean {
  return NAME.test(name)
}

/**
 * Adds a batch, once.
 * @param room octets that may be added at most
 * @returns how much of it was lost to the bounds, or to the seal
 */
export function addBatch(fields: TallyFields, batch: TallyBatch, room = Infinity): number {
  const field = workerField(batch.worker)
  const [done = 0, lostThen = 0] = (fields.get(field) ?? '').split(' ').map(Number)
  if (done >= batch.sequence) return lostThen
  const octets = readCount(fields.get(OCTETS))
  const bounds = { ...PART_OCTETS, room: octets + room }
  let now = octets
  let lost = 0
  const isSealed = fields.get(SEAL) !== undefined
  for (const add of batch.adds) {
    const taken =
      !isSealed &&
      add.ways.some((way) => {
        const more = take(fields, add, way, now, bounds)
        now += more ?? 0
        return more !== undefined
      })
    if (!taken) lost += add.by
  }
  fields.put(OCTETS, String(now))
  fields.put(field, `${batch.sequence} ${lost}`)
  return lost
}

/** @returns octets that were added, or undefined where it does not fit */
function take(
  fields: TallyFields,
  { domain, by }: TallyAdd,
  { counter, texts = [] }: TallyWay,
  octets: number,
  bounds: { readonly withTexts: number; readonly all: number; readonly room: number },
): number | undefined {
  const at = (name: string) => `${domain} ${name}`
  const isNew = (name: string) => fields.get(at(name)) === undefined
  const newTexts = texts.filter(([name]) => isNew(name))
  const newNames = [...newTexts.map(([name]) => name), ...(isNew(counter) ? [counter] : [])]
  const isFull = newNames.some((name) => {
    const limit = groupOf(name)
    return limit !== undefined && readCount(fields.get(at(`#${limit.group}`))) >= limit.most
  })
  const textual = newTexts.reduce((sum, [, text]) => sum + Buffer.byteLength(text), 0)
  const more = textual + newNames.reduce((sum, name) => sum + at(name).length + FIELD_OCTETS, 0)
  const most = Math.min(bounds.room, newTexts.length > 0 ? bounds.withTexts : bounds.all)
  if (isFull || (more > 0 && octets + more > most)) return undefined
  if (newTexts.length > 0) {
    const ofDomain = readCount(fields.get(at('#'))) + textual
    if (ofDomain > DOMAIN_OCTETS) return undefined
    fields.put(at('#'), String(ofDomain))
  }
  for (const name of newNames) {
    const group = groupOf(name)?.group
    if (group === undefined) continue
    fields.put(at(`#${group}`), String(readCount(fields.get(at(`#${group}`))) + 1))
  }
  for (const [name, text] of newTexts) fields.put(at(name), text)
  fields.put(at(counter), String(Math.min(readCount(fields.get(at(counter))) + by, LARGEST_COUNT)))
  return more
}

/** What was found in a part, as far as it is of ours: whoever else can write there may have written anything. */
export function readFields(found: Iterable<readonly [string, unknown]>): readonly TallyEntry[] {
  const entries: TallyEntry[] = []
  for (const [field, value] of found) {
    const space = field.indexOf(' ')
    const domain = field.slice(0, Math.max(space, 0))
    const name = field.slice(space + 1)
    if (!isDomain(domain) || !isTallyName(name)) continue
    if (typeof value !== 'string' || value.length > TEXT_OCTETS) continue
    entries.push({ domain, name, value })
  }
  return entries
}

/** Every field of a domain, by the names of its entries. */
export function fieldsOf(domain: string, names: readonly string[]): readonly string[] {
  const groups = names.flatMap((name) => {
    const group = groupOf(name)?.group
    return group === undefined ? [] : [`#${group}`]
  })
  return [...new Set([...names, '#', ...groups])].map((name) => `${domain} ${name}`)
}

/** A whole number that is no more than a report may say. */
export function readCount(text: string | undefined): number {
  return text !== undefined && /^[0-9]{1,10}$/.test(text)
    ? Math.min(Number(text), LARGEST_COUNT)
    : 0
}
