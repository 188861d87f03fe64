/** What the cache takes of memory, counted by itself and seen in the heap: a zone's owner decides how many records an answer has. */
import assert from 'node:assert/strict'
import { cached } from '../../../plugins/dnssec-stub/cache'
import { interpret } from '../../../plugins/dnssec-stub/reply'
import type { Outcome, RecordType } from '../../../plugins/dnssec-stub/types'
import { decodeMessage } from '../../../plugins/dnssec-stub/wire'
import { octetsAlive } from '../../support/heap'
import { rawReply, wireName } from '../../support/raw-reply'

const CODES: Readonly<Record<RecordType, number>> = {
  A: 1,
  CNAME: 5,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  TLSA: 52,
}

/** Answers every question of its type with records of the same kind, read from a message as they come over the wire. */
function resolverOf(count: number, rdata: (n: number) => Buffer) {
  return {
    resolve<T extends RecordType>(name: string, type: T): Promise<Outcome<T>> {
      const records = Array.from({ length: count }, (_, n) => rdata(n))
      const decoded = decodeMessage(rawReply(name, CODES[type], records))
      assert.ok(decoded.ok)
      const finding = interpret(decoded.message, { name, type })
      assert.ok(finding.kind === 'answer' || finding.kind === 'nodata')
      return Promise.resolve({ ...finding, ttl: 300, security: 'secure' } as Outcome<T>)
    },
  }
}

const tlsa = (fill: number, octets: number) => Buffer.from([3, 1, 1, ...Buffer.alloc(octets, fill)])
const numbered = (n: number) => Buffer.from([n >> 8, n & 255])

describe('DNS outcomes that are kept, in octets', function () {
  this.timeout(60_000)

  const kinds: [what: string, type: RecordType, count: number, rdata: (n: number) => Buffer][] = [
    ['a denial', 'A', 0, () => Buffer.alloc(0)],
    ['one address', 'A', 1, () => Buffer.from([192, 0, 2, 1])],
    ['100 addresses', 'A', 100, (n) => Buffer.from([192, 0, 2, n])],
    ['one IPv6 address', 'AAAA', 1, () => Buffer.from('20010db8000000000000000000000001', 'hex')],
    ['80 IPv6 addresses', 'AAAA', 80, (n) => Buffer.from([32, 1, 13, 184, ...Buffer.alloc(12, n)])],
    ['one MX host', 'MX', 1, (n) => Buffer.concat([numbered(n), wireName('mx.customer.example')])],
    ['40 MX hosts', 'MX', 40, (n) => Buffer.concat([numbered(n), wireName('x'.repeat(60))])],
    ['a text', 'TXT', 1, () => Buffer.from('\x1fv=STSv1; id=20200101000000Z0000')],
    ['60 texts of two octets', 'TXT', 60, (n) => Buffer.from([2, ...numbered(n)])],
    ['one TLSA record', 'TLSA', 1, () => tlsa(7, 32)],
    ['30 TLSA records', 'TLSA', 30, (n) => tlsa(n, 32)],
    ['35 TLSA records without data', 'TLSA', 35, (n) => tlsa(n, 0)],
  ]
  for (const [what, type, count, rdata] of kinds) {
    it(`${what}: no more is taken than is counted`, async () => {
      const cache = cached(resolverOf(count, rdata), { now: () => 0, maxOctets: 1e9 })
      const fill = async (from: number, to: number) => {
        for (let n = from; n < to; n++) {
          await cache.resolve(`d${n}.customer.example`, type)
          // Octets of others, out of the same pool of Node's.
          Buffer.from('a'.repeat(500))
        }
      }
      await fill(0, 100)
      const [before, counted] = [await octetsAlive(), cache.octets]
      const last = count > 10 ? 400 : 2200
      await fill(100, last)
      const taken = (await octetsAlive()) - before
      assert.notEqual(cache.cachedOutcome(`d${last - 1}.customer.example`, type), undefined)
      assert.ok(
        taken <= cache.octets - counted,
        `${taken} taken, ${cache.octets - counted} counted`,
      )
    })
  }

  it('subdomains of one zone leave the cache within its bound, whatever they publish', async () => {
    const maxOctets = 1_000_000
    for (const [what, type, count, rdata] of kinds) {
      const cache = cached(resolverOf(count, rdata), { now: () => 0, maxOctets })
      for (let n = 0; n < 10_000 / Math.max(1, 3 * count); n++) {
        await cache.resolve(`d${n}.evil.example`, type)
        assert.ok(cache.octets <= maxOctets, what)
      }
    }
  })

  it('large answers do not push out small ones', async () => {
    const small = resolverOf(1, () => Buffer.from([192, 0, 2, 1]))
    const large = resolverOf(60, (n) => Buffer.from([2, ...numbered(n)]))
    const cache = cached(
      {
        resolve: (name, type) => (type === 'A' ? small : large).resolve(name, type),
      },
      { now: () => 0, maxOctets: 200_000 },
    )
    for (let n = 0; n < 100; n++) await cache.resolve(`d${n}.customer.example`, 'A')
    for (let n = 0; n < 1000; n++) await cache.resolve(`d${n}.evil.example`, 'TXT')
    for (let n = 0; n < 100; n++) {
      assert.notEqual(cache.cachedOutcome(`d${n}.customer.example`, 'A'), undefined)
    }
    assert.notEqual(cache.cachedOutcome('d999.evil.example', 'TXT'), undefined)
  })

  it('what has expired is dropped without being asked for again', async () => {
    let time = 0
    const cache = cached(
      resolverOf(1, () => Buffer.from([192, 0, 2, 1])),
      { now: () => time, maxOctets: 1e9 },
    )
    for (let n = 0; n < 1000; n++) await cache.resolve(`d${n}.customer.example`, 'A')
    const full = cache.octets
    time = 301_000
    await cache.resolve('other.example', 'A')
    assert.ok(cache.octets < full / 500)
  })
})
