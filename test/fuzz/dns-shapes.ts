/**
 * DNS messages to damage: replies as servers send them, and ones that no server would send, with their counts, lengths and pointers
 * marked. Written by hand, so that nothing of the reader under test is used to make its input.
 */
import type { Field, Marked, Part } from './octets'
import type { Random } from './random'

export const TYPES = { A: 1, AAAA: 28, MX: 15, TXT: 16, CNAME: 5, TLSA: 52 } as const

const LONG_NAME = Array<string>(126).fill('a').join('.')

/** A small world, so that owners, aliases and questions meet. */
export const NAMES = [
  'host.test',
  'HOST.test',
  'a.host.test',
  'mx1.rcpt.test',
  '_25._tcp.mx1.rcpt.test',
  '*.test',
  'test',
  '',
  LONG_NAME,
  `${'x'.repeat(63)}.test`,
  '\u0000\u0007.\u00ff \\.test',
] as const

class Writer {
  readonly fields: Field[] = []
  readonly parts: Part[] = []
  readonly #pieces: Buffer[] = []
  readonly #names = new Map<string, number>()
  length = 0
  /** One record has an octet in its RDATA that does not belong there. */
  isOverfull = false

  constructor(
    readonly random: Random,
    public mayOverfill: boolean,
  ) {}

  put(octets: Buffer): void {
    this.#pieces.push(octets)
    this.length += octets.length
  }

  number(value: number, size: 1 | 2 | 4, isField = false): void {
    const octets = Buffer.alloc(size)
    octets.writeUIntBE(value, 0, size)
    if (isField) this.fields.push({ at: this.length, size })
    this.put(octets)
  }

  /** With compression, mostly. */
  name(text: string): void {
    const labels = text === '' ? [] : text.split('.')
    for (let at = 0; at < labels.length; at++) {
      const rest = labels.slice(at).join('.')
      const known = this.#names.get(rest)
      if (known !== undefined && this.random.percent(80)) {
        this.number(0xc000 | known, 2, true)
        return
      }
      if (this.length < 0x3fff) this.#names.set(rest, this.length)
      const label = Buffer.from(labels[at] ?? '', 'latin1')
      this.number(label.length, 1, true)
      this.put(label)
    }
    this.number(0, 1, true)
  }

  /** What `write` writes, behind its length in two octets. */
  counted(write: () => void): void {
    const at = this.#pieces.length
    this.number(0, 2, true)
    const start = this.length
    write()
    this.#pieces[at]?.writeUInt16BE(Math.min(this.length - start, 0xffff))
  }

  part(write: () => void): void {
    const start = this.length
    write()
    this.parts.push({ start, end: this.length })
  }

  octets(): Buffer {
    return Buffer.concat(this.#pieces)
  }
}

const TTLS = [0, 1, 300, 86_400, 0x7fffffff, 0x80000000, 0xffffffff] as const
/** Types whose RDATA ends where their fields end, and never with an octet more. */
const FILLED: ReadonlySet<number> = new Set([1, 28, 5, 15, 6])
const RECORD_TYPES = [1, 28, 5, 5, 15, 16, 52, 6, 2, 47, 50, 46, 41, 99] as const

function record(writer: Writer, owner: string, type: number, write: () => void): void {
  const { random } = writer
  writer.part(() => {
    writer.name(owner)
    writer.number(type, 2)
    writer.number(writer.mayOverfill || random.percent(97) ? 1 : random.pick([0, 3, 254, 255]), 2)
    writer.number(random.pick(TTLS), 4)
    writer.counted(() => {
      write()
      if (!writer.mayOverfill || writer.isOverfull || !FILLED.has(type)) return
      writer.put(random.octets(1))
      writer.isOverfull = true
    })
  })
}

function anyRecord(writer: Writer, type: number): void {
  const { random } = writer
  record(writer, random.pick(NAMES), type, () => rdata(writer, type))
}

function rdata(writer: Writer, type: number): void {
  const { random } = writer
  switch (type) {
    case 1:
      return writer.put(random.octets(4))
    case 28:
      return writer.put(random.percent(30) ? Buffer.alloc(16, random.octets(2)) : random.octets(16))
    case 2:
    case 5:
      return writer.name(random.pick(NAMES))
    case 15:
      writer.number(random.below(65536), 2)
      return writer.name(random.pick(NAMES))
    case 16:
      return strings(writer)
    case 52:
      return writer.put(tlsaRdata(random))
    case 6:
      writer.name(random.pick(NAMES))
      writer.name(random.pick(NAMES))
      for (let numbers = 0; numbers < 5; numbers++) writer.number(random.pick(TTLS), 4)
      return
    case 47:
      writer.name(random.pick(NAMES))
      return writer.put(Buffer.from([0, 1, 0x40]))
    case 50:
      return nsec3(writer)
    default:
      return writer.put(random.octets(random.below(60)))
  }
}

function strings(writer: Writer): void {
  const { random } = writer
  for (let count = 1 + random.below(4); count > 0; count--) {
    const text = random.percent(50)
      ? Buffer.from('v=STSv1; id=1;')
      : random.octets(random.below(256))
    writer.number(text.length, 1, true)
    writer.put(text)
  }
}

/** Sometimes shorter than its three fixed octets. */
export function tlsaRdata(random: Random): Buffer {
  const head = [
    random.pick([0, 1, 2, 2, 3, 3, 3, 4, 255]),
    random.pick([0, 0, 1, 1, 2, 255]),
    random.pick([0, 1, 1, 2, 2, 3, 255]),
  ]
  const size = random.pick([0, 1, 31, 32, 32, 33, 63, 64, 64, 65, 200])
  const whole = Buffer.concat([Buffer.from(head), random.octets(size)])
  return random.percent(5) ? whole.subarray(0, random.below(3)) : whole
}

function nsec3(writer: Writer): void {
  const { random } = writer
  writer.number(1, 1)
  writer.number(random.below(2), 1)
  writer.number(random.pick([0, 1, 10, 150, 500, 501, 65535]), 2, true)
  const salt = random.octets(random.pick([0, 0, 8, 255]))
  writer.number(salt.length, 1, true)
  writer.put(salt)
  writer.number(20, 1, true)
  writer.put(random.octets(20))
  writer.put(Buffer.from([0, 1, 0x40]))
}

function opt(writer: Writer): void {
  const { random } = writer
  writer.part(() => {
    writer.number(0, 1)
    writer.number(41, 2)
    writer.number(1232, 2)
    writer.number(random.percent(90) ? 0x8000 : random.below(2 ** 32), 4)
    writer.counted(() => {
      for (let options = random.below(3); options > 0; options--) {
        writer.number(random.pick([15, 15, 3, 10]), 2)
        writer.counted(() => {
          writer.number(random.below(30), 2)
          writer.put(
            random.percent(70) ? Buffer.from('signature expired') : random.octets(random.below(80)),
          )
        })
      }
    })
  })
}

/** A reply to a question of the small world, as the AD bit, rcode and records happen to fall. */
export function reply(
  random: Random,
  question: { readonly name: string; readonly type: number },
  mayOverfill = false,
): Marked & { readonly isOverfull: boolean } {
  const writer = new Writer(random, mayOverfill)
  const isHuge = random.percent(2)
  const [answers, authorities, additionals] = [random.below(6), random.below(4), random.below(3)]
  const bomb = random.pick(RECORD_TYPES)
  // A message of 64 KiB of one type, in one of the two sections that are read.
  const [moreAnswers, moreAuthorities] = isHuge
    ? random.pick([
        [800, 0],
        [0, 800],
      ])
    : [0, 0]
  writer.number(random.below(65536), 2)
  writer.number(0x8000 | random.pick([0x0080, 0x01a0, 0x01a0, 0x01b0, 0x8580]), 2)
  const rcode = random.percent(60) ? 0 : random.pick([2, 3, 3, 3, 5, 11])
  const isTruncated = random.percent(2)
  writer.number(random.percent(97) ? 1 : random.below(3), 2, true)
  writer.number(answers + moreAnswers, 2, true)
  writer.number(authorities + moreAuthorities, 2, true)
  writer.number(additionals + 1, 2, true)
  writer.part(() => {
    writer.name(question.name)
    writer.number(question.type, 2)
    writer.number(1, 2)
  })
  const chain = random.percent(30)
  const many = (count: number, more: number): void => {
    for (let n = 0; n < count; n++)
      anyRecord(writer, random.percent(30) ? question.type : random.pick(RECORD_TYPES))
    for (let n = 0; n < more; n++) anyRecord(writer, bomb)
  }
  if (chain) aliases(writer, question, answers)
  else many(answers, moreAnswers)
  if (chain) many(0, moreAnswers)
  many(authorities, moreAuthorities)
  // What is in the additional section is not read, but for OPT.
  writer.mayOverfill = false
  many(additionals, 0)
  opt(writer)
  const octets = writer.octets().subarray(0, 65_535)
  octets[2] = ((octets[2] ?? 0) & 0xfd) | (isTruncated ? 2 : 0)
  octets[3] = ((octets[3] ?? 0) & 0xf0) | rcode
  return { octets, fields: writer.fields, parts: writer.parts, isOverfull: writer.isOverfull }
}

/** A chain of CNAMEs that begins at the question, as long as told; it ends in the wanted type, or nowhere. */
function aliases(
  writer: Writer,
  question: { readonly name: string; readonly type: number },
  length: number,
): void {
  const { random } = writer
  let owner = question.name
  for (let left = length; left > 0; left--) {
    const isEnd = left === 1 && random.percent(70)
    const target = random.percent(70) ? `n${left}.test` : random.pick(NAMES)
    record(writer, owner, isEnd ? question.type : 5, () => {
      if (isEnd) rdata(writer, question.type)
      else writer.name(target)
    })
    owner = target
  }
}
