import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { readProfile, readPublicKeyInfo } from '../../../plugins/x509/certificate'
import {
  readElement,
  readElements,
  readNamedBits,
  readSequence,
  readSmallInteger,
  readTime,
  TAG,
} from '../../../plugins/x509/der'
import { makeCertificate, makeKey, spkiOf } from '../../support/certificates'
import { element, integer, namedBits, sequence, time } from '../../support/certificates-der'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')

describe('x509: DER', () => {
  for (const [why, bytes] of [
    ['indefinite length', '30800000'],
    ['a long form where the short one does', '308100'],
    ['a length with leading zeros', `30820080${'00'.repeat(128)}`],
    ['a length of more than four octets', '30850000000001ff'],
    ['a tag of several octets', '3f8100'],
    ['fewer octets than the length says', '300405'],
    ['no length', '30'],
    ['nothing', ''],
    ['something after it', '300000'],
  ] as const) {
    it(`refuses ${why}`, () => {
      assert.equal(readElement(hex(bytes), TAG.sequence), undefined)
      assert.equal(readSequence(hex(bytes)), undefined)
    })
  }

  it('reads long elements', () => {
    for (const size of [127, 128, 255, 256, 65_535, 65_536]) {
      const whole = element(0x30, Buffer.alloc(size))
      assert.equal(readElement(whole, TAG.sequence)?.content.length, size)
    }
  })

  it('reads integers, bits and times only in their DER form', () => {
    const only = (bytes: Buffer) => readElements(bytes)?.[0] ?? assert.fail('no element')
    assert.equal(readSmallInteger(only(integer(300))), 300)
    assert.equal(readSmallInteger(only(hex('02020001'))), undefined)
    assert.equal(readSmallInteger(only(hex('0201ff'))), undefined)
    assert.equal(readSmallInteger(only(hex('0200'))), undefined)
    assert.equal(readNamedBits(only(namedBits([5, 6]))), (1 << 5) | (1 << 6))
    assert.equal(readNamedBits(only(namedBits([8]))), 1 << 8)
    assert.equal(readNamedBits(only(hex('030208ff'))), undefined)
    for (const date of ['1999-12-31T23:59:59Z', '2049-12-31T00:00:00Z', '2050-01-01T00:00:00Z'])
      assert.equal(readTime(only(time(new Date(date)))), Date.parse(date))
    const utc = (text: string) => readTime(only(element(0x17, Buffer.from(text))))
    for (const text of ['260230000000Z', '2601010000Z', '260101000000+0100', '260101006000Z'])
      assert.equal(utc(text), undefined, text)
  })

  it('property: any octets never throw, and what is read lies within them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const parts = readElements(Buffer.from(bytes))
        if (parts === undefined) return
        assert.equal(
          parts.reduce((sum, { whole }) => sum + whole.length, 0),
          bytes.length,
        )
        for (const part of parts) {
          readTime(part)
          readSmallInteger(part)
          readNamedBits(part)
        }
      }),
    )
  })

  it('does not take a hostile count of elements', () => {
    assert.equal(readElements(Buffer.alloc(100_000)), undefined)
  })
})

describe('x509: what a certificate says', () => {
  it('reads everything that path validation needs', () => {
    const notAfter = new Date('2051-02-03T04:05:06Z')
    const { certificate } = makeCertificate({
      ca: true,
      pathLen: 3,
      notAfter,
      extKeyUsage: ['serverAuth', 'clientAuth'],
      san: ['a.test'],
      nameConstraints: { permitted: ['b.test'], excluded: [{ ip: Buffer.alloc(8) }] },
    })
    const profile = readProfile(certificate)
    assert.deepEqual(profile?.basicConstraints, { ca: true, pathLength: 3 })
    assert.equal(profile?.notAfter, notAfter.getTime())
    assert.equal(profile.keyUsage, (1 << 5) | (1 << 6))
    assert.deepEqual(profile.extendedKeyUsage, ['2b06010505070301', '2b06010505070302'])
    assert.deepEqual(profile.subjectAltName, [{ form: 2, value: Buffer.from('a.test') }])
    assert.deepEqual(profile.nameConstraints, {
      permitted: [{ form: 2, value: Buffer.from('b.test') }],
      excluded: [{ form: 7, value: Buffer.alloc(8) }],
    })
    assert.deepEqual(profile.unknownCritical, [])
  })

  for (const kind of ['ec', 'rsa', 'ed25519'] as const) {
    it(`USE-18 finds the whole SubjectPublicKeyInfo of ${kind} keys`, () => {
      const { certificate } = makeCertificate({ key: kind })
      assert.deepEqual(readPublicKeyInfo(certificate), spkiOf(certificate))
    })
  }

  it('refuses an extension that comes twice', () => {
    const basic = { oid: '2.5.29.19', value: sequence() }
    const { certificate } = makeCertificate({ extensions: [basic, basic] })
    assert.equal(readProfile(certificate), undefined)
  })

  it('names critical extensions that it does not understand', () => {
    const unknown = { oid: '1.2.3.4', value: sequence() }
    const made = makeCertificate({ extensions: [{ ...unknown, critical: true }] })
    assert.deepEqual(readProfile(made.certificate)?.unknownCritical, ['2a0304'])
    const harmless = makeCertificate({ extensions: [unknown] })
    assert.deepEqual(readProfile(harmless.certificate)?.unknownCritical, [])
  })

  it('property: no value of an extension makes it throw', () => {
    const key = makeKey()
    fc.assert(
      fc.property(
        fc.constantFrom('2.5.29.15', '2.5.29.17', '2.5.29.19', '2.5.29.30', '2.5.29.37'),
        fc.uint8Array({ maxLength: 60 }),
        (oid, value) => {
          const { certificate } = makeCertificate({ key, extensions: [{ oid, value }] })
          readProfile(certificate)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('property: no changed octet of a certificate makes it throw', () => {
    const { der } = makeCertificate({ ca: true, pathLen: 0, san: ['a.test'] })
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.nat(255), (at, octet) => {
        const changed = Buffer.from(der)
        changed.writeUInt8(octet, at)
        const certificate = parsed(changed)
        if (certificate !== undefined) readProfile(certificate)
      }),
      { numRuns: 500 },
    )
  })
})

function parsed(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}
