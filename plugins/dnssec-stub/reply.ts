/**
 * What one well-formed reply says to one question. Pure. Only records on the question's own alias chain count;
 * whatever else a reply carries is ignored. Nothing here speaks of security: whether the AD bit is believed depends on
 * who sent the reply.
 */
import { isWithin } from './names'
import type { Message, Question, ResourceRecord } from './wire'
import type { FailureCause, MxRecord, RecordData, RecordType } from './types'

/** RFC 7672 §2.1.3 leaves the limit to the implementation; mail servers take 10 to 16. */
export const MAX_ALIASES = 16

/**
 * Records of one RRset that are looked at; Postfix's DNS client has the same limit. An owner of a zone can put thousands of
 * them into one reply, and each costs some hundred octets of memory.
 */
export const MOST_RECORDS = 100

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
    if (records.length > 0) {
      if (rcode === RCODE.nameError) return malformed('NXDOMAIN with an answer')
      ttl = Math.min(ttl, ...records.map((record) => record.ttl))
      const all = records.map((record) => record.data)
      const kept = all.length > MOST_RECORDS ? bestOf(all, question.type) : all
      if (kept === undefined) return tooMany(question.type, all.length)
      return { kind: 'answer', records: kept, ttl, aliases }
    }
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

/**
 * What is left of an RRset that is too large. Of hosts and addresses those that would be tried first are enough to deliver by.
 * Of TLSA and TXT records any of those left out might be the one that counts: the strongest digest, the only usable one, the one
 * of MTA-STS. Without them an RRset says less than its owner published, so that there it is a failure (undefined).
 */
function bestOf<T extends RecordType>(
  records: readonly RecordData[T][],
  type: T,
): readonly RecordData[T][] | undefined {
  switch (type) {
    case 'A':
    case 'AAAA':
      return records.slice(0, MOST_RECORDS)
    case 'MX':
      return [...(records as readonly MxRecord[])]
        .sort(inOrderOfTrial)
        .slice(0, MOST_RECORDS) as RecordData[T][]
    case 'TLSA':
    case 'TXT':
    case 'CNAME':
      return undefined
  }
}

/** By preference; those that name no host (RFC 7505) last, for they must not push out one that does. */
function inOrderOfTrial(one: MxRecord, other: MxRecord): number {
  const namesNone = ({ exchange }: MxRecord) => Number(exchange === '')
  return namesNone(one) - namesNone(other) || one.preference - other.preference
}

function tooMany(type: RecordType, count: number): Finding<never> & { kind: 'failed' } {
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
): { ttl: number; data: RecordData[T] }[] {
  // A record's `type` decides what its `data` is; the compiler cannot carry that through a type parameter.
  return records.filter((record) => record.type === type && record.name === name) as unknown as {
    ttl: number
    data: RecordData[T]
  }[]
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
  return record.type === 'other' && record.code === 2
}
