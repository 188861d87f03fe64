/**
 * Which TLSA records of a set can be used for SMTP (RFC 7672 §3.1), and which of those count (RFC 7671 §9). Pure.
 *
 * Promises: one bad record harms only itself. Records that are set aside never authenticate, yet a set of nothing else still
 * commits the host to TLS (RFC 7672 §2.2); callers must keep that apart from no records. Never throws.
 */
import { createPublicKey, X509Certificate } from 'node:crypto'
import type { TlsaData } from '../dnssec-stub/types'
import { readPublicKeyInfo } from '../x509/certificate'
import { readKeyKind, weighKey } from '../x509/key'
import { sliceKeyInfo } from '../x509/key-info'
import type { DigestName, TlsaRecord } from './types'

/** Usable records beyond these are unusable: a DNS message cannot hold many more, and each costs a comparison. */
export const MOST_RECORDS = 1000
/** Whole certificates and keys that OpenSSL is given to read, which takes time; past so many, the others are unusable. */
export const MOST_WHOLE = 32

export interface Judgement {
  /** What authentication may use, in the order of the set; after digest agility. */
  readonly usable: readonly TlsaRecord[]
  /** All records as `U S M HEX`, in the order of the set. */
  readonly presentation: readonly string[]
  /** The records that cannot be used, by their place in the set. */
  readonly unusable: readonly { readonly index: number; readonly why: string }[]
  /** Usable records that a stronger digest beside them overrules (RFC 7671 §9). */
  readonly overruled: readonly { readonly index: number; readonly why: string }[]
}

const DIGESTS: Readonly<Record<1 | 2, { readonly name: DigestName; readonly octets: number }>> = {
  1: { name: 'sha256', octets: 32 },
  2: { name: 'sha512', octets: 64 },
}

/**
 * Judges the records of one secure TLSA RRset.
 * @param options.digests the digests that are allowed, strongest first; a record with another one is unusable (RFC 6698 §4.1)
 */
export function judgeRecords(
  records: readonly TlsaData[],
  { digests }: { readonly digests: readonly DigestName[] },
): Judgement {
  const usable: { readonly index: number; readonly record: TlsaRecord }[] = []
  const unusable: { index: number; why: string }[] = []
  const reading = { left: MOST_WHOLE }
  for (const [index, data] of records.entries()) {
    const judged = judge(data, digests, reading)
    if (typeof judged === 'string') unusable.push({ index, why: judged })
    else if (usable.length < MOST_RECORDS) usable.push({ index, record: judged })
    else unusable.push({ index, why: `more than ${MOST_RECORDS} records` })
  }
  const strongest = strongestDigests(usable, digests)
  const counts = ({ record }: (typeof usable)[number]) =>
    record.matchingType === 0 || strongest.get(group(record)) === record.matchingType
  return {
    usable: usable.filter(counts).map(({ record }) => record),
    presentation: records.map(presentRecord),
    unusable,
    overruled: usable
      .filter((entry) => !counts(entry))
      .map(({ index, record }) => ({
        index,
        why: `a stronger digest than matching type ${record.matchingType} is published beside it`,
      })),
  }
}

/** A record as `U S M HEX` (RFC 6698 §2.2). */
export function presentRecord(record: TlsaRecord | TlsaData): string {
  const { usage, selector, matchingType, data } = record
  return `${usage} ${selector} ${matchingType} ${data.toString('hex')}`
}

interface Reading {
  /** How many more may be given to OpenSSL, whatever it makes of them. */
  left: number
}

/** The record itself when it can be used, else why not. */
function judge(
  data: TlsaData,
  digests: readonly DigestName[],
  reading: Reading,
): TlsaRecord | string {
  const { usage, selector, matchingType } = data
  if (data.malformed) return 'shorter than its three fixed octets'
  if (usage !== 2 && usage !== 3) {
    return usage === 0 || usage === 1
      ? `usage ${usage} is not for SMTP (RFC 7672 §3.1.3)`
      : `unknown usage ${usage}`
  }
  if (selector !== 0 && selector !== 1) return `unknown selector ${selector}`
  if (matchingType !== 0 && matchingType !== 1 && matchingType !== 2)
    return `unknown matching type ${matchingType}`
  const why =
    matchingType === 0
      ? wrongAssociation(usage, selector, data.data, reading)
      : wrongDigest(matchingType, data.data, digests)
  return why ?? { usage, selector, matchingType, data: data.data }
}

function wrongDigest(
  matchingType: 1 | 2,
  data: Buffer,
  digests: readonly DigestName[],
): string | undefined {
  const { name, octets } = DIGESTS[matchingType]
  if (data.length !== octets) return `${name} has ${octets} octets, not ${data.length}`
  return digests.includes(name) ? undefined : `${name} is not among the allowed digests`
}

function wrongAssociation(
  usage: 2 | 3,
  selector: 0 | 1,
  data: Buffer,
  reading: Reading,
): string | undefined {
  if (data.length === 0) return 'no association data'
  const malformed = selector === 0 ? 'not one DER certificate' : 'not one DER public key'
  const info = selector === 1 ? data : sliceKeyInfo(data)
  const key = info && readKeyKind(info)
  if (key === undefined) return malformed
  const weight = weighKey(key)
  if (!weight.ok && key.kind !== 'other') {
    // To be compared octet by octet takes no arithmetic, so that a DANE-EE key may be of any kind. A curve given by its parameters
    // has no place in certificates: such an anchor is one that has signed nothing, as OpenSSL has it.
    const isCompared = usage === 3 || (key.kind === 'ec' && key.curve === undefined)
    return isCompared ? undefined : `has ${weight.why}`
  }
  if (reading.left === 0) return `more than ${MOST_WHOLE} records of matching type 0`
  reading.left--
  const whole = selector === 0 ? readCertificate(data) : readKey(data)
  return whole === undefined ? malformed : undefined
}

/** The certificate of a 2 0 0 or 3 0 0 record; undefined unless the data is exactly one, with a key that can be used. */
export function readCertificate(data: Buffer): X509Certificate | undefined {
  if (!isWorthReading(sliceKeyInfo(data))) return undefined
  try {
    const certificate = new X509Certificate(data)
    const usable = readKey(readPublicKeyInfo(certificate)) !== undefined
    return usable && certificate.raw.equals(data) ? certificate : undefined
  } catch {
    return undefined
  }
}

function isWorthReading(keyInfo: Buffer | undefined): keyInfo is Buffer {
  const key = keyInfo && readKeyKind(keyInfo)
  return key?.kind === 'other' || weighKey(key).ok
}

/** The key of a 2 1 0 or 3 1 0 record; undefined unless the data is exactly one SubjectPublicKeyInfo that can be used. */
export function readKey(data: Buffer | undefined) {
  if (!isWorthReading(data)) return undefined
  try {
    return createPublicKey({ key: data, format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}

const group = ({ usage, selector }: TlsaRecord): string => `${usage} ${selector}`

/** The matching type of the strongest digest in each usage and selector (RFC 7671 §9). */
function strongestDigests(
  usable: readonly { readonly record: TlsaRecord }[],
  digests: readonly DigestName[],
): ReadonlyMap<string, 1 | 2> {
  const strongest = new Map<string, 1 | 2>()
  for (const digest of [...digests].reverse()) {
    for (const { record } of usable) {
      const { matchingType } = record
      if (matchingType !== 0 && DIGESTS[matchingType].name === digest)
        strongest.set(group(record), matchingType)
    }
  }
  return strongest
}
