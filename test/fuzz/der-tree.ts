/**
 * DER as a tree, to damage certificates where it matters: parts taken out, doubled, exchanged or given another tag, with the lengths
 * around them put right again, so that the damage is found by who reads the part and not by who reads the whole.
 */
import { element } from '../support/certificates-der'
import { damage, unmarked, type Field, type Marked, type Part } from './octets'
import type { Random } from './random'

interface Node {
  tag: number
  /** Of a constructed element, or of a string that holds DER. */
  children: Node[] | undefined
  /** What stands before the children of a BIT STRING: its count of unused bits. */
  content: Buffer
}

const OCTET_STRING = 0x04
const DEEPEST = 20

/** Undefined for octets that are no row of elements. */
function grow(octets: Buffer, depth = 0): Node[] | undefined {
  const nodes: Node[] = []
  for (let at = 0; at < octets.length;) {
    const tag = octets[at]
    const header = readHeader(octets, at)
    if (tag === undefined || header === undefined) return undefined
    const content = octets.subarray(header.start, header.end)
    const mayHold = ((tag & 0x20) !== 0 || tag === OCTET_STRING) && depth < DEEPEST
    nodes.push({ tag, content, children: mayHold ? grow(content, depth + 1) : undefined })
    at = header.end
  }
  return nodes
}

function readHeader(octets: Buffer, at: number): { start: number; end: number } | undefined {
  const first = octets[at + 1]
  if (first === undefined) return undefined
  const more = first < 0x80 ? 0 : first & 0x7f
  const start = at + 2 + more
  if (more > 4 || (first >= 0x80 && more === 0) || start > octets.length) return undefined
  const end = start + (more === 0 ? first : octets.readUIntBE(at + 2, more))
  return end <= octets.length ? { start, end } : undefined
}

function write(node: Node): Buffer {
  return element(
    node.tag,
    node.children === undefined ? node.content : Buffer.concat(node.children.map(write)),
  )
}

/** Every list of siblings in the tree. */
function families(nodes: Node[]): Node[][] {
  return [
    nodes,
    ...nodes.flatMap(({ children }) => (children === undefined ? [] : families(children))),
  ]
}

const TAGS = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16, 0x17, 0x18, 0x1e, 0x30, 0x31, 0x80, 0x81, 0x82, 0x84, 0x86, 0x87, 0xa0, 0xa1, 0xa3, 0xa4] as const // prettier-ignore
const MOST_COPIES = 400

/** Damages the tree once or a few times; lengths are right afterwards. */
export function damageTree(random: Random, der: Buffer): Buffer {
  const nodes = grow(der)
  if (nodes === undefined) return damage(random, unmarked(der))
  for (let times = 1 + random.below(random.percent(70) ? 1 : 4); times > 0; times--) {
    const family = families(nodes)[random.below(families(nodes).length)] ?? nodes
    const at = random.below(Math.max(family.length, 1))
    const node = family[at]
    if (node === undefined) continue
    switch (random.below(8)) {
      case 0:
        family.splice(at, 1)
        break
      case 1:
        family.splice(
          at,
          0,
          ...Array.from({ length: random.percent(90) ? 1 : random.below(MOST_COPIES) }, () => node),
        )
        break
      case 2:
        node.tag = random.percent(80) ? random.pick(TAGS) : random.below(256)
        break
      case 3:
        family.reverse()
        break
      case 4: {
        const others = families(nodes)
        const other = others[random.below(others.length)] ?? []
        family.splice(at, 1, ...copy(other.slice(0, 3)))
        break
      }
      default:
        node.content = damage(
          random,
          unmarked(node.children === undefined ? node.content : write(node)),
        )
        node.children = undefined
    }
  }
  return Buffer.concat(nodes.map(write))
}

/** No part may come to stand within itself. */
function copy(nodes: readonly Node[]): Node[] {
  return nodes.map((node) => ({ ...node, children: node.children && copy(node.children) }))
}

/** The octets with all their lengths marked. */
export function markDer(der: Buffer): Marked {
  const fields: Field[] = []
  const parts: Part[] = []
  const mark = (octets: Buffer, base: number, depth: number): void => {
    for (let at = 0; at < octets.length;) {
      const header = readHeader(octets, at)
      if (header === undefined) return
      const lengthOctets = header.start - at - 1
      fields.push({
        at: base + at + (lengthOctets === 1 ? 1 : 2),
        size: lengthOctets === 3 ? 2 : 1,
      })
      parts.push({ start: base + at, end: base + header.end })
      const tag = octets[at] ?? 0
      if (((tag & 0x20) !== 0 || tag === OCTET_STRING) && depth < DEEPEST)
        mark(octets.subarray(header.start, header.end), base + header.start, depth + 1)
      at = header.end
    }
  }
  mark(der, 0, 0)
  return { octets: der, fields, parts }
}

/** The parts of a SEQUENCE, each whole; empty for anything else. */
export function partsOf(der: Buffer): Buffer[] {
  const [sequence, surplus] = grow(der) ?? []
  return surplus === undefined ? (sequence?.children ?? []).map(write) : []
}
