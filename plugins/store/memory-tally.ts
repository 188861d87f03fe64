/** Tallies of one process, bounded in octets: for tests, and for a store that no other process shares. */
import { randomLetters } from './letters'
import { failed } from './outcome'
import { isDomain } from './record'
import {
  addBatch,
  fieldsOf,
  isDay,
  isPart,
  isTallyName,
  KEPT_DAYS,
  OCTETS,
  partOf,
  readCount,
  readFields,
  SEAL,
  whyNoBatch,
} from './tally'
import type { Stored, TallyStore } from './types'

/** Octets for all parts together. */
const MOST_TALLIES = 8_388_608
const DAY = 86_400_000

/**
 * @param now milliseconds since the epoch
 * @param answer the store's: fails once it is closed
 */
export function memoryTallies(
  now: () => number,
  answer: <T>(read: () => T) => Promise<Stored<T>>,
): TallyStore {
  const parts = new Map<string, Map<string, string>>()
  const name = randomLetters(8)
  const at = (day: number, part: number): string => `${day} ${part}`

  const forgetOldDays = (): void => {
    const first = Math.floor(now() / DAY) - KEPT_DAYS + 1
    for (const key of parts.keys()) if (Number.parseInt(key, 10) < first) parts.delete(key)
  }
  const octets = (): number => {
    let sum = 0
    for (const fields of parts.values()) sum += readCount(fields.get(OCTETS))
    return sum
  }
  return {
    addToTally(batch) {
      const reason = whyNoBatch(batch)
      if (reason !== undefined) return Promise.resolve(failed(reason))
      return answer(() => {
        forgetOldDays()
        const key = at(batch.day, batch.part)
        const fields = parts.get(key) ?? new Map<string, string>()
        parts.set(key, fields)
        const put = (field: string, value: string) => void fields.set(field, value)
        const room = MOST_TALLIES - octets()
        return addBatch({ get: (field) => fields.get(field), put }, batch, room)
      })
    },
    sealTally(day, part) {
      if (!isDay(day) || !isPart(part)) return Promise.resolve(failed('not a part of a day'))
      return answer(() => {
        forgetOldDays()
        const key = at(day, part)
        parts.set(key, (parts.get(key) ?? new Map<string, string>()).set(SEAL, '1'))
      })
    },
    readTally(day, part) {
      if (!isDay(day) || !isPart(part)) return Promise.resolve(failed('not a part of a day'))
      return answer(() => readFields(parts.get(at(day, part)) ?? []))
    },
    dropTally(day, domain, names) {
      if (!isDay(day) || !isDomain(domain) || !names.every(isTallyName)) {
        return Promise.resolve(failed('not a tally'))
      }
      return answer(() => {
        const fields = parts.get(at(day, partOf(domain)))
        for (const field of fieldsOf(domain, names)) fields?.delete(field)
      })
    },
    clusterName: () => answer(() => name),
  }
}
