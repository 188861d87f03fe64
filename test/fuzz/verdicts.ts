/**
 * What must be true of a verdict by DANE, told a second time with what Node has of OpenSSL: who issued and signed whom, who is a CA,
 * which names a certificate has. Nothing is authenticated without a record that genuinely fits and a path that leads there.
 */
import assert from 'node:assert/strict'
import { createHash, createPublicKey, X509Certificate, type KeyObject } from 'node:crypto'
import type { DaneVerdict, TlsaRecord } from '../../plugins/dane/types'
import type { DaneQuestion } from '../../plugins/dane/verify'
import { readPublicKeyInfo } from '../../plugins/x509/certificate'
import { claimOneLine } from './target'

/** @returns what became of it, in a word */
export function claimVerdict(verdict: DaneVerdict, question: DaneQuestion): string {
  if (!verdict.ok) {
    assert.match(verdict.reason, /^dane-/)
    claimOneLine(verdict.detail, 800)
    return verdict.reason
  }
  const { record, matchedName, depth } = verdict
  const [leaf] = question.chain
  assert.ok(leaf !== undefined && question.records.includes(record))
  if (record.usage === 3) {
    assert.ok(depth === 0 && matchedName === undefined)
    assert.ok(fits(leaf, record), 'a record that does not fit')
    return 'verified by DANE-EE'
  }
  assert.ok(depth > 0 && matchedName !== undefined)
  assert.ok(question.references.includes(matchedName), 'a name that nobody asked for')
  claimNamed(leaf, matchedName, 'default')
  assert.ok(isInDate(leaf, question.now), 'a leaf out of date')
  assert.ok(leadsToAnchor(leaf, record, question), 'no path leads to an anchor that fits')
  return 'verified by DANE-TA'
}

/**
 * Claims that OpenSSL finds the name as well. It reads no name at all where a directoryName beside it has a value that is no string,
 * which X.501 allows, and takes no wildcard right below a top-level domain (docs/dane-differences.md); then the name must at least
 * stand there, octet by octet.
 */
export function claimNamed(
  certificate: X509Certificate,
  name: string,
  subject: 'default' | 'never',
): void {
  if (certificate.checkHost(name, { subject, partialWildcards: false }) !== undefined) return
  // Node types it as a string.
  const shown: string | null | undefined = certificate.subjectAltName
  const isBelowTopLevel = name.split('.').length === 2
  assert.ok(
    isBelowTopLevel || shown === undefined || shown === null,
    'a name that OpenSSL does not find',
  )
  const octets = certificate.raw.toString('latin1').toLowerCase()
  const wildcard = `*${name.slice(name.indexOf('.'))}`
  assert.ok(octets.includes(name) || octets.includes(wildcard), 'a name that is not there')
}

function leadsToAnchor(
  leaf: X509Certificate,
  record: TlsaRecord,
  { chain, records, now }: DaneQuestion,
): boolean {
  const published = records
    .filter((r) => r.usage === 2 && r.selector === 0 && r.matchingType === 0)
    .map(({ data }) => new X509Certificate(data))
  const issuers = [...chain.slice(1), ...published]
  const key =
    record.selector === 1 && record.matchingType === 0
      ? createPublicKey({ key: record.data, format: 'der', type: 'spki' })
      : undefined
  const reached = new Set([leaf])
  // A set that grows while it is walked through.
  for (const at of reached) {
    if (key !== undefined && isSignedBy(at, key)) return true
    for (const issuer of issuers) {
      if (reached.has(issuer) || !at.checkIssued(issuer)) continue
      if (!isSignedBy(at, issuer.publicKey)) continue
      // Of an anchor that is no root the dates do not count (AUTH-29).
      const isDated = isInDate(issuer, now)
      if ((isDated || !issuer.checkIssued(issuer)) && fits(issuer, record)) return true
      if (issuer.ca && isDated) reached.add(issuer)
    }
  }
  return false
}

function isSignedBy(certificate: X509Certificate, key: KeyObject): boolean {
  try {
    return certificate.verify(key)
  } catch {
    return false
  }
}

function isInDate({ validFrom, validTo }: X509Certificate, now: Date): boolean {
  return Date.parse(validFrom) <= now.getTime() && now.getTime() < Date.parse(validTo) + 1000
}

function fits(certificate: X509Certificate, { selector, matchingType, data }: TlsaRecord): boolean {
  const selected = selector === 0 ? certificate.raw : readPublicKeyInfo(certificate)
  if (selected === undefined) return false
  if (matchingType === 0) return selected.equals(data)
  return createHash(matchingType === 1 ? 'sha256' : 'sha512')
    .update(selected)
    .digest()
    .equals(data)
}
