/**
 * From the wire to the plan: a stub resolver on real sockets, a policy host on real HTTPS, and the decision. For what real
 * name servers do not say on demand: half-secure hosts, bare aliases, failures of one type and not of the other, silence.
 */
import assert from 'node:assert/strict'
import type { Answer } from 'dns-packet'
import { readConfig } from '../../../plugins/config'
import { createPlanner } from '../../../plugins/delivery/planner'
import type { Plan, PlannedHost } from '../../../plugins/delivery/types'
import { createResolver } from '../../../plugins/dnssec-stub'
import { fetchPolicy } from '../../../plugins/mta-sts/fetch'
import { createStsPolicies } from '../../../plugins/mta-sts/policies'
import { memoryStore } from '../../../plugins/store/memory'
import { dnsServer, type Reply, type ScriptedServer, soa } from '../../support/dns-server'
import { validating } from '../../support/facts'
import { policyText, startPolicyHost } from '../../support/https-policy-host'

const SERVFAIL = 2
const DIGEST = Buffer.alloc(32, 0xab)

type Zone = Readonly<Record<string, Reply | undefined>>

describe('from the wire to the plan', () => {
  const opened: { close(): unknown }[] = []
  afterEach(async () => {
    for (const each of opened.splice(0).reverse()) await each.close()
  })
  function keep<T extends { close(): unknown }>(each: T): T {
    opened.push(each)
    return each
  }

  /** By `name TYPE`; undefined is silence, what is not listed is a secure denial. */
  async function serve(zone: Zone): Promise<ScriptedServer> {
    return keep(
      await dnsServer(({ name, type }) => {
        if (name === '') return { authenticData: true }
        const key = `${name} ${type}`
        return key in zone ? zone[key] : { authenticData: true, authorities: [soa('test')] }
      }),
    )
  }

  async function plan(zone: Zone, policyHost?: { readonly port: number; readonly ca: string }) {
    const server = await serve(zone)
    const read = readConfig({ dns: { timeout: '1', deadline: '1' } }, () => undefined)
    assert.ok(read.ok)
    const { resolver } = keep(
      createResolver({
        backend: 'ad',
        servers: [server.spec],
        trustAd: 'loopback',
        timeoutMs: 1000,
        deadlineMs: 1000,
      }),
    )
    const store = keep(memoryStore({ now: Date.now }))
    const sts = keep(
      createStsPolicies({
        resolver,
        store,
        fetch: (domain, signal) =>
          fetchPolicy({
            domain,
            signal,
            resolver,
            ca: policyHost?.ca,
            timeoutMs: 5000,
            maxBody: 65_536,
            allowPrivate: true,
            port: policyHost?.port ?? 443,
          }),
        clock: Date.now,
        random: Math.random,
        log: { info: noop, notice: noop, warn: noop, error: noop },
        settings: { fetchTimeoutMs: 5000, refreshIntervalMs: 86_400_000 },
      }),
    )
    const planner = createPlanner({
      resolver,
      sts,
      self: () => Promise.resolve(undefined),
      config: () => read.config,
      tlsSwitchedOff: () => false,
      selfTest: validating,
      now: () => new Date(),
      ticks: () => performance.now(),
      random: () => 0,
    })
    return { plan: await planner.planForDomain('rcpt.test'), server }
  }

  const mx = (...names: readonly string[]): Reply => ({
    authenticData: true,
    answers: names.map((exchange, index) => ({
      type: 'MX',
      name: 'rcpt.test',
      data: { preference: 10 * (index + 1), exchange },
    })),
  })
  const answer = (authenticData: boolean, ...answers: Answer[]): Reply => ({
    authenticData,
    answers,
  })
  const a = (name: string, data = '192.0.2.1'): Answer => ({ type: 'A', name, data, ttl: 60 })
  const cname = (name: string, data: string): Answer => ({ type: 'CNAME', name, data, ttl: 60 })
  const pinned = (name: string): Reply =>
    answer(true, {
      type: 'TLSA',
      name,
      ttl: 60,
      data: { usage: 3, selector: 1, matchingType: 1, certificate: DIGEST },
    })

  function only({ outcome }: Plan): PlannedHost {
    assert.ok(outcome.kind === 'hosts', JSON.stringify(outcome))
    const [host] = outcome.hosts
    assert.ok(host)
    return host
  }

  it('DNS-26 A with AD, AAAA without: the TLSA records hold for the addresses of both families', async () => {
    const { plan: made } = await plan({
      'rcpt.test MX': mx('mx1.rcpt.test'),
      'mx1.rcpt.test A': answer(true, a('mx1.rcpt.test')),
      'mx1.rcpt.test AAAA': answer(false, {
        type: 'AAAA',
        name: 'mx1.rcpt.test',
        data: '2001:db8::1',
      }),
      '_25._tcp.mx1.rcpt.test TLSA': pinned('_25._tcp.mx1.rcpt.test'),
    })
    const { addresses, requirement } = only(made)
    assert.deepEqual(addresses, ['2001:db8::1', '192.0.2.1'])
    assert.ok(requirement.level === 'authenticate' && requirement.dane)
  })

  const insecureAlias = {
    'rcpt.test MX': mx('mx1.rcpt.test'),
    'mx1.rcpt.test A': answer(
      false,
      cname('mx1.rcpt.test', 'host.unsigned.test'),
      a('host.unsigned.test'),
    ),
    'mx1.rcpt.test AAAA': answer(false, cname('mx1.rcpt.test', 'host.unsigned.test')),
    '_25._tcp.mx1.rcpt.test TLSA': pinned('_25._tcp.mx1.rcpt.test'),
  }

  it('TLSA-11 the address is insecure behind an alias, and the lookup of the alias alone fails: the host is not used', async () => {
    const { plan: made, server } = await plan({
      ...insecureAlias,
      'mx1.rcpt.test CNAME': { rcode: SERVFAIL },
    })
    const { requirement } = only(made)
    assert.ok(requirement.level === 'refuse' && requirement.reason === 'tlsa-lookup-failed')
    assert.ok(!server.queries.some(({ type }) => type === 'TLSA'))
  })

  it('TLSA-09 ... and the alias alone is secure: the name itself is the base', async () => {
    const { plan: made } = await plan({
      ...insecureAlias,
      'mx1.rcpt.test CNAME': answer(true, cname('mx1.rcpt.test', 'host.unsigned.test')),
    })
    const { requirement } = only(made)
    assert.ok(requirement.level === 'authenticate' && requirement.sni === 'mx1.rcpt.test')
  })

  it('DNS-20 replies that hold the alias and not its target: the target is asked for', async () => {
    const { plan: made } = await plan({
      'rcpt.test MX': answer(true, cname('rcpt.test', 'real.test')),
      'real.test MX': answer(true, {
        type: 'MX',
        name: 'real.test',
        data: { preference: 10, exchange: 'mx1.rcpt.test' },
      }),
      'mx1.rcpt.test A': answer(true, cname('mx1.rcpt.test', 'host.test')),
      'mx1.rcpt.test AAAA': answer(true, cname('mx1.rcpt.test', 'host.test')),
      'host.test A': answer(true, a('host.test')),
      '_25._tcp.host.test TLSA': pinned('_25._tcp.host.test'),
    })
    const { addresses, requirement } = only(made)
    assert.deepEqual(addresses, ['192.0.2.1'])
    assert.ok(requirement.level === 'authenticate' && requirement.sni === 'host.test')
    assert.deepEqual(requirement.dane?.references, ['host.test', 'rcpt.test', 'real.test'])
  })

  const silences: readonly (readonly [string, Zone, (made: Plan) => string | undefined])[] = [
    ['MX', { 'rcpt.test MX': undefined }, ({ outcome }) => outcome.kind],
    [
      'TLSA',
      {
        'rcpt.test MX': mx('mx1.rcpt.test'),
        'mx1.rcpt.test A': answer(true, a('mx1.rcpt.test')),
        '_25._tcp.mx1.rcpt.test TLSA': undefined,
      },
      (made) => only(made).requirement.level,
    ],
  ]
  for (const [type, zone, outcome] of silences) {
    it(`DNS-04 XC-03 silence on ${type}: at the deadline the mail waits`, async () => {
      const { plan: made } = await plan(zone)
      assert.equal(outcome(made), type === 'MX' ? 'defer' : 'refuse')
    })
  }

  it('SNI-03 SD-01 the policy is fetched from mta-sts.<domain>, which is also its SNI', async () => {
    const policyHost = keep(
      await startPolicyHost({ answer: policyText({ mx: ['mx1.rcpt.test'] }) }),
    )
    const { plan: made } = await plan(
      {
        'rcpt.test MX': mx('mx1.rcpt.test'),
        'mx1.rcpt.test A': answer(false, a('mx1.rcpt.test')),
        '_mta-sts.rcpt.test TXT': answer(false, {
          type: 'TXT',
          name: '_mta-sts.rcpt.test',
          data: 'v=STSv1; id=1;',
        }),
        'mta-sts.rcpt.test A': answer(false, a('mta-sts.rcpt.test', '127.0.0.1')),
      },
      policyHost,
    )
    const { requirement, policy } = only(made)
    assert.deepEqual(
      policyHost.requests.map(({ sni, url }) => [sni, url]),
      [['mta-sts.rcpt.test', '/.well-known/mta-sts.txt']],
    )
    assert.equal(policy, 'sts')
    assert.ok(requirement.level === 'authenticate' && requirement.pkix?.host === 'mx1.rcpt.test')
  })
})

function noop(): void {
  // Nobody reads these lines.
}
