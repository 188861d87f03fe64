/** Reads the meta pages of an LMDB file past LMDB, which trusts them. */
import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs'

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

/** @returns what is wrong with an existing file, as far as its size and meta pages tell */
export function whyBroken(path: string): string | undefined {
  // LMDB itself begins with an empty file.
  if (!existsSync(path) || statSync(path).size === 0) return undefined
  const descriptor = openSync(path, 'r')
  try {
    const needed = octetsUsed(descriptor)
    if (needed === undefined) return 'it is no LMDB file of ours'
    // Only now: another worker may be writing, and the file has grown before a meta page says so.
    const { size } = fstatSync(descriptor)
    return size < needed ? `it is cut short: ${size} octets of ${needed}` : undefined
  } finally {
    closeSync(descriptor)
  }
}

/** @returns up to where the last transaction that was committed has pages, or undefined where this is no LMDB file of ours */
export function octetsUsed(descriptor: number): number | undefined {
  const first = readMeta(descriptor, 0)
  const second = first === undefined ? undefined : readMeta(descriptor, first.pageSize)
  // Both are written when the file is made; after that, each transaction overwrites the older one.
  if (first === undefined || second === undefined) return undefined
  const newest = first.transaction < second.transaction ? second : first
  return (newest.lastPage + 1) * newest.pageSize
}

interface Meta {
  readonly pageSize: number
  readonly lastPage: number
  readonly transaction: bigint
}

function readMeta(descriptor: number, offset: number): Meta | undefined {
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
}
