/**
 * Reading octets of a DNS message within their bounds: the one exception of this room's decoding, and names
 * (RFC 1035 §4.1.4). A name ends, whatever its compression pointers say: each must lead to before the segment it
 * stands in and not into the header, and the whole is at most 255 octets.
 */
import { labelText } from './names'

const MAX_NAME_OCTETS = 255
export const HEADER_LENGTH = 12

/** Says what does not add up. Thrown and caught within the decoding; never leaves it. */
export class Malformed extends Error {}

/**
 * @param from where the name starts
 * @returns the name, and where the octets after it start
 */
export function readName(octets: Buffer, from: number): { name: string; next: number } {
  const labels: string[] = []
  let at = from
  let segmentStart = from
  let next: number | undefined
  let length = 1
  for (;;) {
    need(octets, at, 1)
    const lead = octets.readUInt8(at)
    if (lead === 0) return { name: labels.join('.'), next: next ?? at + 1 }
    if (lead >= 0xc0) {
      need(octets, at, 2)
      const target = octets.readUInt16BE(at) & 0x3fff
      if (target >= segmentStart) throw new Malformed('compression pointer that leads forward')
      if (target < HEADER_LENGTH) throw new Malformed('compression pointer into the header')
      next ??= at + 2
      at = target
      segmentStart = target
      continue
    }
    if (lead > 63) throw new Malformed('label of unknown kind')
    need(octets, at + 1, lead)
    length += lead + 1
    if (length > MAX_NAME_OCTETS) throw new Malformed('name over 255 octets')
    labels.push(labelText(octets.subarray(at + 1, at + 1 + lead)))
    at += lead + 1
  }
}

/** @throws Malformed unless `count` octets are there. */
export function need(octets: Buffer, from: number, count: number): void {
  if (from + count > octets.length) throw new Malformed('cut short')
}
