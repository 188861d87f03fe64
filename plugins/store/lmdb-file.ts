/**
 * Opens the LMDB file, or says why it cannot be used; a broken one is moved aside and a new one begun.
 *
 * LMDB maps the file into memory and trusts it: reading a truncated file ends the process with SIGBUS, which no catch
 * sees. Hence the look at its meta pages before it is opened, and the look at its size before each use: LMDB itself never
 * makes a file smaller.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { type Database, open, type RootDatabase } from 'lmdb'
import { inWords } from './outcome'

export interface LmdbFile {
  readonly root: RootDatabase<string, string>
  readonly policies: Database<string, string>
  readonly notes: Database<string, string>
  readonly used: Database<string, string>
  readonly leases: Database<string, string>
  /** `<time> <domain>`, in order of time. */
  readonly agenda: Database<string, string>
  /** Where each domain stands on the agenda. */
  readonly planned: Database<string, string>
  /** Which domains were changed, by a number that counts up. */
  readonly changes: Database<string, number>
  /** On a file system that takes no writes, or a file that is not ours to write. */
  readonly readOnly: boolean
  /** Whether somebody has cut the file since it was opened: it must never be touched again, not even to close it. */
  isCut(): boolean
}

export type LmdbOpened =
  | {
      readonly ok: true
      readonly file: LmdbFile
      readonly movedAside?: string
      readonly unwritable?: string
    }
  | { readonly ok: false; readonly detail: string }

/** Where things are in a meta page of lmdb-js (its data format 2), in octets from the start of the page. */
const META = {
  magic: 24,
  version: 28,
  pageSize: 48,
  lastPage: 144,
  transaction: 152,
  length: 160,
} as const
const MAGIC = 0xbeefc0de
/** lmdb-js does not survive opening another one. */
const DATA_VERSION = 2
const PAGE_SIZES: readonly number[] = [4096, 8192, 16_384, 32_768, 65_536]
/** Octets of address space to begin with; LMDB grows it. */
const MAP_SIZE = 16_777_216

export function openLmdb(path: string): LmdbOpened {
  try {
    const broken = whyBroken(path)
    if (broken === undefined) return { ok: true, file: openFile(path) }
    return replace(path, broken)
  } catch (error) {
    const detail = inWords(error)
    // What is no database, or one of another format, is moved aside; what cannot be reached is left alone.
    if (isRefusal(error)) return openToRead(path, detail)
    if (!/MDB_(?:INVALID|CORRUPTED|VERSION_MISMATCH|PAGE_NOTFOUND|BAD_TXN|PANIC)/.test(detail)) {
      return { ok: false, detail: `${path}: ${detail}` }
    }
    return replace(path, detail)
  }
}

function isRefusal(error: unknown): boolean {
  return /read-only file system|permission denied|EROFS|EACCES/i.test(inWords(error))
}

/** What is known must hold also where nothing can be added to it. */
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
function replace(path: string, broken: string): LmdbOpened {
  try {
    const aside = `${path}.broken-${Date.now()}`
    if (whyBroken(path) !== undefined || /MDB_/.test(broken)) {
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
  const root = open<string, string>({
    path,
    noSubdir: true,
    readOnly,
    mapSize: MAP_SIZE,
    encoding: 'string',
    // With it, a worker killed while it writes makes the next writer's environment panic for good: lmdb-js then takes
    // the death of another process that held its lock for flushing for one of its own threads'.
    overlappingSync: false,
    // With it, a failed commit also rejects a promise that nobody can get hold of, which would end the process.
    eventTurnBatching: false,
  })
  const room = <K extends string | number>(name: string) =>
    root.openDB<string, K>({ name, encoding: 'string' })
  return {
    root,
    policies: room<string>('policies'),
    notes: room<string>('notes'),
    used: room<string>('used'),
    leases: room<string>('leases'),
    agenda: room<string>('agenda'),
    planned: room<string>('planned'),
    changes: room<number>('changes'),
    readOnly,
    isCut: watchSize(path),
  }
}

/** The file is kept open for this: what its name stands for later may be another one. */
function watchSize(path: string): () => boolean {
  const descriptor = openSync(path, 'r')
  let largest = 0
  let cut = false
  return () => {
    if (cut) return true
    const { size } = fstatSync(descriptor)
    cut = size < largest
    largest = Math.max(largest, size)
    if (cut) closeSync(descriptor)
    return cut
  }
}

/**
 * Runs a transaction; all its writes must be the synchronous ones.
 * @returns what it returned, once it is on disk; rejects with the reason when it could not be written
 */
export async function transact<T>(file: LmdbFile, act: () => T): Promise<T> {
  try {
    return await file.root.transaction(act)
  } catch (error) {
    // A failed commit carries its reason as a promise that is about to be rejected.
    if (error instanceof Error && 'commitError' in error) await error.commitError
    throw error
  }
}

/** @returns what is wrong with an existing file, as far as its size and meta pages tell */
function whyBroken(path: string): string | undefined {
  // An empty file is what LMDB itself begins with.
  if (!existsSync(path) || statSync(path).size === 0) return undefined
  const first = readMeta(path, 0)
  const second = first === undefined ? undefined : readMeta(path, first.pageSize)
  // Both are written when the file is made; after that, each transaction overwrites the older one.
  if (first === undefined || second === undefined) return 'it is no LMDB file of ours'
  const newest = first.transaction < second.transaction ? second : first
  // Only now: another worker may be writing, and the file has grown before a meta page says so.
  const { size } = statSync(path)
  const needed = (newest.lastPage + 1) * newest.pageSize
  return size < needed ? `it is cut short: ${size} octets of ${needed}` : undefined
}

interface Meta {
  readonly pageSize: number
  readonly lastPage: number
  readonly transaction: bigint
}

function readMeta(path: string, offset: number): Meta | undefined {
  const descriptor = openSync(path, 'r')
  try {
    const page = Buffer.alloc(META.length)
    if (readSync(descriptor, page, 0, META.length, offset) < META.length) return undefined
    if (page.readUInt32LE(META.magic) !== MAGIC) return undefined
    if (page.readUInt32LE(META.version) !== DATA_VERSION) return undefined
    const pageSize = page.readUInt32LE(META.pageSize)
    if (!PAGE_SIZES.includes(pageSize)) return undefined
    return {
      pageSize,
      lastPage: Number(page.readBigUInt64LE(META.lastPage)),
      transaction: page.readBigUInt64LE(META.transaction),
    }
  } finally {
    closeSync(descriptor)
  }
}
