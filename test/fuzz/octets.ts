/**
 * Damage to octets: what happens on bad lines, and what attackers do on purpose. The fields that speak of lengths and counts can be
 * named, because random damage seldom finds them.
 */
import type { Random } from './random'

/** An unsigned big-endian field. */
export interface Field {
  readonly at: number
  readonly size: 1 | 2 | 4
}

/** Where a part begins and ends, so that whole parts can be taken out, doubled and moved. */
export interface Part {
  readonly start: number
  readonly end: number
}

export interface Marked {
  readonly octets: Buffer
  /** Lengths, counts, offsets. */
  readonly fields: readonly Field[]
  readonly parts: readonly Part[]
}

export function unmarked(octets: Buffer): Marked {
  return { octets, fields: [], parts: [] }
}

/** Octets that mean something in most formats. */
const TELLING = [
  0, 1, 0x0a, 0x0d, 0x20, 0x2a, 0x2e, 0x30, 0x3f, 0x7f, 0x80, 0xc0, 0xfe, 0xff,
] as const

type Damage = (random: Random, marked: Marked) => Buffer

const lie: Damage = (random, { octets, fields }) => {
  const field = fields[random.below(Math.max(fields.length, 1))]
  if (field === undefined || field.at + field.size > octets.length)
    return flip(random, { octets, fields, parts: [] })
  const changed = Buffer.from(octets)
  const truth = changed.readUIntBE(field.at, field.size)
  const limit = 2 ** (8 * field.size)
  const value = random.pick([
    0,
    1,
    truth + 1,
    truth - 1,
    truth * 2,
    limit - 1,
    limit / 2,
    octets.length,
    random.below(limit),
  ])
  changed.writeUIntBE(((value % limit) + limit) % limit, field.at, field.size)
  return changed
}

const flip: Damage = (random, { octets }) => {
  if (octets.length === 0) return octets
  const changed = Buffer.from(octets)
  const at = random.below(octets.length)
  changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8))
  return changed
}

const overwrite: Damage = (random, { octets }) => {
  if (octets.length === 0) return octets
  const changed = Buffer.from(octets)
  changed[random.below(octets.length)] = random.percent(50)
    ? random.pick(TELLING)
    : random.below(256)
  return changed
}

const truncate: Damage = (random, { octets }) => octets.subarray(0, random.below(octets.length + 1))

const insert: Damage = (random, { octets }) => {
  const at = random.below(octets.length + 1)
  const size = 1 + random.below(random.percent(10) ? 300 : 4)
  const put = random.percent(50) ? random.octets(size) : Buffer.alloc(size, random.pick(TELLING))
  return Buffer.concat([octets.subarray(0, at), put, octets.subarray(at)])
}

const remove: Damage = (random, marked) => {
  const { start, end } = somePart(random, marked)
  return Buffer.concat([marked.octets.subarray(0, start), marked.octets.subarray(end)])
}

const double: Damage = (random, marked) => {
  const { start, end } = somePart(random, marked)
  return Buffer.concat([marked.octets.subarray(0, end), marked.octets.subarray(start)])
}

const move: Damage = (random, marked) => {
  const { octets } = marked
  const { start, end } = somePart(random, marked)
  const rest = Buffer.concat([octets.subarray(0, start), octets.subarray(end)])
  const at = random.below(rest.length + 1)
  return Buffer.concat([rest.subarray(0, at), octets.subarray(start, end), rest.subarray(at)])
}

function somePart(random: Random, { octets, parts }: Marked): Part {
  const part = parts[random.below(Math.max(parts.length, 1))]
  if (part !== undefined && random.percent(70)) return part
  const start = random.below(octets.length + 1)
  return { start, end: Math.min(octets.length, start + random.below(40)) }
}

const DAMAGES = [
  lie,
  lie,
  lie,
  flip,
  flip,
  overwrite,
  overwrite,
  truncate,
  insert,
  remove,
  double,
  move,
] as const

/** Damages once, or a few times over; fields and parts are those of the whole, and only roughly so after the first time. */
export function damage(random: Random, marked: Marked): Buffer {
  let { octets } = marked
  for (let times = 1 + random.below(random.percent(70) ? 1 : 5); times > 0; times--) {
    octets = random.pick(DAMAGES)(random, { ...marked, octets })
  }
  return Buffer.from(octets)
}

/** The beginning of one and the end of another. */
export function splice(random: Random, one: Buffer, other: Buffer): Buffer {
  return Buffer.concat([
    one.subarray(0, random.below(one.length + 1)),
    other.subarray(random.below(other.length + 1)),
  ])
}

/** In pieces, as a network may deliver them. */
export function cut(random: Random, octets: Buffer): Buffer[] {
  const pieces: Buffer[] = []
  for (let rest = octets; rest.length > 0;) {
    const size = random.percent(30) ? 1 + random.below(4) : 1 + random.below(rest.length)
    pieces.push(rest.subarray(0, size))
    rest = rest.subarray(size)
  }
  return pieces
}
