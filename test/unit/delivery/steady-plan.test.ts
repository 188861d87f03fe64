/** Plans made while the resolver goes blind, comes back, or was last tested too long ago. */
import assert from 'node:assert/strict'
import { readConfig } from '../../../plugins/config'
import { createPlanner } from '../../../plugins/delivery/planner'
import type { Failure, Health } from '../../../plugins/dnssec-stub/types'
import { validating } from '../../support/facts'
import {
  insecure,
  mx,
  nodata,
  scriptedResolver,
  secure,
  tlsa,
} from '../../support/scripted-resolver'

/** A world with a DANE domain, seen by a resolver that validates or not. */
function world(ini: Record<string, unknown> = {}) {
  const read = readConfig(ini, () => undefined)
  assert.ok(read.ok)
  const state = {
    validates: true,
    era: 0,
    health: validating.health(),
    recent: undefined as Promise<Health> | undefined,
    confirm: (): Failure | undefined => undefined,
    tests: 0,
  }
  const known = <R>(...records: R[]) =>
    state.validates ? secure(...records) : insecure(...records)
  const resolver = scriptedResolver({
    'dane.test': { MX: () => known(mx(10, 'mx.dane.test')) },
    'mx.dane.test': { A: () => known('192.0.2.1'), AAAA: () => nodata(known('x').security) },
    '_25._tcp.mx.dane.test': { TLSA: () => known(tlsa(3, 1, 1, Buffer.alloc(32, 1))) },
  })
  const planner = createPlanner({
    resolver,
    sts: { lookup: () => Promise.resolve({ kind: 'none' }), peek: () => ({ kind: 'none' }) },
    self: () => Promise.resolve(undefined),
    config: () => read.config,
    tlsSwitchedOff: () => false,
    selfTest: {
      health: () => state.health,
      recent: () => state.recent ?? state.health,
      check: () => Promise.resolve(state.health),
      confirm: () => {
        state.tests++
        return Promise.resolve(state.confirm())
      },
      era: () => state.era,
    },
    now: () => new Date(0),
    ticks: () => 0,
    random: () => 0,
  })
  const demanded = async () => {
    const { outcome } = await planner.planForDomain('dane.test')
    if (outcome.kind !== 'hosts') return outcome.reason
    return outcome.hosts[0]?.requirement.level
  }
  /** What a self-test does that sees it. */
  const seen = (): undefined => {
    const now: Health = state.validates
      ? { state: 'validating', detail: '' }
      : { state: 'blind', detail: 'no AD' }
    if (now.state !== state.health.state) state.era++
    state.health = now
  }
  return { state, resolver, demanded, seen }
}

describe('XC-12 a plan', () => {
  it('that was secure needs no test', async () => {
    const { state, demanded } = world()
    assert.equal(await demanded(), 'authenticate')
    assert.equal(state.tests, 0)
  })

  for (const [setting, expected] of [
    ['continue', 'opportunistic'],
    ['defer', 'resolver-blind'],
  ] as const) {
    it(`of a resolver that went blind since its last test: told, and then as blind_resolver=${setting} says`, async () => {
      const { state, demanded, seen } = world({ dane: { blind_resolver: setting } })
      state.validates = false
      state.confirm = seen
      assert.equal(await demanded(), expected)
      assert.equal(state.health.state, 'blind')
    })
  }

  it('of which the lookups ended when it validated again is made anew', async () => {
    const { state, resolver, demanded, seen } = world()
    state.validates = false
    seen()
    state.confirm = () => {
      state.validates = true
      return seen()
    }
    assert.equal(await demanded(), 'authenticate')
    assert.equal(resolver.asked('dane.test', 'MX'), 2)
  })

  it('of a resolver that answered, and of which a test comes to nothing, is to wait, and leaves nothing behind', async () => {
    const { state, demanded } = world()
    state.validates = false
    state.confirm = () => ({ kind: 'failed', cause: 'timeout', detail: 'no reply in time' })
    assert.equal(await demanded(), 'mx-lookup-failed')
    state.validates = true
    assert.equal(await demanded(), 'authenticate')
  })

  it('waits for a new test where the last one is too old, also where all is known', async () => {
    const { state, demanded, seen } = world()
    state.validates = false
    seen()
    assert.equal(await demanded(), 'opportunistic')
    state.validates = true
    let tested: (health: Health) => void = () => undefined
    state.recent = new Promise((resolve) => (tested = resolve))
    const plan = demanded()
    await new Promise(setImmediate)
    seen()
    state.recent = undefined
    tested(state.health)
    assert.equal(await plan, 'authenticate')
  })

  it('is not made for ever by a resolver that changes all the time: mail waits', async () => {
    const { state, resolver, demanded } = world()
    state.validates = false
    state.confirm = () => {
      state.era++
      return undefined
    }
    assert.equal(await demanded(), 'resolver-blind')
    assert.equal(resolver.asked('dane.test', 'MX'), 4)
  })
})
