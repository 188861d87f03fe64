/**
 * A small DER encoder for tests: just enough to write any certificate, also ones that no tool would make.
 * It promises minimal lengths and leaves all sense to the caller. It shares nothing with the reader under test.
 */

function length(size: number): Buffer {
  if (size < 0x80) return Buffer.from([size])
  const octets: number[] = []
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256)
  return Buffer.from([0x80 | octets.length, ...octets])
}

/** One element: tag octet, length, content. */
export function element(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  return Buffer.concat([Buffer.from([tag]), length(body.length), body])
}

export const sequence = (...content: readonly Uint8Array[]): Buffer => element(0x30, ...content)
export const set = (...content: readonly Uint8Array[]): Buffer => element(0x31, ...content)
export const octetString = (content: Uint8Array): Buffer => element(0x04, content)
export const boolean = (value: boolean): Buffer => element(0x01, Buffer.from([value ? 0xff : 0x00]))
export const nul = (): Buffer => element(0x05)
export const utf8String = (text: string): Buffer => element(0x0c, Buffer.from(text, 'utf8'))
export const bitString = (content: Uint8Array, unused = 0): Buffer =>
  element(0x03, Buffer.from([unused]), content)

/** A context-specific element, constructed or primitive. */
export const tagged = (
  number: number,
  constructed: boolean,
  ...content: readonly Uint8Array[]
): Buffer => element(0x80 | (constructed ? 0x20 : 0) | number, ...content)

/** A non-negative INTEGER. */
export function integer(value: number | bigint): Buffer {
  let hex = BigInt(value).toString(16)
  if (hex.length % 2 === 1) hex = `0${hex}`
  if (parseInt(hex.slice(0, 2), 16) >= 0x80) hex = `00${hex}`
  return element(0x02, Buffer.from(hex, 'hex'))
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const octets: number[] = []
  for (const arc of [first * 40 + second, ...rest]) {
    const base128 = [arc % 128]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      base128.unshift(0x80 | (left % 128))
    octets.push(...base128)
  }
  return element(0x06, Buffer.from(octets))
}

/** UTCTime to 2049, GeneralizedTime after (RFC 5280 §4.1.2.5). */
export function time(date: Date): Buffer {
  const digits = date
    .toISOString()
    .replace(/[-:T]|\.\d+/g, '')
    .replace('Z', '')
  const year = date.getUTCFullYear()
  if (year >= 1950 && year <= 2049)
    return element(0x17, Buffer.from(`${digits.slice(2)}Z`, 'latin1'))
  return element(0x18, Buffer.from(`${digits}Z`, 'latin1'))
}

/** A BIT STRING of named bits, bit 0 first, trailing zeros removed as DER asks. */
export function namedBits(bits: readonly number[]): Buffer {
  if (bits.length === 0) return bitString(Buffer.alloc(0))
  const highest = Math.max(...bits)
  const octets = Buffer.alloc(Math.floor(highest / 8) + 1)
  for (const bit of bits) {
    const index = Math.floor(bit / 8)
    octets.writeUInt8(octets.readUInt8(index) | (0x80 >> (bit % 8)), index)
  }
  return bitString(octets, 7 - (highest % 8))
}
