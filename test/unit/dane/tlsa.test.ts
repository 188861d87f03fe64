import assert from 'node:assert/strict'
import fc from 'fast-check'
import { judgeRecords, MOST_RECORDS, MOST_WHOLE, presentRecord } from '../../../plugins/dane/tlsa'
import type { DigestName } from '../../../plugins/dane/types'
import type { TlsaData } from '../../../plugins/dnssec-stub/types'
import { makeCertificate, spkiOf, tlsaData } from '../../support/certificates'

const DIGESTS: readonly DigestName[] = ['sha512', 'sha256']
const subject = makeCertificate()
const other = makeCertificate()

function record(usage: number, selector: number, matchingType: number, data?: Buffer): TlsaData {
  return {
    malformed: false,
    usage,
    selector,
    matchingType,
    data: data ?? tlsaData(subject, usage, selector, matchingType === 2 ? 2 : 1).data,
  }
}

const good = record(3, 1, 1)
const octets = (count: number) => Buffer.alloc(count, 7)

/** Which places of the set stay usable. */
function usablePlaces(set: readonly TlsaData[], digests: readonly DigestName[] = DIGESTS) {
  const { usable } = judgeRecords(set, { digests })
  return usable.map((kept) => set.findIndex((one) => presentRecord(one) === presentRecord(kept)))
}

interface Case {
  readonly title: string
  readonly set: readonly TlsaData[]
  readonly usable: readonly number[]
  readonly digests?: readonly DigestName[]
}

const CASES: readonly Case[] = [
  { title: 'USE-01 PKIX-EE(1) cannot be used', set: [record(1, 1, 1)], usable: [] },
  { title: 'USE-01 PKIX-TA(0) cannot be used', set: [record(0, 0, 1)], usable: [] },
  {
    title: 'USE-02 usage 1 is not read as 3, nor 0 as 2, beside usable ones',
    set: [record(1, 1, 1), record(0, 1, 1), good],
    usable: [2],
  },
  ...[4, 5, 254, 255].map((usage): Case => ({
    title: `USE-03 usage ${usage} cannot be used`,
    set: [record(usage, 1, 1), good],
    usable: [1],
  })),
  ...[2, 3, 254, 255].map((selector): Case => ({
    title: `USE-04 selector ${selector} cannot be used`,
    set: [record(3, selector, 1)],
    usable: [],
  })),
  {
    title: 'USE-05 matching types 0, 1 and 2 can be used',
    set: [record(3, 1, 0, spkiOf(subject.certificate)), record(3, 1, 1), record(3, 0, 2)],
    usable: [0, 1, 2],
  },
  ...[3, 254, 255].map((matchingType): Case => ({
    title: `USE-05 matching type ${matchingType} cannot be used`,
    set: [record(3, 1, matchingType)],
    usable: [],
  })),
  ...[0, 1, 20, 31, 33, 64].map((size): Case => ({
    title: `USE-06 a SHA2-256 digest of ${size} octets is unusable`,
    set: [record(3, 1, 1, octets(size)), good],
    usable: [1],
  })),
  ...[0, 32, 63, 65].map((size): Case => ({
    title: `USE-06 a SHA2-512 digest of ${size} octets is unusable`,
    set: [record(2, 0, 2, octets(size))],
    usable: [],
  })),
  {
    title: 'USE-07 x 0 0 holds one DER certificate',
    set: [record(3, 0, 0, subject.der), record(2, 0, 0, other.der)],
    usable: [0, 1],
  },
  ...(
    [
      ['garbage', octets(200)],
      ['a certificate and one octet more', Buffer.concat([subject.der, octets(1)])],
      ['two certificates', Buffer.concat([subject.der, other.der])],
      ['a certificate cut short', subject.der.subarray(0, -1)],
      ['a certificate in PEM', Buffer.from(subject.pem)],
      ['a public key', spkiOf(subject.certificate)],
    ] as const
  ).map(([what, data]): Case => ({
    title: `USE-07 x 0 0 with ${what} is unusable`,
    set: [record(2, 0, 0, data), record(3, 0, 0, data)],
    usable: [],
  })),
  {
    title: 'USE-08 x 1 0 holds one SubjectPublicKeyInfo',
    set: [record(2, 1, 0, spkiOf(other.certificate))],
    usable: [0],
  },
  ...(
    [
      ['garbage', octets(91)],
      ['a key and one octet more', Buffer.concat([spkiOf(subject.certificate), octets(1)])],
      ['a key cut short', spkiOf(subject.certificate).subarray(0, -1)],
      ['a certificate', subject.der],
      ['a private key', subject.key.export({ format: 'der', type: 'pkcs8' })],
      ['a key in PEM', Buffer.from(subject.keyPem)],
    ] as const
  ).map(([what, data]): Case => ({
    title: `USE-08 x 1 0 with ${what} is unusable`,
    set: [record(2, 1, 0, data), record(3, 1, 0, data)],
    usable: [],
  })),
  {
    title: 'USE-09 RDATA shorter than its fixed octets harms only itself',
    set: [
      { malformed: true, usage: 255, selector: 255, matchingType: 255, data: octets(2) },
      { malformed: true, usage: 3, selector: 1, matchingType: 1, data: octets(32) },
      good,
    ],
    usable: [2],
  },
  {
    title: 'USE-09 empty association data harms only itself',
    set: [record(3, 1, 1, octets(0)), record(3, 0, 0, octets(0)), record(3, 1, 0, octets(0)), good],
    usable: [3],
  },
  {
    title: 'USE-13 the strongest digest of a usage and selector overrules the others',
    set: [record(3, 1, 1), record(3, 1, 2, octets(64))],
    usable: [1],
  },
  {
    title: 'USE-13 the order of the digests is the configured one',
    set: [record(3, 1, 1), record(3, 1, 2, octets(64))],
    digests: ['sha256', 'sha512'],
    usable: [0],
  },
  {
    title: 'USE-13 all records of the strongest digest stay',
    set: [record(2, 0, 2), record(2, 0, 1), record(2, 0, 2, octets(64))],
    usable: [0, 2],
  },
  {
    title: 'USE-14 agility does not cross usages or selectors',
    set: [record(3, 1, 2, octets(64)), record(3, 0, 1), record(2, 1, 1), record(2, 0, 1)],
    usable: [0, 1, 2, 3],
  },
  {
    title: 'USE-15 a malformed stronger digest overrules nothing',
    set: [record(3, 1, 2, octets(63)), record(3, 1, 1)],
    usable: [1],
  },
  {
    title: 'USE-15 a disabled stronger digest overrules nothing',
    set: [record(3, 1, 2, octets(64)), record(3, 1, 1)],
    digests: ['sha256'],
    usable: [1],
  },
  {
    title: 'USE-16 Full(0) records stay beside digests',
    set: [record(3, 1, 0, spkiOf(subject.certificate)), record(3, 1, 2, octets(64))],
    usable: [0, 1],
  },
  {
    title: 'USE-17 a disabled digest cannot be used',
    set: [record(3, 1, 1)],
    digests: ['sha512'],
    usable: [],
  },
  {
    title: 'USE-17 without any digest only Full(0) is left',
    set: [record(3, 1, 1), record(3, 1, 2), record(3, 0, 0, subject.der)],
    digests: [],
    usable: [2],
  },
]

describe('dane: usability of TLSA records', () => {
  for (const { title, set, usable, digests = DIGESTS } of CASES) {
    it(title, () => {
      const judged = judgeRecords(set, { digests })
      assert.deepEqual(usablePlaces(set, digests), usable)
      assert.equal(judged.presentation.length, set.length)
      assert.equal(
        judged.usable.length + judged.unusable.length + judged.overruled.length,
        set.length,
      )
    })
  }

  it('USE-11 tells of each record in the set why it cannot be used', () => {
    const { unusable, presentation } = judgeRecords(
      [record(1, 1, 1), record(3, 7, 1), record(3, 1, 9), record(3, 1, 1, octets(31))],
      { digests: DIGESTS },
    )
    assert.deepEqual(unusable, [
      { index: 0, why: 'usage 1 is not for SMTP (RFC 7672 §3.1.3)' },
      { index: 1, why: 'unknown selector 7' },
      { index: 2, why: 'unknown matching type 9' },
      { index: 3, why: 'sha256 has 32 octets, not 31' },
    ])
    assert.equal(presentation[3], `3 1 1 ${'07'.repeat(31)}`)
  })

  it('USE-19 big sets are judged, and those beyond the limit are unusable', () => {
    const set = Array.from({ length: MOST_RECORDS + 50 }, (_, index) => {
      const data = Buffer.alloc(32)
      data.writeUInt32BE(index)
      return record(3, 1, 1, data)
    })
    const judged = judgeRecords(set, { digests: DIGESTS })
    assert.equal(judged.usable.length, MOST_RECORDS)
    assert.equal(judged.unusable.length, 50)
  })

  it('USE-19 records that cannot be used do not use up the limit', () => {
    const set = [...Array.from({ length: MOST_RECORDS + 5 }, () => record(1, 1, 1)), good]
    assert.equal(judgeRecords(set, { digests: DIGESTS }).usable.length, 1)
  })

  it('USE-19 a set of whole keys takes no longer to judge than a few of them', () => {
    const whole = record(3, 1, 0, spkiOf(subject.certificate))
    const junk = Array.from({ length: MOST_WHOLE + 5 }, () => record(3, 1, 0, octets(20)))
    const set = [...junk, ...Array.from({ length: MOST_WHOLE + 5 }, () => whole), good]
    const judged = judgeRecords(set, { digests: DIGESTS })
    assert.equal(judged.usable.length, MOST_WHOLE + 1)
    assert.equal(
      judged.usable.at(-1),
      judged.usable.find(({ matchingType }) => matchingType === 1),
    )
    assert.equal(judged.unusable.at(-1)?.why, 'more than 32 records of matching type 0')
  })

  it('property: any RDATA never throws, and every record has exactly one fate', () => {
    const field = fc.oneof(fc.constantFrom(0, 1, 2, 3), fc.nat(255))
    const data = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.constantFrom<Uint8Array>(subject.der, spkiOf(subject.certificate), octets(32), octets(64)),
    )
    const rdata = fc.record({
      malformed: fc.boolean(),
      usage: field,
      selector: field,
      matchingType: field,
      data: data.map((bytes) => Buffer.from(bytes)),
    })
    fc.assert(
      fc.property(
        fc.array(rdata, { maxLength: 12 }),
        fc.uniqueArray(fc.constantFrom<DigestName>('sha256', 'sha512')),
        (set, digests) => {
          const { usable, unusable, overruled } = judgeRecords(set, { digests })
          assert.equal(usable.length + unusable.length + overruled.length, set.length)
          if (unusable.length < set.length) assert.ok(usable.length > 0)
          for (const { usage, selector, matchingType } of usable)
            assert.ok(usage >= 2 && usage <= 3 && selector <= 1 && matchingType <= 2)
        },
      ),
      { numRuns: 300 },
    )
  })
})
