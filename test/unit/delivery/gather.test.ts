import assert from 'node:assert/strict'
import fc from 'fast-check'
import { readConfig } from '../../../plugins/config'
import { decide } from '../../../plugins/delivery/decide'
import {
  gatherForDomain,
  gatherForRoute,
  MOST_ADDRESSES,
  MOST_HOSTS,
} from '../../../plugins/delivery/gather'
import type { Questions, Sources } from '../../../plugins/delivery/gather'
import { createPlanner } from '../../../plugins/delivery/planner'
import type { Facts, Plan, Requirement } from '../../../plugins/delivery/types'
import type { StsLookup, StsPolicies } from '../../../plugins/mta-sts/types'
import { policy, rules, validating } from '../../support/facts'
import {
  failed,
  hang,
  insecure,
  mx,
  nodata,
  nxdomain,
  scriptedResolver,
  secure,
  tlsa,
} from '../../support/scripted-resolver'
import type { ScriptedResolver, Zone } from '../../support/scripted-resolver'

const DIGEST = 'ab'.repeat(32)
const address = (host = '192.0.2.1') => ({ A: secure(host) })
const pinned = { TLSA: secure(tlsa(3, 1, 1, DIGEST)) }

/** The fixture of the conformance rows. */
const twoHosts: Zone = {
  'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test'), mx(20, 'mx2.rcpt.test')) },
  'mx1.rcpt.test': address('192.0.2.1'),
  'mx2.rcpt.test': address('192.0.2.2'),
}

const noSts: StsPolicies = { lookup: () => Promise.resolve({ kind: 'none' }) }
const NEVER = new AbortController().signal
const NOBODY = 'here.test'

function sources(resolver: ScriptedResolver, changes: Partial<Sources> = {}): Sources {
  return { resolver, sts: noSts, ...changes }
}

function questions(changes: Partial<Questions> = {}): Questions {
  return {
    askDane: true,
    askSts: true,
    insecureMx: 'honour',
    digests: ['sha512', 'sha256'],
    recheck: false,
    dnsSignal: () => NEVER,
    stsSignal: () => NEVER,
    ...changes,
  }
}

interface Run {
  readonly facts: Facts
  readonly resolver: ScriptedResolver
}

async function gather(
  zone: Zone,
  asked: Partial<Questions> = {},
  changes: Partial<Sources> = {},
  nextHop = 'rcpt.test',
): Promise<Run> {
  const resolver = scriptedResolver(zone)
  const facts = await gatherForDomain(nextHop, sources(resolver, changes), questions(asked))
  return { facts, resolver }
}

function requirements(facts: Facts): readonly Requirement[] {
  const { outcome } = decide(facts, rules(), () => 0)
  assert.ok(outcome.kind === 'hosts')
  return outcome.hosts.map(({ requirement }) => requirement)
}

function typesAsked({ resolver }: Run): ReadonlySet<string> {
  return new Set(resolver.questions.map(({ type }) => type))
}

describe('gather: MX', () => {
  it('DNS-22 asks for MX, then for addresses, and for TLSA only when the addresses are there', async () => {
    const answered: string[] = []
    const zone: Zone = {
      'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': {
        A: async () => {
          await new Promise(setImmediate)
          answered.push('A')
          return secure('192.0.2.1')
        },
        AAAA: async () => {
          await new Promise(setImmediate)
          answered.push('AAAA')
          return secure('2001:db8::1')
        },
      },
      '_25._tcp.mx1.rcpt.test': {
        TLSA: () => {
          answered.push('TLSA')
          return pinned.TLSA
        },
      },
    }
    const { facts, resolver } = await gather(zone)
    assert.deepEqual([...answered].sort(), ['A', 'AAAA', 'TLSA'])
    assert.equal(answered.at(-1), 'TLSA')
    assert.equal(resolver.log()[0], 'rcpt.test MX')
    assert.deepEqual(facts.hosts[0]?.addresses, {
      kind: 'resolved',
      list: ['2001:db8::1', '192.0.2.1'],
    })
  })

  it('DNS-10 a domain with MX records is never its own host, not even when they lead nowhere', async () => {
    const run = await gather({
      'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')), ...address() },
      'mx1.rcpt.test': {},
    })
    assert.deepEqual(
      run.facts.hosts.map(({ host, addresses }) => [host, addresses.kind]),
      [['mx1.rcpt.test', 'none']],
    )
    assert.equal(run.resolver.asked('rcpt.test', 'A'), 0)
    assert.deepEqual(
      requirements(run.facts).map((requirement) => requirement.level),
      ['refuse'],
    )
  })

  it('DNS-09 DNS-12 no MX: the domain is its own host, and a failed address lookup is a failure', async () => {
    const fine = await gather({ 'rcpt.test': address() })
    assert.deepEqual(fine.facts.mx, { kind: 'implicit', security: 'secure' })
    assert.equal(fine.facts.hosts[0]?.host, 'rcpt.test')
    assert.equal(fine.resolver.asked('_25._tcp.rcpt.test', 'TLSA'), 1)

    const broken = await gather({ 'rcpt.test': { A: failed(), AAAA: failed() } })
    assert.equal(broken.facts.hosts[0]?.addresses.kind, 'failed')
    const [requirement] = requirements(broken.facts)
    assert.ok(requirement?.level === 'refuse' && requirement.reason === 'address-lookup-failed')
  })

  it('DNS-12 one family denied and the other failed is a failure, never "no address"', async () => {
    for (const zone of [
      { A: nodata(), AAAA: failed() },
      { A: failed(), AAAA: nodata() },
    ]) {
      const { facts } = await gather({ 'rcpt.test': zone })
      assert.equal(facts.hosts[0]?.addresses.kind, 'failed')
    }
  })

  it('DNS-07 a failed MX lookup asks for nothing more', async () => {
    const { facts, resolver } = await gather({ 'rcpt.test': { MX: failed(), ...address() } })
    assert.equal(facts.mx.kind, 'failed')
    assert.deepEqual(resolver.log(), ['rcpt.test MX'])
    assert.deepEqual(facts.sts, { kind: 'not-asked' })
  })

  for (const [title, records] of [
    ['DNS-27 preference 0', [mx(0, '')]],
    ['DNS-28 another preference', [mx(10, '')]],
    ['DNS-28 twice', [mx(0, ''), mx(10, '')]],
  ] as const) {
    it(`${title}: "." alone is a null MX, and no address is looked up`, async () => {
      const { facts, resolver } = await gather({
        'rcpt.test': { MX: secure(...records), ...address() },
      })
      assert.deepEqual(facts.mx, { kind: 'null-mx', security: 'secure' })
      assert.deepEqual(resolver.log(), ['rcpt.test MX'])
    })
  }

  it('DNS-29 "." beside other MX records is dropped', async () => {
    const { facts } = await gather({
      ...twoHosts,
      'rcpt.test': { MX: secure(mx(0, ''), mx(10, 'mx1.rcpt.test')) },
    })
    assert.deepEqual(
      facts.hosts.map(({ host }) => host),
      ['mx1.rcpt.test'],
    )
  })

  it('DNS-30 a null MX holds whether secure or not; a bogus one is a failed lookup', async () => {
    const kindOf = async (MX: NonNullable<Zone[string]['MX']>) =>
      (await gather({ 'rcpt.test': { MX } })).facts.mx.kind
    assert.equal(await kindOf(secure(mx(0, ''))), 'null-mx')
    assert.equal(await kindOf(insecure(mx(0, ''))), 'null-mx')
    assert.equal(await kindOf(failed('bogus')), 'failed')
  })

  it('DNS-08 NXDOMAIN keeps its security', async () => {
    const { facts } = await gather({ 'rcpt.test': { MX: nxdomain('insecure') } })
    assert.deepEqual(facts.mx, { kind: 'nxdomain', security: 'insecure' })
  })

  for (const literal of ['192.0.2.9', '2001:db8::9']) {
    it(`DNS-34 an MX record that names ${literal}: contacted, no lookup, no DANE, no match in an STS policy`, async () => {
      const zone: Zone = { 'rcpt.test': { MX: secure(mx(10, literal)) } }
      const { facts, resolver } = await gather(zone)
      assert.deepEqual(resolver.log(), ['rcpt.test MX'])
      assert.deepEqual(facts.hosts[0]?.addresses, { kind: 'resolved', list: [literal] })
      assert.deepEqual(facts.hosts[0]?.tlsa, { kind: 'not-asked' })
      assert.equal(requirements(facts)[0]?.level, 'opportunistic')

      const [underSts] = requirements({ ...facts, sts: policy('enforce', ['*.0.2.9', literal]) })
      assert.ok(underSts?.level === 'refuse' && underSts.reason === 'sts-mx-not-listed')
    })
  }

  it('DNS-18 AUTH-15 aliases at the next-hop domain: the expanded name is kept', async () => {
    const { facts } = await gather({
      'rcpt.test': { CNAME: secure('real.test') },
      'real.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': address(),
    })
    assert.equal(facts.nextHopExpanded, 'real.test')
    assert.ok(facts.mx.kind === 'mx' && facts.mx.security === 'secure')
  })

  it('DNS-19 an insecure alias on the way makes the MX records insecure', async () => {
    const { facts } = await gather({
      'rcpt.test': { CNAME: insecure('real.test') },
      'real.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': address(),
    })
    assert.ok(facts.mx.kind === 'mx' && facts.mx.security === 'insecure')
  })

  it('a host named twice is one host, with its better preference', async () => {
    const { facts, resolver } = await gather({
      ...twoHosts,
      'rcpt.test': {
        MX: secure(mx(30, 'mx1.rcpt.test'), mx(20, 'mx2.rcpt.test'), mx(10, 'mx1.rcpt.test')),
      },
    })
    assert.deepEqual(
      facts.hosts.map(({ host, preference }) => [host, preference]),
      [
        ['mx1.rcpt.test', 10],
        ['mx2.rcpt.test', 20],
      ],
    )
    assert.equal(resolver.asked('mx1.rcpt.test', 'A'), 1)
    assert.equal(resolver.asked('_25._tcp.mx1.rcpt.test', 'TLSA'), 1)
  })

  it('500 MX records: only the best are looked at', async () => {
    const records = Array.from({ length: 500 }, (_, i) => mx(500 - i, `h${500 - i}.rcpt.test`))
    const { facts, resolver } = await gather({ 'rcpt.test': { MX: secure(...records) } })
    assert.deepEqual(
      facts.hosts.map(({ preference }) => preference),
      Array.from({ length: MOST_HOSTS }, (_, i) => i + 1),
    )
    assert.equal(resolver.questions.length, 1 + 2 * MOST_HOSTS)
  })

  it('500 addresses of one host: so many of each family, IPv6 first', async () => {
    const range = Array.from({ length: 250 }, (_, i) => i + 1)
    const { facts } = await gather({
      'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': {
        A: secure(...range.map((i) => `192.0.2.${i}`)),
        AAAA: secure(...range.map((i) => `2001:db8::${i.toString(16)}`)),
      },
    })
    const found = facts.hosts[0]?.addresses
    assert.ok(found?.kind === 'resolved')
    assert.equal(found.list.length, 2 * MOST_ADDRESSES)
    assert.ok(found.list.slice(0, MOST_ADDRESSES).every((text) => text.includes(':')))
    assert.ok(found.list.slice(MOST_ADDRESSES).every((text) => text.includes('.')))
  })
})

describe('gather: hosts', () => {
  it('DNS-25 one family answers and the other fails: resolved by the one that answered', async () => {
    for (const zone of [
      { A: secure('192.0.2.1'), AAAA: failed() },
      { A: failed(), AAAA: secure('2001:db8::1') },
    ]) {
      const { facts } = await gather({
        'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
        'mx1.rcpt.test': zone,
        '_25._tcp.mx1.rcpt.test': pinned,
      })
      const [host] = facts.hosts
      assert.ok(host?.addresses.kind === 'resolved' && host.addresses.list.length === 1)
      assert.equal(host.tlsa.kind, 'usable')
    }
  })

  it('DNS-26 one family secure, the other not: the TLSA records hold for every address', async () => {
    const { facts } = await gather({
      'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': { A: secure('192.0.2.1'), AAAA: insecure('2001:db8::1') },
      '_25._tcp.mx1.rcpt.test': pinned,
    })
    const { outcome } = decide(facts, rules(), () => 0)
    assert.ok(outcome.kind === 'hosts')
    const [planned] = outcome.hosts
    assert.deepEqual(planned?.addresses, ['2001:db8::1', '192.0.2.1'])
    assert.ok(planned.requirement.level === 'authenticate' && planned.requirement.dane)
  })

  it('DNS-11 DNS-24 TLSA-25 trouble with one host is no trouble with the other', async () => {
    const troubles: readonly Zone[] = [
      { 'mx2.rcpt.test': { A: failed(), AAAA: failed() } },
      { 'mx2.rcpt.test': {} },
      { '_25._tcp.mx2.rcpt.test': { TLSA: failed('bogus') } },
    ]
    for (const trouble of troubles) {
      const { facts } = await gather({
        ...twoHosts,
        '_25._tcp.mx1.rcpt.test': pinned,
        ...trouble,
      })
      const [first, second] = requirements(facts)
      assert.equal(first?.level, 'authenticate')
      assert.equal(second?.level, 'refuse')
    }
  })

  it('DNS-24 a host without address is asked for no TLSA', async () => {
    const run = await gather({ 'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) } })
    assert.equal(run.facts.hosts[0]?.addresses.kind, 'none')
    assert.ok(!typesAsked(run).has('TLSA'))
  })

  it('TLSA-20 all addresses of a host share one TLSA lookup', async () => {
    const { resolver } = await gather({
      'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': { A: secure('192.0.2.1', '192.0.2.2'), AAAA: secure('2001:db8::1') },
      '_25._tcp.mx1.rcpt.test': pinned,
    })
    assert.equal(resolver.asked('_25._tcp.mx1.rcpt.test', 'TLSA'), 1)
  })

  it('AUTH-41 DANE switched off: no TLSA lookup at all', async () => {
    const run = await gather({ ...twoHosts, '_25._tcp.mx1.rcpt.test': pinned }, { askDane: false })
    assert.ok(!typesAsked(run).has('TLSA'))
    assert.deepEqual(run.facts.hosts[0]?.tlsa, { kind: 'not-asked' })
  })

  for (const [insecureMx, times] of [
    ['honour', 1],
    ['ignore', 0],
  ] as const) {
    it(`DNS-15 insecure MX, insecure_mx=${insecureMx}: TLSA asked ${times} times`, async () => {
      const { resolver } = await gather(
        {
          'rcpt.test': { MX: insecure(mx(10, 'mx1.rcpt.test')) },
          'mx1.rcpt.test': address(),
          '_25._tcp.mx1.rcpt.test': pinned,
        },
        { insecureMx },
      )
      assert.equal(resolver.asked('_25._tcp.mx1.rcpt.test', 'TLSA'), times)
    })
  }
})

describe('gather: MTA-STS beside MX', () => {
  function recording(answer: StsLookup): StsPolicies & { readonly asked: string[] } {
    const asked: string[] = []
    return {
      asked,
      lookup: (domain) => {
        asked.push(domain)
        return Promise.resolve(answer)
      },
    }
  }

  it('SD-25 the policy is looked up while the MX lookup is under way', async () => {
    const order: string[] = []
    const { facts } = await gather(
      {
        ...twoHosts,
        'rcpt.test': {
          MX: async () => {
            order.push('MX asked')
            await new Promise(setImmediate)
            order.push('MX answered')
            return secure(mx(10, 'mx1.rcpt.test'))
          },
        },
      },
      {},
      {
        sts: {
          lookup: () => {
            order.push('STS asked')
            return Promise.resolve(policy('enforce'))
          },
        },
      },
    )
    assert.ok(order.indexOf('STS asked') < order.indexOf('MX answered'), order.join(', '))
    assert.equal(facts.sts.kind, 'policy')
  })

  it('SD-21 the policy domain is the next-hop as addressed, not where its alias leads', async () => {
    const sts = recording({ kind: 'none' })
    await gather(
      { 'rcpt.test': { CNAME: secure('real.test') }, 'real.test': address() },
      {},
      { sts },
    )
    assert.deepEqual(sts.asked, ['rcpt.test'])
  })

  it('where no host is left, and nobody can have forged that, no policy is waited for', async () => {
    for (const MX of [failed(), nxdomain(), secure(mx(0, ''))]) {
      const sts: StsPolicies = { lookup: () => new Promise(() => undefined) }
      const { facts } = await gather({ 'rcpt.test': { MX } }, {}, { sts })
      assert.deepEqual(facts.sts, { kind: 'not-asked' })
    }
  })

  for (const [what, MX] of [
    ['NXDOMAIN', nxdomain('insecure')],
    ['null MX', insecure(mx(0, ''))],
  ] as const) {
    it(`${what} that is not signed: a policy that is known counts`, async () => {
      const sts = recording(policy('enforce'))
      const { facts } = await gather({ 'rcpt.test': { MX } }, {}, { sts })
      assert.equal(facts.sts.kind, 'policy')
    })

    it(`${what} that is not signed: a policy host that does not answer is waited for no longer than the DNS`, async () => {
      const dns = new AbortController()
      const sts: StsPolicies = {
        lookup: (_domain, { signal } = {}) =>
          new Promise((resolve) => {
            signal?.addEventListener('abort', () => {
              resolve({ kind: 'none' })
            })
          }),
      }
      const asked = gather(
        { 'rcpt.test': { MX } },
        { dnsSignal: () => dns.signal, stsSignal: () => new AbortController().signal },
        { sts },
      )
      setImmediate(() => {
        dns.abort()
      })
      assert.deepEqual((await asked).facts.sts, { kind: 'none' })
    })
  }

  it('MTA-STS switched off: not asked', async () => {
    const sts = recording(policy('enforce'))
    const { facts } = await gather(twoHosts, { askSts: false }, { sts })
    assert.deepEqual(sts.asked, [])
    assert.deepEqual(facts.sts, { kind: 'not-asked' })
  })
})

describe('gather: in a crowd of lookups', () => {
  const asked: string[] = []
  const sts: StsPolicies = {
    lookup(domain) {
      asked.push(domain)
      return Promise.resolve({ kind: 'none' })
    },
  }
  const crowd = { sts, isCrowded: () => true }
  beforeEach(() => void asked.splice(0))

  for (const [what, MX, times] of [
    ['XC-13 MX records that cannot be had: MTA-STS is not asked for', failed('timeout'), 0],
    ['MX records: MTA-STS is asked for behind them', secure(mx(10, 'mx1.rcpt.test')), 1],
    ['no MX records, but addresses: the same', nodata(), 1],
    ['a denial that anybody may have forged: the same', nxdomain('insecure'), 1],
  ] as const) {
    it(what, async () => {
      const { facts } = await gather({ ...twoHosts, 'rcpt.test': { MX } }, {}, crowd)
      assert.ok(asked.length >= times && (times > 0 || asked.length === 0), asked.join(' '))
      assert.equal(facts.sts.kind, times === 0 ? 'not-asked' : 'none')
    })
  }

  it('what counts is the crowd at the beginning: else MTA-STS is asked for beside MX', async () => {
    const end = AbortSignal.timeout(20)
    const zone = { 'rcpt.test': { MX: hang } }
    await gather(zone, { dnsSignal: () => end }, { ...crowd, isCrowded: () => false })
    assert.deepEqual(asked, ['rcpt.test'])
  })

  it('says the same as without a crowd, whatever the zone', async () => {
    const enforced = policy('enforce')
    const lookup = () => Promise.resolve(enforced)
    for (const MX of [
      secure(mx(10, 'mx1.rcpt.test')),
      insecure(mx(0, '')),
      nodata('insecure'),
      nxdomain(),
      nxdomain('insecure'),
      failed('bogus'),
    ]) {
      const zone = { ...twoHosts, 'rcpt.test': { MX } }
      const beside = await gather(zone, {}, { sts: { lookup } })
      const behind = await gather(zone, {}, { ...crowd, sts: { lookup } })
      assert.deepEqual(behind.facts, beside.facts)
    }
  })
})

describe('gather: an operator’s route', () => {
  const relay: Zone = {
    'relay.isp.test': { ...address(), MX: secure(mx(10, 'elsewhere.test')) },
    '_587._tcp.relay.isp.test': pinned,
    '_25._tcp.relay.isp.test': { TLSA: failed() },
  }

  it('RL-02 TLSA-02 the relay’s own name and port, and no MX lookup', async () => {
    const resolver = scriptedResolver(relay)
    const route = { host: 'relay.isp.test', port: 587 }
    const facts = await gatherForRoute(route, sources(resolver), questions())
    assert.deepEqual(resolver.log().sort(), [
      '_587._tcp.relay.isp.test TLSA',
      'relay.isp.test A',
      'relay.isp.test AAAA',
    ])
    const [requirement] = requirements(facts)
    assert.ok(requirement?.level === 'authenticate' && requirement.dane)
    assert.deepEqual(requirement.dane.references, ['relay.isp.test'])
    assert.equal(facts.hosts[0]?.port, 587)
  })

  it('RL-01 the policy domain is the relay; the recipient’s is not asked', async () => {
    const asked: string[] = []
    const sts: StsPolicies = {
      lookup: (domain) => {
        asked.push(domain)
        return Promise.resolve({ kind: 'none' })
      },
    }
    const resolver = scriptedResolver(relay)
    await gatherForRoute(
      { host: 'relay.isp.test', port: 25 },
      sources(resolver, { sts }),
      questions(),
    )
    assert.deepEqual(asked, ['relay.isp.test'])
  })

  it('TLSA-05 AUTH-17 a relay that is an alias: the expanded name is the base, its own name still counts', async () => {
    const resolver = scriptedResolver({
      'relay.isp.test': { CNAME: secure('real.test') },
      'real.test': address(),
      '_25._tcp.real.test': pinned,
    })
    const route = { host: 'relay.isp.test', port: 25 }
    const [requirement] = requirements(await gatherForRoute(route, sources(resolver), questions()))
    assert.ok(requirement?.level === 'authenticate')
    assert.equal(requirement.sni, 'real.test')
    assert.deepEqual(requirement.dane?.references, ['real.test', 'relay.isp.test'])
  })
})

describe('gather: deadlines', () => {
  const stages: readonly (readonly [string, Zone, (facts: Facts) => string | undefined])[] = [
    ['MX', { 'rcpt.test': { MX: hang } }, ({ mx: { kind } }) => kind],
    [
      'addresses',
      { ...twoHosts, 'mx1.rcpt.test': { A: hang, AAAA: hang } },
      ({ hosts }) => hosts[0]?.addresses.kind,
    ],
    [
      'TLSA',
      { ...twoHosts, '_25._tcp.mx1.rcpt.test': { TLSA: hang } },
      ({ hosts }) => hosts[0]?.tlsa.kind,
    ],
    [
      'CNAME',
      {
        'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
        'mx1.rcpt.test': {
          CNAME: hang,
          A: { ...insecure('192.0.2.1'), aliases: ['host.elsewhere.test'] },
        },
      },
      ({ hosts }) => hosts[0]?.tlsa.kind,
    ],
  ]
  for (const [stage, zone, kindOf] of stages) {
    it(`DNS-04 XC-03 ${stage} never answers: failed at the deadline, never "none"`, async () => {
      const deadline = new AbortController()
      const resolver = scriptedResolver(zone)
      const pending = gatherForDomain(
        'rcpt.test',
        sources(resolver),
        questions({ dnsSignal: () => deadline.signal }),
      )
      setImmediate(() => setImmediate(() => deadline.abort()))
      assert.equal(kindOf(await pending), 'failed')
    })
  }

  it('one address family never answers: the other one serves at the deadline', async () => {
    const deadline = new AbortController()
    const resolver = scriptedResolver({
      'rcpt.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': { A: secure('192.0.2.1'), AAAA: hang },
      '_25._tcp.mx1.rcpt.test': pinned,
    })
    const pending = gatherForDomain(
      'rcpt.test',
      sources(resolver),
      questions({ dnsSignal: () => deadline.signal }),
    )
    setImmediate(() => setImmediate(() => deadline.abort()))
    const [host] = (await pending).hosts
    assert.equal(host?.addresses.kind, 'resolved')
    // The time is over: whether the host has TLSA records cannot be known any more, so it is not used.
    assert.equal(host.tlsa.kind, 'failed')
  })

  it('a deadline that is over already fails everything at once', async () => {
    const { facts } = await gather(twoHosts, { dnsSignal: () => AbortSignal.abort() })
    assert.equal(facts.mx.kind, 'failed')
  })
})

describe('planner', () => {
  function plannerFor(zone: Zone, ini: Record<string, unknown> = {}) {
    const read = readConfig(ini, () => undefined)
    assert.ok(read.ok, JSON.stringify(read))
    const resolver = scriptedResolver(zone)
    const planner = createPlanner({
      ...sources(resolver),
      config: () => read.config,
      tlsSwitchedOff: () => false,
      self: () => Promise.resolve(undefined),
      selfTest: validating,
      now: () => new Date(),
      ticks: () => performance.now(),
      random: () => 0,
    })
    return { planner, resolver }
  }

  function firstRequirement({ outcome }: Plan): Requirement | undefined {
    return outcome.kind === 'hosts' ? outcome.hosts[0]?.requirement : undefined
  }

  it('RL-07 RL-08 DNS-31 a route is one name in any case, dotted or not, in U-labels or A-labels', async () => {
    const zone: Zone = { 'xn--bcher-kva.test': address() }
    const ini = { destinations: { 'bücher.test': 'dane-only' } }
    for (const name of [
      'bücher.test',
      'BÜCHER.test.',
      'xn--bcher-kva.test',
      'XN--BCHER-KVA.TEST',
    ]) {
      const { planner, resolver } = plannerFor(zone, ini)
      const plan = await planner.planForRoute({ host: name, port: 25 })
      assert.equal(plan.nextHop, 'xn--bcher-kva.test')
      const requirement = firstRequirement(plan)
      assert.ok(requirement?.level === 'refuse' && requirement.reason === 'dane-required', name)
      assert.equal(resolver.asked('_25._tcp.xn--bcher-kva.test', 'TLSA'), 1)
    }
  })

  it('RL-08 DNS-31 a recipient’s domain in U-labels is looked up in A-labels', async () => {
    const { planner, resolver } = plannerFor({
      'xn--bcher-kva.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': address(),
    })
    const plan = await planner.planForDomain('Bücher.test')
    assert.equal(plan.nextHop, 'xn--bcher-kva.test')
    assert.equal(resolver.log()[0], 'xn--bcher-kva.test MX')
    assert.ok(resolver.log().every((line) => /^[\x20-\x7e]+$/.test(line)))
  })

  it('a recipient’s domain that the DNS cannot hold bounces, a route to one waits, and nothing is asked', async () => {
    const { planner, resolver } = plannerFor({})
    for (const name of [
      'exa mple',
      'a..test',
      `${'x'.repeat(64)}.test`,
      `${'x.'.repeat(127)}x`,
      '',
    ]) {
      const { outcome } = await planner.planForDomain(name)
      assert.ok(outcome.kind === 'bounce' && outcome.reason === 'bad-domain', name)
      const routed = (await planner.planForRoute({ host: name, port: 25 })).outcome
      assert.ok(routed.kind === 'defer' && routed.reason === 'bad-domain', name)
    }
    assert.deepEqual(resolver.log(), [])
  })

  it('what looks like an A-label or ends in digits is a name, and the DNS has the word', async () => {
    const { planner } = plannerFor({
      'xn--abc.test': { MX: secure(mx(10, 'mx1.rcpt.test')) },
      'mx1.rcpt.test': address(),
    })
    assert.equal((await planner.planForDomain('xn--abc.test')).outcome.kind, 'hosts')
    const { outcome } = await planner.planForDomain('foo.123')
    assert.ok(outcome.kind === 'bounce' && outcome.reason === 'no-such-domain')
  })

  it('XC-03 dns.deadline holds for a resolver that hangs', async () => {
    const { planner } = plannerFor(
      { 'rcpt.test': { MX: hang } },
      { dns: { timeout: '1', deadline: '1' } },
    )
    const { outcome } = await planner.planForDomain('rcpt.test')
    assert.ok(outcome.kind === 'defer' && outcome.reason === 'mx-lookup-failed')
  })

  const switches: readonly (readonly [string, Record<string, unknown>, boolean, boolean])[] = [
    ['defaults', {}, true, true],
    ['AUTH-41 dane.enabled=false', { dane: { enabled: 'false' } }, false, true],
    ['mta_sts.enabled=false', { mta_sts: { enabled: 'false' } }, true, false],
    ['destination sts', { destinations: { 'rcpt.test': 'sts' } }, false, true],
    ['destination dane', { destinations: { 'rcpt.test': 'dane' } }, true, false],
    [
      'MAND-01 destination dane-only, though DANE is off elsewhere',
      { dane: { enabled: 'false' }, destinations: { 'rcpt.test': 'dane-only' } },
      true,
      false,
    ],
    [
      'AUTH-41 an exception that is over',
      { destinations: { 'rcpt.test': 'sts until 2020-01-01' } },
      true,
      true,
    ],
  ]
  for (const [title, ini, dane, sts] of switches) {
    it(`${title}: DANE ${dane ? 'asked' : 'not asked'}, MTA-STS ${sts ? 'asked' : 'not asked'}`, async () => {
      const { planner, resolver } = plannerFor(twoHosts, ini)
      const { facts } = await planner.planForDomain('rcpt.test')
      assert.equal(resolver.asked('_25._tcp.mx1.rcpt.test', 'TLSA'), dane ? 1 : 0)
      assert.equal(facts.sts.kind, sts ? 'none' : 'not-asked')
    })
  }
})

describe('gather: hostile MX sets', () => {
  const anyExchange = fc.oneof(
    fc.constantFrom('', NOBODY, '192.0.2.7', '::1', 'mx1.rcpt.test'),
    fc.domain(),
    fc.string({ maxLength: 300 }),
  )
  const anyMx = fc.array(fc.record({ preference: fc.nat(65_535), exchange: anyExchange }), {
    minLength: 1,
    maxLength: 60,
  })

  it('never rejects, stays bounded, and names each host once', async () => {
    await fc.assert(
      fc.asyncProperty(anyMx, async (records) => {
        const { facts } = await gather({ 'rcpt.test': { MX: secure(...records) } })
        const names = facts.hosts.map(({ host }) => host)
        assert.ok(names.length <= MOST_HOSTS)
        assert.equal(new Set(names).size, names.length)
        assert.ok(!names.includes(''))
        assert.equal(facts.mx.kind === 'null-mx', names.length === 0)
      }),
      { numRuns: 200 },
    )
  })
})
