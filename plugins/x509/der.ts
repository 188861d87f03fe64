/**
 * A reader of DER (ITU-T X.690) for the few structures that node:crypto does not give.
 *
 * Promises: never throws, never reads past what it was given, and takes only DER: definite, minimal lengths, one-octet tags,
 * content that its elements fill exactly. Everything else is `undefined`, and who asks must treat that as a refusal. Pure.
 */

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const

export interface Element {
  /** The identifier octet, class and constructed bit included. */
  readonly tag: number
  readonly content: Buffer
  /** Identifier, length and content. */
  readonly whole: Buffer
}

/**
 * Most structures have a dozen parts in one level, and each takes a microsecond or two: a hostile one ends here. Lists of names may
 * be longer; who reads one says so.
 */
const MOST_ELEMENTS = 128

/** The element that starts at `start`, whatever follows it. */
function elementAt(bytes: Buffer, start: number): Element | undefined {
  const tag = bytes[start]
  const first = bytes[start + 1]
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined
  if (first < 0x80) return slice(bytes, start, start + 2, first)
  const octets = first & 0x7f
  if (octets === 0 || octets > 4 || bytes.length < start + 2 + octets) return undefined
  const size = bytes.readUIntBE(start + 2, octets)
  const minimal = octets === 1 ? 0x80 : 2 ** (8 * (octets - 1))
  return size < minimal ? undefined : slice(bytes, start, start + 2 + octets, size)
}

function slice(bytes: Buffer, start: number, from: number, size: number): Element | undefined {
  const end = from + size
  if (end > bytes.length) return undefined
  return {
    tag: bytes.readUInt8(start),
    content: bytes.subarray(from, end),
    whole: bytes.subarray(start, end),
  }
}

/** Reads one element that fills `bytes` exactly, of the given tag. */
export function readElement(bytes: Buffer, tag: number): Element | undefined {
  const element = elementAt(bytes, 0)
  return element?.tag === tag && element.whole.length === bytes.length ? element : undefined
}

/** Reads a row of elements that fills `bytes` exactly; empty for no octets, undefined where there are more than `most`. */
export function readElements(bytes: Buffer, most = MOST_ELEMENTS): Element[] | undefined {
  const elements: Element[] = []
  for (let at = 0; at < bytes.length;) {
    const element = elements.length === most ? undefined : elementAt(bytes, at)
    if (element === undefined) return undefined
    elements.push(element)
    at += element.whole.length
  }
  return elements
}

/** The parts of a SEQUENCE that fills `bytes` exactly. */
export function readSequence(bytes: Buffer, most = MOST_ELEMENTS): Element[] | undefined {
  const element = readElement(bytes, TAG.sequence)
  return element && readElements(element.content, most)
}

/** A BOOLEAN; DER knows only 00 and FF. */
export function readBoolean(element: Element): boolean | undefined {
  if (element.tag !== TAG.boolean || element.content.length !== 1) return undefined
  const [octet] = element.content
  if (octet === 0xff) return true
  return octet === 0x00 ? false : undefined
}

/** A non-negative INTEGER below 2^31, in the fewest octets. */
export function readSmallInteger(element: Element): number | undefined {
  const { tag, content } = element
  if (tag !== TAG.integer || content.length === 0 || content.length > 4) return undefined
  const value = content.readIntBE(0, content.length)
  const padded = content.length > 1 && content[0] === 0 && content.readUInt8(1) < 0x80
  return value < 0 || padded ? undefined : value
}

/** A BIT STRING of at most 16 named bits; bit 0 is the lowest bit of the result. */
export function readNamedBits(element: Element): number | undefined {
  const { tag, content } = element
  const unused = content[0]
  if (tag !== TAG.bitString || unused === undefined || content.length > 3) return undefined
  if (unused > 7 || (content.length === 1 && unused !== 0)) return undefined
  let bits = 0
  for (let bit = 0; bit < (content.length - 1) * 8 - unused; bit++) {
    if ((content.readUInt8(1 + (bit >> 3)) & (0x80 >> (bit & 7))) !== 0) bits |= 1 << bit
  }
  return bits
}

/** UTCTime or GeneralizedTime as RFC 5280 §4.1.2.5 allows them: seconds present, Zulu, no fraction. Milliseconds since the epoch. */
export function readTime(element: Element): number | undefined {
  const text = element.content.toString('latin1')
  if (element.tag === TAG.utcTime && /^\d{12}Z$/.test(text)) {
    return dateOf((Number(text.slice(0, 2)) >= 50 ? '19' : '20') + text)
  }
  return element.tag === TAG.generalizedTime && /^\d{14}Z$/.test(text) ? dateOf(text) : undefined
}

function dateOf(text: string): number | undefined {
  const part = (from: number, to: number) => Number(text.slice(from, to))
  const [year, month, day] = [part(0, 4), part(4, 6), part(6, 8)]
  const date = new Date(0)
  date.setUTCFullYear(year, month - 1, day)
  date.setUTCHours(part(8, 10), part(10, 12), part(12, 14))
  const same =
    date.getUTCFullYear() === year &&
    date.getUTCMonth() === month - 1 &&
    date.getUTCDate() === day &&
    date.getUTCHours() === part(8, 10) &&
    date.getUTCMinutes() === part(10, 12) &&
    date.getUTCSeconds() === part(12, 14)
  return same ? date.getTime() : undefined
}
