import assert from 'node:assert/strict'
import fc from 'fast-check'
import { memoryStore } from '../../../plugins/store/memory'
import type { Stored, TallyBatch, TallyStore } from '../../../plugins/store/types'
import { createTally, MOST_LINES } from '../../../plugins/tlsrpt/tally'
import { talliesIn } from '../../../plugins/tlsrpt/tallies'
import { PARTS } from '../../../plugins/tlsrpt/types'
import type { Addition } from '../../../plugins/tlsrpt/types'

const DAY = 20_784
const NOON = (DAY + 0.5) * 86_400_000

const success = (domain: string): Addition => ({
  policy: { 'policy-type': 'no-policy-found', 'policy-domain': domain },
  success: 1,
  failure: 0,
})
const failure = (domain: string, code: string): Addition => ({
  policy: { 'policy-type': 'no-policy-found', 'policy-domain': domain },
  success: 0,
  failure: 1,
  detail: { 'result-type': 'validation-failure', 'failure-reason-code': code },
})

/** How a call to the store ends. */
type Fate = 'taken' | 'refused' | 'taken, and the answer is lost'

class World {
  readonly inner = memoryStore({ now: () => this.time })
  time = NOON
  fate: () => Fate = () => 'taken'
  lost = { bound: 0, store: 0 }
  readonly lines: string[] = []
  #workers = 0

  readonly store: Pick<TallyStore, 'addToTally'> = {
    addToTally: async (batch: TallyBatch): Promise<Stored<number>> => {
      const fate = this.fate()
      if (fate === 'refused') return { ok: false, detail: 'away' }
      const added = await this.inner.addToTally(batch)
      return fate === 'taken' ? added : { ok: false, detail: 'no answer in time' }
    },
  }

  worker() {
    this.#workers += 1
    return createTally({
      store: () => Promise.resolve(this.store),
      worker: `w${this.#workers}`,
      clock: () => this.time,
      lost: (why, count) => {
        this.lost[why] += count
      },
      log: { warn: (text) => this.lines.push(text), notice: (text) => this.lines.push(text) },
    })
  }

  /** Sessions that are in the store. */
  async sessions(day = DAY): Promise<number> {
    let sum = 0
    for (let part = 0; part < PARTS; part++) {
      const read = await talliesIn(this.inner).readPart(day, part)
      assert.ok(read.ok)
      for (const { summary } of read.value.flatMap(({ policies }) => policies)) {
        sum += summary['total-successful-session-count'] + summary['total-failure-session-count']
      }
    }
    return sum
  }
}

describe("a worker's counts on their way to the store", () => {
  it('TD-27 are there once they are given over, and no sooner', async () => {
    const world = new World()
    const tally = world.worker()
    tally.add('rcpt.test', [success('rcpt.test')])
    tally.add('rcpt.test', [success('rcpt.test')])
    assert.equal(await world.sessions(), 0)
    await tally.flush()
    await tally.flush()
    assert.equal(await world.sessions(), 2)
  })

  it('TD-27 what was added is read or said to be lost, whatever the store does', async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant('add' as const),
        worker: fc.nat(2),
        domain: fc.nat(300).map((n) => `d${n}.test`),
        code: fc.option(fc.nat(60).map((n) => `c${n}`)),
      }),
      fc.record({
        kind: fc.constant('flush' as const),
        worker: fc.nat(2),
        fates: fc.array(
          fc.constantFrom<Fate>('taken', 'refused', 'taken, and the answer is lost'),
          { minLength: 1, maxLength: 5 },
        ),
      }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 200 }), async (steps) => {
        const world = new World()
        const workers = [world.worker(), world.worker(), world.worker()]
        let added = 0
        for (const one of steps) {
          const tally = workers[one.worker]
          assert.ok(tally !== undefined)
          if (one.kind === 'add') {
            const { domain, code } = one
            tally.add(domain, [code === null ? success(domain) : failure(domain, code)])
            added += 1
          } else {
            let n = 0
            world.fate = () => one.fates[n++ % one.fates.length] ?? 'taken'
            await tally.flush()
          }
        }
        world.fate = () => 'taken'
        for (const tally of workers) await tally.flush()
        assert.deepEqual(world.lost, { bound: 0, store: 0 })
        assert.equal(await world.sessions(), added)
      }),
      { numRuns: 40 },
    )
  })

  it('wait while the store fails, get coarser, and are lost only then, which is told', async () => {
    const world = new World()
    const tally = world.worker()
    world.fate = () => 'refused'
    const added = 2 * MOST_LINES + 500
    for (let n = 0; n < added; n++) tally.add(`d${n}.test`, [success(`d${n}.test`)])
    await tally.flush()
    await tally.flush()
    assert.deepEqual(world.lines, [
      'counts for TLSRPT reports wait in memory, the store does not take them: away',
    ])
    assert.deepEqual(world.lost, { bound: 500, store: 0 })
    world.fate = () => 'taken'
    await tally.flush()
    assert.equal(world.lines.at(-1), 'the store takes counts for TLSRPT reports again')
    assert.equal((await world.sessions()) + world.lost.bound, added)
  })

  it('one domain with ever new failures takes no more room than its report has', async () => {
    const world = new World()
    const tally = world.worker()
    world.fate = () => 'refused'
    for (let n = 0; n < 30_000; n++) tally.add('rcpt.test', [failure('rcpt.test', `c${n}`)])
    tally.add('other.test', [failure('other.test', 'fine')])
    world.fate = () => 'taken'
    await tally.flush()
    assert.deepEqual(world.lost, { bound: 0, store: 0 })
    const read = await talliesIn(world.inner).readDomain(DAY, 'other.test')
    assert.ok(read.ok)
    assert.equal(read.value?.policies[0]?.['failure-details'][0]?.['failure-reason-code'], 'fine')
    assert.equal(await world.sessions(), 30_001)
  })

  it('of a day whose report nobody sends any more are lost, and told', async () => {
    const world = new World()
    const tally = world.worker()
    world.fate = () => 'refused'
    tally.add('rcpt.test', [success('rcpt.test')])
    await tally.flush()
    world.time += 3 * 86_400_000
    world.fate = () => 'taken'
    await tally.flush()
    assert.deepEqual(world.lost, { bound: 0, store: 1 })
  })

  it('TD-01 sessions before and after midnight belong to two days', async () => {
    const world = new World()
    const tally = world.worker()
    world.time = (DAY + 1) * 86_400_000 - 60_000
    tally.add('rcpt.test', [success('rcpt.test')])
    world.time += 120_000
    tally.add('rcpt.test', [success('rcpt.test')])
    await tally.flush()
    assert.equal(await world.sessions(DAY), 1)
    assert.equal(await world.sessions(DAY + 1), 1)
  })

  it('a store that cannot be opened is as one that fails', async () => {
    const world = new World()
    const tally = createTally({
      store: () => Promise.reject(new Error('no start')),
      worker: 'w',
      clock: () => world.time,
      lost: () => undefined,
      log: { warn: (text) => world.lines.push(text), notice: () => undefined },
    })
    tally.add('rcpt.test', [success('rcpt.test')])
    await tally.retire()
    assert.match(world.lines.join('\n'), /no start/)
  })
})
