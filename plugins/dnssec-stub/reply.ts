/**
 * What one well-formed reply says to one question. Pure. Only records on the question's own alias chain count;
 * whatever else a reply carries is ignored. Nothing here speaks of security: whether the AD bit is believed depends on
 * who sent the reply.
 */
import { isWithin } from './names'
import { type Known, NS_CODE, RECORD_TYPES } from './rdata'
import { MOST_RECORDS, type Crowded } from './rrsets'
import type { FailureCause, RecordData, RecordType } from './types'
import { ttlOf, type Message, type Question, type ResourceRecord } from './wire'

/** RFC 7672 §2.1.3 leaves the limit to the implementation; mail servers take 10 to 16. */
export const MAX_ALIASES = 16

const RCODE = { noError: 0, serverFailure: 2, nameError: 3, refused: 5 } as const

const RCODE_NAMES: Readonly<Record<number, string>> = {
  1: 'FORMERR',
  2: 'SERVFAIL',
  3: 'NXDOMAIN',
  4: 'NOTIMP',
  5: 'REFUSED',
  6: 'YXDOMAIN',
  9: 'NOTAUTH',
  16: 'BADVERS',
}

interface Found {
  /** Seconds. */
  readonly ttl: number
  readonly aliases: readonly string[]
}

export type Finding<T extends RecordType> =
  | (Found & { readonly kind: 'answer'; readonly records: readonly RecordData[T][] })
  | (Found & { readonly kind: 'nodata' | 'nxdomain' })
  /** The reply ends at an alias; its target must be asked for (RFC 7672 §2.1.3). */
  | (Found & { readonly kind: 'onward'; readonly target: string })
  | { readonly kind: 'failed'; readonly cause: FailureCause; readonly why: string }

/**
 * @param message a reply whose question section was checked
 * @returns what it says; `failed` for error rcodes, for alias loops and for replies that contradict themselves
 */
export function interpret<T extends RecordType>(
  message: Message,
  question: Question & { type: T },
): Finding<T> {
  const { rcode } = message
  if (rcode !== RCODE.noError && rcode !== RCODE.nameError) {
    return { kind: 'failed', cause: causeOf(message), why: rcodeName(rcode) }
  }

  const aliases: string[] = []
  let name = question.name
  let ttl = Number.POSITIVE_INFINITY
  for (;;) {
    const records = ofType(message.answers, name, question.type)
    const crowd = crowdAt(message, name, question.type)
    if (records.length > 0 || crowd !== undefined) {
      if (rcode === RCODE.nameError) return malformed('NXDOMAIN with an answer')
      if (crowd !== undefined && records.length === 0) return tooMany(question.type, crowd)
      const ofLeftOut = crowd === undefined ? ttl : ttlOf(crowd.ttl)
      ttl = Math.min(ttl, ofLeftOut, ...records.map((record) => record.ttl))
      return { kind: 'answer', records: records.map(({ data }) => data), ttl, aliases }
    }
    const aliasCrowd = crowdAt(message, name, 'CNAME')
    if (aliasCrowd !== undefined) return tooMany('CNAME', aliasCrowd)
    const [alias, ...others] = ofType(message.answers, name, 'CNAME')
    if (alias === undefined) break
    if (others.some((other) => other.data !== alias.data))
      return malformed('several CNAMEs at one name')
    if (alias.data === question.name || aliases.includes(alias.data)) {
      return { kind: 'failed', cause: 'alias-chain', why: `CNAME loop at ${name}` }
    }
    if (aliases.length === MAX_ALIASES) {
      return { kind: 'failed', cause: 'alias-chain', why: `more than ${MAX_ALIASES} CNAMEs` }
    }
    aliases.push(alias.data)
    ttl = Math.min(ttl, alias.ttl)
    name = alias.data
  }

  // RFC 6604: the rcode speaks of the last name of the chain.
  const denialTtl = Math.min(ttl, negativeTtl(message, name) ?? 0)
  if (rcode === RCODE.nameError) return { kind: 'nxdomain', ttl: denialTtl, aliases }
  if (negativeTtl(message, name) !== undefined) return { kind: 'nodata', ttl: denialTtl, aliases }
  if (aliases.length > 0) return { kind: 'onward', target: name, ttl, aliases }
  if (!message.head.recursionAvailable && message.authorities.some(isNameServer)) {
    return { kind: 'failed', cause: 'refused', why: 'a referral: this server does not recurse' }
  }
  // RFC 2308 §2.2 type 3: no SOA, not to be cached.
  return { kind: 'nodata', ttl: 0, aliases }
}

/** RFC 8914: the extended error that tells most, one of the validator's before others. */
export function extendedErrorOf(message: Message): { code: number; text: string } | undefined {
  return message.extendedErrors.find(({ code }) => saysBogus(code)) ?? message.extendedErrors[0]
}

/** RFC 8914 §4.7 to §4.13: DNSSEC Bogus … NSEC Missing. */
export function saysBogus(extendedErrorCode: number): boolean {
  return extendedErrorCode >= 6 && extendedErrorCode <= 12
}

function causeOf(message: Message): FailureCause {
  if (message.rcode === RCODE.refused) return 'refused'
  if (message.rcode !== RCODE.serverFailure) return 'rcode'
  return message.extendedErrors.some(({ code }) => saysBogus(code)) ? 'bogus' : 'servfail'
}

function rcodeName(rcode: number): string {
  return RCODE_NAMES[rcode] ?? `RCODE ${rcode}`
}

function crowdAt(message: Message, name: string, type: RecordType): Crowded | undefined {
  return message.crowded.find(
    (rrset) => rrset.code === RECORD_TYPES[type].code && rrset.name === name,
  )
}

function tooMany(
  type: RecordType,
  { count }: Crowded,
): { kind: 'failed'; cause: 'too-large'; why: string } {
  const why = `${count} ${type} records, more than ${MOST_RECORDS}`
  return { kind: 'failed', cause: 'too-large', why }
}

function malformed(why: string): { kind: 'failed'; cause: 'malformed'; why: string } {
  return { kind: 'failed', cause: 'malformed', why }
}

function ofType<T extends RecordType>(
  records: readonly ResourceRecord[],
  name: string,
  type: T,
): readonly (ResourceRecord & Known<T>)[] {
  return records.filter(
    (record): record is ResourceRecord & Known<T> => record.type === type && record.name === name,
  )
}

/** RFC 2308 §5: the lesser of the SOA's own TTL and its MINIMUM; undefined where no SOA covers the name. */
function negativeTtl(message: Message, name: string): number | undefined {
  for (const record of message.authorities) {
    if (record.type === 'SOA' && isWithin(name, record.name))
      return Math.min(record.ttl, record.data)
  }
  return undefined
}

function isNameServer(record: ResourceRecord): boolean {
  return record.type === 'other' && record.code === NS_CODE
}
