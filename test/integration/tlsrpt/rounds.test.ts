/** The reports of two machines with two workers each, which share one real Redis, over three days by a moved clock. */
import assert from 'node:assert/strict'
import { gunzipSync } from 'node:zlib'
import { createClient } from 'redis'
import type { Store } from '../../../plugins/store'
import { memoryStore } from '../../../plugins/store/memory'
import { redisStore } from '../../../plugins/store/redis/store'
import { dayOf, startOfDay } from '../../../plugins/tlsrpt/names'
import type { Report } from '../../../plugins/tlsrpt/types'
import { startRedis, type TestRedis } from '../../support/redis'
import { FIRST_DAY, HOUR, Killed, MINUTE, ReportsWorld } from '../../support/reports-world'
import { makeLog } from '../../support/store-contract'

const DOMAINS = Array.from({ length: 40 }, (_none, n) => `d${n}.test`)
const DAYS = 3
const STEPS = [
  'before close',
  'after close',
  'before note tries',
  'after note tries',
  'delivered',
  'before note over',
  'after note over',
  'before drop',
  'before note done',
  'after note done',
]

describe('reports of a cluster over Redis', function () {
  this.timeout(120_000)
  let redis: TestRedis
  let admin: ReturnType<typeof createClient>
  const open: Store[] = []
  before(async () => {
    redis = await startRedis()
    admin = createClient({ url: `redis://127.0.0.1:${redis.port}` })
    await admin.connect()
  })
  after(async () => {
    for (const store of open) await store.close()
    admin.destroy()
    await redis.close()
  })
  beforeEach(() => admin.flushAll())

  function machine(): () => Store {
    const local = memoryStore({ now: Date.now })
    return () => {
      const settings = { prefix: 'tlspolicy', redis: { host: '127.0.0.1', port: redis.port } }
      const store = redisStore(settings, local, { log: makeLog(), now: Date.now })
      open.push(store)
      return store
    }
  }

  /** @param deaths steps at which the worker that comes there first dies */
  async function threeDays(
    deaths: Set<string>,
  ): Promise<ReportsWorld & { readonly added: number }> {
    const machines = [machine(), machine()]
    const world = Object.assign(new ReportsWorld(machine()()), { added: 0 })
    let number = 0
    const begin = (of: number) => {
      const own = machines[of % machines.length]?.() ?? assert.fail()
      number += 1
      return { number, own, of, rounds: world.worker(number, own) }
    }
    let workers = [0, 1, 2, 3].map(begin)
    const dead = new Set<number>()
    const closing: Promise<void>[] = []
    world.at = (step, _domain, worker) => {
      // The first day's reports have gone when the first one dies.
      const mayDie = world.now > startOfDay(FIRST_DAY + 2)
      if (!dead.has(worker) && !(mayDie && deaths.delete(step))) return
      if (!dead.has(worker)) {
        dead.add(worker)
        // With its connection: it does not even give its lease back.
        const died = workers.find((one) => one.number === worker)
        if (died !== undefined) closing.push(died.own.close())
      }
      throw new Killed()
    }
    const end = world.now + (DAYS + 1) * 24 * HOUR
    for (let look = 0; world.now < end; look += 1, world.now += 30 * MINUTE) {
      // At noon all domains have mail; every three hours a worker tells what it counted the day before.
      const today = dayOf(world.now)
      const day = look % 48 === 0 ? today : today - 1
      if (look % 6 === 0 && day >= FIRST_DAY && day < FIRST_DAY + DAYS) {
        for (const domain of DOMAINS) await world.count(domain, day)
        world.added += DOMAINS.length
      }
      await Promise.all(workers.map(({ rounds }) => rounds.look()))
      if (!workers.some((one) => dead.has(one.number))) continue
      await Promise.all(closing.splice(0))
      // The minute passes for which the leases of the dead hold.
      const leases = await admin.keys('*lease*')
      if (leases.length > 0) await admin.del(leases)
      workers = workers.map((one) => {
        if (!dead.has(one.number)) return one
        one.rounds.stop()
        return begin(one.of)
      })
    }
    for (const { rounds } of workers) rounds.stop()
    return world
  }

  function check(world: ReportsWorld & { readonly added: number }): void {
    const byReport = new Map<string, Set<string>>()
    let reported = 0
    for (const { id, domain, day, octets, firstTried } of world.sent) {
      const name = `${day} ${domain}`
      const found = byReport.get(name) ?? new Set()
      if (found.size === 0) {
        const json = gunzipSync(Buffer.from(octets, 'base64')).toString()
        for (const { summary } of (JSON.parse(json) as Report).policies)
          reported += summary['total-successful-session-count']
      }
      byReport.set(name, found.add(`${id} ${octets} ${firstTried}`))
    }
    assert.equal(byReport.size, DAYS * DOMAINS.length)
    for (const [name, kinds] of byReport) assert.equal(kinds.size, 1, name)
    assert.ok(world.lost > 0)
    assert.equal(reported + world.lost, world.added)
  }

  it('TD-01 TD-24 TD-27 one report for each domain and day, also where workers die between any two steps; counts are in it, or said to be lost', async () => {
    const deaths = new Set(STEPS)
    const world = await threeDays(deaths)
    assert.deepEqual([...deaths], [], 'each has died')
    check(world)
    const firstDay = world.sent.filter(({ day }) => day === FIRST_DAY)
    assert.equal(firstDay.length, DOMAINS.length, 'nobody died that day')
    assert.ok(new Set(firstDay.map(({ worker }) => worker)).size > 1, 'not all by one')
    // Only those under way at a death come twice.
    assert.ok(world.sent.length <= DAYS * DOMAINS.length + STEPS.length, `${world.sent.length}`)
    assert.deepEqual(await world.left(), [])
  })
})
