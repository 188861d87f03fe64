/**
 * Does a proven denial say "no such name" where it only proves "no such records"? No signature covers the rcode, so
 * an attacker on the path can swap the two, and "no such name" makes mail bounce. A validator that answers over a
 * trusted path has looked at this itself; where getdns validates, it is looked at here (RFC 4035 §5.4, RFC 5155 §8).
 */
import { createHash } from 'node:crypto'
import { isWithin } from './names'
import { Malformed, readName } from './octets'
import type { Message, ResourceRecord } from './wire'

const TYPE_NSEC = 47
const TYPE_NSEC3 = 50
/** RFC 9276 §3.2: zones with more are taken for insecure by every validator. */
const MAX_ITERATIONS = 500
/**
 * Rounds of SHA-1 for one reply, a few milliseconds: a zone's records share salt and iterations, and a name of ten labels
 * passes with the most iterations. A zone made to burn time must not hold up everybody's mail (RFC 5155 §12.3).
 */
const MAX_ROUNDS = 6_000
const BASE32HEX = '0123456789abcdefghijklmnopqrstuv'

/**
 * @param message a validated reply
 * @param name the last name of its alias chain
 * @returns true where an NSEC or NSEC3 record of the reply shows that the name, or a wildcard for it, exists; also where
 *   that cannot be told
 */
export function provesExistence(message: Message, name: string): boolean {
  if (name.includes('\\')) return true
  const names = namesThatWouldAnswer(name)
  const hash = nsec3Hasher()
  try {
    return message.authorities.some(
      (record) => record.type === 'other' && contradicts(record, name, names, hash),
    )
  } catch (error: unknown) {
    if (error instanceof Malformed || error instanceof RangeError) return true
    throw error
  }
}

type Other = Extract<ResourceRecord, { type: 'other' }>

/** @param names the name itself, and the wildcards that could stand for it */
function contradicts(
  record: Other,
  name: string,
  names: readonly string[],
  hashOf: Nsec3Hash,
): boolean {
  if (record.code === TYPE_NSEC) {
    const { name: next } = readName(record.rdata, 0)
    const isEmptyNonTerminal = next !== name && isWithin(next, name)
    return isEmptyNonTerminal || names.includes(record.name)
  }
  if (record.code === TYPE_NSEC3) {
    const iterations = record.rdata.readUInt16BE(2)
    if (iterations > MAX_ITERATIONS) return true
    const salt = record.rdata.subarray(5, 5 + record.rdata.readUInt8(4))
    const [hash] = record.name.split('.', 1)
    const zone = record.name.slice((hash ?? '').length + 1)
    return names
      .filter((one) => isWithin(one, zone))
      .some((one) => hashOf(one, salt, iterations) === hash)
  }
  return false
}

/** The name itself, and the wildcards that could stand for it. */
function namesThatWouldAnswer(name: string): string[] {
  const labels = name.split('.')
  return [name, ...labels.map((_, n) => ['*', ...labels.slice(n + 1)].join('.'))]
}

type Nsec3Hash = (name: string, salt: Buffer, iterations: number) => string

/** Hashes each name once for the same salt and iterations, and so many rounds in all; past them it throws Malformed. */
function nsec3Hasher(): Nsec3Hash {
  const known = new Map<string, string>()
  let roundsLeft = MAX_ROUNDS
  return (name, salt, iterations) => {
    const key = `${iterations} ${salt.toString('hex')} ${name}`
    const kept = known.get(key)
    if (kept !== undefined) return kept
    roundsLeft -= iterations + 1
    if (roundsLeft < 0) throw new Malformed('too many rounds of hashing')
    const hash = nsec3Hash(name, salt, iterations)
    known.set(key, hash)
    return hash
  }
}

/** RFC 5155 §5, as base32hex text. */
function nsec3Hash(name: string, salt: Buffer, iterations: number): string {
  const labels = name === '' ? [] : name.split('.')
  const parts = labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)]))
  let digest = Buffer.concat([...parts, Buffer.from([0])])
  for (let round = 0; round <= iterations; round++) {
    digest = createHash('sha1').update(digest).update(salt).digest()
  }
  let text = ''
  for (let bit = 0; bit < 160; bit += 5) {
    const pair = digest.readUInt8(bit >> 3) * 256 + (digest[(bit >> 3) + 1] ?? 0)
    text += BASE32HEX.charAt((pair >> (11 - (bit & 7))) & 31)
  }
  return text
}
