import assert from 'node:assert/strict'
import * as packet from 'dns-packet'
import fc from 'fast-check'
import { ipv6Text } from '../../../plugins/dnssec-stub/rdata'
import { interpret } from '../../../plugins/dnssec-stub/reply'
import { decodeMessage, encodeQuery, type Message } from '../../../plugins/dnssec-stub/wire'
import type { RecordType } from '../../../plugins/dnssec-stub/types'
import { cpuMilliseconds } from '../../support/cpu'

const label = fc.stringMatching(/^[a-z0-9_]([a-z0-9-]{0,20}[a-z0-9])?$/)
const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
const ttl = fc.integer({ min: 0, max: 0x7fffffff })
const octet = fc.integer({ min: 0, max: 255 })
const octets = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map((bytes) => Buffer.from(bytes))

const answer: fc.Arbitrary<packet.Answer> = fc.oneof(
  fc.record({ type: fc.constant('A' as const), name, ttl, data: fc.ipV4() }),
  fc.record({ type: fc.constant('AAAA' as const), name, ttl, data: octets(16, 16).map(ipv6Text) }),
  fc.record({ type: fc.constant('CNAME' as const), name, ttl, data: name }),
  fc.record({
    type: fc.constant('MX' as const),
    name,
    ttl,
    data: fc.record({ preference: fc.integer({ min: 0, max: 65535 }), exchange: name }),
  }),
  fc.record({
    type: fc.constant('TXT' as const),
    name,
    ttl,
    data: fc.array(octets(0, 255), { minLength: 1, maxLength: 3 }),
  }),
  fc.record({
    type: fc.constant('TLSA' as const),
    name,
    ttl,
    data: fc.record({
      usage: octet,
      selector: octet,
      matchingType: octet,
      certificate: octets(0, 100),
    }),
  }),
  fc.record({
    type: fc.constant('SOA' as const),
    name,
    ttl,
    data: fc.record({
      mname: name,
      rname: name,
      serial: ttl,
      refresh: ttl,
      retry: ttl,
      expire: ttl,
      minimum: ttl,
    }),
  }),
)

const response = fc
  .record({
    id: fc.integer({ min: 0, max: 65535 }),
    rcode: fc.constantFrom(0, 2, 3, 5),
    flags: fc.constantFrom(0, packet.AUTHENTIC_DATA, packet.TRUNCATED_RESPONSE, 0x80),
    question: name,
    answers: fc.array(answer, { maxLength: 6 }),
    authorities: fc.array(answer, { maxLength: 3 }),
    additionals: fc.array(answer, { maxLength: 3 }),
  })
  .map((fields) =>
    packet.encode({
      type: 'response',
      id: fields.id,
      flags: fields.flags | fields.rcode,
      questions: [{ type: 'MX', name: fields.question }],
      answers: fields.answers,
      authorities: fields.authorities,
      additionals: fields.additionals,
    }),
  )

/** Whatever came, reading it must end in a value. */
function readFully(message: Buffer): Message | undefined {
  const decoded = decodeMessage(message)
  if (!decoded.ok) {
    assert.equal(typeof decoded.why, 'string')
    return undefined
  }
  for (const type of ['A', 'AAAA', 'MX', 'TXT', 'CNAME', 'TLSA'] satisfies RecordType[]) {
    for (const { name } of [...decoded.message.questions, ...decoded.message.answers]) {
      interpret(decoded.message, { name, type })
    }
  }
  return decoded.message
}

describe('dnssec-stub wire format', () => {
  it('a well-formed message is read as dns-packet reads it', () => {
    fc.assert(
      fc.property(response, (encoded) => {
        const ours = readFully(encoded)
        const theirs = packet.decode(encoded)
        assert.ok(ours)
        assert.equal(ours.head.id, theirs.id)
        assert.equal(ours.head.authenticData, theirs.flag_ad)
        assert.equal(ours.head.truncated, theirs.flag_tc)
        assert.equal(ours.head.recursionAvailable, theirs.flag_ra)
        assert.deepEqual(ours.questions, [
          { name: theirs.questions?.[0]?.name, code: 15, class: 1 },
        ])
        assert.deepEqual(ours.answers, (theirs.answers ?? []).map(inOurWords))
        assert.deepEqual(ours.authorities, (theirs.authorities ?? []).map(inOurWords))
      }),
      { numRuns: 300 },
    )
  })

  it('arbitrary octets are never more than malformed', () => {
    fc.assert(
      fc.property(octets(0, 600), (message) => void readFully(message)),
      { numRuns: 2000 },
    )
  })

  it('every message cut short is malformed', () => {
    fc.assert(
      fc.property(
        response,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (encoded, part) => {
          assert.equal(
            decodeMessage(encoded.subarray(0, Math.floor(encoded.length * part))).ok,
            false,
          )
        },
      ),
      { numRuns: 500 },
    )
  })

  it('a message with octets changed is read or malformed, never worse', () => {
    const change = fc.tuple(fc.nat(), octet)
    fc.assert(
      fc.property(
        response,
        fc.array(change, { minLength: 1, maxLength: 8 }),
        (encoded, changes) => {
          const mutant = Buffer.from(encoded)
          for (const [at, value] of changes) mutant[at % mutant.length] = value
          readFully(mutant)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('a record that lies about its length is malformed', () => {
    const lie = fc.integer({ min: 0, max: 65535 })
    fc.assert(
      fc.property(answer, lie, (record, length) => {
        const encoded = packet.encode({ type: 'response', questions: [], answers: [record] })
        const at = 12 + (record.name.length + 2) + 8
        const truth = encoded.readUInt16BE(at)
        fc.pre(length !== truth)
        encoded.writeUInt16BE(length, at)
        assert.equal(decodeMessage(encoded).ok, false)
      }),
      { numRuns: 1000 },
    )
  })

  const header = (questions: number, answers = 0): Buffer => {
    const octets = Buffer.alloc(12)
    octets.writeUInt16BE(0x8180, 2)
    octets.writeUInt16BE(questions, 4)
    octets.writeUInt16BE(answers, 6)
    return octets
  }
  const refused: [what: string, message: Buffer, why: RegExp][] = [
    [
      'a pointer to itself',
      Buffer.concat([header(1), Buffer.from([0xc0, 12, 0, 1, 0, 1])]),
      /leads forward/,
    ],
    [
      'a pointer into the header, whose octets are nobody’s name',
      Buffer.concat([header(1), Buffer.from([0xc0, 2, 0, 1, 0, 1])]),
      /into the header/,
    ],
    [
      'two pointers to each other',
      Buffer.concat([header(1), Buffer.from([0xc0, 14, 0xc0, 12, 0, 1, 0, 1])]),
      /leads forward/,
    ],
    [
      'a pointer behind a label to that label',
      Buffer.concat([header(1), Buffer.from([1, 97, 0xc0, 12, 0, 1, 0, 1])]),
      /leads forward/,
    ],
    [
      'a label of a reserved kind',
      Buffer.concat([header(1), Buffer.from([0x40, 0, 0, 1, 0, 1])]),
      /unknown kind/,
    ],
    [
      'a name over 255 octets',
      Buffer.concat([
        header(1),
        Buffer.alloc(4 * 64, Buffer.concat([Buffer.from([63]), Buffer.alloc(63, 97)])),
        Buffer.from([0, 0, 1, 0, 1]),
      ]),
      /over 255/,
    ],
    ['65535 questions that are not there', header(65535), /cut short/],
    ['65535 answers that are not there', header(0, 65535), /cut short/],
    ['half a header', Buffer.alloc(11), /header/],
    ['two OPT records', withOpt(2), /more than one OPT/],
    [
      'an EDNS option longer than its record',
      withOpt(1, Buffer.from([0, 15, 0, 9, 0, 6])),
      /longer than/,
    ],
    ['half an EDNS option', withOpt(1, Buffer.from([0, 15, 0])), /cut short/],
    ['an extended error of one octet', withOpt(1, Buffer.from([0, 15, 0, 1, 6])), /without a code/],
  ]
  for (const [what, message, why] of refused) {
    it(`${what} is malformed`, () => {
      const decoded = decodeMessage(message)
      assert.ok(!decoded.ok)
      assert.match(decoded.why, why)
    })
  }

  const badData: [what: string, code: number, rdata: number[]][] = [
    ['A of 5 octets', 1, [192, 0, 2, 1, 0]],
    ['AAAA of 15 octets', 28, Array<number>(15).fill(0)],
    ['CNAME with octets behind the name', 5, [1, 97, 0, 0]],
    ['CNAME without an end', 5, [1, 97]],
    ['CNAME of no octets', 5, []],
    ['MX of two octets', 15, [0, 10]],
    ['MX with octets behind the name', 15, [0, 10, 1, 97, 0, 0]],
    ['TXT of no octets', 16, []],
    ['TXT with a string longer than the record', 16, [1, 97, 5, 98]],
    ['SOA without its numbers', 6, [0, 0, 0, 0]],
  ]
  for (const [what, code, rdata] of badData) {
    it(`${what} is malformed`, () => {
      const owner = [0, 0, code, 0, 1, 0, 0, 0, 60, 0, rdata.length]
      // Other octets of the message follow, so that only the record's own length tells.
      const txt = [0, 0, 16, 0, 1, 0, 0, 0, 60, 0, 6, 5, 97, 0, 97, 0, 97]
      const message = Buffer.concat([header(0, 2), Buffer.from([...owner, ...rdata, ...txt])])
      assert.equal(decodeMessage(message).ok, false)
    })
  }

  it('the largest message of nothing but pointers is read in no time', () => {
    const longest = Buffer.concat([Buffer.alloc(252, Buffer.from([1, 97])), Buffer.from([0])])
    const count = Math.floor((65535 - 12 - longest.length - 4) / 12)
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 254, 0, 0, 0, 0, 0, 0])
    const message = Buffer.concat([
      header(1, count),
      longest,
      Buffer.from([0, 1, 0, 1]),
      Buffer.alloc(count * 12, record),
    ])
    const spent = cpuMilliseconds(() => {
      assert.equal(decodeMessage(message).ok, true)
    })
    assert.ok(spent < 2000, `${spent} ms`)
  })

  for (const [section, place, most] of [
    ['answers', 6, 512],
    ['authority', 8, 256],
  ] as const) {
    it(`XC-13 a message with more records of ${section} than any has in earnest is malformed`, () => {
      const message = (count: number) => {
        const head = Buffer.alloc(12)
        head.writeUInt16BE(count, place)
        const records = Array.from({ length: count }, (_, n) => {
          const owner = `n${String(n).padStart(4, '0')}`
          return Buffer.concat([
            Buffer.from([owner.length]),
            Buffer.from(owner),
            Buffer.from([0, 0, 16, 0, 1, 0, 0, 0, 1, 0, 1, 0]),
          ])
        })
        return decodeMessage(Buffer.concat([head, ...records]))
      }
      assert.equal(message(most).ok, true)
      const decoded = message(most + 1)
      assert.ok(!decoded.ok && /more than/.test(decoded.why), JSON.stringify(decoded))
    })
  }

  it('a TTL with the top bit set is none (RFC 2181 §8)', () => {
    const encoded = packet.encode({
      type: 'response',
      questions: [],
      answers: [{ type: 'A', name: 'a', ttl: 0x80000000, data: '192.0.2.1' }],
    })
    const decoded = decodeMessage(encoded)
    assert.ok(decoded.ok)
    assert.equal(decoded.message.answers[0]?.ttl, 0)
  })

  it('a query is what dns-packet reads back', () => {
    const query = packet.decode(encodeQuery(4711, { name: '_25._tcp.mx.test', type: 'TLSA' }))
    assert.equal(query.id, 4711)
    assert.deepEqual(query.questions, [{ name: '_25._tcp.mx.test', type: 'TLSA', class: 'IN' }])
    const root = packet.decode(encodeQuery(0, { name: '', type: 'MX' }))
    assert.deepEqual(root.questions, [{ name: '.', type: 'MX', class: 'IN' }])
  })

  it('a plain query has no OPT record, and asks for AD all the same (RFC 6840 §5.7)', () => {
    const query = packet.decode(encodeQuery(1, { name: 'a.test', type: 'MX' }, 'plain'))
    assert.deepEqual(query.additionals, [])
    assert.equal(query.flag_ad, true)
    assert.equal(query.flag_rd, true)
  })

  it('octets left over are malformed, unless the reader counts them', () => {
    const whole = packet.encode({ type: 'response', questions: [{ type: 'A', name: 'a.test' }] })
    for (const extra of [0, 1, 300]) {
      const octets = Buffer.concat([whole, Buffer.alloc(extra)])
      assert.equal(decodeMessage(octets).ok, extra === 0)
      const counted = decodeMessage(octets, 'counted')
      assert.equal(counted.ok && counted.message.leftOver, extra)
    }
  })

  const addresses: [hex: string, text: string][] = [
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['20010db8000000000000000000000000', '2001:db8::'],
    ['20010db8000000010000000000000001', '2001:db8:0:1::1'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['20010db8000100010001000100010000', '2001:db8:1:1:1:1:1:0'],
    ['00000000000000000000ffffc0000201', '::ffff:192.0.2.1'],
  ]
  for (const [hex, text] of addresses) {
    it(`RFC 5952: ${text}`, () => assert.equal(ipv6Text(Buffer.from(hex, 'hex')), text))
  }
})

function inOurWords(record: packet.Answer): unknown {
  if (record.type === 'OPT') return undefined
  const { name, ttl, type } = record
  if (record.type === 'MX') {
    const { preference, exchange } = record.data
    return { name, ttl, type, data: { preference, exchange } }
  }
  if (record.type === 'TXT') {
    return { name, ttl, type, data: Buffer.concat(record.data as Buffer[]) }
  }
  if (record.type === 'TLSA') {
    const { usage, selector, matchingType, certificate } = record.data
    const data = { malformed: false, usage, selector, matchingType, data: certificate }
    return { name, ttl, type, data }
  }
  if (record.type === 'SOA') return { name, ttl, type, data: record.data.minimum }
  // dns-packet spells IPv6 addresses in its own way; its encoder tells which octets it means.
  if (record.type === 'AAAA') {
    const octets = packet.encode({ type: 'response', answers: [record] }).subarray(-16)
    return { name, ttl, type, data: ipv6Text(octets) }
  }
  return { name, ttl, type, data: record.data }
}

function withOpt(count: number, options = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(count, 10)
  const opt = Buffer.concat([
    Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.length]),
    options,
  ])
  return Buffer.concat([head, ...Array.from({ length: count }, () => opt)])
}
