import assert from 'node:assert/strict'
import { DAY, HOUR, policy, START, stsWorld, type StsWorld } from '../../support/sts-world'

const D = 'rcpt.test'
const WEEK = 604_800

describe('refresh of MTA-STS policies (RFC 8461 §3.3, §10.2)', () => {
  let world: StsWorld
  beforeEach(async () => {
    world = stsWorld()
    await world.policies.lookup(D)
  })
  afterEach(async () => {
    await world.policies.close()
  })
  const stored = async () => {
    const found = await world.store.getPolicy(D)
    return found.ok ? found.value : undefined
  }
  const warnings = (): string[] => world.log.filter((line) => line.startsWith('warn'))

  it('SC-09 a day later, without mail: one fetch, and max_age begins anew', async () => {
    assert.equal(await world.policies.refreshDue(), 0)
    world.advance(DAY)
    assert.equal(await world.policies.refreshDue(), 1)
    assert.equal(world.fetches(), 2)
    assert.equal((await stored())?.expiresAt, START + DAY + WEEK * 1000)
    assert.equal(await world.policies.refreshDue(), 0)
  })
  it('SC-09 not before nine tenths of the interval', async () => {
    world.advance(0.89 * DAY)
    assert.equal(await world.policies.refreshDue(), 0)
  })
  it('SC-09 whatever the TXT record says', async () => {
    for (const txt of ['gone', ['v=STSv1; junk'], 'failing'] as const) {
      world.publish(txt)
      world.advance(DAY)
      assert.equal(await world.policies.refreshDue(), 1)
      assert.equal((await stored())?.fetchedAt, world.now())
      assert.equal((await stored())?.id, '1')
    }
  })
  it('SC-10 SC-15 a changed body is taken although the id is the same, by all workers', async () => {
    const other = world.worker()
    await other.lookup(D)
    world.serve(policy('testing'))
    world.advance(DAY)
    await world.policies.refreshDue()
    for (const worker of [world.policies, other]) {
      const lookup = await worker.lookup(D)
      assert.ok(lookup.kind === 'policy')
      assert.equal(lookup.known.policy.mode, 'testing')
    }
    assert.equal(world.fetches(), 2)
    await other.close()
  })
  it('a new id found by the refresh is kept with the new body', async () => {
    world.publish('2')
    world.advance(DAY)
    await world.policies.refreshDue()
    assert.equal((await stored())?.id, '2')
  })
  it('SC-08 a failing refresh lengthens nothing', async () => {
    const before = await stored()
    world.serve({ problem: 'sts-policy-fetch-error' })
    for (let day = 0; day < 6; day++) {
      world.advance(DAY)
      await world.policies.refreshDue()
    }
    assert.deepEqual(await stored(), before)
    world.advance(DAY)
    assert.equal(await world.policies.show(D), undefined)
  })
  it('SC-11 failing refreshes are said once a day, long before the end, and are tried each hour', async () => {
    world.serve({ problem: 'sts-webpki-invalid' })
    world.advance(DAY)
    for (let hour = 0; hour < 24; hour++) {
      await world.policies.refreshDue()
      world.advance(HOUR)
    }
    assert.equal(warnings().length, 1)
    assert.match(
      warnings()[0] ?? '',
      /policy of rcpt\.test \(enforce\) cannot be refreshed and ends on 2027-.*sts-webpki-invalid/,
    )
    assert.equal(world.fetches(), 25)
    await world.policies.refreshDue()
    assert.equal(warnings().length, 2)
  })
  it('SC-11 not for mode none', async () => {
    world.publish('2')
    world.serve(policy('none'))
    world.advance(HOUR)
    await world.policies.lookup(D)
    world.serve({ problem: 'sts-policy-fetch-error' })
    world.advance(DAY)
    assert.equal(await world.policies.refreshDue(), 1)
    assert.deepEqual(warnings(), [])
  })
  it('SC-17 a failed refresh shows at the next lookups, until one succeeds', async () => {
    world.serve({ problem: 'sts-webpki-invalid' })
    world.advance(DAY)
    await world.policies.refreshDue()
    const failing = await world.policies.lookup(D)
    assert.equal(failing.kind === 'policy' && failing.problem?.reason, 'sts-webpki-invalid')
    world.serve(policy())
    world.advance(2 * HOUR)
    await world.policies.refreshDue()
    world.advance(HOUR)
    const good = await world.policies.lookup(D)
    assert.ok(good.kind === 'policy')
    assert.equal(good.problem, undefined)
  })
  it('SC-14 a domain without mail for half a year is refreshed no more', async () => {
    world.serve(policy('enforce', 31_557_600))
    await world.policies.refresh(D)
    for (let month = 0; month < 6; month++) {
      world.advance(30 * DAY)
      assert.equal(await world.policies.refreshDue(), 1, `month ${month}`)
    }
    world.advance(2 * DAY)
    assert.equal(await world.policies.refreshDue(), 0)
    await world.policies.lookup(D)
    assert.equal(await world.policies.refreshDue(), 1)
  })
  it('SC-14 a lost mark of use does not end the refreshes', async () => {
    const own = stsWorld({
      wrap: (store) => ({
        ...store,
        lastUsed: () => Promise.resolve({ ok: true, value: undefined }),
      }),
    })
    await own.policies.lookup(D)
    own.advance(DAY)
    assert.equal(await own.policies.refreshDue(), 1)
    await own.policies.close()
  })
  it('SC-14 mode none and no TXT record: dropped', async () => {
    world.publish('2')
    world.serve(policy('none'))
    world.advance(HOUR)
    await world.policies.lookup(D)
    world.publish('gone')
    world.advance(DAY)
    assert.equal(await world.policies.refreshDue(), 0)
    assert.equal(await stored(), undefined)
  })
  it('SC-09 a policy that lives a day is refreshed after half of it; one of an hour by mail only', async () => {
    world.publish('2')
    world.serve(policy('enforce', 86_400))
    world.advance(HOUR)
    await world.policies.lookup(D)
    world.advance(11 * HOUR)
    assert.equal(await world.policies.refreshDue(), 0)
    world.advance(HOUR)
    assert.equal(await world.policies.refreshDue(), 1)
    world.serve(policy('enforce', 3600))
    await world.policies.refresh(D)
    world.advance(HOUR - 1)
    assert.equal(await world.policies.refreshDue(), 0)
  })
  it('SF-14 the back-off of the id holds for refreshes too', async () => {
    world.serve({ problem: 'sts-policy-fetch-error' })
    world.advance(DAY)
    world.publish('2')
    await world.policies.lookup(D)
    assert.equal(await world.policies.refreshDue(), 0)
    assert.equal(world.fetches(), 2)
  })
  it('several workers at once: one fetch a domain', async () => {
    const workers = [world.policies, world.worker(), world.worker(), world.worker()]
    world.advance(DAY)
    const rounds = await Promise.all(workers.map((worker) => worker.refreshDue()))
    assert.equal(rounds.reduce((sum, fetched) => sum + fetched, 0), 1)
    assert.equal(world.fetches(), 2)
    await Promise.all(workers.map((worker) => worker.close()))
  }) // prettier-ignore
  it('a clock set back makes a refresh due, not impossible', async () => {
    world.advance(-100 * DAY)
    assert.equal(await world.policies.refreshDue(), 1)
    assert.equal((await stored())?.fetchedAt, world.now())
  })
  it('starts, and stops with close', async () => {
    world.policies.startRefreshing()
    await world.policies.close()
    assert.equal(await world.policies.refreshDue(), 0)
  })
})
