import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { TlsaRecord, TlsaVerdict } from '../../../plugins/dane/types'
import { presentRecord } from '../../../plugins/dane/tlsa'
import { decide } from '../../../plugins/delivery/decide'
import { packFacts, unpackFacts } from '../../../plugins/delivery/packed'
import type { Facts, HostFacts, MxFacts } from '../../../plugins/delivery/types'
import { facts, host, rules, servfail, tlsa } from '../../support/facts'

/** Objects as code makes them. */
function plain<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true })
}

/** Labels as they come over the wire: every printable character but the dot, and escapes. */
const label = fc.stringMatching(/^[!-\-/-[\]-`{-~]{1,12}(?:\\\d{3})?$/)
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
const security = fc.constantFrom('secure' as const, 'insecure' as const)
const address = fc.oneof(
  fc.ipV4(),
  fc.ipV6().filter((text) => !text.includes('%')),
)

const record: fc.Arbitrary<TlsaRecord> = plain({
  usage: fc.constantFrom(2 as const, 3 as const),
  selector: fc.constantFrom(0 as const, 1 as const),
  matchingType: fc.constantFrom(0 as const, 1 as const, 2 as const),
  data: fc.uint8Array({ maxLength: 70 }).map((octets) => Buffer.from(octets)),
})

const usable: fc.Arbitrary<TlsaVerdict> = plain({
  base: name,
  records: fc.array(record, { minLength: 1, maxLength: 6 }),
  others: fc.array(fc.string(), { maxLength: 2 }),
}).map(({ base, records, others }) => ({
  kind: 'usable' as const,
  base,
  records,
  presentation: [...records.map(presentRecord), ...others],
}))

const verdict: fc.Arbitrary<HostFacts['tlsa']> = fc.oneof(
  usable,
  plain({
    kind: fc.constant('unusable' as const),
    base: name,
    presentation: fc.array(fc.string()),
    why: fc.array(fc.string()),
  }),
  plain({
    kind: fc.constant('none' as const),
    why: fc.constantFrom(
      'denied' as const,
      'insecure-address' as const,
      'insecure-records' as const,
      'no-address' as const,
    ),
  }),
  fc.constant({ kind: 'not-asked' as const }),
)

const hostFacts: fc.Arbitrary<HostFacts> = plain({
  host: fc.oneof(name, address),
  preference: fc.integer({ min: 0, max: 65_535 }),
  port: fc.integer({ min: 1, max: 65_535 }),
  addresses: fc.oneof(
    plain({ kind: fc.constant('none' as const), security }),
    plain({
      kind: fc.constant('resolved' as const),
      list: fc.array(address, { minLength: 1, maxLength: 5 }),
    }),
  ),
  tlsa: verdict,
})

const all: fc.Arbitrary<Facts> = plain({
  nextHop: name,
  nextHopExpanded: name,
  security,
  kind: fc.constantFrom('mx', 'implicit', 'nxdomain', 'null-mx', 'route'),
  hosts: fc.array(hostFacts, { maxLength: 4 }),
  asksSts: fc.boolean(),
}).map(({ kind, security, hosts, asksSts, ...names }) => ({
  ...names,
  mx: mxOf(kind, security, hosts),
  hosts: kind === 'null-mx' || kind === 'nxdomain' ? [] : hosts,
  sts: asksSts ? { kind: 'none' as const } : { kind: 'not-asked' as const },
}))

function mxOf(kind: string, security: 'secure' | 'insecure', hosts: readonly HostFacts[]): MxFacts {
  if (kind === 'route') return { kind }
  if (kind === 'implicit' || kind === 'nxdomain' || kind === 'null-mx') return { kind, security }
  const records = hosts.map(({ preference, host: exchange }) => ({ preference, exchange }))
  return { kind: 'mx', security, records }
}

describe('facts as a text', () => {
  it('are read out again as they were put in', () => {
    fc.assert(
      fc.property(all, (before) => {
        const packed = packFacts(before)
        assert.ok(packed !== undefined)
        const { found, asksSts } = unpackFacts(packed)
        const { sts, ...kept } = before
        assert.deepEqual(found, kept)
        assert.equal(asksSts, sts.kind !== 'not-asked')
      }),
    )
  })

  it('decide as they did', () => {
    const destinations = [undefined, 'dane-only', 'encrypt'] as const
    fc.assert(
      fc.property(all, fc.constantFrom(...destinations), (before, destination) => {
        const { found } = unpackFacts(packFacts(before) ?? '')
        const after = { ...found, sts: before.sts }
        const outcome = (of: Facts) => decide(of, rules({ destination }), () => 0.5).outcome
        assert.deepEqual(outcome(after), outcome(before))
      }),
    )
  })

  it('of MX records those are kept whose hosts are used', () => {
    const records = Array.from({ length: 100 }, (_, n) => ({
      preference: n,
      exchange: `mx${n}.test`,
    }))
    const hosts = [
      host({ host: 'mx0.test', preference: 0 }),
      host({ host: 'mx1.test', preference: 1 }),
    ]
    const packed =
      packFacts(facts({ mx: { kind: 'mx', security: 'secure', records }, hosts })) ?? ''
    assert.ok(packed.length < 150, packed)
    const { mx } = unpackFacts(packed).found
    assert.deepEqual(mx.kind === 'mx' && mx.records, records.slice(0, 2))
  })

  const failures: [what: string, changes: Partial<Facts>][] = [
    ['the MX lookup', { mx: { kind: 'failed', failure: servfail }, hosts: [] }],
    ['an address', { hosts: [host(), host({ addresses: { kind: 'failed', failure: servfail } })] }],
    ['TLSA', { hosts: [host(), host({ tlsa: tlsa.failed })] }],
  ]
  for (const [what, changes] of failures) {
    it(`XC-03 are not kept where ${what} failed`, () => {
      assert.equal(packFacts(facts(changes)), undefined)
    })
  }

  it('a text that none of this wrote is no facts', () => {
    for (const text of [
      '',
      'a.test  ',
      'a.test  mx',
      'a.test  none,secure s',
      'a.test  mx,secure s\nmx1 1 25',
    ]) {
      assert.throws(() => unpackFacts(text))
    }
  })
})
