/**
 * Removes expired entries from the LMDB file, a few at a time: a million policies looked at in one go would hold the worker up
 * for seconds, and every other worker that has something to write. Looking takes no lock; only removing does.
 */
import type { Database } from 'lmdb'
import { replan } from './agenda-entries'
import type { LmdbFile } from './file'
import { isBefore } from './tally-keys'
import { decodeRecord, GRACE } from '../record'
import { KEPT_DAYS } from '../tally'
import { readAlive } from '../waiting'

export interface SweepTools {
  readonly now: () => number
  /** Milliseconds of a clock that nobody sets. */
  readonly ticks: () => number
  /** Whether a line of notes or leases still counts. */
  readonly isAlive: (line: string) => boolean
  /** Runs writes in a transaction. */
  readonly transact: (act: () => void) => Promise<void>
}

const DAY = 86_400_000
/** Milliseconds between two sweeps, and between two steps of one. */
const SWEEP = 3_600_000
const STEP = 1_000
/** Milliseconds by which the clock may go wrong in that time; after a jump nothing is removed, as it may jump back. */
const STEADY = 300_000
/** Entries that one step looks at: about a millisecond. */
const ENTRIES = 500
/** How many of them one transaction removes: each may be on four pages that no other is on. */
const AT_ONCE = 50

/** @returns to be called now and then: does the next step if its time has come */
export function createSweep(file: LmdbFile, tools: SweepTools): () => Promise<void> {
  const { now, ticks, isAlive, transact } = tools
  const isOver = (key: string, value: string | undefined): boolean => {
    const record = decodeRecord(value, key)
    return record === undefined || record.expiresAt + GRACE < now()
  }
  const isUnplanned = (key: string): boolean => file.planned.get(key) === undefined
  const tables: readonly {
    readonly table: Database<string, string>
    readonly wants: (key: string, value: string | undefined) => boolean
    readonly handle: (key: string, value: string | undefined) => void
  }[] = [
    {
      table: file.policies,
      wants: (key, value) => isOver(key, value) || isUnplanned(key),
      handle: (key, value) => {
        if (isOver(key, value)) {
          file.policies.removeSync(key)
          file.used.removeSync(key)
          replan(file, key, undefined)
        } else if (isUnplanned(key)) replan(file, key, 0)
      },
    },
    ...[file.notes, file.leases].map((table) => {
      const wants = (_key: string, value: string | undefined) =>
        value !== undefined && !isAlive(value)
      return {
        table,
        wants,
        handle: (key: string, value: string | undefined) => {
          if (wants(key, value)) table.removeSync(key)
        },
      }
    }),
    {
      table: file.tallies,
      wants: (key) => isBefore(key, Math.floor(now() / DAY) - KEPT_DAYS + 1),
      handle: (key) => void file.tallies.removeSync(key),
    },
    {
      table: file.waiting,
      wants: (_key, value) => readAlive(value, now()) === undefined,
      handle: (key, value) => {
        if (readAlive(value, now()) === undefined) file.waiting.removeSync(key)
      },
    },
  ]

  let looked = { at: now(), ticks: ticks() }
  let next = ticks() + SWEEP
  let at = 0
  let after: string | undefined

  const isSteady = (): boolean => Math.abs(now() - looked.at - (ticks() - looked.ticks)) < STEADY

  return async () => {
    const time = ticks()
    if (time < next) return
    if (!isSteady()) {
      looked = { at: now(), ticks: time }
      next = time + SWEEP
      at = 0
      after = undefined
      return
    }
    next = time + STEP
    const current = tables[at]
    if (current === undefined) return
    const entries = [
      ...current.table.getRange({
        ...(after === undefined ? {} : { start: after }),
        limit: ENTRIES,
      }),
    ]
    const last = entries.at(-1)?.key
    // The step before ended with the entry with which this one begins.
    if (last === undefined || last === after || entries.length < ENTRIES) {
      after = undefined
      at = (at + 1) % tables.length
      if (at === 0) {
        looked = { at: now(), ticks: time }
        next = time + SWEEP
      }
    } else after = last
    const wanted = entries.filter(({ key, value }) => current.wants(key, value))
    if (wanted.length === 0) return
    for (let from = 0; from < wanted.length; from += AT_ONCE) {
      const some = wanted.slice(from, from + AT_ONCE)
      await transact(() => {
        for (const { key } of some) current.handle(key, current.table.get(key))
      })
    }
  }
}
