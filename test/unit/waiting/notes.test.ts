import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { HostEnd } from '../../../plugins/delivery/host-end'
import { memoryStore } from '../../../plugins/store/memory'
import type { Stored, WaitingNote, WaitingRecord, WaitingStore } from '../../../plugins/store'
import { countOf, MOST_MARKS, WAITING_PARTS } from '../../../plugins/store/waiting'
import { messageMark } from '../../../plugins/waiting/kept-back'
import { createWaiting, MOST_PENDING } from '../../../plugins/waiting/notes'
import { refusedEnd } from '../../support/session-ends'

/** How a call to the store ends. */
type Fate = 'taken' | 'refused' | 'taken, and the answer is lost'

class World {
  readonly inner = memoryStore({ now: () => this.time })
  time = 1_800_000_000_000
  fate: () => Fate = () => 'taken'
  calls = 0
  readonly lines: string[] = []

  readonly store: Pick<WaitingStore, 'noteWaiting'> = {
    noteWaiting: async (part: number, notes: readonly WaitingNote[]): Promise<Stored<number>> => {
      this.calls += 1
      const fate = this.fate()
      if (fate === 'refused') return { ok: false, detail: 'away' }
      const noted = await this.inner.noteWaiting(part, notes)
      return fate === 'taken' ? noted : { ok: false, detail: 'no answer in time' }
    },
  }

  worker() {
    return createWaiting({
      store: () => Promise.resolve(this.store),
      clock: () => this.time,
      log: { warn: (text) => this.lines.push(text), notice: (text) => this.lines.push(text) },
    })
  }

  async records(): Promise<readonly WaitingRecord[]> {
    const all: WaitingRecord[] = []
    for (let part = 0; part < WAITING_PARTS; part++) {
      const read = await this.inner.readWaiting(part)
      assert.ok(read.ok)
      all.push(...read.value)
    }
    return all
  }
}

const bad = (domain = 'rcpt.test', more: Partial<HostEnd> = {}) => refusedEnd({ domain, ...more })
const good = (domain = 'rcpt.test') =>
  refusedEnd({ domain, verdict: 'verified', reason: 'dane-ee-matched' })

describe("a worker's word of destinations on its way to the store", () => {
  it('each message counts once, however often it is tried, by whichever worker', async () => {
    const world = new World()
    const [one, other] = [world.worker(), world.worker()]
    const began = world.time
    for (let hour = 0; hour < 3; hour++) {
      world.time = began + hour * 3_600_000
      one.ended('A', bad())
      one.ended('B', bad())
      other.ended('B', bad('rcpt.test', { host: 'mx2.rcpt.test', reason: 'pkix-expired' }))
      await one.flush()
      await other.flush()
    }
    const [record, ...others] = await world.records()
    assert.ok(record && others.length === 0)
    assert.deepEqual(countOf(record.marks), { count: 2, exact: true })
    assert.equal(record.since, began)
    assert.equal(record.last, world.time)
    assert.match(record.text, /^dane pkix-expired mx2\.rcpt\.test/)
  })

  it('another host of the domain takes the mail: nothing waits', async () => {
    const world = new World()
    const worker = world.worker()
    worker.ended('A', bad())
    worker.ended('A', good())
    await worker.flush()
    assert.deepEqual(await world.records(), [])
  })

  it('a success ends what was told before it, and what comes after begins anew', async () => {
    const world = new World()
    const worker = world.worker()
    worker.ended('A', bad())
    await worker.flush()
    world.time += 1_000
    worker.ended('B', good())
    world.time += 1_000
    worker.ended('C', bad())
    await worker.flush()
    const [record] = await world.records()
    assert.deepEqual(record?.marks, [messageMark('C')])
    assert.equal(record.since, world.time)
  })

  it('while the store fails notes wait, in order, and each trouble is told once', async () => {
    const world = new World()
    const worker = world.worker()
    world.fate = () => 'refused'
    worker.ended('A', bad())
    await worker.flush()
    world.time += 1_000
    worker.ended('B', bad())
    worker.ended('X', bad('other.test'))
    await worker.flush()
    worker.ended('X', good('other.test'))
    world.fate = () => 'taken'
    await worker.flush()
    const [record, ...others] = await world.records()
    assert.equal(record?.marks.length, 2)
    assert.equal(others.length, 0)
    assert.equal(world.lines.length, 2, world.lines.join('\n'))
    assert.match(world.lines[0] ?? '', /kept in memory, the store does not take it: away/)
  })

  it('a store that cannot be had costs nothing but the word', async () => {
    const world = new World()
    const worker = createWaiting({
      store: () => Promise.reject(new Error('never')),
      clock: () => world.time,
      log: { warn: (text) => world.lines.push(text), notice: () => undefined },
    })
    worker.ended('A', bad())
    await worker.flush()
    assert.match(world.lines.join(), /never/)
  })

  it('memory is bounded, whatever the number of domains', async () => {
    const world = new World()
    const worker = world.worker()
    let told = 0
    world.fate = () => 'refused'
    for (let n = 0; n < 3 * MOST_PENDING; n++) worker.ended('A', good(`d${n}.test`))
    await worker.flush()
    const count = { ...world.store }
    count.noteWaiting = (_part, notes) => {
      told += notes.length
      return Promise.resolve({ ok: true, value: 0 })
    }
    Object.assign(world.store, count)
    await worker.flush()
    assert.equal(told, MOST_PENDING)
  })

  it('whatever the store does, and the order, the state is that of the last word', async () => {
    const step = fc.record({
      domain: fc.constantFrom('a.test', 'b.test'),
      is: fc.constantFrom('bad', 'good', 'flush'),
      message: fc.constantFrom('A', 'B', 'C'),
      fate: fc.constantFrom<Fate>('taken', 'refused', 'taken, and the answer is lost'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const world = new World()
        const worker = world.worker()
        const expected = new Map<string, Set<string>>()
        for (const { domain, is, message, fate } of steps) {
          world.time += 1_000
          world.fate = () => fate
          if (is === 'flush') await worker.flush()
          else if (is === 'bad') {
            worker.ended(message, bad(domain))
            expected.set(domain, (expected.get(domain) ?? new Set()).add(messageMark(message)))
          } else {
            worker.ended(message, good(domain))
            expected.delete(domain)
          }
        }
        world.fate = () => 'taken'
        await worker.flush()
        const found = (await world.records()).map(({ domain, marks }) => [domain, [...marks]])
        const wanted = [...expected].map(([domain, marks]) => [domain, [...marks].sort()])
        assert.deepEqual(found.sort(), wanted.sort())
      }),
      { numRuns: 60 },
    )
  })

  it('of many messages their number is estimated', () => {
    for (const many of [100, 1_000, 20_000]) {
      const marks = Array.from({ length: many }, (_, n) => messageMark(`message ${n}`))
      const { count, exact } = countOf([...new Set(marks)].sort().slice(0, MOST_MARKS))
      assert.equal(exact, false)
      // Three times the standard error of 64 marks.
      assert.ok(Math.abs(count - many) < 0.4 * many, `${count} of ${many}`)
    }
  })
})
