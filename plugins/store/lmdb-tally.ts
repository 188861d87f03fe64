/**
 * Tallies in the LMDB file, in a table of their own: `<day> <part> <field>`, so that a part is one stretch of it and a day that is
 * over another. What the file does not take is not counted elsewhere: the worker keeps it, and comes again.
 */
import { randomLetters } from './letters'
import type { LmdbFile } from './lmdb-file'
import { failed, stored } from './outcome'
import { isDomain } from './record'
import {
  addBatch,
  fieldsOf,
  isDay,
  isPart,
  isTallyName,
  partOf,
  readFields,
  type TallyBatch,
  whyNoBatch,
} from './tally'
import type { Stored, TallyStore } from './types'

export interface LmdbTallyTools {
  readonly file: LmdbFile
  readonly read: <T>(look: () => T) => Promise<Stored<T>>
  /** @param octets that it writes at most @param holds octets of memory until then */
  readonly write: <T>(act: () => T, octets: number, holds: number) => Promise<Stored<T>>
}

/** Octets of new pages for a batch, beside its texts; and for each add, which may be on pages that no other is on. */
const BATCH = 65_536
const ADD = 8_192
const DROP = 1_048_576
const CLUSTER = 'cluster'
const DIGITS = 6

export function lmdbTallies({ file, read, write }: LmdbTallyTools): TallyStore {
  const { tallies } = file
  return {
    async addToTally(batch) {
      const reason = whyNoBatch(batch)
      if (reason !== undefined) return failed(reason)
      const at = partKey(batch.day, batch.part)
      const fields = {
        get: (field: string) => tallies.get(at + field),
        put: (field: string, value: string) => void tallies.putSync(at + field, value),
      }
      const texts = octetsOfTexts(batch)
      // A text of more than half a page has pages of its own.
      const pages = BATCH + ADD * batch.adds.length + 2 * texts
      return outcome(await write(() => addBatch(fields, batch), pages, texts + 1024))
    },
    async readTally(day, part) {
      if (!isDay(day) || !isPart(part)) return failed('not a part of a day')
      const at = partKey(day, part)
      return read(() => readFields(range(file, at)))
    },
    async dropTally(day, domain, names) {
      if (!isDay(day) || !isDomain(domain) || !names.every(isTallyName))
        return failed('not a tally')
      const at = partKey(day, partOf(domain))
      const drop = () => {
        for (const field of fieldsOf(domain, names)) tallies.removeSync(at + field)
      }
      return outcome(await write(drop, DROP, 1024))
    },
    async clusterName() {
      const found = await read(() => tallies.get(CLUSTER))
      if (!found.ok) return found
      if (found.value !== undefined && isName(found.value)) return stored(found.value)
      const name = () => {
        const before = tallies.get(CLUSTER)
        if (before !== undefined && isName(before)) return before
        const made = randomLetters(8)
        tallies.putSync(CLUSTER, made)
        return made
      }
      return outcome(await write(name, BATCH, 0))
    },
  }
}

/** Whether an entry of the table is of a day before `first`. */
export function isBefore(key: string, first: number): boolean {
  const day = /^([0-9]{6}) /.exec(key)?.[1]
  return day !== undefined && Number(day) < first
}

function* range(file: LmdbFile, at: string): Iterable<readonly [string, string]> {
  for (const { key, value } of file.tallies.getRange({ start: at, end: `${at}~~` })) {
    yield [key.slice(at.length), value]
  }
}

function partKey(day: number, part: number): string {
  return `${String(day).padStart(DIGITS, '0')} ${part.toString(16).padStart(2, '0')} `
}

function octetsOfTexts({ adds }: TallyBatch): number {
  let sum = 0
  for (const { ways } of adds) {
    for (const { texts = [] } of ways) {
      for (const [, text] of texts) sum += 4096 + Buffer.byteLength(text)
    }
  }
  return sum
}

function isName(text: string): boolean {
  return /^[a-z]{8}$/.test(text)
}

/** Without what only the file's own store has need of. */
function outcome<T>(written: Stored<T>): Stored<T> {
  return written.ok ? stored(written.value) : failed(written.detail)
}
