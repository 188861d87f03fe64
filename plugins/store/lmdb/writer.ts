/**
 * Writes to the LMDB file, those that wait for one another together in one transaction: each costs a trip to the disk. LMDB
 * would put them together by itself, but how much room they take must be known before.
 */
import type { LmdbFile } from './file'
import { NoRoom } from './disk-space'

/** Writes in one transaction. */
const AT_ONCE = 256
/** Octets of memory that writes may take while they wait for others, together: some 5,000 ordinary policies. */
const MOST_WAITING = 8_388_608
/** Of memory, for the promise and the closures of a write. */
const WRITE = 1024

/** Too much waits to be written already. It says nothing of the file. */
export class Busy extends Error {}

interface Write {
  /** Of the file. */
  readonly octets: number
  /** Of memory. */
  readonly held: number
  /** Never throws. @returns what tells the caller of it, once it is on disk */
  readonly act: () => () => void
  readonly reject: (error: unknown) => void
}

export interface Writer {
  /**
   * @param octets that it writes at most
   * @param act its writes must be the synchronous ones
   * @param holds octets of memory that it keeps until then
   * @returns what `act` returned, once it is on disk; rejects with the reason when it could not be written, or with Busy
   */
  readonly write: <T>(octets: number, act: () => T, holds?: number) => Promise<T>
  /** Takes no more; resolves when nothing is under way any longer. */
  end(): Promise<void>
}

export function createWriter(file: LmdbFile): Writer {
  const line: Write[] = []
  let waiting = 0
  let writing: Promise<void> | undefined
  let ended = false

  const writeTogether = async (writes: readonly Write[]): Promise<void> => {
    try {
      const octets = writes.reduce((sum, write) => sum + write.octets, 0)
      const tells = await transact(file, () => {
        file.makeRoom(octets)
        return writes.map(({ act }) => act())
      })
      for (const tell of tells) tell()
    } catch (error) {
      // The room for all may be missing where there is enough for some at a time: `octets` is an upper bound.
      if (error instanceof NoRoom && writes.length > 1) {
        const half = writes.length >> 1
        await writeTogether(writes.slice(0, half))
        await writeTogether(writes.slice(half))
        return
      }
      for (const { reject } of writes) reject(error)
    }
  }
  const writeAll = async (): Promise<void> => {
    // Writes of the same turn go along.
    await Promise.resolve()
    while (line.length > 0) {
      const writes = line.splice(0, AT_ONCE)
      waiting -= writes.reduce((sum, { held }) => sum + held, 0)
      await writeTogether(writes)
    }
    writing = undefined
  }

  const write: Writer['write'] = (octets, act, holds = 0) =>
    new Promise((resolve, reject) => {
      if (ended) {
        reject(new Error('the store is closed'))
        return
      }
      const held = WRITE + holds
      if (waiting + held > MOST_WAITING) {
        reject(new Busy('too many writes wait for the disk'))
        return
      }
      const attempt = (): (() => void) => {
        try {
          const result = act()
          return () => {
            resolve(result)
          }
        } catch (error) {
          return () => {
            reject(error instanceof Error ? error : new Error(String(error)))
          }
        }
      }
      line.push({ octets, held, act: attempt, reject })
      waiting += held
      writing ??= writeAll()
    })

  return {
    write,
    async end() {
      ended = true
      await writing
    },
  }
}

async function transact<T>(file: LmdbFile, act: () => T): Promise<T> {
  try {
    return await file.root.transaction(act)
  } catch (error) {
    // A failed commit carries its reason as a promise that is about to be rejected.
    if (error instanceof Error && 'commitError' in error) await error.commitError
    throw error
  }
}
