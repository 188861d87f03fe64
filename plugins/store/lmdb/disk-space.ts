/**
 * Room on the disk for the pages that LMDB is about to write. LMDB must not meet the end of a disk itself: where it cannot write a page,
 * lmdb-js 3.5 puts what it says of that into a buffer that is too small, and where there is no room for its lock or for its first
 * pages, a signal ends it; either way Haraka dies. So the file is made longer first, by writes of ours that throw where they
 * fail, and LMDB fills what is there.
 *
 * Not covered: a disk that fails or turns read-only under a running Haraka, and a quota where what is overwritten is copied (btrfs).
 */
import {
  fstatSync,
  linkSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { FILE_MODE } from '../folder'
import { octetsUsed } from './meta'
import { inWords } from '../outcome'

/** Octets; the file is as many steps long, and when it is made longer, one more than is needed. */
const STEP = 1_048_576
/** Octets for the lock and the first pages, and some to go on with. */
const BEGINNING = 2 * STEP
/** Octets of a lock that LMDB makes, for 126 readers. */
const LOCK = 8_272

/** There is no room on the disk. */
export class NoRoom extends Error {}

/**
 * To be called within a transaction: its lock keeps others from making the file longer meanwhile.
 * @param descriptor of the file, open for writing
 * @param octets that the transaction writes at most
 * @param free octets of the file system; where that copies what it overwrites, what is there already is no room
 * @throws NoRoom
 */
export function makeRoom(descriptor: number, octets: number, free: number): void {
  const used = octetsUsed(descriptor)
  const { size } = fstatSync(descriptor)
  // A part that was cut off must not come back as zeros.
  if (used === undefined || size < used) throw new Error('the file was cut short')
  const lack = Math.max(0, used + octets - size)
  const ample = (Math.ceil((used + octets) / STEP) + 1) * STEP - size
  // The last of a small disk is not taken for room that is never used.
  const length = [lack === 0 ? 0 : ample, lack].find((candidate) => candidate + octets <= free)
  if (length === undefined) throw new NoRoom('the disk is full')
  try {
    writeZeros(descriptor, size, length)
  } catch (error) {
    throw new NoRoom(inWords(error))
  }
}

const ZEROS = Buffer.alloc(STEP)

function writeZeros(descriptor: number, from: number, length: number): void {
  let written = 0
  // Where there is room for a part, the next write says why there is none for the rest.
  while (written < length) {
    const some = Math.min(ZEROS.length, length - written)
    written += writeSync(descriptor, ZEROS, 0, some, from + written)
  }
}

/** Octets free to users other than root; Infinity where the file system reports no size. */
export function octetsFreeFor(path: string): number {
  const { bavail, bsize, blocks } = statfsSync(dirname(path))
  return blocks === 0 ? Infinity : bavail * bsize
}

/**
 * To be called before LMDB opens the file to write.
 * @throws NoRoom where it would have to fill a file, and there is no room for it
 */
export function prepareToBegin(path: string): void {
  const hasLock = hasLockWithRoom(path)
  // A file that has had its first transaction is longer.
  if (hasLock && (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > STEP) return
  if (octetsFreeFor(path) < BEGINNING) throw new NoRoom('the disk is full')
  if (!hasLock) makeLock(`${path}-lock`)
}

/** Whether there is a lock of which the first page is on the disk. */
export function hasLockWithRoom(path: string): boolean {
  try {
    return statSync(`${path}-lock`).blocks > 0
  } catch {
    return false
  }
}

/** LMDB makes its lock with holes, and is ended by a signal where it cannot fill one later. */
function makeLock(lock: string): void {
  const own = `${lock}-${process.pid}`
  try {
    rmSync(own, { force: true })
    writeFileSync(own, Buffer.alloc(LOCK), { flag: 'wx', mode: FILE_MODE })
    // As a whole or not at all: another worker may be about to use it.
    linkSync(own, lock)
  } catch (error) {
    if (/ENOSPC|EDQUOT|EFBIG/.test(inWords(error))) throw new NoRoom(inWords(error))
    // Another worker was first, or the file system has no links: then LMDB's own is as good.
  } finally {
    rmSync(own, { force: true })
  }
}
