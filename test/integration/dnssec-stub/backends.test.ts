/**
 * Both backends against real servers: NSD with zones in every state, Unbound before it. The same table for both. The
 * getdns package is found by `require`, or in the folder that TLS_POLICY_GETDNS names.
 */
import assert from 'node:assert/strict'
import { createResolver, type ManagedResolver } from '../../../plugins/dnssec-stub'
import type { Outcome, RecordType } from '../../../plugins/dnssec-stub/types'
import { dnsDaemons, type DnsDaemons } from '../../support/dns-daemons'
import { getdnsModule } from '../../support/dns-getdns'

const digest = (n: number): string => (n + 16).toString(16).repeat(32)

const ZONES = {
  'signed.test': {
    state: 'signed',
    records: [
      '@ A 192.0.2.1',
      '@ MX 10 MX',
      '@ TXT "v=STSv1; " "id=1"',
      'mx A 192.0.2.2',
      'mx AAAA 2001:db8::2',
      `_25._tcp.mx TLSA 3 1 1 ${digest(0)}`,
      ...Array.from({ length: 40 }, (_, n) => `big TLSA 3 1 1 ${digest(n)}`),
      '*.wild A 192.0.2.3',
      'dname DNAME wild',
      'alias CNAME mx',
      'to-insecure CNAME host.insecure.test.',
      'to-expired CNAME expired.test.',
      'to-nowhere CNAME nowhere',
      'to-insecure-nowhere CNAME nowhere.insecure.test.',
      'loop1 CNAME loop2',
      'loop2 CNAME loop1',
      'null MX 0 .',
    ],
  },
  'nsec3.test': { state: 'signed', nsec3: true, records: ['@ A 192.0.2.1', '*.wild A 192.0.2.4'] },
  'insecure.test': {
    state: 'insecure',
    records: ['host A 192.0.2.4', 'back CNAME mx.signed.test.'],
  },
  'expired.test': { state: 'expired', records: ['@ A 192.0.2.5'] },
  'ahead.test': { state: 'ahead', records: ['@ A 192.0.2.8'] },
  'premature.test': { state: 'premature', records: ['@ A 192.0.2.9'] },
  'altered.test': { state: 'altered', records: ['@ A 192.0.2.66', 'good A 192.0.2.6'] },
  'stripped.test': { state: 'stripped', records: ['@ A 192.0.2.7'] },
} as const

type Row = [what: string, name: string, type: RecordType, expected: Partial<Outcome<RecordType>>]
const answer = (security: 'secure' | 'insecure', ...records: unknown[]) =>
  ({ kind: 'answer', security, records, aliases: [] }) as Partial<Outcome<RecordType>>
const secure = (...records: unknown[]) => answer('secure', ...records)
const insecure = (...records: unknown[]) => answer('insecure', ...records)
const denial = (kind: 'nodata' | 'nxdomain', security: 'secure' | 'insecure') =>
  ({ kind, security, aliases: [] }) as Partial<Outcome<RecordType>>
const via = (expected: Partial<Outcome<RecordType>>, ...aliases: string[]) =>
  ({ ...expected, aliases }) as Partial<Outcome<RecordType>>
const failed = { kind: 'failed' } as const
const bogus = { kind: 'failed', cause: 'bogus' } as const

const ROWS: Row[] = [
  ['A', 'signed.test', 'A', secure('192.0.2.1')],
  ['MX', 'SIGNED.test.', 'MX', secure({ preference: 10, exchange: 'mx.signed.test' })],
  ['null MX', 'null.signed.test', 'MX', secure({ preference: 0, exchange: '' })],
  ['TXT of two strings', 'signed.test', 'TXT', secure(Buffer.from('v=STSv1; id=1'))],
  ['AAAA', 'mx.signed.test', 'AAAA', secure('2001:db8::2')],
  [
    'TLSA',
    '_25._tcp.mx.signed.test',
    'TLSA',
    secure({
      malformed: false,
      usage: 3,
      selector: 1,
      matchingType: 1,
      data: Buffer.from(digest(0), 'hex'),
    }),
  ],
  ['DNS-06 secure NODATA', 'mx.signed.test', 'TXT', denial('nodata', 'secure')],
  ['DNS-06 secure NXDOMAIN', 'no.signed.test', 'A', denial('nxdomain', 'secure')],
  ['an empty non-terminal', '_tcp.mx.signed.test', 'A', denial('nodata', 'secure')],
  ['TLSA-21 a wildcard', 'any.wild.signed.test', 'A', secure('192.0.2.3')],
  ['NSEC3 NODATA', 'nsec3.test', 'MX', denial('nodata', 'secure')],
  ['NSEC3 NXDOMAIN', 'no.nsec3.test', 'A', denial('nxdomain', 'secure')],
  ['NSEC3 wildcard', 'any.wild.nsec3.test', 'A', secure('192.0.2.4')],
  ['NSEC wildcard NODATA', 'any.wild.signed.test', 'MX', denial('nodata', 'secure')],
  ['the root', '.', 'MX', denial('nodata', 'secure')],
  ['DNS-05 an unsigned zone', 'host.insecure.test', 'A', insecure('192.0.2.4')],
  ['DNS-06 insecure NODATA', 'host.insecure.test', 'MX', denial('nodata', 'insecure')],
  ['DNS-06 insecure NXDOMAIN', 'no.insecure.test', 'A', denial('nxdomain', 'insecure')],
  [
    'DNS-18 an alias within a signed zone',
    'alias.signed.test',
    'A',
    via(secure('192.0.2.2'), 'mx.signed.test'),
  ],
  [
    'DNS-21 a DNAME',
    'any.dname.signed.test',
    'A',
    via(secure('192.0.2.3'), 'any.wild.signed.test'),
  ],
  [
    'DNS-19 an alias into an unsigned zone',
    'to-insecure.signed.test',
    'A',
    via(insecure('192.0.2.4'), 'host.insecure.test'),
  ],
  [
    'TLSA-09 that alias by itself',
    'to-insecure.signed.test',
    'CNAME',
    secure('host.insecure.test'),
  ],
  [
    'DNS-19 an alias from an unsigned zone',
    'back.insecure.test',
    'A',
    via(insecure('192.0.2.2'), 'mx.signed.test'),
  ],
  [
    'DNS-06 an alias to no name',
    'to-nowhere.signed.test',
    'A',
    via(denial('nxdomain', 'secure'), 'nowhere.signed.test'),
  ],
  [
    'DNS-06 an alias to no name of an unsigned zone',
    'to-insecure-nowhere.signed.test',
    'A',
    via(denial('nxdomain', 'insecure'), 'nowhere.insecure.test'),
  ],
  ['DNS-20 an alias loop', 'loop1.signed.test', 'A', failed],
  ['DNS-04 signatures out of date', 'expired.test', 'A', bogus],
  ['signatures by a clock somewhat ahead of ours', 'ahead.test', 'A', secure('192.0.2.8')],
  ['DNS-04 signatures of the day after tomorrow', 'premature.test', 'A', bogus],
  ['DNS-04 an alias to such data', 'to-expired.signed.test', 'A', failed],
  ['DNS-04 data changed after signing', 'altered.test', 'A', bogus],
  ['other data of that zone', 'good.altered.test', 'A', secure('192.0.2.6')],
  ['DNS-04 signatures taken away', 'stripped.test', 'A', failed],
  ['DNS-04 a denial with signatures taken away', 'no.stripped.test', 'A', failed],
]

for (const backend of ['ad', 'getdns'] as const) {
  describe(`the ${backend} backend before real servers`, function () {
    this.timeout(30_000)
    let daemons: DnsDaemons
    let managed: ManagedResolver
    const toClose: (() => unknown)[] = []

    before(async () => {
      daemons = await dnsDaemons(ZONES)
      toClose.push(() => daemons.close())
      managed = createResolver({
        backend,
        servers: [daemons.resolver],
        trustAd: 'loopback',
        trustAnchor: daemons.anchorFile,
        timeoutMs: 3000,
        selfTest: { signedName: 'signed.test', bogusName: 'expired.test' },
        ...(backend === 'getdns' ? { getdnsModule: getdnsModule() } : {}),
      })
      toClose.push(() => managed.close())
    })
    after(async () => {
      for (const close of toClose) await close()
    })

    for (const [what, name, type, expected] of ROWS) {
      it(`${what}: ${name} ${type}`, async () => {
        const outcome = await managed.resolver.resolve(name, type)
        assert.deepEqual({ ...outcome, ...expected }, outcome, JSON.stringify(outcome))
      })
    }

    it('a wildcard without such records in an NSEC3 zone, which getdns 1.6 cannot prove (dnssec-stub/README.md)', async () => {
      const outcome = await managed.resolver.resolve('any.wild.nsec3.test', 'MX')
      assert.equal(outcome.kind, backend === 'ad' ? 'nodata' : 'failed')
    })

    it('DNS-37 an answer too large for UDP', async () => {
      const outcome = await managed.resolver.resolve('big.signed.test', 'TLSA')
      assert.ok(outcome.kind === 'answer')
      assert.equal(outcome.security, 'secure')
      assert.equal(outcome.records.length, 40)
    })

    it('DNS-36 TTLs are the least of what was used, denials as RFC 2308 says', async () => {
      const found = await managed.resolver.resolve('alias.signed.test', 'A')
      assert.ok(found.kind === 'answer' && found.ttl > 290 && found.ttl <= 300)
      const denied = await managed.resolver.resolve('no2.signed.test', 'A')
      assert.ok(denied.kind === 'nxdomain' && denied.ttl > 110 && denied.ttl <= 120)
    })

    it('many lookups at once', async () => {
      const outcomes = await Promise.all(
        Array.from({ length: 300 }, (_, n) =>
          managed.resolver.resolve(`n${n}.wild.signed.test`, 'A'),
        ),
      )
      const secureOnes = outcomes.filter(
        (one) => one.kind === 'answer' && one.security === 'secure',
      )
      assert.equal(secureOnes.length, 300)
    })

    it('the self-test sees a validating resolver', async () => {
      assert.equal((await managed.check()).state, 'validating')
      assert.match(
        managed.describe(),
        backend === 'ad'
          ? /^backend ad; servers 127\.0\.0\.1:\d+ trusted \(trust_ad=loopback\)$/
          : /^backend getdns; servers 127\.0\.0\.1:\d+ \(no trust needed\)$/,
      )
    })
  })
}

describe('auto before real servers', function () {
  this.timeout(30_000)
  let daemons: DnsDaemons
  const toClose: (() => unknown)[] = []

  before(async () => {
    daemons = await dnsDaemons({ 'signed.test': ZONES['signed.test'] })
    toClose.push(() => daemons.close())
  })
  after(async () => {
    for (const close of toClose.reverse()) await close()
  })
  const create = (
    trustAd: 'loopback' | 'never',
    trustAnchor = daemons.anchorFile,
  ): ManagedResolver => {
    const managed = createResolver({
      backend: 'auto',
      servers: [daemons.resolver],
      trustAd,
      trustAnchor,
      timeoutMs: 3000,
      getdnsModule: getdnsModule(),
    })
    toClose.push(() => managed.close())
    return managed
  }

  for (const [trustAd, backend] of [
    ['loopback', 'ad'],
    ['never', 'getdns'],
  ] as const) {
    it(`DNS-01 trust_ad=${trustAd}: ${backend} answers, and securely`, async () => {
      const managed = create(trustAd)
      const outcome = await managed.resolver.resolve('signed.test', 'A')
      assert.ok(outcome.kind === 'answer' && outcome.security === 'secure', JSON.stringify(outcome))
      assert.equal((await managed.check()).state, 'validating')
      assert.match(managed.describe(), new RegExp(`^backend ${backend} \\(auto\\); `))
    })
  }

  it('a trust anchor that cannot be read is refused', () => {
    assert.throws(
      () => create('never', '/nowhere/root.key'),
      /trust anchor file "\/nowhere\/root.key" cannot be read/,
    )
  })

  it('getdns without a trust anchor that fits fails every lookup, and is no validating resolver', async () => {
    const other = await dnsDaemons({})
    toClose.push(() => other.close())
    const managed = create('never', other.anchorFile)
    assert.equal((await managed.check()).state, 'unreachable')
    assert.equal((await managed.resolver.resolve('signed.test', 'A')).kind, 'failed')
  })
})
