/** Destinations whose mail is kept back, of one process: for tests, and for a store that no other process shares. */
import { failed } from './outcome'
import type { Stored, WaitingStore } from './types'
import { applyNotes, isWaitingPart, readRecords, whyNoNotes } from './waiting'

/**
 * @param now milliseconds since the epoch
 * @param answer the store's: fails once it is closed
 */
export function memoryWaiting(
  now: () => number,
  answer: <T>(read: () => T) => Promise<Stored<T>>,
): WaitingStore {
  const parts = new Map<number, Map<string, string>>()
  const partOf = (part: number): Map<string, string> => {
    const found = parts.get(part) ?? new Map<string, string>()
    parts.set(part, found)
    return found
  }
  return {
    noteWaiting(part, notes) {
      const reason = whyNoNotes(part, notes)
      if (reason !== undefined) return Promise.resolve(failed(reason))
      return answer(() => {
        const fields = partOf(part)
        const put = (domain: string, text: string | undefined): void => {
          if (text === undefined) fields.delete(domain)
          else fields.set(domain, text)
        }
        const get = (domain: string) => fields.get(domain)
        return applyNotes({ get, put, entries: () => fields.entries() }, notes, now())
      })
    },
    readWaiting(part) {
      if (!isWaitingPart(part)) return Promise.resolve(failed('not a part'))
      return answer(() => readRecords(partOf(part), now()))
    },
  }
}
