/**
 * Reading octets of a DNS message within their bounds: the one exception of this room's decoding, and names
 * (RFC 1035 §4.1.4). A name ends, whatever its compression pointers say: each must lead to before the segment it
 * stands in and not into the header, and the whole is at most 255 octets.
 */
import { labelText } from './names'

const MAX_NAME_OCTETS = 255
export const HEADER_LENGTH = 12
/** The least first octet of a pointer. */
const POINTER = 0xc0

/** Says what does not add up. Thrown and caught within the decoding; never leaves it. */
export class Malformed extends Error {}

/**
 * @param from where the name starts
 * @returns the name, and where the octets after it start
 */
export function readName(octets: Buffer, from: number): { name: string; next: number } {
  const labels: string[] = []
  const next = walkName(octets, from, (start, end) => {
    labels.push(labelText(octets.subarray(start, end)))
  })
  return { name: labels.join('.'), next }
}

/** The same for a name that is only to be checked. */
export function skipName(octets: Buffer, from: number): number {
  return walkName(octets, from, () => undefined)
}

/** @returns where the octets after the name start */
function walkName(
  octets: Buffer,
  from: number,
  label: (start: number, end: number) => void,
): number {
  let at = from
  let segmentStart = from
  let next: number | undefined
  let length = 1
  for (;;) {
    need(octets, at, 1)
    const lead = octets.readUInt8(at)
    if (lead === 0) return next ?? at + 1
    if (lead >= POINTER) {
      const target = pointerAt(octets, at)
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
    label(at + 1, at + 1 + lead)
    at += lead + 1
  }
}

/**
 * Reads names that begin where others began, as owners of a reply do, once: thousands of records with one owner name it by the
 * same pointer, and that they lead backwards was seen at the first. To be called from front to back.
 */
export function nameReader(octets: Buffer): (from: number) => { name: string; next: number } {
  const known = new Map<number, string>()
  return (from) => {
    const isPointer = (octets[from] ?? 0) >= POINTER
    const target = isPointer ? pointerAt(octets, from) : from
    const name = isPointer ? known.get(target) : undefined
    if (name !== undefined) return { name, next: from + 2 }
    const read = readName(octets, from)
    known.set(target, read.name)
    return read
  }
}

/** Where the first label stands of a name that was checked. */
export function endOfPointers(octets: Buffer, from: number): number {
  let at = from
  while ((octets[at] ?? 0) >= POINTER) at = pointerAt(octets, at)
  return at
}

function pointerAt(octets: Buffer, at: number): number {
  need(octets, at, 2)
  return octets.readUInt16BE(at) & 0x3fff
}

/** @throws Malformed unless `count` octets are there. */
export function need(octets: Buffer, from: number, count: number): void {
  if (from + count > octets.length) throw new Malformed('cut short')
}
