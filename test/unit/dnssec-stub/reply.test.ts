import assert from 'node:assert/strict'
import type { Answer } from 'dns-packet'
import { interpret, type Finding } from '../../../plugins/dnssec-stub/reply'
import { MOST_RECORDS } from '../../../plugins/dnssec-stub/rrsets'
import type { RecordType } from '../../../plugins/dnssec-stub/types'
import { decodeMessage } from '../../../plugins/dnssec-stub/wire'
import { encodeReply, soa, type Reply } from '../../support/dns-server'
import { rawReply, wireName } from '../../support/raw-reply'

const a = (name: string, ttl = 300): Answer => ({ type: 'A', name, ttl, data: '192.0.2.1' })
const cname = (name: string, data: string, ttl = 300): Answer => ({
  type: 'CNAME',
  name,
  ttl,
  data,
})
const chain = (links: number): Answer[] =>
  Array.from({ length: links }, (_, n) =>
    cname(n === 0 ? 'host.test' : `n${n}.test`, `n${n + 1}.test`),
  )

/** What a reply says to the question for host.test A. */
function says(reply: Reply): Finding<'A'> {
  const query = { id: 1, message: { questions: [{ type: 'A' as const, name: 'host.test' }] } }
  const decoded = decodeMessage(encodeReply(query, reply))
  assert.ok(decoded.ok)
  return interpret(decoded.message, { name: 'host.test', type: 'A' })
}

/** What a reply with so many records of a type says. */
function saysMany<T extends RecordType>(type: T, code: number, rdata: readonly Buffer[]) {
  const decoded = decodeMessage(rawReply('host.test', code, rdata))
  assert.ok(decoded.ok)
  return interpret(decoded.message, { name: 'host.test', type })
}

describe('dnssec-stub reply: RRsets of more records than are looked at', () => {
  const times = (count: number, make: (n: number) => Buffer) =>
    Array.from({ length: count }, (_, n) => make(n))
  const number = (n: number) => Buffer.from([n >> 8, n & 255])
  const mxHost = (preference: number, exchange: string) =>
    Buffer.concat([number(preference), wireName(exchange)])

  it('XC-13 of MX records the best are kept, whatever their order in the reply', () => {
    const worstFirst = times(3000, (n) => mxHost(3000 - n, `mx${n}`))
    const finding = saysMany('MX', 15, worstFirst)
    assert.ok(finding.kind === 'answer')
    assert.equal(finding.records.length, MOST_RECORDS)
    assert.deepEqual(
      finding.records.map(({ preference }) => preference),
      times(100, (n) => number(n + 1)).map((octets) => octets.readUInt16BE(0)),
    )
  })

  it('XC-13 MX records that name no host push out none that does', () => {
    const finding = saysMany('MX', 15, [
      ...times(200, (n) => mxHost(n, '')),
      mxHost(60_000, 'mx.test'),
    ])
    assert.ok(finding.kind === 'answer')
    assert.deepEqual(finding.records[0], { preference: 60_000, exchange: 'mx.test' })
  })

  it('XC-13 of addresses the first are kept', () => {
    const finding = saysMany(
      'A',
      1,
      times(1000, (n) => Buffer.from([192, 0, n >> 8, n & 255])),
    )
    assert.ok(finding.kind === 'answer')
    assert.equal(finding.records.length, MOST_RECORDS)
    assert.equal(finding.records[99], '192.0.0.99')
  })

  const wholeOrNone: [type: RecordType, code: number, rdata: (n: number) => Buffer][] = [
    ['TLSA', 52, (n) => Buffer.from([3, 1, 1, ...Buffer.alloc(30, 7), ...number(n)])],
    ['TXT', 16, (n) => Buffer.from([2, ...number(n)])],
  ]
  for (const [type, code, rdata] of wholeOrNone) {
    it(`XC-03 XC-13 too many ${type} records are a failure, and never none or some`, () => {
      assert.deepEqual(saysMany(type, code, times(101, rdata)), {
        kind: 'failed',
        cause: 'too-large',
        why: `101 ${type} records, more than 100`,
      })
      const most = saysMany(type, code, times(100, rdata))
      assert.equal(most.kind === 'answer' && most.records.length, 100)
    })
  }
})

describe('dnssec-stub reply', () => {
  const cases: [what: string, reply: Reply, finding: Partial<Record<string, unknown>>][] = [
    [
      'all records of the type, with the least TTL',
      { answers: [a('host.test', 60), a('host.test', 30)] },
      { kind: 'answer', records: ['192.0.2.1', '192.0.2.1'], ttl: 30, aliases: [] },
    ],
    [
      'owner names compare without case',
      { answers: [a('HOST.test')] },
      { kind: 'answer', records: ['192.0.2.1'], ttl: 300, aliases: [] },
    ],
    [
      'records of other names and types are ignored',
      { answers: [a('other.test'), { type: 'TXT', name: 'host.test', ttl: 1, data: 'x' }] },
      { kind: 'nodata', ttl: 0, aliases: [] },
    ],
    [
      'records of another class are ignored',
      { answers: [{ ...a('host.test'), class: 'CH' } as Answer] },
      { kind: 'nodata', ttl: 0, aliases: [] },
    ],
    [
      'a chain in any order, with the least TTL of all links',
      { answers: [a('n2.test'), cname('n1.test', 'n2.test', 10), cname('host.test', 'n1.test')] },
      { kind: 'answer', records: ['192.0.2.1'], ttl: 10, aliases: ['n1.test', 'n2.test'] },
    ],
    [
      'DNS-20 a chain of 16',
      { answers: [...chain(16), a('n16.test')] },
      {
        kind: 'answer',
        records: ['192.0.2.1'],
        ttl: 300,
        aliases: chain(16).map((_, n) => `n${n + 1}.test`),
      },
    ],
    [
      'DNS-20 a chain of 17',
      { answers: [...chain(17), a('n17.test')] },
      { kind: 'failed', cause: 'alias-chain', why: 'more than 16 CNAMEs' },
    ],
    [
      'DNS-20 a loop',
      { answers: [cname('host.test', 'b.test'), cname('b.test', 'HOST.test')] },
      { kind: 'failed', cause: 'alias-chain', why: 'CNAME loop at b.test' },
    ],
    [
      'DNS-20 an alias of itself',
      { answers: [cname('host.test', 'host.test')] },
      { kind: 'failed', cause: 'alias-chain', why: 'CNAME loop at host.test' },
    ],
    [
      'two different CNAMEs at one name',
      { answers: [cname('host.test', 'b.test'), cname('host.test', 'c.test'), a('b.test')] },
      { kind: 'failed', cause: 'malformed', why: 'several CNAMEs at one name' },
    ],
    [
      'DNS-20 a bare CNAME leads onward',
      { answers: [cname('host.test', 'end.example', 20)] },
      { kind: 'onward', target: 'end.example', ttl: 20, aliases: ['end.example'] },
    ],
    [
      "a denial that does not cover the chain's end says nothing about it",
      { answers: [cname('host.test', 'end.example')], authorities: [soa('test')] },
      { kind: 'onward', target: 'end.example', ttl: 300, aliases: ['end.example'] },
    ],
    [
      'DNS-06 no data at the end of a chain (RFC 2308 §2.2)',
      {
        answers: [cname('host.test', 'end.example')],
        authorities: [soa('example', { minimum: 7 })],
      },
      { kind: 'nodata', ttl: 7, aliases: ['end.example'] },
    ],
    [
      'DNS-06 NXDOMAIN at the end of a chain (RFC 6604)',
      { rcode: 3, answers: [cname('host.test', 'end.example', 9)], authorities: [soa('example')] },
      { kind: 'nxdomain', ttl: 9, aliases: ['end.example'] },
    ],
    [
      'DNS-06 NXDOMAIN without SOA is not kept (RFC 2308 §5)',
      { rcode: 3 },
      { kind: 'nxdomain', ttl: 0, aliases: [] },
    ],
    [
      "DNS-36 a denial holds for the lesser of the SOA's TTL and MINIMUM",
      { authorities: [soa('test', { ttl: 40, minimum: 50 })] },
      { kind: 'nodata', ttl: 40, aliases: [] },
    ],
    ['DNS-04 an unknown rcode', { rcode: 11 }, { kind: 'failed', cause: 'rcode', why: 'RCODE 11' }],
  ]
  for (const [what, reply, finding] of cases) {
    it(what, () => assert.deepEqual(says(reply), finding))
  }

  it('a CNAME is itself the answer where CNAME was asked for (TLSA-09)', () => {
    const query = { id: 1, message: { questions: [{ type: 'CNAME' as const, name: 'host.test' }] } }
    const decoded = decodeMessage(encodeReply(query, { answers: [cname('host.test', 'b.test')] }))
    assert.ok(decoded.ok)
    assert.deepEqual(interpret(decoded.message, { name: 'host.test', type: 'CNAME' }), {
      kind: 'answer',
      records: ['b.test'],
      ttl: 300,
      aliases: [],
    })
  })
})
