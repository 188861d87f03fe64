/** What every store must do, whichever it is; each backend's tests run it. */
import assert from 'node:assert/strict'
import { NO_DOMAIN } from '../../plugins/store/record'
import type { Due, Logger, PolicyRecord, Store, Stored } from '../../plugins/store/types'
import { tallyContract } from './tally-contract'
import { waitingContract } from './waiting-contract'

export const NOW = 1_800_000_000_000
const HOUR = 3_600_000

export interface Clock {
  now(): number
  advance(ms: number): void
}

export function makeClock(start = NOW): Clock {
  let time = start
  return { now: () => time, advance: (ms) => void (time += ms) }
}

export interface TestLog extends Logger {
  /** `level text`, in order. */
  readonly lines: string[]
}

export function makeLog(): TestLog {
  const lines: string[] = []
  const at = (level: string) => (text: string) => void lines.push(`${level} ${text}`)
  return { lines, info: at('info'), notice: at('notice'), warn: at('warn'), error: at('error') }
}

export function record(changes: Partial<PolicyRecord> = {}): PolicyRecord {
  return {
    domain: 'rcpt.test',
    id: '20260801',
    text: 'version: STSv1\r\nmode: enforce\r\nmx: *.rcpt.test\r\nmax_age: 86400\r\nx: bär\r\n',
    fetchedAt: NOW,
    expiresAt: NOW + 24 * HOUR,
    ...changes,
  }
}

export async function value<T>(call: Promise<Stored<T>>): Promise<T> {
  const outcome = await call
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.detail)
  return outcome.value
}

/** Every domain of the list, page by page. */
export async function domains(store: Store): Promise<readonly string[]> {
  const found: string[] = []
  let after: string | undefined
  do {
    const page = await value(store.listDomains(after))
    found.push(...page.domains)
    after = page.next
  } while (after !== undefined)
  return found
}

/** The next change that a store tells of. */
export function nextChange(store: Store): Promise<string | undefined> {
  return new Promise((resolve) => {
    const stop = store.onChange((domain) => {
      stop()
      resolve(domain)
    })
  })
}

export interface StoreUnderTest {
  /** A store on the shared state of this test; several are as several workers. */
  open(clock: Clock): Promise<Store>
  /** Whether two stores see the same state. */
  readonly shared: boolean
  /** Whether leases and notes end by the test's clock; else by the backend's own. */
  readonly movableClock: boolean
}

/** Registers the tests, and hooks that open and close stores around each, in a group of their own. */
export function storeContract(make: () => StoreUnderTest): void {
  describe('the contract', () => register(make))
}

function register(make: () => StoreUnderTest): void {
  let clock: Clock
  let store: Store
  let under: StoreUnderTest
  const open: Store[] = []
  const another = async (): Promise<Store> => {
    const made = await under.open(clock)
    open.push(made)
    return made
  }
  beforeEach(async () => {
    clock = makeClock()
    under = make()
    store = await another()
  })
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close()
  })

  tallyContract({
    store: () => store,
    another: () => another(),
    isShared: () => under.shared,
    day: () => Math.floor(clock.now() / 86_400_000),
  })
  waitingContract({
    store: () => store,
    another: () => another(),
    isShared: () => under.shared,
    now: () => clock.now(),
    advance: (ms) => {
      clock.advance(ms)
    },
  })

  it('SC-01 keeps a policy as it was set, text and all', async () => {
    await value(store.setPolicy(record()))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
    assert.equal(await value(store.getPolicy('other.test')), undefined)
  })
  it('SC-04 replaces a policy and its id together', async () => {
    await value(store.setPolicy(record()))
    const next = record({ id: '2', text: 'mode: none', fetchedAt: NOW + 1, expiresAt: NOW + 2 })
    await value(store.setPolicy(next))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), next)
  })
  it('keeps a policy of 64 KiB, and refuses one beyond its bound', async () => {
    const large = record({ text: 'x: ü\n'.repeat(13_000) })
    await value(store.setPolicy(large))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), large)
    const outcome = await store.setPolicy(record({ text: 'x'.repeat(2_000_000) }))
    assert.equal(outcome.ok, false)
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), large)
  })
  it('deletes a policy and forgets when it was used', async () => {
    await value(store.setPolicy(record()))
    await value(store.markUsed('rcpt.test', 20_000))
    await value(store.deletePolicy('rcpt.test'))
    assert.equal(await value(store.getPolicy('rcpt.test')), undefined)
    assert.equal(await value(store.lastUsed('rcpt.test')), undefined)
    assert.deepEqual(await domains(store), [])
  })
  it('a deleted policy can be set again', async () => {
    await value(store.setPolicy(record()))
    await value(store.deletePolicy('rcpt.test'))
    clock.advance(1000)
    const again = record({ fetchedAt: clock.now() })
    await value(store.setPolicy(again))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), again)
  })
  it('lists the domains', async () => {
    for (const domain of ['a.test', 'b.test', 'c.test'])
      await value(store.setPolicy(record({ domain })))
    assert.deepEqual([...(await domains(store))].sort(), ['a.test', 'b.test', 'c.test'])
  })
  it('refuses what is no domain, in every call', async () => {
    for (const domain of [
      '',
      'Rcpt.Test',
      'rcpt.test.',
      'a b',
      'a\nb',
      '*',
      '{x}',
      'x'.repeat(300),
      '../x',
    ]) {
      assert.equal((await store.setPolicy(record({ domain }))).ok, false, domain)
      assert.equal((await store.setNote(domain, 'failed', 'x', HOUR)).ok, false, domain)
    }
    assert.deepEqual(await domains(store), [])
  })
  it('refuses a record that it could not read back', async () => {
    for (const bad of [{ id: 'a b' }, { id: '' }, { fetchedAt: -1 }, { fetchedAt: 1.5 }, { expiresAt: NOW - 1 }, { expiresAt: NOW + 1e12 }, { fetchedAt: NaN }]) {
      assert.equal((await store.setPolicy(record(bad))).ok, false, JSON.stringify(bad))
    }
  }) // prettier-ignore

  it('SC-13 notes have a space of their own and never shadow a policy', async () => {
    await value(store.setPolicy(record()))
    await value(store.setNote('rcpt.test', 'failed/20260801', 'HTTP status 500', HOUR))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
    assert.equal(await value(store.getNote('rcpt.test', 'failed/20260801')), 'HTTP status 500')
    assert.equal(await value(store.getNote('rcpt.test', 'failed/2')), undefined)
    assert.equal(await value(store.getNote('other.test', 'failed/20260801')), undefined)
  })
  it('a note of no domain is none of a domain', async () => {
    await value(store.setNote(NO_DOMAIN, 'policies', '7', HOUR))
    assert.equal(await value(store.getNote(NO_DOMAIN, 'policies')), '7')
    assert.equal(await value(store.getNote('rcpt.test', 'policies')), undefined)
    assert.equal((await store.setPolicy(record({ domain: NO_DOMAIN }))).ok, false)
    assert.deepEqual(await domains(store), [])
  })
  it('a long note is cut', async () => {
    await value(store.setNote('rcpt.test', 'failed', 'ü'.repeat(5000), HOUR))
    assert.equal(await value(store.getNote('rcpt.test', 'failed')), 'ü'.repeat(1000))
  })
  it('refuses strange names of notes', async () => {
    for (const name of ['', 'Failed', 'a b', 'a/b/c', 'failed/'.padEnd(60, 'x'), 'x:y']) {
      assert.equal((await store.setNote('rcpt.test', name, 'x', HOUR)).ok, false, name)
    }
  })

  it('SC-14 knows the last day of use', async () => {
    assert.equal(await value(store.lastUsed('rcpt.test')), undefined)
    await value(store.markUsed('rcpt.test', 20_833))
    assert.equal(await value(store.lastUsed('rcpt.test')), 20_833)
  })

  describe('agenda', () => {
    const due = (changes: Partial<Due> = {}): Due => {
      const now = clock.now()
      return { now, beyond: now + 48 * HOUR, until: now + HOUR, limit: 64, ...changes }
    }
    const take = async (changes?: Partial<Due>): Promise<readonly string[]> =>
      [...(await value(store.takeDue(due(changes)))).domains].sort()

    it('SC-09 what is set is due at once, and then taken for a while', async () => {
      assert.deepEqual(await take(), [])
      await value(store.setPolicy(record({ domain: 'a.test' })))
      await value(store.setPolicy(record({ domain: 'b.test' })))
      assert.deepEqual(await take(), ['a.test', 'b.test'])
      assert.deepEqual(await take(), [])
      clock.advance(HOUR - 1)
      assert.deepEqual(await take(), [])
      clock.advance(1)
      assert.deepEqual(await take(), ['a.test', 'b.test'])
    })
    it('SC-09 a domain comes when it is planned, and once', async () => {
      await value(store.setPolicy(record()))
      for (const hours of [9, 3, 6]) {
        await value(store.plan('rcpt.test', clock.now() + hours * HOUR))
      }
      clock.advance(6 * HOUR - 1)
      assert.deepEqual(await take(), [])
      clock.advance(1)
      assert.deepEqual(await take({ until: clock.now() + 40 * HOUR }), ['rcpt.test'])
      clock.advance(39 * HOUR)
      assert.deepEqual(await take(), [])
    })
    it('SC-09 what was planned before the clock was set back is due', async () => {
      await value(store.setPolicy(record()))
      await value(store.plan('rcpt.test', clock.now() + 24 * HOUR))
      clock.advance(-24 * HOUR)
      assert.deepEqual(await take(), [])
      clock.advance(-1)
      assert.deepEqual(await take(), ['rcpt.test'])
      assert.deepEqual(await take(), [])
    })
    it('what is planned beyond all time is due, and not lost', async () => {
      await value(store.setPolicy(record()))
      for (const time of [1e15, 1e20, 1e300]) {
        await value(store.plan('rcpt.test', time))
        assert.deepEqual(await take(), ['rcpt.test'], String(time))
      }
    })
    it('what is deleted, or planned for never, is not on it', async () => {
      for (const domain of ['a.test', 'b.test', 'c.test'])
        await value(store.setPolicy(record({ domain })))
      await value(store.deletePolicy('a.test'))
      await value(store.plan('b.test', undefined))
      await value(store.plan('b.test', undefined))
      assert.deepEqual(await take(), ['c.test'])
      assert.equal((await store.plan('not a domain', NOW)).ok, false)
    })
    it('gives a few at a time, the most overdue first, until all are taken', async () => {
      const all = Array.from({ length: 100 }, (_, n) => `d${n}.test`)
      for (const [n, domain] of all.entries()) {
        await value(store.setPolicy(record({ domain })))
        await value(store.plan(domain, clock.now() - n))
      }
      const taken: string[] = []
      for (let more = true; more;) {
        const some = await value(store.takeDue(due({ limit: 10 })))
        assert.ok(some.domains.length <= 10)
        if (taken.length === 0 && under.shared) assert.ok(some.domains.includes('d99.test'))
        taken.push(...some.domains)
        more = some.more
      }
      assert.deepEqual(taken.sort(), all.sort())
      assert.deepEqual(await take(), [])
    })
    it('of many who take at once, each domain comes to one', async () => {
      const all = Array.from({ length: 60 }, (_, n) => `d${n}.test`)
      await Promise.all(all.map((domain) => value(store.setPolicy(record({ domain })))))
      const workers = under.shared ? [store, await another(), await another()] : [store]
      const taken = await Promise.all(
        Array.from({ length: 30 }, (_, n) =>
          value((workers[n % workers.length] ?? store).takeDue(due({ limit: 5 }))),
        ),
      )
      assert.deepEqual(taken.flatMap((each) => each.domains).sort(), all.sort())
    })
  })

  it('lists many domains in pages', async () => {
    const all = Array.from({ length: 2_345 }, (_, n) => `d${n}.test`)
    for (let first = 0; first < all.length; first += 100) {
      const some = all.slice(first, first + 100)
      await Promise.all(some.map((domain) => value(store.setPolicy(record({ domain })))))
    }
    const found = await domains(store)
    assert.deepEqual([...new Set(found)].sort(), all.sort())
    if (under.shared) assert.ok((await value(store.listDomains())).domains.length < 2_000)
  })

  it('SF-22 a lease has one owner', async () => {
    assert.equal(await value(store.acquire('fetch/rcpt.test', 'one', HOUR)), true)
    assert.equal(await value(store.acquire('fetch/rcpt.test', 'two', HOUR)), false)
    assert.equal(await value(store.acquire('fetch/other.test', 'two', HOUR)), true)
    assert.equal(await value(store.acquire('fetch/rcpt.test', 'one', 2 * HOUR)), true)
    await value(store.release('fetch/rcpt.test', 'two'))
    assert.equal(await value(store.acquire('fetch/rcpt.test', 'two', HOUR)), false)
    await value(store.release('fetch/rcpt.test', 'one'))
    assert.equal(await value(store.acquire('fetch/rcpt.test', 'two', HOUR)), true)
  })
  it('TD-27 what may be done once in the whole cluster: a lease and a note that hold for all', async () => {
    const other = under.shared ? await another() : store
    const everywhere = { everywhere: true }
    assert.equal(await value(store.acquire('report/1/1', 'one', HOUR, everywhere)), true)
    assert.equal(await value(other.acquire('report/1/1', 'two', HOUR, everywhere)), false)
    await value(store.setNote('rcpt.test', 'report/1', 'over', HOUR, everywhere))
    assert.equal(await value(other.getNote('rcpt.test', 'report/1', everywhere)), 'over')
    assert.equal(await value(other.getNote('rcpt.test', 'report/2', everywhere)), undefined)
  })
  it('SF-22 a worker sees what another has written, also where it looked a moment before', async () => {
    const other = under.shared ? await another() : store
    for (let n = 0; n < 100; n++) {
      const name = `failed/${n}`
      assert.equal(await value(other.getNote('rcpt.test', name)), undefined)
      await value(store.setNote('rcpt.test', name, 'now', HOUR))
      assert.equal(await value(other.getNote('rcpt.test', name)), 'now')
    }
  })
  it('SF-22 of many who ask at once, one gets the lease', async () => {
    const workers = under.shared ? await Promise.all([another(), another(), another()]) : [store]
    const asked = workers.flatMap((worker, w) =>
      Array.from({ length: 10 }, (_, n) =>
        value(worker.acquire('fetch/x.test', `${w}-${n}`, HOUR)),
      ),
    )
    assert.equal((await Promise.all(asked)).filter(Boolean).length, 1)
  })
  it('leases and notes end after their time', async function () {
    const ttl = under.movableClock ? HOUR : 30
    await value(store.acquire('fetch/rcpt.test', 'one', ttl))
    await value(store.setNote('rcpt.test', 'failed', 'x', ttl))
    clock.advance(ttl)
    // The backend's own clock cannot be moved: asking until it answers ends with it, or with the test's time.
    while ((await value(store.getNote('rcpt.test', 'failed'))) !== undefined)
      assert.ok(!under.movableClock)
    while (!(await value(store.acquire('fetch/rcpt.test', 'two', ttl))))
      assert.ok(!under.movableClock)
  })
  it('a clock set back does not make leases or notes live longer', async function () {
    if (!under.movableClock) return
    await value(store.acquire('fetch/rcpt.test', 'one', HOUR))
    await value(store.setNote('rcpt.test', 'failed', 'x', HOUR))
    clock.advance(-1_000 * HOUR)
    assert.equal(await value(store.getNote('rcpt.test', 'failed')), undefined)
    assert.equal(await value(store.acquire('fetch/rcpt.test', 'two', HOUR)), true)
  })
  it('a clock that jumped forward for a moment has destroyed no policy', async () => {
    await value(store.setPolicy(record()))
    clock.advance(47 * HOUR)
    await value(store.getPolicy('rcpt.test'))
    await value(store.markUsed('rcpt.test', 1))
    clock.advance(-47 * HOUR)
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
  })

  it('tells of what is set and deleted', async () => {
    const other = under.shared ? await another() : store
    for (const act of [() => store.setPolicy(record()), () => store.deletePolicy('rcpt.test')]) {
      const heard = new Promise<void>((resolve) => {
        const stop = other.onChange((domain) => {
          // undefined: another worker that just began to listen is told that anything may have changed.
          if (domain !== 'rcpt.test' && domain !== undefined) return
          stop()
          resolve()
        })
      })
      await value(act())
      await heard
    }
  })
  it('a listener that throws keeps nobody else from hearing', async () => {
    store.onChange(() => {
      throw new Error('mine')
    })
    const heard = nextChange(store)
    await value(store.setPolicy(record()))
    await heard
  })
  it('what one sets, another reads', async function () {
    if (!under.shared) return
    const other = await another()
    await value(store.setPolicy(record()))
    await value(store.setNote('rcpt.test', 'failed', 'x', HOUR))
    await value(store.markUsed('rcpt.test', 7))
    assert.deepEqual(await value(other.getPolicy('rcpt.test')), record())
    assert.equal(await value(other.getNote('rcpt.test', 'failed')), 'x')
    assert.equal(await value(other.lastUsed('rcpt.test')), 7)
    assert.deepEqual(await domains(other), ['rcpt.test'])
    await value(other.deletePolicy('rcpt.test'))
    assert.equal(await value(store.getPolicy('rcpt.test')), undefined)
  })
  it('after close every call says so', async () => {
    await store.close()
    await store.close()
    for (const call of [
      store.getPolicy('rcpt.test'), store.setPolicy(record()), store.deletePolicy('rcpt.test'), store.listDomains(),
      store.getNote('rcpt.test', 'failed'), store.setNote('rcpt.test', 'failed', 'x', 1), store.lastUsed('rcpt.test'),
      store.takeDue({ now: NOW, beyond: NOW, until: NOW, limit: 1 }), store.plan('rcpt.test', NOW),
      store.markUsed('rcpt.test', 1), store.acquire('x', 'y', 1), store.release('x', 'y'),
    ]) assert.equal((await call).ok, false) // prettier-ignore
  })
}
