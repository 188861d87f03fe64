/**
 * DNS messages, read strictly (RFC 1035 §4). Promises: never throws, never reads past what came, time linear in the
 * message (compression pointers must lead backwards), and no half-understood message: whatever does not add up to the
 * last octet is malformed as a whole. Only TLSA RDATA may be too short; it is handed on marked as such, because a host
 * that publishes junk has still committed itself to TLS (RFC 7672 §2.2).
 */
import { encode, AUTHENTIC_DATA, RECURSION_DESIRED, DNSSEC_OK, type Answer } from 'dns-packet'
import { printable, wireName } from './names'
import { HEADER_LENGTH, Malformed, nameReader, need } from './octets'
import { type KnownData, readData, RECORD_TYPES } from './rdata'
import { sift, type Crowded, type RawRecord } from './rrsets'
import type { RecordType } from './types'

/** RFC 9715: what passes unfragmented everywhere; larger replies come over TCP. */
const UDP_PAYLOAD_SIZE = 1232
const CLASS_IN = 1
const TYPE_OPT = 41
const OPTION_EXTENDED_ERROR = 15
/**
 * What is made of a record takes ten times its octets and more. 17 aliases and the RRset that they lead to, each with a few
 * signatures, are far fewer; so are a zone's name servers, or the proofs of a denial.
 */
const MOST_ANSWERS = 512
const MOST_AUTHORITIES = 256

export interface Question {
  /** Canonical. */
  readonly name: string
  readonly type: RecordType
}

export interface Head {
  readonly id: number
  readonly isResponse: boolean
  readonly opcode: number
  readonly truncated: boolean
  readonly recursionAvailable: boolean
  readonly authenticData: boolean
  /** Without the upper bits that EDNS adds. */
  readonly rcode: number
}

export type ResourceRecord = { readonly name: string; readonly ttl: number } & (
  | KnownData /** `rdata` is a view of the message. */
  | { readonly type: 'other'; readonly code: number; readonly rdata: Buffer }
)

export interface ExtendedError {
  readonly code: number
  readonly text: string
}

export interface Message {
  readonly head: Head
  readonly questions: readonly { name: string; code: number; class: number }[]
  /** Extended rcode (RFC 6891 §6.1.3). */
  readonly rcode: number
  /** Class IN only; other classes are no answer to anything asked here. Of larger RRsets not all. */
  readonly answers: readonly ResourceRecord[]
  /** RRsets of the answers that are larger: of hosts and addresses the best are among the answers, of other types none. */
  readonly crowded: readonly Crowded[]
  readonly authorities: readonly ResourceRecord[]
  /** RFC 8914, in the order in which they came. */
  readonly extendedErrors: readonly ExtendedError[]
  /** Octets behind the last section; zero unless the reader was told to pass over them. */
  readonly leftOver: number
}

export type Decoded =
  { readonly ok: true; readonly message: Message } | { readonly ok: false; readonly why: string }

/**
 * `plain` is without EDNS, for servers that take none (RFC 6891 §7); what such a server leaves behind its reply is passed over.
 * A validator sets AD for a plain query as well, because the query asks for it (RFC 6840 §5.7).
 */
export type Dialect = 'edns' | 'plain'

/** A query with RD, AD and (in EDNS) DO set and CD clear (RFC 6840 §5.7): the resolver shall validate and say so. */
export function encodeQuery(id: number, question: Question, dialect: Dialect = 'edns'): Buffer {
  const query = encode({
    type: 'query',
    id,
    flags: RECURSION_DESIRED | AUTHENTIC_DATA,
    // The root's one octet, whose place the name takes: dns-packet knows no escapes.
    questions: [{ name: '.', type: question.type, class: 'IN' }],
    additionals: dialect === 'plain' ? [] : [OPT],
  })
  const [head, rest] = [query.subarray(0, HEADER_LENGTH), query.subarray(HEADER_LENGTH + 1)]
  return Buffer.concat([head, wireName(question.name), rest])
}

const OPT: Answer = {
  type: 'OPT',
  name: '.',
  udpPayloadSize: UDP_PAYLOAD_SIZE,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: DNSSEC_OK,
  flag_do: true,
  options: [],
}

/** The header alone, for telling whether a datagram is ours and whether it was truncated; undefined if too short. */
export function decodeHead(octets: Buffer): Head | undefined {
  if (octets.length < HEADER_LENGTH) return undefined
  const flags = octets.readUInt16BE(2)
  return {
    id: octets.readUInt16BE(0),
    isResponse: (flags & 0x8000) !== 0,
    opcode: (flags >> 11) & 0xf,
    truncated: (flags & 0x0200) !== 0,
    recursionAvailable: (flags & 0x0080) !== 0,
    authenticData: (flags & 0x0020) !== 0,
    rcode: flags & 0xf,
  }
}

/**
 * Reads a whole message.
 * @param leftOver whether octets behind the last section make it malformed, or are passed over and counted
 */
export function decodeMessage(
  octets: Buffer,
  leftOver: 'malformed' | 'counted' = 'malformed',
): Decoded {
  try {
    const message = readMessage(octets)
    if (leftOver === 'malformed' && message.leftOver > 0) {
      throw new Malformed('octets left over after the last section')
    }
    return { ok: true, message }
  } catch (error: unknown) {
    const why = error instanceof Error ? error.message : 'cannot be read'
    return { ok: false, why: printable(why) }
  }
}

/** Does a message's question section hold exactly this question? */
export function answersQuestion(message: Message, question: Question): boolean {
  const [only, ...others] = message.questions
  return (
    only !== undefined &&
    others.length === 0 &&
    only.name === question.name &&
    only.code === RECORD_TYPES[question.type].code &&
    only.class === CLASS_IN
  )
}

function readMessage(octets: Buffer): Message {
  const head = decodeHead(octets)
  if (head === undefined) throw new Malformed('shorter than a header')
  const nameAt = nameReader(octets)
  let at = HEADER_LENGTH

  const questions: Message['questions'][number][] = []
  for (let left = octets.readUInt16BE(4); left > 0; left--) {
    const { name, next } = nameAt(at)
    need(octets, next, 4)
    questions.push({ name, code: octets.readUInt16BE(next), class: octets.readUInt16BE(next + 2) })
    at = next + 4
  }

  const section = (count: number, isWanted: (record: RawRecord) => boolean): RawRecord[] => {
    const records: RawRecord[] = []
    for (let left = count; left > 0; left--) {
      const record = readRecord(octets, nameAt(at))
      if (isWanted(record)) records.push(record)
      at = record.end
    }
    return records
  }
  const { kept, crowded } = sift(octets, section(octets.readUInt16BE(6), isClassIn))
  if (kept.length > MOST_ANSWERS) throw new Malformed(`more than ${MOST_ANSWERS} answers`)
  const authorities = section(octets.readUInt16BE(8), isClassIn)
  if (authorities.length > MOST_AUTHORITIES) {
    throw new Malformed(`more than ${MOST_AUTHORITIES} records of authority`)
  }
  const opts = section(octets.readUInt16BE(10), (record) => record.code === TYPE_OPT)
  const [opt] = opts
  if (opts.length > 1) throw new Malformed('more than one OPT record')
  if (opt !== undefined && opt.name !== '') throw new Malformed('OPT record below the root')

  return {
    head,
    questions,
    rcode: head.rcode | (opt === undefined ? 0 : (opt.ttl >>> 24) << 4),
    answers: kept.map((record) => understood(octets, record)),
    crowded,
    authorities: authorities.map((record) => understood(octets, record)),
    extendedErrors: opt === undefined ? [] : readExtendedErrors(octets, opt),
    leftOver: octets.length - at,
  }
}

function isClassIn(record: RawRecord): boolean {
  return record.class === CLASS_IN
}

function readRecord(
  octets: Buffer,
  { name, next }: { readonly name: string; readonly next: number },
): RawRecord {
  need(octets, next, 10)
  const start = next + 10
  const length = octets.readUInt16BE(next + 8)
  need(octets, start, length)
  return {
    name,
    code: octets.readUInt16BE(next),
    class: octets.readUInt16BE(next + 2),
    ttl: octets.readUInt32BE(next + 4),
    start,
    end: start + length,
  }
}

function understood(octets: Buffer, { name, code, ttl, start, end }: RawRecord): ResourceRecord {
  const data = readData(octets, code, start, end)
  const owner = { name, ttl: ttlOf(ttl) }
  return data === undefined
    ? { ...owner, type: 'other', code, rdata: octets.subarray(start, end) }
    : { ...owner, ...data }
}

/** RFC 2181 §8: a TTL with the top bit set is none. */
export function ttlOf(onTheWire: number): number {
  return onTheWire > 0x7fffffff ? 0 : onTheWire
}

function readExtendedErrors(octets: Buffer, opt: RawRecord): ExtendedError[] {
  const errors: ExtendedError[] = []
  let at = opt.start
  while (at < opt.end) {
    if (at + 4 > opt.end) throw new Malformed('EDNS option cut short')
    const code = octets.readUInt16BE(at)
    const start = at + 4
    const end = start + octets.readUInt16BE(at + 2)
    if (end > opt.end) throw new Malformed('EDNS option longer than its record')
    if (code === OPTION_EXTENDED_ERROR) {
      if (end - start < 2) throw new Malformed('extended error without a code')
      const text = octets.toString('utf8', start + 2, end).replace(/\0+$/, '')
      errors.push({ code: octets.readUInt16BE(start), text: printable(text) })
    }
    at = end
  }
  return errors
}
