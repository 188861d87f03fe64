import assert from 'node:assert/strict'
import fc from 'fast-check'
import { provesExistence } from '../../../plugins/dnssec-stub/denial'
import type { Message, ResourceRecord } from '../../../plugins/dnssec-stub/wire'
import { cpuMilliseconds } from '../../support/cpu'

const wireName = (name: string): Buffer =>
  Buffer.concat([
    ...name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.from([0]),
  ])
const record = (code: number, name: string, rdata: Buffer): ResourceRecord => ({
  name,
  ttl: 300,
  type: 'other',
  code,
  rdata,
})
const nsec = (name: string, next: string): ResourceRecord => record(47, name, wireName(next))
/** Parameters of RFC 5155 Appendix A: SHA-1, 12 iterations, salt aabbccdd. */
const nsec3 = (hash: string, iterations = 12): ResourceRecord =>
  record(
    50,
    `${hash}.example`,
    Buffer.from([1, 0, iterations >> 8, iterations & 255, 4, 0xaa, 0xbb, 0xcc, 0xdd, 20]),
  )
const reply = (...authorities: ResourceRecord[]): Message => ({
  head: {
    id: 1,
    isResponse: true,
    opcode: 0,
    truncated: false,
    recursionAvailable: true,
    authenticData: true,
    rcode: 3,
  },
  questions: [],
  rcode: 3,
  answers: [],
  crowded: [],
  authorities,
  extendedErrors: [],
  leftOver: 0,
})

describe('dnssec-stub denial: NXDOMAIN against its own proof', () => {
  const cases: [what: string, name: string, records: ResourceRecord[], exists: boolean][] = [
    [
      'NSEC around the name and its wildcard',
      'c.example',
      [nsec('b.example', 'd.example'), nsec('example', 'a.example')],
      false,
    ],
    ['NSEC at the name', 'c.example', [nsec('c.example', 'd.example')], true],
    ['NSEC that leads below the name', 'c.example', [nsec('b.example', 'x.c.example')], true],
    [
      'NSEC at the wildcard',
      'c.b.example',
      [nsec('a.example', 'd.example'), nsec('*.b.example', 'd.example')],
      true,
    ],
    ['NSEC at a wildcard further up', 'x.c.b.example', [nsec('*.b.example', 'd.example')], true],
    ['NSEC at a wildcard elsewhere', 'c.example', [nsec('*.b.example', 'd.example')], false],
    // Hashes of RFC 5155 Appendix A.
    ['NSEC3 at the name', 'a.example', [nsec3('35mthgpgcu1qg68fab165klnsnk3dpvl')], true],
    [
      'NSEC3 at the empty non-terminal',
      'y.w.example',
      [nsec3('ji6neoaepv8b5o6k4ev33abha8ht9fgc')],
      true,
    ],
    ['NSEC3 at the wildcard', 'any.w.example', [nsec3('r53bq7cc2uvmubfu5ocmm6pers9tk9en')], true],
    [
      'NSEC3 of other names',
      'a.c.x.w.example',
      [nsec3('0p9mhaveqvm6t7vbl5lop2u3t2rp3tom'), nsec3('b4um86eghhds6nea196smvmlo4ors995')],
      false,
    ],
    [
      'NSEC3 with more rounds than anybody takes',
      'c.example',
      [nsec3('35mthgpgcu1qg68fab165klnsnk3dpvl', 501)],
      true,
    ],
    ['NSEC3 cut short', 'c.example', [record(50, 'x.example', Buffer.from([1, 0, 0]))], true],
    ['NSEC without a name', 'c.example', [record(47, 'b.example', Buffer.alloc(0))], true],
    ['a name that needs escaping', 'c\\046d.example', [], true],
    ['nothing', 'c.example', [], false],
  ]
  for (const [what, name, records, exists] of cases) {
    it(`DNS-08 ${what}: ${exists ? 'contradicts' : 'does not contradict'}`, () =>
      assert.equal(provesExistence(reply(...records), name), exists))
  }

  it('DNS-08 a reply made to burn time hashes for no more than a few milliseconds', () => {
    const deep = `${'a.'.repeat(120)}example`
    const salted = (salt: number) =>
      record(
        50,
        `x.example`,
        Buffer.from([1, 0, 500 >> 8, 500 & 255, 2, salt >> 8, salt & 255, 20]),
      )
    const costly = reply(...Array.from({ length: 400 }, (_, salt) => salted(salt)))
    const spent = cpuMilliseconds(() => {
      // What cannot be told counts as a contradiction: mail waits, and does not bounce.
      assert.equal(provesExistence(costly, deep), true)
    })
    assert.ok(spent < 1000, `${spent} ms; without a bound half a minute`)
  })

  it('DNS-08 records of one zone are hashed once for all: many of them prove what few do', () => {
    const many = Array.from({ length: 100 }, () => nsec3('0p9mhaveqvm6t7vbl5lop2u3t2rp3tom', 500))
    assert.equal(provesExistence(reply(...many), 'a.b.c.d.e.f.g.h.i.example'), false)
  })

  it('never throws, whatever the records hold', () => {
    fc.assert(
      fc.property(fc.constantFrom(47, 50), fc.uint8Array({ maxLength: 40 }), (code, rdata) => {
        assert.equal(
          typeof provesExistence(reply(record(code, 'x.example', Buffer.from(rdata))), 'c.example'),
          'boolean',
        )
      }),
      { numRuns: 1000 },
    )
  })
})
