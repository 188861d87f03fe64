/** Domains by the thousand, of the ordinary kind and of a hostile zone, without a zone file: for tests and benchmarks of memory. */
import { interpret } from '../../plugins/dnssec-stub/reply'
import type { Outcome, RecordType, Resolver } from '../../plugins/dnssec-stub/types'
import { decodeMessage } from '../../plugins/dnssec-stub/wire'
import { rawRecords, replyOf, wireName } from './raw-reply'

/** What a zone publishes at a name; each entry is the RDATA of one record. */
export type Publishes = (name: string, type: RecordType) => readonly Buffer[]

const CODES: Readonly<Record<RecordType, number>> = {
  A: 1,
  CNAME: 5,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  TLSA: 52,
}

export interface ManyDomains extends Resolver {
  /** How many questions came so far. */
  asked(): number
}

/** Answers as a name server would over the wire, and reads that as the plugin does. */
export function manyDomains(publishes: Publishes, ttl = 3600): ManyDomains {
  let asked = 0
  // A hostile zone says the same under every name, and putting that together takes longer than reading it.
  const written = new WeakMap<readonly Buffer[], Buffer>()
  const reply = (name: string, type: RecordType): Buffer => {
    const rdata = publishes(name, type)
    const records = written.get(rdata) ?? rawRecords(CODES[type], rdata)
    written.set(rdata, records)
    return replyOf(name, CODES[type], rdata.length, records)
  }
  return {
    asked: () => asked,
    async resolve<T extends RecordType>(name: string, type: T): Promise<Outcome<T>> {
      asked++
      // As over a network, the answer comes in a turn of its own.
      await new Promise((resolve) => setImmediate(resolve))
      const decoded = decodeMessage(reply(name, type))
      if (!decoded.ok) throw new Error(decoded.why)
      const finding = interpret(decoded.message, { name, type })
      if (finding.kind === 'failed') {
        return { kind: 'failed', cause: finding.cause, detail: finding.why }
      }
      if (finding.kind === 'onward') throw new Error('there are no aliases here')
      return { ...finding, security: 'secure', ttl }
    },
  }
}

const number = (n: number) => Buffer.from([n >> 8, n & 255])
const textRecord = (text: string) => Buffer.from([text.length, ...Buffer.from(text)])

/** Two MX hosts of its own, each with an address of each family and a TLSA record. */
export const ordinary: Publishes = (name, type) => {
  switch (type) {
    case 'MX':
      return [10, 20].map((n) => Buffer.concat([number(n), wireName(`mx${n}.${name}`)]))
    case 'A':
      return [Buffer.from([198, 51, 100, name.length])]
    case 'AAAA':
      return [Buffer.from([32, 1, 13, 184, ...Buffer.alloc(11, 1), name.length])]
    case 'TLSA':
      return [Buffer.from([3, 1, 1, ...Buffer.alloc(32, name.length)])]
    case 'TXT':
    case 'CNAME':
      return []
  }
}

/** How many records of a type a hostile zone puts into each answer; as many as fit into a message, where it is told none. */
export interface HostileCounts {
  readonly mx: number
  readonly tlsa: number
  readonly txt: number
}

/** Every name of the zone has all types of records, and each subdomain the same hosts. */
export function hostile({ mx, tlsa, txt }: HostileCounts): Publishes {
  const times = (count: number, make: (n: number) => Buffer) =>
    Array.from({ length: count }, (_, n) => make(n))
  const answers: Readonly<Record<RecordType, readonly Buffer[]>> = {
    MX: times(mx, (n) => Buffer.concat([number(n), wireName(`${n}.mx`)])),
    A: times(1000, (n) => Buffer.from([198, 51, n >> 8, n & 255])),
    AAAA: times(1000, (n) => Buffer.from([32, 1, 13, 184, ...Buffer.alloc(10), n >> 8, n & 255])),
    TLSA: times(tlsa, (n) => Buffer.from([3, 1, 1, ...number(n), ...Buffer.alloc(30, 1)])),
    TXT: times(txt, (n) => textRecord(String(n).padStart(4, '0'))),
    CNAME: [],
  }
  return (_name, type) => answers[type]
}
