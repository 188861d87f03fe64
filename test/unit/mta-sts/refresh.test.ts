import assert from 'node:assert/strict'
import {
  DAY,
  HOUR,
  outcomeOf,
  policy,
  START,
  stsWorld,
  type StsWorld,
} from '../../support/sts-world'

const D = 'rcpt.test'
const WEEK = 604_800

/** Policies of so many other domains, all fetched now. */
async function fill(world: StsWorld, count: number): Promise<readonly string[]> {
  const names = Array.from({ length: count }, (_, n) => `d${n}.test`)
  for (const domain of names) {
    const fetchedAt = world.now()
    const expiresAt = fetchedAt + WEEK * 1000
    await world.store.setPolicy({ domain, id: '1', text: policy(), fetchedAt, expiresAt })
  }
  return names
}

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
    world.advance(6 * HOUR)
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
  it('SC-09 refreshes of policies that were fetched together are spread over a tenth of the interval', async () => {
    let turn = 0
    const own = stsWorld({ random: () => (turn++ % 97) / 97 })
    const names = await fill(own, 200)
    const hours: number[] = []
    await own.policies.refreshDue()
    for (let minute = 0; minute <= 1440; minute += 10) {
      const fetched = await own.policies.refreshDue()
      if (fetched > 0) hours.push(minute / 60)
      assert.ok(fetched < names.length / 3, `${fetched} at once`)
      own.advance(10 * 60_000)
    }
    assert.equal(own.fetches(), names.length)
    assert.ok(
      hours.length > 10 && (hours[0] ?? 0) >= 21.6 && (hours.at(-1) ?? 0) <= 24,
      String(hours),
    )
    await own.policies.close()
  })
  for (const lifetime of [3, 4, 6, 24, 48, 168, 720]) {
    it(`SC-09 a policy of ${lifetime} hours is refreshed before it expires, with the longest pauses between rounds`, async () => {
      world.publish('2')
      world.serve(policy('enforce', lifetime * 3600))
      world.advance(HOUR)
      await world.policies.lookup(D)
      for (let past = 0; past < 3 * lifetime; past += 1.25) {
        world.advance(1.25 * HOUR)
        assert.ok(await world.policies.show(D), `over after ${past} hours`)
        await world.policies.refreshDue()
      }
    })
  }
  it('SC-05 a new id whose fetch fails in a refresh keeps the old policy and the old id', async () => {
    const before = await stored()
    for (const problem of [
      'sts-policy-fetch-error',
      'sts-policy-invalid',
      'sts-webpki-invalid',
    ] as const) {
      world.publish('2')
      world.serve({ problem })
      world.advance(DAY)
      assert.equal(await world.policies.refreshDue(), 1)
      assert.deepEqual(await stored(), before)
      const lookup = await world.policies.lookup(D)
      assert.equal(lookup.kind === 'policy' && lookup.known.id, '1')
    }
  })
  it('SC-11 a policy in mode testing is warned of as well', async () => {
    world.serve(policy('testing'))
    await world.policies.refresh(D)
    world.serve({ problem: 'sts-policy-fetch-error' })
    world.advance(DAY)
    await world.policies.refreshDue()
    assert.equal(warnings().length, 1)
  })
  it('SC-11 the first warning comes when most of the lifetime is left', async () => {
    world.serve({ problem: 'sts-policy-fetch-error' })
    for (let hour = 0; warnings().length === 0; hour++) {
      world.advance(HOUR)
      await world.policies.refreshDue()
      assert.ok(hour < 25, 'not within a day')
    }
    const left = ((await stored())?.expiresAt ?? 0) - world.now()
    assert.ok(left > 5.9 * DAY, `${left / DAY} days left`)
  })
  it('SF-14 a failure that another worker had just before we got the lease forbids the fetch', async () => {
    const own = stsWorld({
      wrap: (store) => ({
        ...store,
        async acquire(...lease) {
          if (own.now() > START) await store.setNote(D, 'failed/1', 'sts-webpki-invalid x', HOUR)
          return store.acquire(...lease)
        },
      }),
    })
    await own.policies.lookup(D)
    own.advance(DAY)
    assert.equal(await own.policies.refreshDue(), 0)
    assert.equal(own.fetches(), 1)
    await own.policies.close()
  })

  describe('many policies', () => {
    let release: () => void = () => undefined
    afterEach(() => {
      release()
    })

    it('a round reads those that are due, and no others', async () => {
      const read: string[] = []
      const own = stsWorld({
        wrap: (store) => ({
          ...store,
          getPolicy: (domain) => (read.push(domain), store.getPolicy(domain)),
        }),
      })
      await fill(own, 500)
      await own.policies.refreshDue()
      read.length = 0
      for (let hour = 0; hour < 20; hour++) {
        own.advance(HOUR)
        await own.policies.refreshDue()
      }
      assert.deepEqual(read, [])
      await own.policies.lookup(D)
      read.length = 0
      await own.policies.refreshDue()
      assert.deepEqual(read, [D])
      await own.policies.close()
    })
    it('mail gets its turn during a round', async () => {
      await fill(world, 5_000)
      let turns = 0
      const count = (): void => {
        turns += 1
        immediate = setImmediate(count)
      }
      let immediate = setImmediate(count)
      await world.policies.refreshDue()
      clearImmediate(immediate)
      assert.ok(turns > 50, `${turns} turns`)
    })
    it('policy hosts that hang do not keep the others from being refreshed', async () => {
      const names = await fill(world, 100)
      world.advance(DAY)
      await world.policies.refreshDue()
      const hanging = new Promise<void>((resolve) => (release = resolve))
      const done: string[] = []
      let allDone: () => void = () => undefined
      const others = new Promise<void>((resolve) => (allDone = resolve))
      world.serve(async (domain) => {
        if (/^d[0-9]\.test$/.test(domain)) await hanging
        if (done.push(domain) === names.length + 1 - 10) allDone()
        return outcomeOf(policy())
      })
      world.advance(DAY)
      const round = world.policies.refreshDue()
      await others
      release()
      assert.equal(await round, names.length + 1)
    })
    it('a worker that dies in a round costs the domains it had taken half an hour', async () => {
      await world.policies.refreshDue()
      world.advance(DAY)
      const now = world.now()
      await world.store.takeDue({ now, beyond: now + 9 * DAY, until: now + HOUR / 2, limit: 64 })
      assert.equal(await world.policies.refreshDue(), 0)
      world.advance(HOUR / 2)
      assert.equal(await world.policies.refreshDue(), 1)
    })
  })

  it('a clock set back makes a refresh due, not impossible', async () => {
    world.advance(-100 * DAY)
    assert.equal(await world.policies.refreshDue(), 1)
    assert.equal((await stored())?.fetchedAt, world.now())
  })
  it('XC-09 stopped, a round ends what hangs and changes nothing, and lookups go on', async () => {
    world.advance(DAY)
    const before = await stored()
    let begun: () => void = () => undefined
    const hangs = new Promise<void>((resolve) => (begun = resolve))
    world.serve((_domain, signal) => {
      begun()
      return new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          const problem = { reason: 'sts-policy-fetch-error', detail: 'aborted' } as const
          resolve({ ok: false, problem })
        })
      })
    })
    const said = world.log.length
    const round = world.policies.refreshDue()
    await hangs
    world.policies.stopRefreshing()
    await round
    assert.deepEqual(await stored(), before)
    assert.deepEqual(world.log.slice(said), [])
    assert.equal((await world.policies.lookup('rcpt.test')).kind, 'policy')
  })
  it('starts, and stops with close', async () => {
    world.policies.startRefreshing()
    await world.policies.close()
    assert.equal(await world.policies.refreshDue(), 0)
  })
})
