/**
 * Room on the disk for what LMDB is about to write. It must not meet the end of a disk itself: where it cannot write a page,
 * lmdb-js 3.5 puts what it says of that into a buffer that is too small, and where there is no room for its lock or for its first
 * pages, a signal ends it; either way Haraka dies. So the file is made longer first, by writes of ours that throw where they
 * fail, and LMDB fills what is there.
 */
import {
  existsSync,
  fstatSync,
  rmSync,
  statSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { octetsUsed } from './lmdb-meta'

/** Octets; the file is as many steps long, and when it is made longer, one more than is needed. */
const STEP = 1_048_576
/** Octets for the lock and the first pages, and some to go on with. */
const BEGINNING = 2 * STEP

/**
 * To be called within a transaction: its lock keeps others from making the file longer meanwhile.
 * @param descriptor of the file, open for writing
 * @param octets that the transaction writes at most
 * @param free octets of the file system; where that copies what it overwrites, what is there already is no room
 * @throws Error where there is no room
 */
export function makeRoom(descriptor: number, octets: number, free: number): void {
  if (free < octets) throw new Error('the disk is full')
  const used = octetsUsed(descriptor)
  const { size } = fstatSync(descriptor)
  // What was cut off must not come back as zeros.
  if (used === undefined || size < used) throw new Error('the file was cut short')
  const wanted = used + octets
  if (size < wanted) writeZeros(descriptor, size, (Math.ceil(wanted / STEP) + 1) * STEP - size)
}

function writeZeros(descriptor: number, from: number, length: number): void {
  const zeros = Buffer.alloc(length)
  let written = 0
  // Where there is room for a part, the next write says why there is none for the rest.
  while (written < length) {
    written += writeSync(descriptor, zeros, written, length - written, from + written)
  }
}

/** Of the file system, for whoever is not root. Some tell nothing of themselves. */
export function octetsFreeAt(path: string): number {
  const { bavail, bsize, blocks } = statfsSync(path)
  return blocks === 0 ? Infinity : bavail * bsize
}

/** @throws Error where LMDB would have to make a file, and there is no room for it */
export function assertRoomToBegin(path: string): void {
  // A file that has had its first transaction is longer.
  if (existsSync(`${path}-lock`) && existsSync(path) && statSync(path).size > STEP) return
  const trial = `${path}-trial-${process.pid}`
  try {
    writeFileSync(trial, Buffer.alloc(BEGINNING))
  } finally {
    rmSync(trial, { force: true })
  }
}
