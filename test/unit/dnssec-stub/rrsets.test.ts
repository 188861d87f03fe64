/** What is made of the records of a reply, and what is only counted. */
import assert from 'node:assert/strict'
import { decodeMessage } from '../../../plugins/dnssec-stub/wire'
import { rawReply, wireName } from '../../support/raw-reply'

const times = (count: number, make: (n: number) => Buffer) =>
  Array.from({ length: count }, (_, n) => make(n))
const number = (n: number) => Buffer.from([n >> 8, n & 255])

describe('dnssec-stub RRsets of a reply', () => {
  const large: [type: string, code: number, rdata: (n: number) => Buffer, kept: number][] = [
    ['TXT', 16, (n) => Buffer.from([2, ...number(n)]), 0],
    ['TLSA', 52, (n) => Buffer.from([3, 1, 1, ...number(n)]), 0],
    ['CNAME', 5, () => wireName('a.test'), 0],
    ['A', 1, (n) => Buffer.from([192, 0, ...number(n)]), 100],
    ['AAAA', 28, (n) => Buffer.from([32, 1, ...Buffer.alloc(12), ...number(n)]), 100],
    ['MX', 15, (n) => Buffer.concat([number(n), wireName(`m${n}`)]), 100],
    ['a type that is not asked for', 46, number, 100],
  ]
  for (const [type, code, rdata, kept] of large) {
    it(`XC-13 of 2,000 records of ${type} no more than ${kept} are made`, () => {
      const decoded = decodeMessage(rawReply('host.test', code, times(2000, rdata)))
      assert.ok(decoded.ok)
      assert.equal(decoded.message.answers.length, kept)
      assert.deepEqual(decoded.message.crowded, [
        { name: 'host.test', code, count: 2000, ttl: 86_400 },
      ])
    })

    it(`of 100 records of ${type} all are made`, () => {
      const decoded = decodeMessage(rawReply('host.test', code, times(100, rdata)))
      assert.ok(decoded.ok)
      assert.equal(decoded.message.answers.length, 100)
      assert.deepEqual(decoded.message.crowded, [])
    })
  }

  const malformed: [type: string, code: number, good: Buffer, bad: Buffer][] = [
    ['TXT', 16, Buffer.from([1, 97]), Buffer.from([2, 97])],
    ['TXT of no octets', 16, Buffer.from([1, 97]), Buffer.alloc(0)],
    ['A', 1, Buffer.alloc(4), Buffer.alloc(5)],
    ['AAAA', 28, Buffer.alloc(16), Buffer.alloc(4)],
    ['CNAME', 5, wireName('a.test'), Buffer.from([1, 97, 0, 0])],
    ['MX', 15, Buffer.from([0, 1, 0]), Buffer.from([0, 9, 0xff, 0xff])],
    ['MX of no octets', 15, Buffer.from([0, 1, 0]), Buffer.alloc(0)],
  ]
  for (const [type, code, good, bad] of malformed) {
    it(`XC-13 one malformed record among many of ${type} makes the message malformed, left out or not`, () => {
      for (const at of [0, 500, 999]) {
        const rdata = times(1000, (n) => (n === at ? bad : good))
        assert.equal(decodeMessage(rawReply('host.test', code, rdata)).ok, false, `at ${at}`)
      }
    })
  }

  it('XC-13 MX records that name no host by way of a pointer push out none that does', () => {
    // The last octet of the name in the question, `host.test`.
    const none = Buffer.from([0xc0, 12 + 10])
    const decoded = decodeMessage(
      rawReply('host.test', 15, [
        ...times(200, (n) => Buffer.concat([number(n), none])),
        Buffer.concat([number(60_000), wireName('mx.test')]),
      ]),
    )
    assert.ok(decoded.ok)
    const [first] = decoded.message.answers
    assert.deepEqual(first?.type === 'MX' && first.data, {
      preference: 60_000,
      exchange: 'mx.test',
    })
  })
})
