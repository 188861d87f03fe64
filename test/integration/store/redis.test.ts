import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'redis'
import { createStore } from '../../../plugins/store'
import { memoryStore } from '../../../plugins/store/memory'
import { encodeRecord } from '../../../plugins/store/record'
import { redisStore } from '../../../plugins/store/redis/store'
import type { Store } from '../../../plugins/store/types'
import { waitingPart } from '../../../plugins/store/waiting'
import { freePort, startRedis, type TestRedis } from '../../support/redis'
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

describe('store in Redis', () => {
  let redis: TestRedis
  let admin: ReturnType<typeof createClient>
  const open: Store[] = []
  before(async () => {
    redis = await startRedis()
    admin = createClient({
      url: `redis://127.0.0.1:${redis.port}`,
      socket: { reconnectStrategy: () => 20 },
    })
    admin.on('error', () => undefined)
    await admin.connect()
  })
  after(async () => {
    admin.destroy()
    await redis.close()
  })
  beforeEach(async () => {
    await admin.flushAll()
  })
  afterEach(async () => {
    for (const store of open.splice(0)) await store.close()
  })

  interface Machine {
    readonly store: Store
    readonly local: Store
    readonly log: TestLog
  }
  /** A machine of the cluster, with a local store of its own (or a given one). */
  function machine(
    clock = makeClock(),
    local: Store = memoryStore(clock),
    port = redis.port,
  ): Machine {
    const log = makeLog()
    const store = redisStore({ prefix: 'tlspolicy', redis: { host: '127.0.0.1', port } }, local, {
      log,
      now: () => clock.now(),
    })
    open.push(store)
    return { store, local, log }
  }
  /** Asks until the store says it: for what happens in the background. */
  async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  async function timed<T>(run: Promise<T>, ms: number): Promise<T> {
    const started = Date.now()
    const result = await run
    assert.ok(Date.now() - started < ms, `took ${Date.now() - started} ms`)
    return result
  }

  storeContract(() => ({
    open: (clock) => Promise.resolve(machine(clock).store),
    shared: true,
    movableClock: false,
  }))

  it('every key has the prefix and a lifetime, and those of a domain share a hash tag', async () => {
    const { store } = machine()
    await value(store.setPolicy(record()))
    await value(store.setNote('rcpt.test', 'failed/1', 'x', HOUR))
    await value(store.markUsed('rcpt.test', 20_000))
    await value(store.acquire('fetch/rcpt.test', 'me', HOUR))
    await value(store.setPolicy(record({ domain: 'gone.test' })))
    await value(store.deletePolicy('gone.test'))
    const held = { since: NOW, last: NOW, marks: ['00000001'], text: 'why' }
    await value(store.noteWaiting(waitingPart('rcpt.test'), [{ domain: 'rcpt.test', held }]))
    const all = (await admin.keys('*')).sort()
    for (const key of all) assert.ok((await admin.pTTL(key)) > 0, key)
    const keys = all.filter((key) => !key.startsWith('tlspolicy:{doctor.invalid}:'))
    assert.deepEqual(keys, [
      'tlspolicy:domains',
      'tlspolicy:lease:fetch/rcpt.test',
      `tlspolicy:waiting:${waitingPart('rcpt.test')}`,
      'tlspolicy:{gone.test}:policy',
      'tlspolicy:{rcpt.test}:note:failed/1',
      'tlspolicy:{rcpt.test}:policy',
      'tlspolicy:{rcpt.test}:used',
    ])
  })

  it('XC-13 policies on their way to Redis are bounded in octets; those that find no room are kept by this machine', async () => {
    const { store, log } = machine()
    await value(store.setPolicy(record()))
    const large = record().text + 'x'.repeat(50_000)
    const names = Array.from({ length: 200 }, (_, n) => `d${n}.test`)
    await Promise.all(
      names.map((domain) => value(store.setPolicy(record({ domain, text: large })))),
    )
    const sent = await admin.keys('tlspolicy:{d*.test}:policy')
    assert.ok(sent.length > 0 && sent.length * 100_000 <= 8_388_608, `${sent.length}`)
    assert.equal((await value(store.getPolicy('d199.test')))?.text.length, large.length)
    await until(async () => {
      await value(store.setPolicy(record({ domain: 'later.test' })))
      return (await admin.exists('tlspolicy:{later.test}:policy')) === 1
    })
    assert.deepEqual(log.lines, [])
  })

  it('a second machine learns what the first set, and keeps a copy of its own', async () => {
    const one = machine()
    const two = machine()
    await value(one.store.setPolicy(record()))
    assert.deepEqual(await value(two.store.getPolicy('rcpt.test')), record())
    assert.deepEqual(await value(two.local.getPolicy('rcpt.test')), record())
  })

  describe('agenda', () => {
    const due = (now: number) => ({ now, beyond: now + 48 * HOUR, until: now + HOUR, limit: 64 })

    it('SC-09 of two machines that both know a domain, one is given it, and the other brings its copy up to date', async () => {
      const clock = makeClock()
      const one = machine(clock)
      const two = machine(clock)
      await value(one.store.setPolicy(record()))
      await value(two.store.getPolicy('rcpt.test'))
      await until(async () => (await value(two.local.getPolicy('rcpt.test'))) !== undefined)
      assert.deepEqual((await value(one.store.takeDue(due(clock.now())))).domains, ['rcpt.test'])
      await value(one.store.setPolicy(record({ id: 'new', fetchedAt: NOW + 1 })))
      await value(one.store.plan('rcpt.test', NOW + 20 * HOUR))
      assert.deepEqual((await value(two.store.takeDue(due(clock.now())))).domains, [])
      assert.equal((await value(two.local.getPolicy('rcpt.test')))?.id, 'new')
      clock.advance(20 * HOUR)
      assert.deepEqual((await value(two.store.takeDue(due(clock.now())))).domains, ['rcpt.test'])
      assert.deepEqual((await value(one.store.takeDue(due(clock.now())))).domains, [])
    })
    it('SC-09 what Redis has lost is given to a machine that knows it', async () => {
      const { store } = machine()
      await value(store.setPolicy(record()))
      await value(store.plan('rcpt.test', NOW))
      await admin.flushAll()
      assert.deepEqual((await value(store.takeDue(due(NOW)))).domains, ['rcpt.test'])
      await value(store.plan('rcpt.test', NOW + HOUR))
      assert.equal(await admin.zScore('tlspolicy:domains', 'rcpt.test'), NOW + HOUR)
      assert.ok((await admin.pTTL('tlspolicy:domains')) > 0)
    })
    it('names that are none are not given', async () => {
      const { store } = machine()
      await admin.zAdd('tlspolicy:domains', [
        { score: 0, value: '../x' },
        { score: 1, value: 'y'.repeat(100_000) },
        { score: 2, value: 'ok.test' },
      ])
      assert.deepEqual((await value(store.takeDue(due(NOW)))).domains, ['ok.test'])
    })
  })

  describe('hostile contents', () => {
    const hostile: [string, string][] = [
      ['noise', '\u0000\u0001'],
      ['JSON', '{"id":"1"}'],
      ['a record of another domain', encodeRecord(record({ domain: 'evil.test' }))],
      ['a record for centuries', encodeRecord(record({ expiresAt: 9e14 }))],
      ['two megabytes', encodeRecord(record()) + 'x'.repeat(2_000_000)],
      ['half a record', '1 2026'],
      ['a strange purge', 'purged -1'],
    ]
    for (const [title, found] of hostile) {
      it(`${title} is as if it were absent, and what this machine knows replaces it`, async () => {
        const { store, local } = machine()
        await admin.set('tlspolicy:{rcpt.test}:policy', found)
        assert.ok((await value(store.getPolicy('rcpt.test'))) === undefined)
        await value(local.setPolicy(record()))
        assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
        await until(
          async () => (await admin.get('tlspolicy:{rcpt.test}:policy')) === encodeRecord(record()),
        )
      })
    }
    it('XC-11 keys of another type are not known, which is not none; told once, and no outage', async () => {
      const { store, log } = machine()
      for (const key of [
        '{rcpt.test}:policy',
        '{rcpt.test}:used',
        '{rcpt.test}:note:failed',
        'domains',
      ]) {
        await admin.hSet(`tlspolicy:${key}`, 'x', 'y')
      }
      const found = await store.getPolicy('rcpt.test')
      assert.deepEqual(found, {
        ok: false,
        detail: 'Redis has something else under a key of ours',
      })
      assert.equal(await value(store.lastUsed('rcpt.test')), undefined)
      assert.equal(await value(store.getNote('rcpt.test', 'failed')), undefined)
      assert.deepEqual(await domains(store), [])
      assert.equal(log.lines.length, 1, String(log.lines))
      assert.match(log.lines[0] ?? '', /WRONGTYPE.*another \[store\] prefix/)
    })
    it('messages and list entries that name no domain are ignored', async () => {
      const { store } = machine()
      const heard: (string | undefined)[] = []
      store.onChange((domain) => heard.push(domain))
      await until(async () => (await admin.publish('tlspolicy:changed', 'x y\u0000')) > 0)
      await admin.publish('tlspolicy:changed', 'y'.repeat(100_000))
      await admin.publish('tlspolicy:changed', 'good.test')
      await until(() => heard.includes('good.test'))
      assert.deepEqual(heard.filter((domain) => domain !== undefined), ['good.test'])
      await admin.zAdd('tlspolicy:domains', [{ score: NOW, value: '../x' }, { score: NOW, value: 'ok.test' }])
      assert.deepEqual(await domains(store), ['ok.test'])
    }) // prettier-ignore
    it('a huge note is cut', async () => {
      const { store } = machine()
      await admin.set('tlspolicy:{rcpt.test}:note:failed', 'x'.repeat(1_000_000))
      assert.equal((await value(store.getNote('rcpt.test', 'failed')))?.length, 1000)
    })
  })

  describe('purging', () => {
    it('what one machine purges is gone on the others, also where a copy was left', async () => {
      const one = machine()
      const two = machine()
      await value(one.store.setPolicy(record()))
      await value(two.store.getPolicy('rcpt.test'))
      await value(one.store.deletePolicy('rcpt.test'))
      assert.equal(await value(two.store.getPolicy('rcpt.test')), undefined)
      await until(async () => (await value(two.local.getPolicy('rcpt.test'))) === undefined)
    })
    it('a policy fetched after the purge stays', async () => {
      const clock = makeClock()
      const one = machine(clock)
      const two = machine(clock)
      await value(one.store.setPolicy(record()))
      await value(one.store.deletePolicy('rcpt.test'))
      clock.advance(1000)
      await value(two.local.setPolicy(record({ fetchedAt: clock.now() })))
      assert.equal((await value(two.store.getPolicy('rcpt.test')))?.fetchedAt, clock.now())
      await until(async () => (await value(one.store.getPolicy('rcpt.test'))) !== undefined)
    })
  })

  it('SC-01 a flushed Redis costs no policy: the machine that knows it puts it back', async () => {
    const one = machine()
    const two = machine()
    await value(one.store.setPolicy(record()))
    await admin.flushAll()
    assert.deepEqual(await value(one.store.getPolicy('rcpt.test')), record())
    await until(async () => (await value(two.store.getPolicy('rcpt.test'))) !== undefined)
  })
  it('SC-01 a flushed Redis is no proof that there is no policy, where the machine cannot read its own copy', async () => {
    const unreadable: Store = {
      ...memoryStore(makeClock()),
      getPolicy: () => Promise.resolve({ ok: false, detail: 'the file was cut short' }),
    }
    const { store } = machine(makeClock(), unreadable)
    assert.deepEqual(await store.getPolicy('rcpt.test'), {
      ok: false,
      detail: 'the file was cut short',
    })
    await value(store.setPolicy(record()))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
  })
  it('a count of all policies leaves no copies on the machine that counts', async () => {
    const one = machine()
    await value(one.store.setPolicy(record()))
    const two = machine()
    assert.deepEqual(await value(two.store.getPolicy('rcpt.test', { passing: true })), record())
    assert.equal(await value(two.local.getPolicy('rcpt.test')), undefined)
    await value(two.store.getPolicy('rcpt.test'))
    await until(async () => (await value(two.local.getPolicy('rcpt.test'))) !== undefined)
  })
  it('of two records the later fetched one holds, and a time to come counts as now', async () => {
    const { store, local } = machine()
    const older = record({ id: 'old' })
    await value(local.setPolicy(record({ id: 'new', fetchedAt: NOW - 1, expiresAt: NOW + HOUR })))
    await admin.set('tlspolicy:{rcpt.test}:policy', encodeRecord({ ...older, fetchedAt: NOW - 2 }))
    assert.equal((await value(store.getPolicy('rcpt.test')))?.id, 'new')
    await until(
      async () => (await admin.get('tlspolicy:{rcpt.test}:policy'))?.startsWith('1 new') === true,
    )
    await value(
      local.setPolicy(record({ id: 'future', fetchedAt: NOW + HOUR, expiresAt: NOW + 2 * HOUR })),
    )
    await admin.set('tlspolicy:{rcpt.test}:policy', encodeRecord({ ...older, fetchedAt: NOW }))
    assert.equal((await value(store.getPolicy('rcpt.test')))?.id, 'old')
  })

  describe('outages', () => {
    it('down at start: said once, nobody waits, and what the machine knows holds', async () => {
      const clock = makeClock()
      const local = memoryStore(clock)
      await value(local.setPolicy(record()))
      const { store, log } = machine(clock, local, await freePort())
      assert.deepEqual(await timed(value(store.getPolicy('rcpt.test')), 1000), record())
      for (let n = 0; n < 100; n++) await timed(value(store.getPolicy('rcpt.test')), 100)
      await value(store.setPolicy(record({ domain: 'b.test' })))
      assert.equal(await value(store.acquire('x', 'me', HOUR)), true)
      assert.equal(await value(store.acquire('x', 'you', HOUR)), false)
      await value(store.setNote('rcpt.test', 'failed', 'x', HOUR))
      assert.equal(await value(store.getNote('rcpt.test', 'failed')), 'x')
      // This machine's own word stands for nobody else.
      const everywhere = { everywhere: true }
      assert.ok(!(await store.acquire('y', 'me', HOUR, everywhere)).ok)
      assert.ok(!(await store.getNote('rcpt.test', 'failed', everywhere)).ok)
      assert.ok(!(await store.setNote('rcpt.test', 'other', 'x', HOUR, everywhere)).ok)
      assert.deepEqual([...(await domains(store))].sort(), ['b.test', 'rcpt.test'])
      assert.deepEqual(log.lines.length, 1, String(log.lines))
      assert.match(
        log.lines[0] ?? '',
        /^warn Redis is not reachable \(.*\); going on with what this machine knows/,
      )
    })
    it('an address where nothing answers at all: the same', async () => {
      const silent = net
        .createServer((socket) => socket.on('error', () => undefined).resume())
        .listen(0, '127.0.0.1')
      await once(silent, 'listening')
      const { port } = silent.address() as net.AddressInfo
      const { store, log } = machine(makeClock(), undefined, port)
      await timed(value(store.setPolicy(record())), 1000)
      assert.deepEqual(await timed(value(store.getPolicy('rcpt.test')), 1000), record())
      assert.equal(log.lines.length, 1)
      await store.close()
      silent.close()
    })
    it('something else than Redis answers: the same', async () => {
      const other = net.createServer((socket) => {
        socket.on('error', () => undefined)
        socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
      })
      other.listen(0, '127.0.0.1')
      await once(other, 'listening')
      const { store, log } = machine(
        makeClock(),
        undefined,
        (other.address() as net.AddressInfo).port,
      )
      await timed(value(store.setPolicy(record())), 1000)
      assert.deepEqual(await timed(value(store.getPolicy('rcpt.test')), 1000), record())
      assert.equal(log.lines.length, 1)
      await store.close()
      other.close()
    })
    it('freezing later: calls end in time, and it is used again when it is back', async () => {
      const clock = makeClock()
      const { store, log } = machine(clock)
      await value(store.setPolicy(record()))
      redis.freeze()
      try {
        assert.deepEqual(await timed(value(store.getPolicy('rcpt.test')), 1000), record())
        for (let n = 0; n < 100; n++) await timed(value(store.getPolicy('rcpt.test')), 100)
      } finally {
        redis.thaw()
      }
      clock.advance(2000)
      await value(store.setPolicy(record({ id: 'again' })))
      await until(async () => {
        clock.advance(2000)
        await store.setPolicy(record({ id: 'again' }))
        return (await admin.get('tlspolicy:{rcpt.test}:policy'))?.startsWith('1 again') === true
      })
      assert.deepEqual(
        log.lines.map((line) => line.replace(/ \(.*/, '')),
        ['warn Redis is not reachable', 'notice Redis is back'],
      )
    })
    it('a process too busy to hear the answer in time: that is no outage', async () => {
      const { store, log } = machine()
      await value(store.setPolicy(record()))
      for (let round = 0; round < 3; round++) {
        const asked = store.acquire(`lease${round}`, 'me', HOUR)
        await new Promise(setImmediate)
        const until = performance.now() + 600
        while (performance.now() < until);
        assert.equal(await value(asked), true)
      }
      assert.equal(await admin.exists('tlspolicy:lease:lease2'), 1)
      assert.deepEqual(log.lines, [])
    })
    it('dying later and coming back empty: nothing is lost, and changes are heard again', async () => {
      const clock = makeClock()
      const one = machine(clock)
      const two = machine(clock)
      await value(one.store.setPolicy(record()))
      await value(two.store.getPolicy('rcpt.test'))
      await redis.kill()
      assert.deepEqual(await timed(value(one.store.getPolicy('rcpt.test')), 1000), record())
      const resubscribed = new Promise<void>((resolve) => {
        two.store.onChange((domain) => {
          if (domain === undefined) resolve()
        })
      })
      await redis.start()
      await resubscribed
      await until(async () => {
        clock.advance(2000)
        await one.store.getPolicy('rcpt.test')
        return admin.isReady && (await admin.exists('tlspolicy:{rcpt.test}:policy')) === 1
      })
      const heard = new Promise<string | undefined>((resolve) => two.store.onChange(resolve))
      await value(one.store.setPolicy(record({ id: 'again' })))
      assert.equal(await heard, 'rcpt.test')
    }).timeout(20_000)
  })

  it('createStore: Redis over LMDB; after a restart with Redis down the policies are there', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tls-policy-redis-'))
    const clock = makeClock()
    const settings = {
      backend: 'redis',
      path: join(folder, 'x.lmdb'),
      prefix: 'tlspolicy',
    } as const
    try {
      // On a busy machine the first may have words of its own, of a Redis that was late.
      const [firstLog, log] = [makeLog(), makeLog()]
      const now = () => clock.now()
      const first = await createStore(
        { ...settings, redis: redis.settings },
        { log: firstLog, now },
      )
      await value(first.setPolicy(record()))
      await first.close()
      const second = await createStore(
        { ...settings, redis: { port: await freePort() } },
        { log, now },
      )
      assert.deepEqual(await value(second.getPolicy('rcpt.test')), record())
      await second.close()
      assert.equal(log.lines.length, 1, log.lines.join('\n'))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
  it('createStore: settings that node-redis refuses mean the local store, said once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tls-policy-redis-'))
    const log = makeLog()
    const path = join(folder, 'x.lmdb')
    const store = await createStore(
      { backend: 'redis', path, prefix: 'tlspolicy', redis: { url: 'nonsense://x' } },
      { log, now: () => NOW },
    )
    await value(store.setPolicy(record()))
    assert.equal(log.lines.length, 1)
    await store.close()
    rmSync(folder, { recursive: true, force: true })
  })
})
