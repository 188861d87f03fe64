/**
 * Does the chain that a server presented satisfy the usable TLSA records of its host? (RFC 7672 §3, RFC 7671 §5, RFC 6698 §2.1)
 * Pure.
 *
 * DANE-EE(3): the leaf's octets alone decide; no name, date, issuer or purpose is looked at. DANE-TA(2): a certificate or key that
 * the records name must have issued the leaf, over a path that holds in every way (x509/chain.ts), and the leaf must name a
 * reference identifier. One record that fits is enough. Local CAs play no part.
 * Promises: `ok` only on such proof; everything else, an empty set of records or chain included, is a reason. Never throws.
 */
import { createHash, type KeyObject, type X509Certificate } from 'node:crypto'
import { readProfile, readPublicKeyInfo } from '../x509/certificate'
import { findPath, shownSubject, type PathFlaw } from '../x509/chain'
import { commonNames } from '../x509/distinguished-name'
import type { Effort } from '../x509/effort'
import { matchDnsId, presentedNames } from '../x509/names'
import { hasBreakableKey } from '../x509/strength'
import { presentRecord, readCertificate, readKey } from './tlsa'
import type { DaneVerdict, TlsaRecord } from './types'
import type { DaneFailureReason } from '../reasons/codes'

export interface DaneQuestion {
  /** As presented: leaf first, the others in any order. */
  readonly chain: readonly X509Certificate[]
  /** Usable records, as judgeRecords gives them. */
  readonly records: readonly TlsaRecord[]
  /** Reference identifiers (RFC 7672 §3.2.2); only DANE-TA looks at them. */
  readonly references: readonly string[]
  readonly now: Date
  /** What the search for a trust anchor may cost; left out: a purse of its own. */
  readonly effort?: Effort
}

/** Issuers that DANE-TA takes from the peer and from records, and bare keys; an honest chain or set has fewer. */
const MOST_PRESENTED = 16
const MOST_PUBLISHED = 16
const MOST_KEYS = 32

/** Verifies; the failure's detail is one line of at most 800 characters. */
export function verifyDane(question: DaneQuestion): DaneVerdict {
  const [leaf] = question.chain
  if (leaf === undefined) return failure('dane-no-certificate', 'the server sent no certificate')
  const associations = new Associations()
  const endEntity = question.records.find(
    (record) => record.usage === 3 && associations.fit(leaf, record),
  )
  if (endEntity !== undefined && hasBreakableKey(leaf)) {
    return failure('dane-key-too-weak', 'the key of the server certificate has less than 1024 bits')
  }
  if (endEntity !== undefined) return { ok: true, record: endEntity, depth: 0 }
  const anchors = question.records.filter(({ usage }) => usage === 2)
  return anchors.length === 0
    ? noMatch('dane-no-match', question, leaf, associations)
    : verifyTrustAnchor(question, leaf, anchors, associations)
}

/** What records are compared with, each computed once. */
class Associations {
  readonly #known = new Map<X509Certificate, Map<string, Buffer | undefined>>()

  /** True when the record's data is that of the certificate. */
  fit(certificate: X509Certificate, record: TlsaRecord): boolean {
    return this.of(certificate, record)?.equals(record.data) === true
  }

  of(certificate: X509Certificate, record: TlsaRecord): Buffer | undefined {
    const row = this.#known.get(certificate) ?? new Map<string, Buffer | undefined>()
    this.#known.set(certificate, row)
    const key = `${record.selector} ${record.matchingType}`
    if (!row.has(key)) row.set(key, associate(certificate, record))
    return row.get(key)
  }
}

/** Selector and matching type applied (RFC 6698 §2.1.2, §2.1.3); undefined for a certificate whose key cannot be found. */
function associate(
  certificate: X509Certificate,
  { selector, matchingType }: TlsaRecord,
): Buffer | undefined {
  const selected = selector === 0 ? certificate.raw : readPublicKeyInfo(certificate)
  if (selected === undefined || matchingType === 0) return selected
  return createHash(matchingType === 1 ? 'sha256' : 'sha512')
    .update(selected)
    .digest()
}

const REASONS: Readonly<Record<PathFlaw, DaneFailureReason>> = {
  expired: 'dane-ta-expired',
  'not-yet-valid': 'dane-ta-not-yet-valid',
  invalid: 'dane-ta-chain-invalid',
  'too-costly': 'dane-ta-too-costly',
}

function verifyTrustAnchor(
  question: DaneQuestion,
  leaf: X509Certificate,
  anchors: readonly TlsaRecord[],
  associations: Associations,
): DaneVerdict {
  const recordOf = (certificate: X509Certificate) =>
    anchors.find((record) => associations.fit(certificate, record))
  const published = anchors
    .filter(({ selector, matchingType }) => selector === 0 && matchingType === 0)
    .slice(0, MOST_PUBLISHED)
    .map(({ data }) => readCertificate(data))
    .filter((certificate) => certificate !== undefined)
  const presented = question.chain.slice(1, 1 + MOST_PRESENTED)
  const keys = bareKeys(anchors, [leaf, ...presented, ...published], associations)
  const found = findPath({
    leaf,
    issuers: [...presented, ...published],
    isAnchor: (certificate) => recordOf(certificate) !== undefined,
    anchorKeys: [...keys.keys()],
    now: question.now,
    ...(question.effort === undefined ? {} : { effort: question.effort }),
  })
  if (!found.ok) {
    if (found.reason !== 'not-anchored') return failure(REASONS[found.reason], found.detail)
    const stranger = presented.find((sent) => !sent.raw.equals(leaf.raw) && recordOf(sent))
    return notAnchored(question, leaf, associations, stranger)
  }
  const { path, anchorKey } = found
  const anchor = path.at(-1)
  const record = anchorKey === undefined ? anchor && recordOf(anchor) : keys.get(anchorKey)
  if (record === undefined) return noMatch('dane-ta-not-in-chain', question, leaf, associations)
  const match = matchDnsId(leaf, question.references, { commonName: true })
  if (match === undefined) return failure('dane-ta-name-mismatch', namesDetail(question, leaf))
  const depth = anchorKey === undefined ? path.length - 1 : path.length
  return { ok: true, record, depth, matchedName: match.matched }
}

/**
 * Keys that 2 1 0 records publish in full. One that a certificate at hand has is no bare key: that certificate is the anchor, with
 * its dates and constraints, or, as the leaf, none at all (RFC 7671 §5.2.3).
 */
function bareKeys(
  anchors: readonly TlsaRecord[],
  certificates: readonly X509Certificate[],
  associations: Associations,
): ReadonlyMap<KeyObject, TlsaRecord> {
  const keys = new Map<KeyObject, TlsaRecord>()
  for (const record of anchors) {
    if (record.selector !== 1 || record.matchingType !== 0 || keys.size === MOST_KEYS) continue
    if (certificates.some((certificate) => associations.fit(certificate, record))) continue
    const key = readKey(record.data)
    if (key !== undefined) keys.set(key, record)
  }
  return keys
}

function failure(reason: DaneFailureReason, detail: string): DaneVerdict {
  return { ok: false, reason, detail: shorten(detail.replace(/[^\x20-\x7e…]/g, '?'), 800) }
}

function notAnchored(
  question: DaneQuestion,
  leaf: X509Certificate,
  associations: Associations,
  stranger: X509Certificate | undefined,
): DaneVerdict {
  if (stranger !== undefined)
    return failure(
      'dane-ta-chain-invalid',
      `${shownSubject(stranger)} fits a TLSA record, but no path of signatures leads from the leaf to it`,
    )
  const onlyAnchors = question.records.every(({ usage }) => usage === 2)
  return noMatch(
    onlyAnchors ? 'dane-ta-not-in-chain' : 'dane-no-match',
    question,
    leaf,
    associations,
  )
}

const MOST_SHOWN = 3

function noMatch(
  reason: DaneFailureReason,
  { chain, records }: DaneQuestion,
  leaf: X509Certificate,
  associations: Associations,
): DaneVerdict {
  const expected = records.map((record) => shorten(presentRecord(record), 140))
  const shapes = new Map(
    records.map((record) => [`${record.usage} ${record.selector} ${record.matchingType}`, record]),
  )
  const presented = [...shapes].map(([shape, record]) => {
    const certificates = record.usage === 3 ? [leaf] : chain.slice(1)
    const digests = certificates.map(
      (certificate) => associations.of(certificate, record)?.toString('hex') ?? '?',
    )
    return digests.length === 0
      ? `${shape} no issuer certificate`
      : `${shape} ${listed(digests.map((digest) => shorten(digest, 130)))}`
  })
  return failure(reason, `expected ${listed(expected)}; presented ${listed(presented)}`)
}

function namesDetail({ references }: DaneQuestion, leaf: X509Certificate): string {
  const names = presentedNames(leaf)
  if (names.length > 0)
    return `expected ${listed(references)}; presented ${listed(names.map((name) => shorten(name, 64)))}`
  const profile = readProfile(leaf)
  const common = profile === undefined ? [] : commonNames(profile.subject)
  const shown = common.map((name) => shorten(name, 64))
  return `expected ${listed(references)}; presented no DNS name, common name ${listed(shown)}`
}

function listed(entries: readonly string[]): string {
  if (entries.length === 0) return 'none'
  const more = entries.length - MOST_SHOWN
  const shown = entries.slice(0, MOST_SHOWN).join(', ')
  return more > 0 ? `${shown} and ${more} more` : shown
}

function shorten(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text
}
