/**
 * A zone's owner chooses the records, the certificates and the keys: no choice of them makes a judgement take long. Estimates of
 * the work are what is tested, and processor time with a wide margin: before there were bounds it was a second and more.
 */
import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mock } from 'node:test'
import type { TlsaData } from '../../../plugins/dnssec-stub/types'
import { judgeRecords } from '../../../plugins/dane/tlsa'
import type { DaneVerdict } from '../../../plugins/dane/types'
import { verifyDane } from '../../../plugins/dane/verify'
import { createJudge } from '../../../plugins/delivery/judgements'
import type { Judged } from '../../../plugins/delivery/judge'
import {
  makeCertificate,
  spkiOf,
  tlsaData,
  tlsaRecord,
  type TestCertificate,
} from '../../support/certificates'
import {
  curveKeyInfo,
  fullSet,
  offCurve,
  rsaChain,
  rsaKeyInfo,
  wholeRecord,
} from '../../support/costly-keys'
import { cpuMilliseconds } from '../../support/cpu'

const HOST = 'mx1.rcpt.test'
const DIGESTS = ['sha512', 'sha256'] as const
const ENOUGH = 250

function judgeAll(set: readonly TlsaData[], chain: readonly TestCertificate[]): DaneVerdict {
  const { usable } = judgeRecords(set, { digests: DIGESTS })
  return verifyDane({
    chain: chain.map(({ certificate }) => certificate),
    records: usable,
    references: [HOST],
    now: new Date(),
  })
}

describe('dane: no peer can make a judgement take long', function () {
  this.timeout(60_000)
  const chain = rsaChain(HOST, 5, 3072)
  const [leaf] = chain
  assert.ok(leaf)

  const SETS: readonly (readonly [string, () => TlsaData[]])[] = [
    ['RSA exponents as long as the modulus', () => fullSet(() => wholeRecord(2, rsaKeyInfo(3072, 3064)))],
    ['RSA keys of 16,384 bits, exponents of 64', () => fullSet(() => wholeRecord(2, rsaKeyInfo(16_384, 64)))],
    ['keys on the slowest curve that is taken', () => fullSet(() => wholeRecord(2, curveKeyInfo('brainpoolP512r1', 'named')))],
    ['keys on a binary curve', () => fullSet(() => wholeRecord(2, curveKeyInfo('sect571r1', 'named')))],
    ['curves by their parameters', () => fullSet(() => wholeRecord(2, curveKeyInfo('P-256', 'explicit')))],
    ['points off such a curve', () => fullSet(() => wholeRecord(3, offCurve(curveKeyInfo('P-521', 'explicit'))))],
    ['points off a curve with a name', () => fullSet(() => wholeRecord(2, offCurve(curveKeyInfo('P-521', 'named'))))],
  ] // prettier-ignore

  for (const [title, make] of SETS) {
    it(`${title}: a DNS message full of them`, () => {
      const set = make()
      judgeAll(set, chain)
      let verdict: DaneVerdict | undefined
      const took = cpuMilliseconds(() => {
        verdict = judgeAll(set, chain)
      })
      assert.ok(took < ENOUGH, `${took} ms`)
      assert.equal(verdict?.ok, false)
    })

    it(`${title}: harm no record beside them`, () => {
      const verdict = judgeAll([...make(), tlsaData(leaf, 3, 1, 1)], chain)
      assert.ok(verdict.ok, JSON.stringify(verdict))
    })
  }

  it('a search given up says so', () => {
    const { usable } = judgeRecords(
      fullSet(() => wholeRecord(2, rsaKeyInfo(16_384, 64))),
      { digests: DIGESTS },
    )
    const verdict = verifyDane({
      chain: chain.map(({ certificate }) => certificate),
      records: usable,
      references: [HOST],
      now: new Date(),
    })
    assert.equal(!verdict.ok && verdict.reason, 'dane-ta-too-costly')
  })

  it('an issuer with a key that burns time says so', () => {
    const digest = createHash('sha256').update(spkiOf(leaf.certificate)).digest()
    const burning = burningIssuer()
    const verdict = verifyDane({
      chain: [burning.leaf.certificate, burning.issuer.certificate],
      records: [{ usage: 2, selector: 1, matchingType: 1, data: digest }],
      references: [HOST],
      now: new Date(),
    })
    assert.ok(!verdict.ok)
    assert.equal(verdict.reason, 'dane-ta-chain-invalid')
    assert.match(verdict.detail, /"CN=Burning" has an elliptic curve given by its parameters/)
  })

  const NAMES: readonly (readonly [string, () => TestCertificate[]])[] = [
    ['8,000 names', () => [makeCertificate({ subject: HOST, san: manyNames(8000) })]],
    ['2,400 names and 2,400 constraints', () => constrained(2400, 2400)],
    ['directory names', () => constrainedDirectories(120)],
    ['directory names without end', () => constrainedDirectories(3000)],
  ]
  for (const [title, make] of NAMES) {
    it(`${title} in a certificate`, () => {
      const presented = make()
      const issuer = presented.at(-1)
      assert.ok(issuer)
      judgeAll([tlsaData(issuer, 2, 0, 1)], presented)
      const anew = make()
      const took = cpuMilliseconds(() => judgeAll([tlsaData(anew.at(-1) ?? issuer, 2, 0, 1)], anew))
      assert.ok(took < ENOUGH, `${took} ms`)
    })
  }

  for (const [curve, most] of [
    ['P-384', 19],
    ['P-521', 10],
    ['brainpoolP512r1', 7],
  ] as const) {
    it(`issuers of one name with keys on ${curve}: no more than ${most} signatures are checked`, () => {
      const key = () => generateKeyPairSync('ec', { namedCurve: curve }).privateKey
      const issuers = Array.from({ length: 16 }, () =>
        makeCertificate({ subject: 'CA', ca: true, key: key() }),
      )
      const issuer = issuers.at(-1)
      assert.ok(issuer)
      const last = makeCertificate({ subject: HOST, san: [HOST], issuer })
      const set = fullSet(() => wholeRecord(2, curveKeyInfo(curve, 'named')))
      const { mock: verify } = mock.method(X509Certificate.prototype, 'verify')
      try {
        const verdict = judgeAll(set, [last, ...issuers])
        assert.equal(!verdict.ok && verdict.reason, 'dane-ta-too-costly')
      } finally {
        verify.restore()
      }
      const checks = verify.callCount()
      assert.ok(checks > 0 && checks <= most, `${checks} checks`)
    })
  }

  it('the certificates of a host are judged once, at however many addresses it shows them', () => {
    const authority = makeCertificate({ subject: 'CA', ca: true })
    const other = makeCertificate({ subject: 'CA', ca: true })
    const presented = makeCertificate({ subject: HOST, san: [HOST], issuer: authority })
    const judge = createJudge()
    const requirement = demand(authority)
    const evidence = (of: TestCertificate) =>
      ({ chain: [presented.certificate, of.certificate], pkix: { ok: false, code: 'X' } }) as const
    const now = new Date()
    const first = judge(requirement, evidence(authority), now)
    assert.equal(first.verdict, 'verified')
    assert.equal(judge(requirement, evidence(authority), now), first)
    assert.equal(judge(requirement, evidence(other), now).verdict, 'refused')
    assert.notEqual(judge(demand(authority), evidence(authority), now), first)
    const later = new Date(now.getTime() + 61_000)
    assert.notEqual(judge(requirement, evidence(authority), later), first)
  })

  it('all judgements of an attempt have one purse, and DANE-EE needs nothing of it', () => {
    const { usable } = judgeRecords(
      fullSet(() => wholeRecord(2, rsaKeyInfo(16_384, 64))),
      { digests: DIGESTS },
    )
    const judge = createJudge()
    const evidence = {
      chain: chain.map(({ certificate }) => certificate),
      pkix: { ok: true },
    } as const
    const hosts = Array.from({ length: 40 }, () => demandOf([...usable]))
    const took = cpuMilliseconds(() => {
      for (const requirement of hosts) judge(requirement, evidence, new Date())
    })
    assert.ok(took < 4 * ENOUGH, `${took} ms`)
    const spent = judge(demandOf([tlsaRecord(chain[1] ?? leaf, 2, 0, 1)]), evidence, new Date())
    assert.equal(spent.reason, 'dane-ta-too-costly')
    const byLeaf = judge(demandOf([tlsaRecord(leaf, 3, 1, 1)]), evidence, new Date())
    assert.equal(byLeaf.reason, 'dane-ee-matched')
  })
})

function demandOf(records: ReturnType<typeof judgeRecords>['usable']): Judged {
  const dane = { base: HOST, records, references: [HOST], presentation: [] }
  return { level: 'authenticate', sni: HOST, success: 'verified', dane }
}

function demand(anchor: TestCertificate): Judged {
  return demandOf([tlsaRecord(anchor, 2, 0, 1)])
}

function burningIssuer() {
  const options = { namedCurve: 'P-256', paramEncoding: 'explicit' } as const
  const key = generateKeyPairSync('ec', options).privateKey
  const issuer = makeCertificate({ subject: 'Burning', ca: true, key })
  return { issuer, leaf: makeCertificate({ subject: HOST, san: [HOST], issuer }) }
}

function manyNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `h${index}.t`)
}

function constrained(names: number, constraints: number): TestCertificate[] {
  const excluded = Array.from({ length: constraints }, (_, index) => `x${index}.t`)
  const issuer = makeCertificate({ subject: 'CA', ca: true, nameConstraints: { excluded } })
  return [makeCertificate({ subject: HOST, san: manyNames(names), issuer }), issuer]
}

function constrainedDirectories(count: number): TestCertificate[] {
  const named = (letter: string) =>
    Array.from({ length: count }, (_, index) => ({ directory: `${letter}${index}` }))
  const nameConstraints = { excluded: named('x') }
  const issuer = makeCertificate({ subject: 'CA', ca: true, nameConstraints })
  return [makeCertificate({ subject: HOST, san: named('h'), issuer }), issuer]
}
