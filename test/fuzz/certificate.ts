/**
 * Target `certificate`: damaged certificates of all shapes, alone and as chains that TLSA records name, through the DER reader, names
 * and path validation, up to the verdict on a session. What is accepted is held against OpenSSL, as far as Node shows it.
 */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { judgeRecords } from '../../plugins/dane/tlsa'
import type { DaneVerdict } from '../../plugins/dane/types'
import { verifyDane, type DaneQuestion } from '../../plugins/dane/verify'
import { judge } from '../../plugins/delivery/judge'
import type { Requirement } from '../../plugins/delivery/types'
import { readProfile, readPublicKeyInfo } from '../../plugins/x509/certificate'
import { shownSubject } from '../../plugins/x509/chain'
import {
  readElements,
  readNamedBits,
  readSequence,
  readSmallInteger,
  readTime,
  type Element,
} from '../../plugins/x509/der'
import { commonNames, comparableRdns, hasAttribute } from '../../plugins/x509/distinguished-name'
import { matchDnsId, normalizeHostName, presentedNames } from '../../plugins/x509/names'
import { element } from '../support/certificates-der'
import { chainOf, HOST, mazeOf, NOW, recordFor } from './certificate-shapes'
import type { Random } from './random'
import { claimJudgement, DIGESTS, read } from './records'
import { claimOneLine, quickly, type Input, type Target } from './target'
import { claimNamed, claimVerdict } from './verdicts'

export function certificateTarget(): Promise<Target> {
  return Promise.resolve({ make, check })
}

const REFERENCES = [HOST, 'rcpt.test', 'other.test'] as const

/** How many certificates, and what is wrong with the chain by the word of OpenSSL; then these, then RDATA of TLSA records. */
function make(random: Random): Input {
  const chain = random.percent(1) ? mazeOf(random) : chainOf(random)
  const records = Array.from({ length: 1 + random.below(3) }, () => recordFor(random, chain))
  return [Buffer.from([chain.length, random.below(4)]), ...chain, ...records]
}

const CODES = ['', 'CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID', 'DEPTH_ZERO_SELF_SIGNED_CERT'] as const

function check([control = Buffer.alloc(2), ...parts]: Input): string {
  const ders = parts.slice(0, control[0] ?? 0)
  ders.forEach(checkOctets)
  const chain = ders.map(parsed).filter((certificate) => certificate !== undefined)
  chain.forEach(checkCertificate)

  const set = parts.slice(control[0] ?? 0).map(read)
  const judged = quickly('judgeRecords', () => judgeRecords(set, { digests: DIGESTS }))
  claimJudgement(judged, set)
  const question = { chain, records: judged.usable, references: REFERENCES, now: NOW }
  const verdict = quickly('verifyDane', () => verifyDane(question))
  const outcome = claimVerdict(verdict, question)
  checkSession(question, verdict, CODES[control[1] ?? 0] ?? '')
  return chain.length < ders.length
    ? `${outcome}, with certificates that Node cannot read`
    : outcome
}

function parsed(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}

function checkOctets(der: Buffer): void {
  quickly('DER', () => {
    const elements = readElements(der) ?? []
    claimElements(elements, elements.length === 0 ? Buffer.alloc(0) : der)
    for (const { whole, content } of elements.flatMap(({ whole }) => readSequence(whole) ?? [])) {
      const inner = readElements(content)
      if (inner !== undefined) claimElements(inner, content)
      commonNames(whole)
      comparableRdns(whole)
      hasAttribute(whole, '550403')
      for (const part of inner ?? []) {
        readTime(part)
        readSmallInteger(part)
        readNamedBits(part)
      }
    }
  })
}

/** Written anew, elements are the octets that they were read from. */
function claimElements(elements: readonly Element[], octets: Buffer): void {
  const written = elements.map(({ tag, content }) => element(tag, content))
  assert.ok(Buffer.concat(written).equals(octets), 'elements that are not what was read')
}

function checkCertificate(certificate: X509Certificate): void {
  claimOneLine(shownSubject(certificate), 140)
  readPublicKeyInfo(certificate)
  const profile = quickly('readProfile', () => readProfile(certificate))
  const shown = quickly('presentedNames', () => presentedNames(certificate))
  for (const name of shown) claimOneLine(name, 255)
  if (profile === undefined) assert.equal(shown.length, 0)
  else if (Number.isFinite(Date.parse(certificate.validTo))) {
    assert.equal(Date.parse(certificate.validTo), profile.notAfter)
    assert.equal(Date.parse(certificate.validFrom), profile.notBefore)
  }
  for (const commonName of [true, false]) {
    const match = quickly('matchDnsId', () => matchDnsId(certificate, REFERENCES, { commonName }))
    if (match === undefined) continue
    assert.equal(normalizeHostName(match.matched), match.matched)
    assert.ok(match.by === 'san' || commonName)
    claimNamed(certificate, match.matched, commonName ? 'default' : 'never')
  }
}

type Authenticated = Extract<Requirement, { level: 'authenticate' }>

function checkSession({ chain, records }: DaneQuestion, byDane: DaneVerdict, code: string): void {
  const pkix = code === '' ? ({ ok: true } as const) : ({ ok: false, code } as const)
  const dane = { dane: { base: HOST, records, references: REFERENCES, presentation: [] } }
  const sts = { pkix: { host: HOST, patterns: [HOST] } }
  for (const demands of [dane, sts, { ...dane, ...sts }]) {
    const requirement: Authenticated = {
      level: 'authenticate',
      sni: HOST,
      success: 'verified',
      ...demands,
    }
    const verdict = quickly('judge', () => judge(requirement, { chain, pkix }, NOW))
    claimOneLine(verdict.detail, 3000)
    if (verdict.verdict === 'refused') continue
    assert.equal(verdict.verdict, 'verified')
    if ('dane' in demands) assert.ok(byDane.ok)
    if (!('pkix' in demands)) continue
    assert.ok(pkix.ok && chain[0] !== undefined)
    claimNamed(chain[0], HOST, 'never')
  }
}
