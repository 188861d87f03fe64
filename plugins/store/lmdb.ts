/**
 * The store of one machine: an LMDB file that all its workers map into memory. Reads cost microseconds; writes are
 * transactions, so that a worker killed in the midst of one leaves the file as it was.
 *
 * Promises: a broken file is moved aside; one that is cut short while in use, one that cannot be written and a full disk mean
 * memory for what is new, each with one warning; no call takes longer than its deadline. A change is seen by the other workers
 * within the polling interval.
 */
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ofText } from '../bounded/octets'
import { domainsOf, dueEntries, replan, takeEntries } from './lmdb-agenda'
import { type LmdbFile, openLmdb } from './lmdb-file'
import { NoRoom } from './lmdb-room'
import { createSweep } from './lmdb-sweep'
import { lmdbTallies } from './lmdb-tally'
import { Busy, createWriter } from './lmdb-writer'
import { memoryStore } from './memory'
import { DONE, failed, inWords, stored, tell, within } from './outcome'
import {
  decodeRecord,
  encodeRecord,
  isDomain,
  isFetchedLater,
  isNoteName,
  MAX_NOTE,
  readTime,
  whyUnstorable,
} from './record'
import { createTroubles, type TroubleKind, type Troubles } from './troubles'
import type { ChangeListener, Store, Stored, StoreTools } from './types'
import { withoutShared, withoutTallies } from './unread'

/** Milliseconds for one write: the lock may be with another worker, and the disk may be busy. */
const DEADLINE = 2_000
/** Milliseconds between two looks at the list of changes. */
const POLL = 200
/** Changes that are kept for workers who have not looked yet. */
const KEPT_CHANGES = 1_000
/** Domains in a page of the list. */
const PAGE = 1_000
/** Milliseconds without another try after a failed write; each is said on stderr by the library. */
const REST = 60_000
/** Milliseconds without a failed write after which the disk counts as having room again: a small write finds some sooner. */
const RECOVERED = 10 * REST
/** Octets of new pages that a write to one table takes at most: twice the way down, and the list of free pages. */
const LITTLE = 65_536
/**
 * And one to several, but for values that are long. Measured with 300,000 names of 240 octets and an old reader: 34 pages of 4,096
 * octets.
 */
const FEW = 196_608
/** And where it moves many entries; measured: 282 pages. */
const MANY = 2_097_152
/** No mail goes to a domain of this name (RFC 2606). */
const TRIAL_NOTE = 'doctor.invalid trial'
/** Octets of a key in LMDB are limited to 1978; a lease name is short. */
const MAX_LEASE_NAME = 400

type Written<T> = Stored<T> & {
  /** Too many wait already; the file may be well. */
  readonly busy?: true
}

/**
 * @param path the file; its folder must exist
 * @param cure what to do where it cannot be used
 */
export function lmdbStore(path: string, tools: StoreTools, cure = cureFor(path)): Store {
  const troubles = createTroubles<FileTroubleKind>(tools.log)
  const opened = openLmdb(path)
  if (!opened.ok) {
    const text = `policies are kept in memory only, the store cannot be opened: ${opened.detail}`
    troubles.begin({ kind: 'file-closed', text, cure })
    const own = withoutTallies(memoryStore(tools), "the store's file cannot be opened")
    const memory = withTroubles(own, troubles)
    // What is in it may hold, and is not known; where there has never been one, there is nothing to know.
    return mayExist(path) ? withoutShared(memory, 'its file cannot be read', tools.now) : memory
  }
  if (opened.movedAside !== undefined) {
    tools.log.warn(`the store was broken and is begun anew: ${opened.movedAside}`)
  }
  if (opened.unwritable !== undefined) {
    const text = `the store can only be read, new policies are kept in memory: ${opened.unwritable}`
    troubles.begin({ kind: 'file-read-only', text, cure })
  }
  return storeOn(opened.file, tools, troubles, cure)
}

type FileTroubleKind = Extract<TroubleKind, `file-${string}`>

function cureFor(path: string): string {
  return `See that Haraka's user may write to ${dirname(path)}, and that its disk is not full.`
}

/** Whether there is a file, as far as anybody can tell. */
function mayExist(path: string): boolean {
  try {
    statSync(path)
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    return code !== 'ENOENT' && code !== 'ENOTDIR'
  }
}

function withTroubles(store: Store, troubles: Troubles<FileTroubleKind>): Store {
  return {
    ...store,
    troubles: () => troubles.lasting(),
    examine: () => Promise.resolve(troubles.lasting()),
  }
}

function storeOn(
  file: LmdbFile,
  tools: StoreTools,
  troubles: Troubles<FileTroubleKind>,
  cure: string,
): Store {
  const { now, ticks = () => performance.now(), count = () => undefined } = tools
  const writer = createWriter(file)
  const listeners = new Set<ChangeListener>()
  /** Takes what the file could not; it is asked first from then on. */
  const overflow = memoryStore(tools)
  let overflowing = file.readOnly
  let unwritable = { since: -Infinity, why: '' }
  let closed = false
  /** While the file takes no writes: up to where what is due has been given out. */
  let givenOut: string | undefined
  let toldOfCut = false

  /** @returns why the file must not be touched, or undefined */
  const whyUnusable = (): string | undefined => {
    if (closed) return 'the store is closed'
    if (!file.isCut()) return undefined
    if (!toldOfCut) {
      toldOfCut = true
      overflowing = true
      troubles.begin({
        kind: 'file-cut',
        text: "the store's file was cut short while in use: policies are kept in memory until Haraka is restarted",
        cure: 'Find out what cut it, and restart Haraka.',
      })
    }
    return 'the file was cut short'
  }
  const read = <T>(look: () => T): Promise<Stored<T>> => {
    try {
      const reason = whyUnusable()
      if (reason !== undefined) return Promise.resolve(failed(reason))
      return Promise.resolve(stored(look()))
    } catch (error) {
      return Promise.resolve(failed(inWords(error)))
    }
  }
  const write = async <T>(act: () => T, octets = LITTLE, holds = 0): Promise<Written<T>> => {
    const reason = whyUnusable()
    if (reason !== undefined) return failed(reason)
    if (file.readOnly) return failed('the file can only be read')
    const rested = now() - unwritable.since
    if (rested >= 0 && rested < REST) return failed(unwritable.why)
    let late = false
    try {
      sweep().catch(() => undefined)
      const inTime = (): T => {
        if (late) throw new Error('nobody waits for it any more')
        return act()
      }
      const written = await within(DEADLINE, writer.write(octets, inTime, holds))
      if (now() - unwritable.since >= RECOVERED) {
        troubles.over('file-full', 'the store takes writes again')
      }
      return stored(written)
    } catch (error) {
      late = true
      const why = inWords(error)
      // Says nothing of the file: the next may be taken.
      if (error instanceof Busy) return { ...failed(why), busy: true }
      // Where there is no room for much there may be for little. Otherwise the next tries would fail as this one did, each
      // with a line of the library's on stderr.
      const isOnlyLarge = error instanceof NoRoom && octets >= MANY
      if (!isOnlyLarge && now() - unwritable.since >= REST) unwritable = { since: now(), why }
      return failed(why)
    }
  }
  /**
   * A write that must not be lost: when the file does not take it, memory does.
   * @param octets that the file needs for it
   * @param obsolete forgets what memory took earlier, once the file has taken it
   * @param holds octets of memory until then
   */
  const keep = async (
    act: () => void,
    instead: () => Promise<Stored<void>>,
    octets = LITTLE,
    obsolete: () => void = () => undefined,
    holds = 0,
  ): Promise<Stored<void>> => {
    const written = await write(act, octets, holds)
    if (written.ok) obsolete()
    if (written.ok || closed) return written
    if (written.busy === true) {
      overflowing = true
      return instead()
    }
    if (!overflowing || troubles.lasting().length === 0) {
      const text = `the store takes no writes, new policies are kept in memory: ${written.detail}`
      troubles.begin({ kind: 'file-full', text, cure })
    }
    for (const { kind } of troubles.lasting()) count(kind)
    overflowing = true
    return instead()
  }

  const watcher = watchChanges(
    () => (whyUnusable() === undefined ? file.changes : undefined),
    listeners,
  )
  const noteChange = (domain: string): void => {
    const number = lastChange(file.changes) + 1
    file.changes.putSync(number, domain)
    file.changes.removeSync(number - KEPT_CHANGES)
  }

  const sweep = createSweep(file, {
    now,
    ticks,
    isAlive: (line) => readTimed(line, now()) !== undefined,
    transact: (act) => within(DEADLINE, writer.write(MANY, act)),
  })

  return {
    ...lmdbTallies({ file, read, write }),
    async getPolicy(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      const kept = overflowing ? await overflow.getPolicy(domain) : undefined
      const found = await read(() => decodeRecord(file.policies.get(domain), domain))
      if (kept?.ok !== true || kept.value === undefined) return found
      // Another worker, for whom the file takes writes, may have been later.
      const isLater =
        found.ok && found.value !== undefined && isFetchedLater(found.value, kept.value, now())
      return isLater ? found : kept
    },
    async setPolicy(record) {
      const reason = whyUnstorable(record)
      if (reason !== undefined) return failed(reason)
      const line = encodeRecord(record)
      const outcome = await keep(
        () => {
          file.policies.putSync(record.domain, line)
          replan(file, record.domain, record.fetchedAt)
          noteChange(record.domain)
        },
        () => overflow.setPolicy(record),
        FEW + Buffer.byteLength(line),
        () => {
          overflow.deletePolicy(record.domain).catch(() => undefined)
        },
        ofText(line),
      )
      if (outcome.ok) tell(listeners, record.domain)
      return outcome
    },
    async deletePolicy(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      await overflow.deletePolicy(domain)
      const outcome = await write(() => {
        file.policies.removeSync(domain)
        file.used.removeSync(domain)
        replan(file, domain, undefined)
        noteChange(domain)
      }, FEW)
      if (outcome.ok) tell(listeners, domain)
      return outcome
    },
    async listDomains(after) {
      const page = await read(() => {
        const start = after === undefined ? {} : { start: after }
        return [...file.policies.getKeys({ ...start, limit: PAGE })]
      })
      if (!page.ok) {
        const kept = await overflow.listDomains()
        return kept.ok && kept.value.domains.length > 0 ? kept : page
      }
      const domains = page.value.filter((domain) => domain !== after)
      if (page.value.length === PAGE) return stored({ domains, next: domains.at(-1) })
      const more = overflowing ? await overflow.listDomains() : undefined
      return stored({
        domains: more?.ok === true ? [...domains, ...more.value.domains] : domains,
        next: undefined,
      })
    },
    async takeDue(due) {
      const kept = overflowing ? await overflow.takeDue(due) : undefined
      const more = kept?.ok === true ? kept.value : { domains: [], more: false }
      const taken = await write(() => takeEntries(file, due), MANY)
      // What cannot be taken can still be looked at: each once, and then from the beginning at the next round.
      const found = taken.ok ? taken : await read(() => dueEntries(file, due, givenOut))
      if (!found.ok) return kept?.ok === true ? kept : found
      givenOut = taken.ok ? undefined : found.value.at(-1)
      return stored({
        domains: [...new Set([...domainsOf(found.value), ...more.domains])],
        more: more.more || found.value.length >= due.limit,
      })
    },
    async plan(domain, at) {
      if (!isDomain(domain)) return failed('not a domain')
      if (overflowing) await overflow.plan(domain, at)
      return write(() => {
        replan(file, domain, at)
      }, FEW)
    },
    async getNote(domain, name) {
      if (!isDomain(domain) || !isNoteName(name)) return failed('not a note')
      if (overflowing) {
        const found = await overflow.getNote(domain, name)
        if (found.ok && found.value !== undefined) return found
      }
      return read(() => readTimed(file.notes.get(`${domain} ${name}`), now()))
    },
    async setNote(domain, name, text, ttl) {
      if (!isDomain(domain) || !isNoteName(name)) return failed('not a note')
      const line = writeTimed(text.slice(0, MAX_NOTE), ttl, now())
      return keep(
        () => file.notes.putSync(`${domain} ${name}`, line),
        () => overflow.setNote(domain, name, text, ttl),
      )
    },
    async lastUsed(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      return read(() => readTime(file.used.get(domain)))
    },
    async markUsed(domain, day) {
      if (!isDomain(domain)) return failed('not a domain')
      return write(() => file.used.putSync(domain, String(day)))
    },
    async acquire(name, owner, ttl) {
      if (name.length > MAX_LEASE_NAME) return failed('not a lease')
      const free = (): boolean => {
        const holder = readTimed(file.leases.get(name), now())
        return holder === undefined || holder === owner
      }
      // A look costs nothing; the lock that a transaction takes would be taken from those who write.
      const looked = await read(free)
      if (!looked.ok || !looked.value) return looked
      return write(() => {
        if (!free()) return false
        file.leases.putSync(name, writeTimed(owner, ttl, now()))
        return true
      })
    },
    async release(name, owner) {
      if (name.length > MAX_LEASE_NAME) return failed('not a lease')
      return write(() => {
        if (readTimed(file.leases.get(name), now()) === owner) file.leases.removeSync(name)
      })
    },
    onChange(listener) {
      listeners.add(listener)
      watcher.watch()
      return () => void listeners.delete(listener)
    },
    troubles: () => troubles.lasting(),
    async examine() {
      const written = await keep(
        () => file.notes.putSync(TRIAL_NOTE, writeTimed('', 1, now())),
        () => Promise.resolve(DONE),
      )
      void written
      return troubles.lasting()
    },
    async close() {
      if (closed) return
      closed = true
      watcher.stop()
      listeners.clear()
      await overflow.close()
      const end = async (): Promise<void> => {
        await writer.end()
        await file.close()
      }
      await within(DEADLINE, end()).catch(() => undefined)
    },
  }
}

/** `<until> <ttl> <text>`: both, so that a clock set back cannot make anything live longer than it was to. */
function writeTimed(text: string, ttl: number, now: number): string {
  return `${Math.round(now + ttl)} ${Math.round(ttl)} ${text}`
}

function readTimed(line: string | undefined, now: number): string | undefined {
  const [head, until, ttl] = /^([0-9]{1,15}) ([0-9]{1,15}) /.exec(line ?? '') ?? []
  if (head === undefined || line === undefined) return undefined
  const left = Number(until) - now
  return left > 0 && left <= Number(ttl) ? line.slice(head.length) : undefined
}

function lastChange(changes: LmdbFile['changes'] | undefined): number {
  const [number = 0] = changes?.getKeys({ reverse: true, limit: 1 }) ?? []
  return number
}

interface Changes {
  /** Begins to look for changes by others. */
  watch(): void
  stop(): void
}

/**
 * LMDB wakes nobody, so each worker looks at the numbered list of changes now and then: one read of shared memory.
 * Workers that fell behind more changes than are kept are told that anything may have changed.
 */
function watchChanges(
  changes: () => LmdbFile['changes'] | undefined,
  listeners: Set<ChangeListener>,
): Changes {
  const last = () => lastChange(changes())
  let seen = 0
  let timer: NodeJS.Timeout | undefined
  const look = (): void => {
    const latest = last()
    if (latest === seen) return
    const entries = [...(changes()?.getRange({ start: seen + 1 }) ?? [])]
    const missed = entries[0]?.key !== seen + 1
    seen = latest
    if (missed) return tell(listeners, undefined)
    for (const domain of new Set(entries.map(({ value }) => value))) tell(listeners, domain)
  }
  return {
    watch() {
      if (timer !== undefined) return
      seen = last()
      timer = setInterval(() => {
        try {
          look()
        } catch {
          // What cannot be read now is read at the next look; nothing is lost but a moment.
        }
      }, POLL)
      timer.unref()
    },
    stop: () => clearInterval(timer),
  }
}
