/**
 * Certificates that OpenSSL takes in a handshake although they are not as RFC 5280 has them: the key is found in each, so that a
 * DANE-EE record of selector 1 fits (RFC 7671 §5.1); nothing else of them is believed.
 */
import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { verifyDane } from '../../../plugins/dane/verify'
import { readProfile, readPublicKeyInfo } from '../../../plugins/x509/certificate'
import { sliceKeyInfo } from '../../../plugins/x509/key-info'
import { distinguishedName, makeCertificate, spkiOf } from '../../support/certificates'
import {
  bitString,
  boolean,
  element,
  integer,
  nul,
  objectIdentifier,
  octetString,
  sequence,
  tagged,
  time,
} from '../../support/certificates-der'

const made = makeCertificate({ subject: 'mx', key: 'rsa' })
const KEY = spkiOf(made.certificate)
const ALGORITHM = sequence(objectIdentifier('1.2.840.113549.1.1.11'), nul())
const NAME = distinguishedName('mx')
const DATES = sequence(time(new Date(0)), time(new Date(2e12)))
const SIGNATURE = bitString(Buffer.alloc(256, 1))
const extension = (...parts: readonly Buffer[]) =>
  sequence(objectIdentifier('2.5.29.19'), ...parts, octetString(sequence()))

interface Parts {
  readonly version: Buffer
  readonly serial: Buffer
  readonly dates: Buffer
  readonly issuer: Buffer
  readonly subject: Buffer
  readonly key: Buffer
  readonly rest: readonly Buffer[]
  readonly wrap: (...content: readonly Buffer[]) => Buffer
}

const PLAIN: Parts = {
  version: tagged(0, true, integer(2)),
  serial: integer(5),
  dates: DATES,
  issuer: NAME,
  subject: NAME,
  key: KEY,
  rest: [],
  wrap: sequence,
}

function build(changes: Partial<Parts>): Buffer {
  const { version, serial, dates, issuer, subject, key, rest, wrap } = { ...PLAIN, ...changes }
  const tbs = wrap(version, serial, ALGORITHM, issuer, dates, subject, key, ...rest)
  return sequence(tbs, ALGORITHM, SIGNATURE)
}

/** Length in three octets where one or two would do. */
function longForm(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content)
  return Buffer.concat([Buffer.from([tag, 0x83, 0, body.length >> 8, body.length & 0xff]), body])
}

function indefinite(tag: number, ...content: readonly Buffer[]): Buffer {
  return Buffer.concat([Buffer.from([tag, 0x80]), ...content, Buffer.alloc(2)])
}

const [RSA_ALGORITHM, RSA_BITS] = [
  sequence(objectIdentifier('1.2.840.113549.1.1.1'), nul()),
  KEY.subarray(4 + 15),
]

const ODDITIES: readonly (readonly [string, Partial<Parts>])[] = [
  ['version 4', { version: tagged(0, true, integer(3)) }],
  ['version 256', { version: tagged(0, true, integer(255)) }],
  ['version 1 written out', { version: tagged(0, true, integer(0)) }],
  ['no version, with extensions', { version: Buffer.alloc(0), rest: [tagged(3, true, sequence(extension()))] }],
  ['serial number 0', { serial: integer(0) }],
  ['a negative serial number', { serial: element(2, Buffer.from([0x80])) }],
  ['a serial number of 100 octets', { serial: element(2, Buffer.alloc(100, 7)) }],
  ['dates that are none', { dates: sequence(element(0x17, Buffer.from('xyz')), element(0x18, Buffer.from(''))) }],
  ['dates without seconds', { dates: sequence(element(0x17, Buffer.from('2601010000Z')), element(0x17, Buffer.from('3601010000Z'))) }],
  ['no issuer', { issuer: sequence() }],
  ['no subject', { subject: sequence() }],
  ['an extension twice', { rest: [tagged(3, true, sequence(extension(), extension()))] }],
  ['a critical flag of 1', { rest: [tagged(3, true, sequence(extension(element(1, Buffer.from([1])))))] }],
  ['a critical flag written out as false', { rest: [tagged(3, true, sequence(extension(boolean(false))))] }],
  ['an extension of octets that mean nothing', { rest: [tagged(3, true, sequence(sequence(objectIdentifier('2.5.29.17'), octetString(Buffer.from('zz')))))] }],
  ['unique identifiers in version 3', { rest: [tagged(1, false, Buffer.from([0, 1])), tagged(2, false, Buffer.from([0, 1]))] }],
  ['extensions in version 2', { version: tagged(0, true, integer(1)), rest: [tagged(3, true, sequence(extension()))] }],
  ['a length in more octets than needed', { wrap: (...content) => longForm(0x30, ...content) }],
  ['a length that is left open', { wrap: (...content) => indefinite(0x30, ...content) }],
  ['names whose lengths are left open', { issuer: indefinite(0x30), subject: indefinite(0x30, indefinite(0x31, distinguishedName('mx').subarray(4))) }],
  ['a key whose length is longer than needed', { key: longForm(0x30, RSA_ALGORITHM, RSA_BITS) }],
  ['a key whose length is left open', { key: indefinite(0x30, RSA_ALGORITHM, RSA_BITS) }],
  ['a key whose algorithm has its length left open', { key: sequence(indefinite(0x30, objectIdentifier('1.2.840.113549.1.1.1'), nul()), RSA_BITS) }],
] // prettier-ignore

/** OpenSSL 3.5 (Node 22 and later) reads no certificate with such dates: none comes out of a handshake there. */
const UNREADABLE: readonly string[] =
  Number.parseFloat(process.versions.openssl) >= 3.5
    ? ['dates that are none', 'dates without seconds']
    : []

describe('x509: the key of a certificate that is odd otherwise', () => {
  it('the plain one is as OpenSSL has it', () => {
    const certificate = new X509Certificate(build({}))
    assert.deepEqual(spkiOf(certificate), KEY)
    assert.deepEqual(readPublicKeyInfo(certificate), KEY)
  })

  for (const [title, changes] of ODDITIES) {
    if (UNREADABLE.includes(title)) {
      it(`${title}: this OpenSSL presents none`, () => {
        assert.throws(() => new X509Certificate(build(changes)))
      })
      continue
    }
    it(`AUTH-03 ${title}: 3 1 1 fits`, () => {
      // OpenSSL reads it, so that it can be presented.
      const certificate = new X509Certificate(build(changes))
      assert.deepEqual(readPublicKeyInfo(certificate)?.toString('hex'), KEY.toString('hex'))
      const data = createHash('sha256').update(KEY).digest()
      const verdict = verifyDane({
        chain: [certificate],
        records: [{ usage: 3, selector: 1, matchingType: 1, data }],
        references: [],
        now: new Date(),
      })
      assert.ok(verdict.ok, JSON.stringify(verdict))
    })
  }

  it('where names and dates are judged, such a certificate stays refused', () => {
    const titles = ['version 4', 'dates that are none', 'an extension twice']
    for (const title of titles.filter((each) => !UNREADABLE.includes(each))) {
      const [, changes] = ODDITIES.find(([name]) => name === title) ?? []
      assert.equal(readProfile(new X509Certificate(build(changes ?? {}))), undefined, title)
    }
  })

  it('property: any octets never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        sliceKeyInfo(Buffer.from(bytes))
        sliceKeyInfo(sequence(sequence(bytes)))
        sliceKeyInfo(indefinite(0x30, Buffer.from(bytes)))
      }),
    )
  })

  it('elements of open length inside each other come to an end', () => {
    const nested = Array.from({ length: 40_000 }, () => Buffer.from([0x30, 0x80]))
    assert.equal(sliceKeyInfo(Buffer.concat(nested)), undefined)
  })
})
