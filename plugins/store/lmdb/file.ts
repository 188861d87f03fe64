/**
 * Opens the LMDB file, or says why it cannot be used; a broken one is moved aside and a new one begun.
 *
 * LMDB maps the file into memory and trusts it: reading a truncated file ends the process with SIGBUS, which no catch
 * sees. Hence the look at its meta pages before it is opened, and the look at its size before each use: LMDB itself never
 * makes a file smaller.
 */
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { type Database, open, type RootDatabase } from 'lmdb'
import { FILE_MODE } from '../folder'
import { whyBroken } from './meta'
import { soundLock } from './sound-lock'
import { hasLockWithRoom, makeRoom, NoRoom, octetsFreeFor, prepareToBegin } from './disk-space'
import { inWords } from '../outcome'

export interface LmdbFile {
  readonly root: RootDatabase<string, string>
  readonly policies: Database<string, string>
  readonly notes: Database<string, string>
  readonly used: Database<string, string>
  readonly leases: Database<string, string>
  /** Counts and texts; see tally.ts. */
  readonly tallies: Database<string, string>
  /** Destinations whose mail is kept back; see waiting.ts. */
  readonly waiting: Database<string, string>
  /** `<time> <domain>`, in order of time. */
  readonly agenda: Database<string, string>
  /** Where each domain stands on the agenda. */
  readonly planned: Database<string, string>
  /** Which domains were changed, by a number that counts up. */
  readonly changes: Database<string, number>
  /** On a file system that takes no writes, or a file that is not ours to write. */
  readonly readOnly: boolean
  /** Within a transaction, before it writes. @throws Error where there is no room for so many octets */
  makeRoom(octets: number): void
  /** Whether somebody has cut the file since it was opened: it must never be touched again, not even to close it. */
  isCut(): boolean
  close(): Promise<void>
}

export type LmdbOpened =
  | {
      readonly ok: true
      readonly file: LmdbFile
      readonly movedAside?: string
      readonly unwritable?: string
    }
  | { readonly ok: false; readonly detail: string }

const REPLACED = 'another worker has put a new file in its place'
/** Octets of address space to begin with; LMDB grows it. */
const MAP_SIZE = 16_777_216

/** Workers that start together may each find a file to move aside: then the last one's is taken. */
const TRIES = 3

export function openLmdb(path: string): LmdbOpened {
  let opened = openOnce(path)
  for (let n = 1; n < TRIES && !opened.ok && opened.detail.includes(REPLACED); n++) {
    opened = openOnce(path)
  }
  return opened
}

function openOnce(path: string): LmdbOpened {
  const judged = inode(path)
  try {
    const broken = whyBroken(path)
    if (broken === undefined) return { ok: true, file: openFile(path) }
    return replace(path, broken, judged)
  } catch (error) {
    const detail = inWords(error)
    // A file that is no database, or one of another format, is moved aside; one that cannot be reached or written is left alone.
    if (isRefusal(error) || (error instanceof NoRoom && hasLockWithRoom(path))) {
      return openToRead(path, detail)
    }
    if (!/MDB_(?:INVALID|CORRUPTED|VERSION_MISMATCH|PAGE_NOTFOUND|BAD_TXN|PANIC)/.test(detail)) {
      return { ok: false, detail: `${path}: ${detail}` }
    }
    return replace(path, detail, judged)
  }
}

function inode(path: string): number | undefined {
  try {
    return statSync(path).ino
  } catch {
    return undefined
  }
}

function isRefusal(error: unknown): boolean {
  return /read-only file system|permission denied|EROFS|EACCES/i.test(inWords(error))
}

/** The policies in it must hold also where none can be added. */
function openToRead(path: string, why: string): LmdbOpened {
  try {
    if (existsSync(path))
      return { ok: true, file: openFile(path, true), unwritable: `${path}: ${why}` }
  } catch {
    // Not even that: then the reason is the one that there was before.
  }
  return { ok: false, detail: `${path}: ${why}` }
}

/** Only the very file that was judged is moved: another worker may have put a new one in its place meanwhile. */
function replace(path: string, broken: string, judged: number | undefined): LmdbOpened {
  try {
    const aside = `${path}.broken-${Date.now()}`
    if (inode(path) === judged && (whyBroken(path) !== undefined || /MDB_/.test(broken))) {
      renameSync(path, aside)
      rmSync(`${path}-lock`, { force: true })
    }
    return {
      ok: true,
      file: openFile(path),
      movedAside: `${path} (${broken}) was moved to ${aside}`,
    }
  } catch (error) {
    return { ok: false, detail: `${path}: ${broken}; and ${inWords(error)}` }
  }
}

function openFile(path: string, readOnly = false): LmdbFile {
  if (!readOnly) prepareToBegin(path)
  // Kept open: another file may have its name later. LMDB begins with an empty one as with none.
  const descriptor = openSync(
    path,
    readOnly ? 'r' : constants.O_RDWR | constants.O_CREAT,
    FILE_MODE,
  )
  if (!readOnly) closeToOthers(descriptor, path)
  let lock: (() => void) | undefined
  try {
    if (!readOnly) lock = soundLock(path, { mapSize: MAP_SIZE })
    return openWith(descriptor, path, readOnly)
  } catch (error) {
    closeSync(descriptor)
    throw error
  } finally {
    lock?.()
  }
}

/** Local users must not read which domains get mail; a file of an earlier version was open to them. */
function closeToOthers(descriptor: number, path: string): void {
  try {
    if (fstatSync(descriptor).uid !== process.getuid?.()) return
    fchmodSync(descriptor, FILE_MODE)
    chmodSync(`${path}-lock`, FILE_MODE)
  } catch {
    // Without a lock yet, or on a file system without modes: then there is nothing to change.
  }
}

function openWith(descriptor: number, path: string, readOnly: boolean): LmdbFile {
  const root = open<string, string>({
    path,
    noSubdir: true,
    readOnly,
    mapSize: MAP_SIZE,
    encoding: 'string',
    // With it, a worker killed while it writes makes the next writer's environment panic for good: lmdb-js then takes
    // the death of another process that held its lock for flushing for one of its own threads'.
    overlappingSync: false,
    // With it, a failed commit also rejects a promise that no code can catch, which would end the process.
    eventTurnBatching: false,
  })
  const table = <K extends string | number>(name: string) =>
    root.openDB<string, K>({ name, encoding: 'string' })
  if (inode(path) !== fstatSync(descriptor).ino) {
    // Whose lock is held must be known before anything is written past LMDB.
    root.close().catch(() => undefined)
    throw new Error(REPLACED)
  }
  const isCut = watchSize(descriptor)
  return {
    root,
    policies: table<string>('policies'),
    notes: table<string>('notes'),
    used: table<string>('used'),
    leases: table<string>('leases'),
    tallies: table<string>('tallies'),
    waiting: table<string>('waiting'),
    agenda: table<string>('agenda'),
    planned: table<string>('planned'),
    changes: table<number>('changes'),
    readOnly,
    makeRoom(octets) {
      if (isCut()) throw new Error('the file was cut short')
      makeRoom(descriptor, octets, octetsFreeFor(path))
    },
    isCut,
    async close() {
      try {
        if (!isCut()) await root.close()
      } finally {
        closeSync(descriptor)
      }
    },
  }
}

function watchSize(descriptor: number): () => boolean {
  let largest = 0
  let cut = false
  return () => {
    if (cut) return true
    const { size } = fstatSync(descriptor)
    cut = size < largest
    largest = Math.max(largest, size)
    return cut
  }
}
