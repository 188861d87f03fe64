/**
 * Tallies in the LMDB file, in a table of their own: `<day> <part> <field>`, so that a part is one stretch of it and a day that is
 * over another. What the file does not take is not counted elsewhere: the worker keeps it, and comes again.
 */
import type { Access } from './access'
import type { LmdbFile } from './file'
import { partKey } from './tally-keys'
import { randomLetters } from '../letters'
import { failed, stored } from '../outcome'
import { isDomain } from '../record'
import {
  addBatch,
  fieldsOf,
  isDay,
  isPart,
  isTallyName,
  partOf,
  readFields,
  SEAL,
  type TallyBatch,
  whyNoBatch,
} from '../tally'
import type { Stored, TallyStore } from '../types'

/** Octets of new pages for a batch, beside its texts; and for each add, which may be on pages that no other is on. */
const BATCH = 65_536
const ADD = 8_192
const DROP = 1_048_576
const CLUSTER = 'cluster'

export function talliesIn({ read, write }: Pick<Access, 'read' | 'write'>): TallyStore {
  return {
    async addToTally(batch) {
      const reason = whyNoBatch(batch)
      if (reason !== undefined) return failed(reason)
      const at = partKey(batch.day, batch.part)
      const fieldsIn = ({ tallies }: LmdbFile) => ({
        get: (field: string) => tallies.get(at + field),
        put: (field: string, value: string) => void tallies.putSync(at + field, value),
      })
      const texts = octetsOfTexts(batch)
      // A text of more than half a page has pages of its own.
      const pages = BATCH + ADD * batch.adds.length + 2 * texts
      return outcome(await write((file) => addBatch(fieldsIn(file), batch), pages, texts + 1024))
    },
    async sealTally(day, part) {
      if (!isDay(day) || !isPart(part)) return failed('not a part of a day')
      const field = partKey(day, part) + SEAL
      const seal = ({ tallies }: LmdbFile) => void tallies.putSync(field, '1')
      return outcome(await write(seal, BATCH, 0))
    },
    async readTally(day, part) {
      if (!isDay(day) || !isPart(part)) return failed('not a part of a day')
      const at = partKey(day, part)
      return read((file) => readFields(range(file, at)))
    },
    async dropTally(day, domain, names) {
      if (!isDay(day) || !isDomain(domain) || !names.every(isTallyName))
        return failed('not a tally')
      const at = partKey(day, partOf(domain))
      const drop = ({ tallies }: LmdbFile) => {
        for (const field of fieldsOf(domain, names)) tallies.removeSync(at + field)
      }
      return outcome(await write(drop, DROP, 1024))
    },
    async clusterName() {
      const found = await read(({ tallies }) => tallies.get(CLUSTER))
      if (!found.ok) return found
      if (found.value !== undefined && isName(found.value)) return stored(found.value)
      const name = ({ tallies }: LmdbFile) => {
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

function* range(file: LmdbFile, at: string): Iterable<readonly [string, string]> {
  for (const { key, value } of file.tallies.getRange({ start: at, end: `${at}~~` })) {
    yield [key.slice(at.length), value]
  }
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
