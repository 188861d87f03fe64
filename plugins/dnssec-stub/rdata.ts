/**
 * The record types that this resolver is asked for, and the RDATA of SOA (whose MINIMUM tells how long a denial holds,
 * RFC 2308 §5). Each field must fill its RDATA to the last octet. Data that is kept is copied out of the message.
 */
import { ARRAY, BLOCK, OBJECT, ofAscii, VIEW } from '../bounded/octets'
import { Malformed, readName, skipName } from './octets'
import type { MxRecord, RecordData, RecordType, TlsaData } from './types'

/** All that is particular to a record type. Names in RDATA may be compressed, so `octets` is the whole message. */
interface Definition<T extends RecordType> {
  /** IANA's number. */
  readonly code: number
  /** @throws Malformed */
  readonly read: (octets: Buffer, start: number, end: number) => RecordData[T]
  /** The same for a record that is left out: makes nothing of it. */
  readonly check: (octets: Buffer, start: number, end: number) => void
  /** Octets of memory that its data takes, without those of buffers in it. */
  readonly octets: (data: RecordData[T]) => number
  /** The same data with the buffers in it replaced. */
  readonly moved: (data: RecordData[T], move: (buffer: Buffer) => Buffer) => RecordData[T]
}

interface Definite<T extends RecordType> extends Definition<T> {
  readonly known: (octets: Buffer, start: number, end: number) => Known<T>
}

export interface Known<T extends RecordType> {
  readonly type: T
  readonly data: RecordData[T]
}

export type KnownData =
  | { [T in RecordType]: Known<T> }[RecordType]
  /** `data` is MINIMUM, in seconds. */
  | { readonly type: 'SOA'; readonly data: number }

function define<T extends RecordType>(type: T, definition: Definition<T>): Definite<T> {
  const { read } = definition
  return { ...definition, known: (...where) => ({ type, data: read(...where) }) }
}

/** A type that lacks one of these does not compile: a record without a reader would pass for a denial. */
export const RECORD_TYPES: { readonly [T in RecordType]: Definite<T> } = {
  A: define('A', {
    code: 1,
    read(octets, start, end) {
      exactly(end - start, 4, 'A')
      return octets.subarray(start, end).join('.')
    },
    check: (_octets, start, end) => exactly(end - start, 4, 'A'),
    octets: ofAscii,
    moved: itself,
  }),
  AAAA: define('AAAA', {
    code: 28,
    read(octets, start, end) {
      exactly(end - start, 16, 'AAAA')
      return ipv6Text(octets.subarray(start, end))
    },
    check: (_octets, start, end) => exactly(end - start, 16, 'AAAA'),
    octets: ofAscii,
    moved: itself,
  }),
  MX: define('MX', {
    code: 15,
    read: (octets, start, end): MxRecord => ({
      preference: octets.readUInt16BE(start),
      exchange: nameToEnd(octets, start + 2, end, 'MX'),
    }),
    check: (octets, start, end) => exactly(skipName(octets, start + 2), end, 'MX'),
    octets: ({ exchange }) => OBJECT + ofAscii(exchange),
    moved: itself,
  }),
  TXT: define('TXT', {
    code: 16,
    read: characterStrings,
    check: (octets, start, end) => eachString(octets, start, end, () => undefined),
    octets: () => VIEW,
    moved: (data, move) => move(data),
  }),
  CNAME: define('CNAME', {
    code: 5,
    read: (octets, start, end) => nameToEnd(octets, start, end, 'CNAME'),
    check: (octets, start, end) => exactly(skipName(octets, start), end, 'CNAME'),
    octets: ofAscii,
    moved: itself,
  }),
  TLSA: define('TLSA', {
    code: 52,
    read: (octets, start, end) => tlsa(octets.subarray(start, end)),
    // One that is too short is told of, and is no reason to refuse the message.
    check: () => undefined,
    octets: () => OBJECT + VIEW,
    moved: (record, move) => ({ ...record, data: move(record.data) }),
  }),
}

/** Types that are read and not asked for. */
export const NS_CODE = 2
export const SOA_CODE = 6

const BY_CODE: ReadonlyMap<
  number,
  {
    readonly known: (octets: Buffer, start: number, end: number) => KnownData
    readonly check: (octets: Buffer, start: number, end: number) => void
  }
> = new Map(Object.values(RECORD_TYPES).map(({ code, known, check }) => [code, { known, check }]))

/**
 * @param octets the whole message, because names in RDATA may be compressed
 * @returns undefined for a type that this resolver is not asked for
 * @throws Malformed
 */
export function readData(
  octets: Buffer,
  code: number,
  start: number,
  end: number,
): KnownData | undefined {
  if (code === SOA_CODE) return { type: 'SOA', data: soaMinimum(octets, start, end) }
  return BY_CODE.get(code)?.known(octets, start, end)
}

/**
 * The same for a record that is only to be checked: makes nothing of it.
 * @throws Malformed
 */
export function checkData(octets: Buffer, code: number, start: number, end: number): void {
  if (code === SOA_CODE) soaMinimum(octets, start, end)
  else BY_CODE.get(code)?.check(octets, start, end)
}

/** Octets of memory that the records of an answer take when it is kept; see `byThemselves`. */
export function octetsOfRecords<T extends RecordType>(
  type: T,
  records: readonly RecordData[T][],
): number {
  const { octets } = RECORD_TYPES[type]
  const buffers = buffersIn(type, records)
  const ofBuffers = buffers.reduce(
    (sum, { length }) => sum + length,
    buffers.length > 0 ? BLOCK : 0,
  )
  return records.reduce((sum, record) => sum + octets(record), ARRAY + ofBuffers)
}

/** The same records with a block of octets of their own: a few of them would keep all that Node's pool gave out beside them. */
export function byThemselves<T extends RecordType>(
  type: T,
  records: readonly RecordData[T][],
): readonly RecordData[T][] {
  const buffers = buffersIn(type, records)
  if (buffers.length === 0) return records
  const block = Buffer.allocUnsafeSlow(buffers.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  const move = (buffer: Buffer): Buffer => {
    const start = at
    at += buffer.copy(block, at)
    return block.subarray(start, at)
  }
  return records.map((record) => RECORD_TYPES[type].moved(record, move))
}

function buffersIn<T extends RecordType>(
  type: T,
  records: readonly RecordData[T][],
): readonly Buffer[] {
  const buffers: Buffer[] = []
  for (const record of records) {
    RECORD_TYPES[type].moved(record, (buffer) => {
      buffers.push(buffer)
      return buffer
    })
  }
  return buffers
}

function itself<D>(data: D): D {
  return data
}

function nameToEnd(octets: Buffer, start: number, end: number, type: string): string {
  const { name, next } = readName(octets, start)
  exactly(next, end, type)
  return name
}

function characterStrings(octets: Buffer, start: number, end: number): Buffer {
  const strings: Buffer[] = []
  eachString(octets, start, end, (from, to) => strings.push(octets.subarray(from, to)))
  return Buffer.concat(strings)
}

function eachString(
  octets: Buffer,
  start: number,
  end: number,
  take: (from: number, to: number) => unknown,
): void {
  let at = start
  do {
    const to = at < end ? at + 1 + octets.readUInt8(at) : Number.POSITIVE_INFINITY
    if (to > end) throw new Malformed('TXT string longer than its record')
    take(at + 1, to)
    at = to
  } while (at < end)
}

function tlsa(rdata: Buffer): TlsaData {
  const [usage, selector, matchingType] = rdata
  if (usage === undefined || selector === undefined || matchingType === undefined) {
    return {
      malformed: true,
      usage: 255,
      selector: 255,
      matchingType: 255,
      data: Buffer.from(rdata),
    }
  }
  return { malformed: false, usage, selector, matchingType, data: Buffer.from(rdata.subarray(3)) }
}

function soaMinimum(octets: Buffer, start: number, end: number): number {
  const next = skipName(octets, skipName(octets, start))
  exactly(end - next, 20, 'SOA')
  return octets.readUInt32BE(next + 16)
}

function exactly(got: number, wanted: number, type: string): void {
  if (got !== wanted) throw new Malformed(`${type} of wrong length`)
}

/** RFC 5952 §4; IPv4-mapped addresses with their dotted quad (§5). */
export function ipv6Text(octets: Buffer): string {
  const groups: number[] = []
  for (let at = 0; at < 16; at += 2) groups.push(octets.readUInt16BE(at))
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (isMapped) return ['::ffff', octets.subarray(12, 16).join('.')].join(':')

  let best = { start: 0, length: 1 }
  for (let start = 0; start < 8; start++) {
    let length = 0
    while (start + length < 8 && groups[start + length] === 0) length++
    if (length > best.length) best = { start, length }
  }
  const hex = groups.map((group) => group.toString(16))
  if (best.length === 1) return hex.join(':')
  // Joined and not put together: the text is kept, and its pieces would be.
  return [hex.slice(0, best.start).join(':'), hex.slice(best.start + best.length).join(':')].join(
    '::',
  )
}
