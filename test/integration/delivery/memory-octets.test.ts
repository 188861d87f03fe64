/** What facts take of memory: bounded whatever a domain publishes, and little enough for tens of thousands of ordinary domains. */
import assert from 'node:assert/strict'
import { readConfig } from '../../../plugins/config'
import { createFactsMemory } from '../../../plugins/delivery/memory'
import { createPlanner } from '../../../plugins/delivery/planner'
import { cached } from '../../../plugins/dnssec-stub/cache'
import type { Resolver } from '../../../plugins/dnssec-stub/types'
import { facts, host, validating } from '../../support/facts'
import { octetsAlive } from '../../support/heap'
import { hostile, manyDomains, ordinary, type HostileCounts } from '../../support/many-domains'
import { mx, scriptedResolver, secure, withTtl } from '../../support/scripted-resolver'

const read = readConfig({}, () => undefined)
assert.ok(read.ok)
const { config } = read

function plannerOver(resolver: Resolver, ticks: () => number = () => 0) {
  return createPlanner({
    resolver,
    sts: { lookup: () => Promise.resolve({ kind: 'none' }), peek: () => ({ kind: 'none' }) },
    self: () => Promise.resolve(undefined),
    config: () => config,
    tlsSwitchedOff: () => false,
    selfTest: validating,
    now: () => new Date(0),
    ticks,
    random: () => 0,
  })
}

const isHostile = (name: string) => name.endsWith('evil.test') || name.endsWith('.mx')

/** Ordinary domains, and a hostile zone beside them. */
function world(counts: HostileCounts) {
  const evil = hostile(counts)
  return manyDomains((name, type) => (isHostile(name) ? evil : ordinary)(name, type))
}

const WORST: HostileCounts = { mx: 3000, tlsa: 850, txt: 4000 }
/** As much as is looked at. */
const AT_THE_LIMIT: HostileCounts = { mx: 100, tlsa: 100, txt: 100 }

describe('facts that are kept, in octets', function () {
  this.timeout(120_000)

  it('20,000 ordinary domains are decided without a question, in less of the heap than is counted', async () => {
    const dns = world(WORST)
    const memory = createFactsMemory({ resolver: dns, now: () => 0 })
    const one = (name: string, n: number) => ({
      ...facts({
        nextHop: name,
        nextHopExpanded: name,
        hosts: [10, 20].map((preference) =>
          host({
            host: `mx${preference}.${name}`,
            preference,
            addresses: { kind: 'resolved', list: [`2001:db8::${n}`, `198.51.100.${n % 256}`] },
            tlsa: {
              kind: 'usable',
              base: `mx${preference}.${name}`,
              records: [{ usage: 3, selector: 1, matchingType: 1, data: Buffer.alloc(32, n) }],
              presentation: [`3 1 1 ${Buffer.alloc(32, n).toString('hex')}`],
            },
          }),
        ),
      }),
    })
    const gather = async (n: number) => {
      const name = `dom${n}.customer-${n % 97}.example`
      await memory.gather(
        `domain  ${name}`,
        async (resolver) => {
          await resolver.resolve(name, 'MX')
          return one(name, n)
        },
        false,
      )
    }
    const before = await octetsAlive()
    for (let n = 0; n < 20_000; n++) await gather(n)
    const taken = (await octetsAlive()) - before
    for (let n = 0; n < 20_000; n++) {
      assert.ok(memory.known(`domain  dom${n}.customer-${n % 97}.example`), `domain ${n}`)
    }
    assert.ok(taken <= memory.octets, `${taken} taken, ${memory.octets} counted`)
    const read = (await octetsAlive()) - before
    assert.ok(read <= memory.octets, `${read} taken, ${memory.octets} counted`)
    assert.ok(memory.octets < 14 * 2 ** 20)
  })

  for (const [what, counts] of [
    ['with more records than are looked at', WORST],
    ['with as many as are looked at', AT_THE_LIMIT],
    ['with few records on many hosts', { mx: 100, tlsa: 3, txt: 1 }],
  ] as const) {
    it(`XC-13 a hostile zone ${what} takes no memory from others, and not more than its share`, async () => {
      const dns = world(counts)
      const resolver = cached(dns, { now: () => 0, maxOctets: 3_145_728 })
      const planner = plannerOver(resolver)
      const domains = Array.from({ length: 300 }, (_, n) => `dom${n}.customer.example`)
      for (const domain of domains) await planner.planForDomain(domain)
      const before = await octetsAlive()
      for (let n = 0; n < 150; n++) await planner.planForDomain(`d${n}.evil.test`)
      const taken = (await octetsAlive()) - before
      // All of the room for large facts and for the outcomes; 150 such domains took 45 MiB and more.
      assert.ok(taken < 6 * 2 ** 20, `${taken} taken`)
      const asked = dns.asked()
      for (const domain of domains) {
        assert.equal((await planner.planForDomain(domain)).outcome.kind, 'hosts')
      }
      assert.equal(dns.asked(), asked)
    })
  }

  it('XC-03 what one gathering finds beyond its bound has failed: such a host is not used, and the first are', async () => {
    const dns = manyDomains(hostile(AT_THE_LIMIT))
    const { outcome } = await plannerOver(dns).planForDomain('evil.test')
    assert.ok(outcome.kind === 'hosts')
    const levels = new Set(
      outcome.hosts.map(({ requirement }) =>
        requirement.level === 'refuse' ? requirement.reason : requirement.level,
      ),
    )
    assert.ok(!levels.has('opportunistic') && !levels.has('encrypt'), [...levels].join())
    assert.ok(levels.has('tlsa-lookup-failed') || levels.has('address-lookup-failed'))
    const asked = dns.asked()
    await plannerOver(dns).planForDomain('evil.test')
    assert.ok(dns.asked() > asked, 'what failed is not kept')
  })

  it('XC-13 gatherings that hang hold no more than so much together, whatever is found; an ordinary one beside them is whole', async () => {
    const evil = manyDomains(hostile(AT_THE_LIMIT), 300)
    const memory = createFactsMemory({ resolver: evil, now: () => 0 })
    let release = (): void => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    const found = { all: 0, of: 0 }
    let allFound = (): void => undefined
    const isFound = new Promise<void>((resolve) => (allFound = resolve))
    const gather = (name: string, hosts: number, until: Promise<void>) =>
      memory.gather(
        name,
        async (resolver) => {
          const kept = []
          for (let n = 0; n < hosts; n++) {
            kept.push(await resolver.resolve(`_25._tcp.h${n}.${name}.evil.test`, 'TLSA'))
          }
          found.of += hosts
          found.all += kept.filter(({ kind }) => kind !== 'failed').length
          if (found.of === 3000) allFound()
          await until
          return facts({ nextHop: name, nextHopExpanded: `${name}${kept.length}` })
        },
        false,
      )
    const before = await octetsAlive()
    const hanging = Array.from({ length: 300 }, (_, n) => gather(`hangs${n}`, 10, released))
    await isFound
    const taken = (await octetsAlive()) - before
    assert.ok(taken < 28 * 2 ** 20, `${taken} taken`)
    assert.ok(found.all < found.of)
    const asBefore = { ...found }
    await gather('ordinary', 1, Promise.resolve())
    assert.equal(found.all - asBefore.all, 1)
    release()
    await Promise.all(hanging)
    asBefore.all = found.all
    await gather('later', 10, Promise.resolve())
    assert.equal(found.all - asBefore.all, 10)
  })

  it('DNS-36 nothing is kept for more than an hour, whatever its TTL', async () => {
    let time = 0
    const year = 31_536_000
    const dns = scriptedResolver({
      'rcpt.test': { MX: withTtl(year, secure(mx(10, 'mx1.rcpt.test'))) },
      'mx1.rcpt.test': {
        A: withTtl(year, secure('192.0.2.1')),
        AAAA: withTtl(year, secure('2001:db8::1')),
      },
      '_25._tcp.mx1.rcpt.test': {
        TLSA: { kind: 'nodata', security: 'secure', ttl: year, aliases: [] },
      },
    })
    const ticks = () => time
    const planner = plannerOver(cached(dns, { now: ticks, maxOctets: 1_000_000 }), ticks)
    const asksAt = async (seconds: number) => {
      time = seconds * 1000
      dns.forget()
      await planner.planForDomain('rcpt.test')
      return dns.questions.length
    }
    // The DNS answers alone were looked at earlier: they are an hour old before the facts are.
    await cached(dns, { now: ticks, maxOctets: 0 }).resolve('rcpt.test', 'MX')
    assert.ok((await asksAt(0)) > 0)
    assert.equal(await asksAt(3599), 0)
    assert.ok((await asksAt(3600)) > 0)
    assert.equal(await asksAt(7199), 0)
    assert.ok((await asksAt(7200)) > 0)
  })

  it('DNS-36 what the DNS cache has held for a while is kept for the rest of its hour only', async () => {
    let time = 0
    const year = 31_536_000
    const dns = scriptedResolver({
      'rcpt.test': { MX: withTtl(year, secure(mx(10, '192.0.2.1'))) },
    })
    const ticks = () => time
    const resolver = cached(dns, { now: ticks, maxOctets: 1_000_000 })
    const planner = plannerOver(resolver, ticks)
    await resolver.resolve('rcpt.test', 'MX')
    time = 3_000_000
    await planner.planForDomain('rcpt.test')
    assert.equal(dns.questions.length, 1)
    time = 3_600_000
    await planner.planForDomain('rcpt.test')
    assert.equal(dns.questions.length, 2)
  })

  it('what has expired is dropped without being asked for', async () => {
    let time = 0
    const memory = createFactsMemory({ resolver: manyDomains(ordinary, 300), now: () => time })
    const gather = (name: string) =>
      memory.gather(
        `domain  ${name}`,
        async (resolver) => {
          await resolver.resolve(name, 'MX')
          return facts({ nextHop: name, nextHopExpanded: name })
        },
        false,
      )
    for (let n = 0; n < 1000; n++) await gather(`d${n}.test`)
    for (let n = 0; n < 1000; n++) memory.known(`domain  d${n}.test`)
    const full = memory.octets
    time = 86_400_000
    await gather('other.test')
    memory.known('domain  other.test')
    assert.ok(memory.octets < full / 200, `${memory.octets} of ${full}`)
  })
})
