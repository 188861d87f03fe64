import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  matchDnsId,
  matchNameOrParent,
  normalizeHostName,
  presentedNames,
} from '../../../plugins/x509/names'
import { makeCertificate, makeKey, type CertificateRequest } from '../../support/certificates'
import { codePoint } from '../../support/code-point'

const key = makeKey()

interface Case {
  readonly title: string
  readonly certificate: CertificateRequest
  readonly references: readonly string[]
  readonly commonName?: boolean
  readonly expected: { readonly matched: string; readonly by: 'san' | 'cn' } | undefined
}

const san = (...names: NonNullable<CertificateRequest['san']>): CertificateRequest => ({
  subject: 'mx1.rcpt.test',
  san: names,
})
const bySan = (matched: string) => ({ matched, by: 'san' as const })
const manyNames = Array.from({ length: 19 }, (_, index) => `host${index}.other.test`)

const CASES: readonly Case[] = [
  {
    title: 'AUTH-19 any DNS-ID that equals any reference identifier is enough',
    certificate: san(...manyNames, 'mx1.rcpt.test'),
    references: ['elsewhere.test', 'mx1.rcpt.test'],
    expected: bySan('mx1.rcpt.test'),
  },
  {
    title: 'AUTH-19 the first reference identifier that fits is named',
    certificate: san('rcpt.test', 'mx1.rcpt.test'),
    references: ['mx1.rcpt.test', 'rcpt.test'],
    expected: bySan('mx1.rcpt.test'),
  },
  {
    title: 'AUTH-20 a certificate with a DNS-ID is not asked for its common name',
    certificate: san('foo.test'),
    references: ['mx1.rcpt.test'],
    expected: undefined,
  },
  {
    title: 'AUTH-20 a DNS-ID that can fit nothing still closes the way to the common name',
    certificate: san({ bytes: Buffer.from('\0') }),
    references: ['mx1.rcpt.test'],
    expected: undefined,
  },
  {
    title: 'AUTH-21 without any DNS-ID the common name counts, where that is allowed',
    certificate: { subject: 'MX1.rcpt.test' },
    references: ['mx1.rcpt.test'],
    expected: { matched: 'mx1.rcpt.test', by: 'cn' },
  },
  {
    title: 'AUTH-21 names of other forms leave the common name in play',
    certificate: san({ email: 'mx1.rcpt.test' }),
    references: ['mx1.rcpt.test'],
    expected: { matched: 'mx1.rcpt.test', by: 'cn' },
  },
  {
    title: 'AUTH-21 the common name never counts where it is not allowed',
    certificate: { subject: 'mx1.rcpt.test' },
    references: ['mx1.rcpt.test'],
    commonName: false,
    expected: undefined,
  },
  {
    title: 'AUTH-21 a wildcard common name counts as one',
    certificate: { subject: '*.rcpt.test' },
    references: ['mx1.rcpt.test'],
    expected: { matched: 'mx1.rcpt.test', by: 'cn' },
  },
  {
    title: 'AUTH-22 * as the entire first label stands for one label',
    certificate: san('*.rcpt.test'),
    references: ['mx1.rcpt.test'],
    expected: bySan('mx1.rcpt.test'),
  },
  ...['mx*.rcpt.test', '*1.rcpt.test', 'm*1.rcpt.test', '*mx1.rcpt.test', '**.rcpt.test'].map(
    (name): Case => ({
      title: `AUTH-23 a star within a label fits nothing: ${name}`,
      certificate: san(name),
      references: ['mx1.rcpt.test'],
      expected: undefined,
    }),
  ),
  ...['mx1.*.test', '*.*.test', '*', '*.', 'mx1.rcpt.*'].map((name): Case => ({
    title: `AUTH-23 a star elsewhere than in the first label fits nothing: ${name}`,
    certificate: san(name),
    references: ['mx1.rcpt.test'],
    expected: undefined,
  })),
  {
    title: 'AUTH-24 a wildcard never stands for two labels',
    certificate: san('*.rcpt.test'),
    references: ['a.b.rcpt.test'],
    expected: undefined,
  },
  {
    title: 'AUTH-25 a wildcard never stands for none',
    certificate: san('*.rcpt.test'),
    references: ['rcpt.test'],
    expected: undefined,
  },
  {
    title: 'AUTH-25 a wildcard never stands for an empty label',
    certificate: san('*.rcpt.test'),
    references: ['.rcpt.test'],
    expected: undefined,
  },
  {
    title: 'AUTH-26 a wildcard below a top-level domain is legal',
    certificate: san('*.test'),
    references: ['mx1.test'],
    expected: bySan('mx1.test'),
  },
  {
    title: 'AUTH-27 a name with a NUL fits nothing',
    certificate: san({ bytes: Buffer.from('mx1.rcpt.test\0.evil.test') }),
    references: ['mx1.rcpt.test'],
    expected: undefined,
  },
  {
    title: 'AUTH-27 a name with a space or another byte fits nothing',
    certificate: san('mx1.rcpt.test ', { bytes: Buffer.from('m\xe91.rcpt.test', 'latin1') }),
    references: ['mx1.rcpt.test', 'm\u00e91.rcpt.test'],
    expected: undefined,
  },
  {
    title: 'AUTH-27 an address, a URI and a mail address are no host names',
    certificate: san(
      'other.test',
      { uri: 'mx1.rcpt.test' },
      { email: 'mx1.rcpt.test' },
      { ip: Buffer.from([192, 0, 2, 1]) },
      { directory: 'mx1.rcpt.test' },
    ),
    references: ['mx1.rcpt.test', '192.0.2.1'],
    expected: undefined,
  },
  {
    title: 'AUTH-27 an address written as dNSName is no host name',
    certificate: san('192.0.2.1'),
    references: ['192.0.2.1'],
    expected: undefined,
  },
  {
    title: 'AUTH-27 a dNSName in pieces (BER) is no name, and makes the others none',
    certificate: san(
      { raw: Buffer.from('a20d6d78312e726370742e74657374', 'hex') },
      'mx1.rcpt.test',
    ),
    references: ['mx1.rcpt.test'],
    expected: undefined,
  },
  {
    title:
      'AUTH-27 an otherName without its parts makes the whole subjectAltName unreadable, as OpenSSL has it',
    certificate: san('mx1.rcpt.test', { raw: Buffer.from('a003020100', 'hex') }),
    references: ['mx1.rcpt.test'],
    expected: undefined,
  },
  {
    title:
      'AUTH-27 a directoryName without its sets makes the whole subjectAltName unreadable, as OpenSSL has it',
    certificate: san('mx1.rcpt.test', {
      raw: Buffer.from('a40f300d110b300906035504030c026361', 'hex'),
    }),
    references: ['mx1.rcpt.test'],
    expected: undefined,
  },
  {
    title: 'AUTH-27 a directoryName that is whole stands in nobody’s way',
    certificate: san('mx1.rcpt.test', {
      raw: Buffer.from('a40f300d310b300906035504030c026361', 'hex'),
    }),
    references: ['mx1.rcpt.test'],
    expected: bySan('mx1.rcpt.test'),
  },
  {
    title: 'AUTH-27 an otherName that is whole stands in nobody’s way',
    certificate: san('mx1.rcpt.test', { raw: Buffer.from('a00a06022a03a0040c026869', 'hex') }),
    references: ['mx1.rcpt.test'],
    expected: bySan('mx1.rcpt.test'),
  },
  {
    title: 'AUTH-27 A-labels compare case-insensitively',
    certificate: san('MX.XN--Bcher-KVA.test'),
    references: ['mx.b\u00fccher.test'],
    expected: bySan('mx.xn--bcher-kva.test'),
  },
  {
    title: 'DNS-32 case and a trailing dot of the reference do not matter',
    certificate: san('mx1.RCPT.test'),
    references: ['MX1.Rcpt.TEST.'],
    expected: bySan('mx1.rcpt.test'),
  },
  {
    title: 'a presented name with a trailing dot is no DNS-ID',
    certificate: san('mx1.rcpt.test.'),
    references: ['mx1.rcpt.test'],
    expected: undefined,
  },
  {
    title: 'a host name may have an underscore, also under a wildcard',
    certificate: san('*.rcpt.test'),
    references: ['mx_1.rcpt.test'],
    expected: bySan('mx_1.rcpt.test'),
  },
  {
    title: 'no reference identifier fits nothing',
    certificate: san('mx1.rcpt.test'),
    references: [],
    expected: undefined,
  },
]

describe('x509: reference identifiers', () => {
  for (const { title, certificate, references, commonName = true, expected } of CASES) {
    it(title, () => {
      const made = makeCertificate({ key, ...certificate })
      assert.deepEqual(matchDnsId(made.certificate, references, { commonName }), expected)
    })
  }

  it('a subjectAltName that is no DER fits nothing and does not free the common name', () => {
    const { certificate } = makeCertificate({
      key,
      subject: 'mx1.rcpt.test',
      extensions: [{ oid: '2.5.29.17', value: Buffer.from('3080', 'hex') }],
    })
    assert.equal(matchDnsId(certificate, ['mx1.rcpt.test'], { commonName: true }), undefined)
    assert.deepEqual(presentedNames(certificate), [])
  })

  it('shows names as sent, without octets that a terminal would obey', () => {
    const { certificate } = makeCertificate({
      key,
      san: ['MX1.rcpt.test', '*.a.test', { bytes: Buffer.from('a\x1b[2J\0b\n') }],
    })
    assert.deepEqual(presentedNames(certificate), ['MX1.rcpt.test', '*.a.test', 'a?[2J?b?'])
  })

  it('shows at most 100 names', () => {
    const { certificate } = makeCertificate({
      key,
      san: Array.from({ length: 150 }, (_, index) => `h${index}.test`),
    })
    assert.equal(presentedNames(certificate).length, 100)
  })

  it('knows what is no host name', () => {
    const bad = ['', '.', 'a..b', '1.2.3.4', '::1', 'a b', 'a.123', `${'a'.repeat(64)}.test`, 'a/b']
    for (const name of bad) assert.equal(normalizeHostName(name), undefined, name)
    assert.equal(normalizeHostName('A.Test.'), 'a.test')
  })

  it('property: any octets as dNSName never throw, and fit a reference only by equality or one wildcard', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.domain(), (bytes, domain) => {
        const { certificate } = makeCertificate({ key, subject: domain, san: [{ bytes }] })
        const text = Buffer.from(bytes).toString('latin1').toLowerCase()
        const parent = domain.toLowerCase().slice(domain.indexOf('.'))
        const match = matchDnsId(certificate, [domain], { commonName: true })
        assert.equal(match !== undefined, text === domain.toLowerCase() || text === `*${parent}`)
      }),
      { numRuns: 200 },
    )
  })

  for (const [title, presented, name, expected] of [
    ['itself', 'a.test', 'a.test', true],
    ['another', 'b.test', 'a.test', false],
    ['a wildcard for it', '*.a.test', 'mx.a.test', true],
    ['a host below the parent', 'mx.a.test', '.a.test', true],
    ['one far below it', 'MX.b.a.test', '.a.test', true],
    ['a wildcard for all below it', '*.a.test', '.a.test', true],
    ['the parent itself', 'a.test', '.a.test', false],
    ['a name that only ends so', 'bada.test', '.a.test', false],
    ['a wildcard above it', '*.test', '.a.test', false],
    ['a wildcard within', 'x.*.a.test', '.a.test', false],
    ['half a wildcard', 'x*.a.test', '.a.test', false],
    ['a label that is empty', '.a.test', '.a.test', false],
    ['an octet that no name has', 'x\0y.a.test', '.a.test', false],
    ['a trailing dot', 'mx.a.test.', '.a.test', false],
    ['a blank', 'x y.a.test', '.a.test', false],
  ] as const) {
    it(`MAND-09 ${title}: ${JSON.stringify(presented)} for ${name} -> ${expected}`, () => {
      const { certificate } = makeCertificate({ key, san: [{ bytes: Buffer.from(presented) }] })
      const found = matchNameOrParent(certificate, ['mx.elsewhere.example', name])
      assert.equal(found, expected ? name : undefined)
    })
  }

  it('MAND-09 the common name counts for nothing', () => {
    const { certificate } = makeCertificate({ key, subject: 'mx.a.test' })
    assert.equal(matchNameOrParent(certificate, ['mx.a.test', '.a.test']), undefined)
  })

  it('property: any subjectAltName never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (value) => {
        const { certificate } = makeCertificate({
          key,
          extensions: [{ oid: '2.5.29.17', value }],
        })
        assert.equal(matchDnsId(certificate, ['mx1.rcpt.test'], { commonName: true }), undefined)
        assert.ok(presentedNames(certificate).length <= 100)
      }),
      { numRuns: 200 },
    )
  })

  it('property: any text as reference never throws, and what is normalised stays as it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: codePoint }), (text) => {
        const name = normalizeHostName(text)
        if (name !== undefined) assert.equal(normalizeHostName(name), name)
      }),
    )
  })
})
