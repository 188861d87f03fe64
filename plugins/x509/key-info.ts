/**
 * The SubjectPublicKeyInfo of a certificate, found as leniently as OpenSSL finds it: a DANE-EE record of selector 1 speaks of the
 * key alone (RFC 7671 §5.1), and the peer that completed a handshake with that key has proved to hold it, whatever else its
 * certificate says of version, dates, names or extensions, and in whatever form of BER.
 *
 * Promises: the octets that OpenSSL digests, which writes the key anew in DER (RFC 6698 §2.1.2). Never throws, never reads past
 * what it was given. Pure. For names and validity certificate.ts reads, and is strict.
 */
import { readSequence, TAG } from './der'

interface Part {
  readonly tag: number
  readonly content: Buffer
  readonly whole: Buffer
}

const END_OF_CONTENTS = 0x00
/** Elements of indefinite length inside each other; certificates in use have none at all. */
const DEEPEST = 8
/** A certificate's fields before the extensions, and far more than it has. */
const MOST_PARTS = 32
/** version, serial number, signature, issuer, validity and subject stand before it (RFC 5280 §4.1). */
const PARTS_BEFORE = 5
const VERSION = 0xa0

/** @param certificate whole, as it was sent */
export function sliceKeyInfo(certificate: Buffer): Buffer | undefined {
  const [outer] = readParts(certificate, 1)
  const [tbs] = outer?.tag === TAG.sequence ? readParts(outer.content, 1) : []
  const parts = tbs?.tag === TAG.sequence ? readParts(tbs.content, MOST_PARTS) : []
  const info = parts[parts[0]?.tag === VERSION ? PARTS_BEFORE + 1 : PARTS_BEFORE]
  return info?.tag === TAG.sequence ? inDer(info) : undefined
}

/** Algorithm and key with lengths as DER has them; parameters stay as they are, since OpenSSL does not look into them. */
function inDer(info: Part): Buffer | undefined {
  const [algorithm, key, surplus] = readParts(info.content, 3)
  if (algorithm?.tag !== TAG.sequence || key?.tag !== TAG.bitString || surplus !== undefined)
    return undefined
  const [identifier, parameters, more] = readParts(algorithm.content, 3)
  if (identifier?.tag !== TAG.objectIdentifier || more !== undefined) return undefined
  if (readSequence(info.whole) !== undefined && readSequence(algorithm.whole) !== undefined)
    return info.whole
  return write(
    TAG.sequence,
    write(
      TAG.sequence,
      write(identifier.tag, identifier.content),
      parameters === undefined ? Buffer.alloc(0) : asAny(parameters),
    ),
    write(key.tag, key.content),
  )
}

/** A constructed value is kept whole, a primitive one is written anew. */
function asAny({ tag, content, whole }: Part): Buffer {
  return (tag & 0x20) === 0 ? write(tag, content) : whole
}

function write(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content)
  const size = body.length
  if (size < 0x80) return Buffer.concat([Buffer.from([tag, size]), body])
  const octets = size < 0x100 ? 1 : size < 0x10000 ? 2 : 3
  const head = Buffer.alloc(2 + octets)
  head.writeUInt8(tag, 0)
  head.writeUInt8(0x80 | octets, 1)
  head.writeUIntBE(size, 2, octets)
  return Buffer.concat([head, body])
}

/** Up to `most` elements from the start of `bytes`; fewer where it ends, or where the next is none. */
function readParts(bytes: Buffer, most: number): Part[] {
  const parts: Part[] = []
  for (let rest = bytes; rest.length > 0 && parts.length < most;) {
    const part = readPart(rest)
    if (part === undefined || part.tag === END_OF_CONTENTS) break
    parts.push(part)
    rest = rest.subarray(part.whole.length)
  }
  return parts
}

function readPart(bytes: Buffer): Part | undefined {
  const extent = measure(bytes, 0, DEEPEST)
  return (
    extent && {
      tag: bytes.readUInt8(0),
      content: bytes.subarray(extent.from, extent.to),
      whole: bytes.subarray(0, extent.end),
    }
  )
}

interface Extent {
  /** Of the content. */
  readonly from: number
  readonly to: number
  /** Of the element. */
  readonly end: number
}

function measure(bytes: Buffer, start: number, depth: number): Extent | undefined {
  const tag = bytes[start]
  const first = bytes[start + 1]
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return undefined
  if (first === 0x80) {
    return (tag & 0x20) === 0 || depth === 0 ? undefined : measureOpen(bytes, start + 2, depth)
  }
  const octets = first < 0x80 ? 0 : first & 0x7f
  if (octets > 6 || bytes.length < start + 2 + octets) return undefined
  const from = start + 2 + octets
  const to = from + (octets === 0 ? first : bytes.readUIntBE(start + 2, octets))
  return to > bytes.length ? undefined : { from, to, end: to }
}

/** A constructed element of open length ends with two zero octets in place of a part. */
function measureOpen(bytes: Buffer, from: number, depth: number): Extent | undefined {
  for (let at = from; at + 1 < bytes.length;) {
    if (bytes[at] === END_OF_CONTENTS && bytes[at + 1] === 0) return { from, to: at, end: at + 2 }
    const part = measure(bytes, at, depth - 1)
    if (part === undefined) return undefined
    at = part.end
  }
  return undefined
}
