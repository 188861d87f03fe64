/**
 * Which records of a reply are worth the memory that reading them takes. An owner of a zone can put thousands into one RRset: they
 * are counted where they stand in the message, checked as all others are, and nothing is made of those that would be left out. Pure.
 */
import { endOfPointers } from './octets'
import { checkData, RECORD_TYPES } from './rdata'

/** Records of one RRset that are looked at; Postfix's DNS client has the same limit. Each costs some hundred octets of memory. */
export const MOST_RECORDS = 100

/** A record as it stands in the message. */
export interface RawRecord {
  readonly name: string
  readonly code: number
  readonly class: number
  /** As on the wire, unsigned. */
  readonly ttl: number
  /** Of its RDATA. */
  readonly start: number
  readonly end: number
}

/** An RRset of more records than are looked at. */
export interface Crowded {
  readonly name: string
  readonly code: number
  readonly count: number
  /** The least of all its records, as on the wire. */
  readonly ttl: number
}

export interface Sifted {
  /** In the order of the message; behind them those that are left of larger RRsets, the best first. */
  readonly kept: readonly RawRecord[]
  readonly crowded: readonly Crowded[]
}

/**
 * @param octets the whole message
 * @returns all records of RRsets of a usual size, and what is left of larger ones
 * @throws Malformed where a record of a larger one is, whether it is left or not
 */
export function sift(octets: Buffer, records: readonly RawRecord[]): Sifted {
  if (records.length <= MOST_RECORDS) return { kept: records, crowded: [] }
  const large = rrsets(records).filter((rrset) => rrset.length > MOST_RECORDS)
  if (large.length === 0) return { kept: records, crowded: [] }
  for (const rrset of large) {
    for (const { code, start, end } of rrset) checkData(octets, code, start, end)
  }
  const crowded = large.flatMap(inShort)
  const isApart = ({ name, code }: RawRecord): boolean =>
    crowded.some((rrset) => rrset.code === code && rrset.name === name)
  const kept = records.filter((record) => !isApart(record))
  return { kept: [...kept, ...large.flatMap((rrset) => bestOf(octets, rrset))], crowded }
}

function rrsets(records: readonly RawRecord[]): readonly RawRecord[][] {
  const byKey = new Map<string, RawRecord[]>()
  let last: RawRecord[] = []
  for (const record of records) {
    // Those of one RRset stand together, and a key for each is spared.
    const [first] = last
    if (first?.name !== record.name || first.code !== record.code) {
      const key = `${record.code} ${record.name}`
      last = byKey.get(key) ?? []
      byKey.set(key, last)
    }
    last.push(record)
  }
  return [...byKey.values()]
}

function inShort(rrset: readonly RawRecord[]): readonly Crowded[] {
  const [first] = rrset
  if (first === undefined) return []
  const ttl = rrset.reduce((least, record) => Math.min(least, record.ttl), first.ttl)
  return [{ name: first.name, code: first.code, count: rrset.length, ttl }]
}

/**
 * What is left of an RRset that is too large. Of hosts and addresses those that would be tried first are enough to deliver by.
 * Of TLSA and TXT records any of those left out might be the one that counts: the strongest digest, the only usable one, the one
 * of MTA-STS. Without them an RRset says less than its owner published, so that nothing is left of it.
 */
function bestOf(octets: Buffer, rrset: readonly RawRecord[]): readonly RawRecord[] {
  const { TLSA, TXT, CNAME, MX } = RECORD_TYPES
  switch (rrset[0]?.code ?? 0) {
    case TLSA.code:
    case TXT.code:
    case CNAME.code:
      return []
    case MX.code:
      return inOrderOfTrial(octets, rrset).slice(0, MOST_RECORDS)
    default:
      return rrset.slice(0, MOST_RECORDS)
  }
}

/** By preference; those that name no host (RFC 7505) last, for they must not push out one that does. */
function inOrderOfTrial(octets: Buffer, rrset: readonly RawRecord[]): readonly RawRecord[] {
  const rank = ({ start }: RawRecord): number => {
    const namesNone = octets[endOfPointers(octets, start + 2)] === 0
    return (namesNone ? 0x10000 : 0) + octets.readUInt16BE(start)
  }
  return [...rrset].sort((one, other) => rank(one) - rank(other))
}
