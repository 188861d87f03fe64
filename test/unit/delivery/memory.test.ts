import assert from 'node:assert/strict'
import { readConfig } from '../../../plugins/config'
import type { Config } from '../../../plugins/config'
import { createPlanner } from '../../../plugins/delivery/planner'
import type { StsLookup } from '../../../plugins/mta-sts/types'
import { policy, validating } from '../../support/facts'
import {
  failed,
  hang,
  insecure,
  mx,
  scriptedResolver,
  secure,
  withTtl,
} from '../../support/scripted-resolver'
import type { ScriptedResolver, Zone } from '../../support/scripted-resolver'

function config(mode = 'enforce'): Config {
  const result = readConfig({ main: { mode } }, () => undefined)
  assert.ok(result.ok)
  return result.config
}

function setUp(zone: Zone) {
  const resolver: ScriptedResolver = scriptedResolver(zone)
  const state = {
    time: 0,
    config: config(),
    peeked: undefined as StsLookup | undefined,
    lookups: 0,
    health: validating.health(),
    era: 0,
  }
  const planner = createPlanner({
    resolver,
    sts: {
      lookup: () => {
        state.lookups++
        return Promise.resolve({ kind: 'none' })
      },
      peek: () => state.peeked,
    },
    self: () => Promise.resolve(undefined),
    config: () => state.config,
    tlsSwitchedOff: () => false,
    selfTest: {
      ...validating,
      health: () => state.health,
      check: () => Promise.resolve(state.health),
      era: () => state.era,
    },
    now: () => new Date(0),
    ticks: () => state.time,
    random: () => 0,
  })
  return { planner, resolver, state }
}

const zone: Zone = {
  'rcpt.test': { MX: withTtl(60, secure(mx(10, 'mx1.rcpt.test'))) },
  'mx1.rcpt.test': { A: withTtl(30, secure('192.0.2.1')) },
}

describe('facts that are kept', () => {
  it('DNS-36 hold for the shortest TTL among them, and not longer', async () => {
    const { planner, resolver, state } = setUp(zone)
    // The denials of AAAA and TLSA in the script live for 60 s at least; the address for 30.
    await planner.planForDomain('rcpt.test')
    state.time = 29_999
    await planner.planForDomain('rcpt.test')
    assert.equal(resolver.asked('rcpt.test', 'MX'), 1)
    state.time = 30_000
    await planner.planForDomain('rcpt.test')
    assert.equal(resolver.asked('rcpt.test', 'MX'), 2)
  })

  it('are not kept where a lookup failed', async () => {
    const { planner, resolver } = setUp({
      ...zone,
      '_25._tcp.mx1.rcpt.test': { TLSA: failed('servfail') },
    })
    await planner.planForDomain('rcpt.test')
    await planner.planForDomain('rcpt.test')
    assert.equal(resolver.asked('rcpt.test', 'MX'), 2)
  })

  it('100 who ask at the same time share one gathering', async () => {
    const { planner, resolver } = setUp(zone)
    await Promise.all(Array.from({ length: 100 }, () => planner.planForDomain('rcpt.test')))
    assert.equal(resolver.asked('rcpt.test', 'MX'), 1)
    assert.equal(resolver.asked('mx1.rcpt.test', 'A'), 1)
  })

  it('SC-04 SA-30 never keep the MTA-STS policy: what it says now counts', async () => {
    const { planner, state } = setUp(zone)
    await planner.planForDomain('rcpt.test')
    state.peeked = policy('enforce', ['other.test'])
    const { outcome } = await planner.planForDomain('rcpt.test')
    assert.ok(outcome.kind === 'hosts')
    const [host] = outcome.hosts
    assert.ok(host?.requirement.level === 'refuse')
    assert.equal(host.requirement.reason, 'sts-mx-not-listed')
  })

  it('where no warm policy is at hand, MTA-STS is asked', async () => {
    const { planner, state } = setUp(zone)
    await planner.planForDomain('rcpt.test')
    await planner.planForDomain('rcpt.test')
    assert.equal(state.lookups, 2)
  })

  it('new settings ask new questions', async () => {
    const { planner, resolver, state } = setUp(zone)
    await planner.planForDomain('rcpt.test')
    state.config = config('observe')
    await planner.planForDomain('rcpt.test')
    assert.equal(resolver.asked('rcpt.test', 'MX'), 2)
  })

  it('DNS-01 what was gathered from a blind resolver is not kept when it validates', async () => {
    const { planner, resolver, state } = setUp(zone)
    state.health = { state: 'blind', detail: 'no AD bit' }
    await planner.planForDomain('rcpt.test')
    state.health = { state: 'validating', detail: '' }
    state.era++
    await planner.planForDomain('rcpt.test')
    assert.equal(resolver.asked('rcpt.test', 'MX'), 2)
  })

  it('DNS-01 blind_resolver=defer: a blind resolver, or one that was never tested, holds mail up; one that validates does not', async () => {
    const read = readConfig({ dane: { blind_resolver: 'defer' } }, () => undefined)
    assert.ok(read.ok)
    const { planner, state } = setUp(zone)
    state.config = read.config
    const outcome = async () => {
      const plan = await planner.planForDomain('rcpt.test')
      return plan.outcome.kind === 'defer' ? plan.outcome.reason : plan.outcome.kind
    }
    for (const [health, expected] of [
      ['blind', 'resolver-blind'],
      ['unreachable', 'resolver-blind'],
      ['validating', 'hosts'],
    ] as const) {
      state.health = { state: health, detail: '' }
      assert.equal(await outcome(), expected, health)
    }
    state.config = config()
    state.health = { state: 'blind', detail: '' }
    assert.equal(await outcome(), 'hosts')
  })

  it('DNS-01 XC-12 blind_resolver=defer: what was looked up before the resolver validates counts for nothing', async () => {
    const read = readConfig({ dane: { blind_resolver: 'defer' } }, () => undefined)
    assert.ok(read.ok)
    const { planner, resolver, state } = setUp({
      ...zone,
      'rcpt.test': {
        MX: () => {
          if (state.health.state === 'blind') state.era++
          state.health = { state: 'validating', detail: '' }
          return insecure(mx(10, 'mx1.rcpt.test'))
        },
      },
    })
    state.config = read.config
    for (const [before, expected, asked] of [
      ['blind', 'hosts', 2],
      ['unreachable', 'resolver-blind', 0],
    ] as const) {
      state.health = { state: before, detail: '' }
      const already = resolver.asked('rcpt.test', 'MX')
      const { outcome } = await planner.planForDomain('rcpt.test')
      assert.equal(outcome.kind === 'defer' ? outcome.reason : outcome.kind, expected, before)
      assert.equal(resolver.asked('rcpt.test', 'MX') - already, asked, before)
    }
  })

  it('SA-14 a last look looks at everything anew', async () => {
    const { planner, resolver } = setUp(zone)
    await planner.planForDomain('rcpt.test')
    await planner.planForDomain('rcpt.test', { recheck: true })
    assert.equal(resolver.asked('rcpt.test', 'MX'), 2)
  })

  it('a gathering that ends under old settings leaves nothing behind', async () => {
    const { planner, resolver, state } = setUp({ ...zone, 'rcpt.test': { MX: hang } })
    void planner.planForDomain('rcpt.test')
    state.config = config('observe')
    void planner.planForDomain('rcpt.test')
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(resolver.asked('rcpt.test', 'MX'), 2)
  })
})
