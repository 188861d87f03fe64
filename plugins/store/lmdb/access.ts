/**
 * Reads and writes of the LMDB file: each ends within the deadline and says what happened instead of throwing. After a write that
 * failed there is a rest, and a file that was cut short is never touched again.
 */
import { createSweep } from './sweep'
import type { LmdbFile } from './file'
import { NoRoom } from './disk-space'
import { Busy, createWriter } from './writer'
import { failed, inWords, stored, within } from '../outcome'
import { readTimed } from '../timed'
import type { TroubleKind, Troubles } from '../troubles'
import type { Stored, StoreTools } from '../types'

export type FileTroubleKind = Extract<TroubleKind, `file-${string}`>

/** Milliseconds for one write: the lock may be with another worker, and the disk may be busy. */
const DEADLINE = 2_000
/** Milliseconds without another try after a failed write; each is said on stderr by the library. */
const REST = 60_000
/** Milliseconds without a failed write after which the disk counts as having room again: a small write finds some sooner. */
const RECOVERED = 10 * REST

/** Octets that a write takes in the file at most. */
export const OCTETS = {
  /** One small entry: twice the way down its tree, and the list of free pages, are 16 pages. */
  small: 65_536,
  /**
   * Some small entries in several tables. Measured with 300,000 names of 240 octets and an old reader: 34 pages of 4,096 octets.
   */
  some: 196_608,
  /** Many entries that are moved; measured: 282 pages. */
  many: 2_097_152,
} as const

export type Written<T> = Stored<T> & {
  /** Too many wait already; the file may be well. */
  readonly busy?: true
}

export interface Access {
  readonly readOnly: boolean
  isClosed(): boolean
  /** Whether a use has found that the file was cut short. */
  wasCut(): boolean
  /** @returns the file where it may be touched, or why it may not */
  usable(): Stored<LmdbFile>
  readonly read: <T>(look: (file: LmdbFile) => T) => Promise<Stored<T>>
  /**
   * @param act is run in a transaction; its writes must be the synchronous ones
   * @param octets that it writes at most
   * @param holds octets of memory that it keeps until then
   */
  readonly write: <T>(
    act: (file: LmdbFile) => T,
    octets?: number,
    holds?: number,
  ) => Promise<Written<T>>
  close(): Promise<void>
}

export interface AccessTools extends Pick<StoreTools, 'now' | 'ticks'> {
  readonly troubles: Troubles<FileTroubleKind>
}

export function createAccess(file: LmdbFile, tools: AccessTools): Access {
  const { now, ticks = () => performance.now(), troubles } = tools
  const writer = createWriter(file)
  const sweep = createSweep(file, {
    now,
    ticks,
    isAlive: (line) => readTimed(line, now()) !== undefined,
    transact: (act) => within(DEADLINE, writer.write(OCTETS.many, act)),
  })
  let unwritable = { since: -Infinity, why: '' }
  let closed = false
  let cut = false

  const usable = (): Stored<LmdbFile> => {
    if (closed) return failed('the store is closed')
    if (!file.isCut()) {
      // LMDB shows the state of an earlier look until a timer has run: what another process wrote since would be missed.
      try {
        file.root.resetReadTxn()
        return stored(file)
      } catch (error) {
        return failed(inWords(error))
      }
    }
    if (!cut) {
      cut = true
      troubles.begin({
        kind: 'file-cut',
        text: "the store's file was cut short while in use: policies are kept in memory until Haraka is restarted",
        cure: 'Find out what cut it, and restart Haraka.',
      })
    }
    return failed('the file was cut short')
  }

  const failedBy = (error: unknown, octets: number): Written<never> => {
    const why = inWords(error)
    // Too many writes wait: that says nothing of the file, which may take the next.
    if (error instanceof Busy) return { ...failed(why), busy: true }
    // Where there is no room for much there may be for little. Otherwise the next tries would fail as this one did, each
    // with a line of the library's on stderr.
    const isOnlyLarge = error instanceof NoRoom && octets >= OCTETS.many
    if (!isOnlyLarge && now() - unwritable.since >= REST) unwritable = { since: now(), why }
    return failed(why)
  }

  return {
    readOnly: file.readOnly,
    isClosed: () => closed,
    wasCut: () => cut,
    usable,
    read(look) {
      try {
        const found = usable()
        return Promise.resolve(found.ok ? stored(look(found.value)) : found)
      } catch (error) {
        return Promise.resolve(failed(inWords(error)))
      }
    },
    async write<T>(
      act: (file: LmdbFile) => T,
      octets: number = OCTETS.small,
      holds = 0,
    ): Promise<Written<T>> {
      const found = usable()
      if (!found.ok) return found
      if (file.readOnly) return failed('the file can only be read')
      const rested = now() - unwritable.since
      if (rested >= 0 && rested < REST) return failed(unwritable.why)
      let late = false
      try {
        sweep().catch(() => undefined)
        const inTime = (): T => {
          if (late) throw new Error('its caller has gone on without it')
          return act(file)
        }
        const written = await within(DEADLINE, writer.write(octets, inTime, holds))
        if (now() - unwritable.since >= RECOVERED) {
          troubles.over('file-full', 'the store takes writes again')
        }
        return stored(written)
      } catch (error) {
        late = true
        return failedBy(error, octets)
      }
    },
    async close() {
      closed = true
      const end = async (): Promise<void> => {
        await writer.end()
        await file.close()
      }
      await within(DEADLINE, end()).catch(() => undefined)
    },
  }
}
