/**
 * The RDATA of the types that this resolver is asked for, and of SOA (whose MINIMUM tells how long a denial holds,
 * RFC 2308 §5). Each field must fill its RDATA to the last octet. What is kept is copied out of the message.
 */
import { Malformed, readName, skipName } from './octets'
import type { MxRecord, RecordType, TlsaData } from './types'

/** IANA's numbers. */
export const TYPE_CODES: Readonly<Record<RecordType | 'SOA' | 'NS', number>> = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  TLSA: 52,
}

export type KnownData =
  | { readonly type: 'A' | 'AAAA' | 'CNAME'; readonly data: string }
  | { readonly type: 'MX'; readonly data: MxRecord }
  | { readonly type: 'TXT'; readonly data: Buffer }
  | { readonly type: 'TLSA'; readonly data: TlsaData }
  /** `data` is MINIMUM, in seconds. */
  | { readonly type: 'SOA'; readonly data: number }

/**
 * @param octets the whole message, because names in RDATA may be compressed
 * @returns undefined for a type that nobody here asks for
 * @throws Malformed
 */
export function readData(
  octets: Buffer,
  code: number,
  start: number,
  end: number,
): KnownData | undefined {
  switch (code) {
    case TYPE_CODES.A:
      exactly(end - start, 4, 'A')
      return { type: 'A', data: octets.subarray(start, end).join('.') }
    case TYPE_CODES.AAAA:
      exactly(end - start, 16, 'AAAA')
      return { type: 'AAAA', data: ipv6Text(octets.subarray(start, end)) }
    case TYPE_CODES.CNAME:
      return { type: 'CNAME', data: nameToEnd(octets, start, end, 'CNAME') }
    case TYPE_CODES.MX:
      return {
        type: 'MX',
        data: {
          preference: octets.readUInt16BE(start),
          exchange: nameToEnd(octets, start + 2, end, 'MX'),
        },
      }
    case TYPE_CODES.TXT:
      return { type: 'TXT', data: characterStrings(octets, start, end) }
    case TYPE_CODES.TLSA:
      return { type: 'TLSA', data: tlsa(octets.subarray(start, end)) }
    case TYPE_CODES.SOA:
      return { type: 'SOA', data: soaMinimum(octets, start, end) }
    default:
      return undefined
  }
}

/**
 * The same for a record that is only to be checked: makes nothing of it.
 * @throws Malformed
 */
export function checkData(octets: Buffer, code: number, start: number, end: number): void {
  switch (code) {
    case TYPE_CODES.A:
      return exactly(end - start, 4, 'A')
    case TYPE_CODES.AAAA:
      return exactly(end - start, 16, 'AAAA')
    case TYPE_CODES.CNAME:
      return exactly(skipName(octets, start), end, 'CNAME')
    case TYPE_CODES.MX:
      return exactly(skipName(octets, start + 2), end, 'MX')
    case TYPE_CODES.TXT:
      eachString(octets, start, end, () => undefined)
      return
    case TYPE_CODES.SOA:
      soaMinimum(octets, start, end)
  }
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
