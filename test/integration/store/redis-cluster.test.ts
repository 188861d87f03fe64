import assert from 'node:assert/strict'
import { memoryStore } from '../../../plugins/store/memory'
import { redisStore } from '../../../plugins/store/redis/store'
import type { RedisSettings } from '../../../plugins/store/redis/settings'
import type { Store } from '../../../plugins/store/types'
import {
  startCluster,
  startSentinel,
  type TestNode,
  type TestNodes,
  until,
} from '../../support/redis-cluster'
import {
  domains,
  makeClock,
  makeLog,
  NOW,
  record,
  storeContract,
  type TestLog,
  value,
} from '../../support/store-contract'

const HOUR = 3_600_000

interface Machine {
  readonly store: Store
  readonly local: Store
  readonly log: TestLog
}

const open: Store[] = []
function machine(redis: RedisSettings, clock = makeClock()): Machine {
  const log = makeLog()
  const local = memoryStore(clock)
  const store = redisStore({ prefix: 'tlspolicy', redis }, local, {
    log,
    now: () => clock.now(),
  })
  open.push(store)
  return { store, local, log }
}
async function closeAll(): Promise<void> {
  for (const store of open.splice(0)) await store.close()
}

async function timed<T>(run: Promise<T>, ms: number): Promise<T> {
  const started = Date.now()
  const result = await run
  assert.ok(Date.now() - started < ms, `took ${Date.now() - started} ms`)
  return result
}

/** Resolves when this machine is told that anything may have changed: it listens then. */
function listens({ store }: Machine): Promise<void> {
  return new Promise((resolve) => {
    const stop = store.onChange((domain) => {
      if (domain !== undefined) return
      stop()
      resolve()
    })
  })
}

const at = (nodes: readonly TestNode[]): string =>
  nodes.map(({ port }) => `127.0.0.1:${port}`).join(', ')

/** Domains enough for some to be in each third of the slots. */
const NAMES = Array.from({ length: 24 }, (_, n) => `mx-${n}.example`)

/** What a node has; nothing, as long as it does not answer for its keys. */
async function policiesAt(node: TestNode | undefined): Promise<readonly string[]> {
  const keys = (await node?.command('KEYS', 'tlspolicy:{*}:policy')) as string[]
  const texts: string[] = []
  for (const key of keys) {
    texts.push(await Promise.resolve(node?.command('GET', key)).then(String, () => ''))
  }
  return texts
}

describe('store in a Redis Cluster', () => {
  let cluster: TestNodes
  let settings: RedisSettings
  before(async function () {
    this.timeout(20_000)
    cluster = await startCluster()
    settings = { cluster: at(cluster.nodes.slice(0, 3)) }
  })
  after(() => cluster.close())
  afterEach(closeAll)

  const masters = (): readonly TestNode[] => cluster.nodes.slice(0, 3)
  const flush = async (): Promise<void> => {
    for (const node of masters()) await node.command('FLUSHALL')
  }

  describe('whole', () => {
    beforeEach(flush)

    storeContract(() => ({
      open: (clock) => Promise.resolve(machine(settings, clock).store),
      shared: true,
      movableClock: false,
    }))

    it('every node has its part, and the keys of one domain are on one node', async () => {
      const { store } = machine(settings)
      for (const domain of NAMES) {
        await value(store.setPolicy(record({ domain })))
        await value(store.setNote(domain, 'failed', 'x', HOUR))
        await value(store.markUsed(domain, 20_000))
      }
      const parts: string[][] = []
      for (const node of masters()) {
        const all = (await node.command('KEYS', 'tlspolicy:{*')) as string[]
        const keys = all.filter((key) => !key.includes('{doctor.invalid}'))
        parts.push([...new Set(keys.map((key) => /\{(.*)\}/.exec(key)?.[1] ?? ''))])
        assert.equal(keys.length, 3 * (parts.at(-1)?.length ?? 0))
        assert.ok(keys.length > 0)
      }
      assert.deepEqual(parts.flat().sort(), [...NAMES].sort())
    })

    it('who is told of a change finds it, whichever nodes the two go by', async () => {
      const one = machine(settings)
      const two = machine({ cluster: at([...masters()].reverse()) })
      await listens(two)
      const seen: string[] = []
      const wrong: string[] = []
      two.store.onChange((domain) => {
        if (domain === undefined) return
        void value(two.store.getPolicy(domain)).then((found) => {
          if (found?.id !== 'new') wrong.push(domain)
          seen.push(domain)
        })
      })
      // The first node takes its time; the others would pass a message on at once.
      await masters()[0]?.command('CLIENT', 'PAUSE', '100', 'WRITE')
      const policies = NAMES.map((domain) => record({ domain, id: 'new' }))
      await Promise.all(policies.map((policy) => value(one.store.setPolicy(policy))))
      await until(() => new Set(seen).size === NAMES.length)
      assert.deepEqual(wrong, [])
    })

    it('a root node that is away is passed over', async () => {
      const { store, log } = machine({ cluster: `127.0.0.1:1, ${at(masters())}` })
      for (const domain of NAMES) await value(store.setPolicy(record({ domain })))
      assert.deepEqual(log.lines, [])
      assert.deepEqual([...(await domains(store))].sort(), [...NAMES].sort())
    })

    it('none there at the start: said once, nobody waits, and what the machine knows holds', async () => {
      const { store, local, log } = machine({ cluster: '127.0.0.1:1,127.0.0.1:2' })
      await value(local.setPolicy(record()))
      assert.deepEqual(await timed(value(store.getPolicy('rcpt.test')), 1000), record())
      await timed(value(store.setNote('rcpt.test', 'failed', 'x', HOUR)), 1000)
      assert.equal(log.lines.length, 1, String(log.lines))
      assert.match(log.lines[0] ?? '', /^warn Redis is not reachable \(.+\)/)
    })
  })

  describe('broken', () => {
    before(flush)

    it('a master dies: calls end in time, its replica takes over, and changes are heard', async () => {
      const clock = makeClock()
      // The listener goes by the node that dies.
      const one = machine(settings, clock)
      const two = machine({ cluster: at(masters().slice(0, 1)) }, clock)
      await listens(two)
      for (const domain of NAMES) await value(one.store.setPolicy(record({ domain })))
      for (const domain of NAMES) await value(two.store.getPolicy(domain))

      const again = listens(two)
      await masters()[0]?.kill()
      for (const domain of NAMES) {
        const found = await timed(value(one.store.getPolicy(domain)), 1000)
        assert.deepEqual(found, record({ domain }))
      }
      await again
      const [, , , replica] = cluster.nodes
      await until(async () => {
        clock.advance(31_000)
        for (const domain of NAMES) await one.store.setPolicy(record({ domain, id: 'later' }))
        const texts = await policiesAt(replica)
        return texts.length > 0 && texts.every((text) => text.startsWith('1 later'))
      })
      const heard = new Promise((resolve) => two.store.onChange(resolve))
      await value(one.store.setPolicy(record({ domain: 'heard.test' })))
      assert.equal(await heard, 'heard.test')
      for (const { log } of [one, two]) {
        const told = (words: string) => log.lines.filter((line) => line.includes(words)).length
        assert.ok(told('Redis is not reachable') <= 1, log.lines.join('\n'))
        assert.ok(told('Redis is back') <= 1, log.lines.join('\n'))
      }
    }).timeout(20_000)

    it('a node is lost that nobody replaces: calls end in time, and go on with this machine', async () => {
      const clock = makeClock()
      const known = { cluster: at(cluster.nodes.slice(1)) }
      const one = machine(known, clock)
      for (const domain of NAMES) await value(one.store.setPolicy(record({ domain })))
      assert.deepEqual(one.log.lines, [])
      cluster.nodes[1]?.freeze()
      for (const domain of NAMES) {
        const found = await timed(value(one.store.getPolicy(domain)), 1000)
        assert.deepEqual(found, record({ domain }))
        await timed(value(one.store.setNote(domain, 'failed', 'x', HOUR)), 1000)
        assert.equal(await timed(value(one.store.getNote(domain, 'failed')), 1000), 'x')
      }
      assert.match(one.log.lines[0] ?? '', /^warn Redis is not reachable/)
      // A machine that starts now does not wait for it either.
      const two = machine(known, clock)
      await timed(value(two.store.setPolicy(record())), 1000)
      assert.deepEqual(await timed(value(two.store.getPolicy('rcpt.test')), 1000), record())
    }).timeout(10_000)
  })
})

describe('store in Redis behind a Sentinel', () => {
  let redis: TestNodes
  let settings: RedisSettings
  before(async function () {
    this.timeout(20_000)
    redis = await startSentinel('secret')
    settings = {
      sentinels: `127.0.0.1:1, ${at(redis.nodes.slice(2))}`,
      sentinel_name: 'haraka',
      password: 'secret',
    }
  })
  after(() => redis.close())
  afterEach(closeAll)

  it('asks the master that the Sentinel names', async () => {
    const one = machine(settings)
    const two = machine(settings)
    await listens(two)
    const heard = new Promise((resolve) => two.store.onChange(resolve))
    await value(one.store.setPolicy(record()))
    assert.equal(await heard, 'rcpt.test')
    assert.deepEqual(await value(two.store.getPolicy('rcpt.test')), record())
    assert.deepEqual(await domains(two.store), ['rcpt.test'])
    assert.equal(await value(one.store.acquire('fetch/rcpt.test', 'one', HOUR)), true)
    assert.equal(await value(two.store.acquire('fetch/rcpt.test', 'two', HOUR)), false)
    assert.deepEqual([...one.log.lines, ...two.log.lines], [])
    const key = 'tlspolicy:{rcpt.test}:policy'
    assert.match(String(await redis.nodes[0]?.command('GET', key)), /^1 20260801/)
  })

  it('a name that the Sentinel does not know is told', async () => {
    const { store, log } = machine({ ...settings, sentinel_name: 'other' })
    await timed(value(store.setPolicy(record())), 1000)
    assert.match(log.lines[0] ?? '', /^warn Redis is not reachable \(.*it knows no master other/)
  })

  it('the master dies: calls end in time, and its successor is found', async () => {
    const clock = makeClock()
    const one = machine(settings, clock)
    const two = machine(settings, clock)
    await listens(two)
    await value(one.store.setPolicy(record({ fetchedAt: NOW })))
    await redis.nodes[0]?.kill()
    assert.deepEqual(await timed(value(one.store.getPolicy('rcpt.test')), 1000), record())
    await listens(two)
    const later = record({ id: 'later', fetchedAt: NOW + 1 })
    await until(async () => {
      clock.advance(31_000)
      await one.store.setPolicy(later)
      const text = await redis.nodes[1]?.command('GET', 'tlspolicy:{rcpt.test}:policy')
      return String(text).startsWith('1 later')
    })
    assert.deepEqual(
      one.log.lines.map((line) => line.replace(/ \(.*/, '')),
      ['warn Redis is not reachable', 'notice Redis is back'],
    )
    assert.deepEqual(await value(two.store.getPolicy('rcpt.test')), later)
    const heard = new Promise((resolve) => two.store.onChange(resolve))
    await value(one.store.setPolicy(later))
    assert.equal(await heard, 'rcpt.test')
  }).timeout(20_000)
})
