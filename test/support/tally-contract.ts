/** What every store must do with tallies, whichever it is; a part of the contract. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  addBatch,
  DOMAIN_OCTETS,
  fieldsOf,
  MOST_ADDS,
  MOST_NAMES,
  PART_OCTETS,
  partOf,
  readFields,
  TEXT_OCTETS,
} from '../../plugins/store/tally'
import type { Store, Stored, TallyAdd, TallyBatch } from '../../plugins/store/types'

export interface TallyContractTools {
  readonly store: () => Store
  /** Another on the same state, where it is shared. */
  readonly another: () => Promise<Store>
  readonly isShared: () => boolean
  /** The day of the test's clock. */
  readonly day: () => number
}

async function value<T>(call: Promise<Stored<T>>): Promise<T> {
  const outcome = await call
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.detail)
  return outcome.value
}

const DOMAIN = 'rcpt.test'
const PART = partOf(DOMAIN)
/** Of the same part as DOMAIN. */
const NEIGHBOURS = Array.from({ length: 20_000 }, (_, n) => `n${n}.test`).filter(
  (domain) => partOf(domain) === PART,
)

export function tallyContract({ store, another, isShared, day }: TallyContractTools): void {
  let sequence = 0
  const batch = (adds: readonly TallyAdd[], changes: Partial<TallyBatch> = {}): TallyBatch => {
    sequence += 1
    return { day: day(), part: PART, worker: 'w1', sequence, adds, ...changes }
  }
  const plain = (counter: string, by = 1, domain = DOMAIN): TallyAdd => ({
    domain,
    by,
    ways: [{ counter }],
  })
  const read = async (from = store()): Promise<Readonly<Record<string, string>>> =>
    Object.fromEntries(
      (await value(from.readTally(day(), PART))).map(({ domain, name, value: found }) => [
        `${domain} ${name}`,
        found,
      ]),
    )

  describe('tallies', () => {
    it('TD-27 counts add up, for all workers', async () => {
      const other = await another()
      assert.equal(await value(store().addToTally(batch([plain('S n', 2), plain('F n')]))), 0)
      await value(other.addToTally(batch([plain('S n', 3)], { worker: 'w2' })))
      assert.deepEqual(await read(), {
        [`${DOMAIN} S n`]: isShared() ? '5' : '2',
        [`${DOMAIN} F n`]: '1',
      })
    })
    it('TD-27 the same batch counts once, however often it comes', async () => {
      const one = batch([plain('S n'), plain('S n')])
      for (let n = 0; n < 3; n++) assert.equal(await value(store().addToTally(one)), 0)
      await value(store().addToTally(batch([plain('S n')])))
      assert.deepEqual(await read(), { [`${DOMAIN} S n`]: '3' })
    })
    it('texts are written once', async () => {
      const add = (text: string): TallyAdd => ({
        domain: DOMAIN,
        by: 1,
        ways: [{ counter: 'S p', texts: [['P p', text]] }],
      })
      await value(store().addToTally(batch([add('one: ü\n')])))
      await value(store().addToTally(batch([add('other')])))
      assert.deepEqual(await read(), { [`${DOMAIN} P p`]: 'one: ü\n', [`${DOMAIN} S p`]: '2' })
    })
    it('of a bounded kind there are only so many, and what is over is counted in the coarser way', async () => {
      const most = MOST_NAMES['D'] ?? 0
      const adds = Array.from({ length: most + 5 }, (_, n): TallyAdd => ({
        domain: DOMAIN,
        by: 1,
        ways: [{ counter: `D n d${n}`, texts: [[`T d${n}`, 'x']] }, { counter: 'C n x' }],
      }))
      for (const add of adds) await value(store().addToTally(batch([add])))
      const found = await read()
      assert.equal(Object.keys(found).filter((name) => name.includes(' D n ')).length, most)
      assert.equal(found[`${DOMAIN} C n x`], '5')
      // Those that are there go on.
      await value(store().addToTally(batch([adds[0] ?? plain('S n')])))
      assert.equal((await read())[`${DOMAIN} D n d0`], '2')
    })
    it('what fits in no way is said to be lost, and said again for the same batch', async () => {
      const long = 'x'.repeat(TEXT_OCTETS)
      const adds = Array.from({ length: 1 + Math.floor(DOMAIN_OCTETS / TEXT_OCTETS) }, (_, n) => ({
        domain: DOMAIN,
        by: 7,
        ways: [{ counter: `S p${n}`, texts: [[`T t${n}`, long]] }] as TallyAdd['ways'],
      }))
      const one = batch(adds)
      assert.equal(await value(store().addToTally(one)), 7)
      assert.equal(await value(store().addToTally(one)), 7)
    })
    it('a part has an end, for texts sooner than for counts', async () => {
      const long = 'x'.repeat(TEXT_OCTETS)
      let lost = 0
      for (const domain of NEIGHBOURS.slice(0, 1 + PART_OCTETS.withTexts / TEXT_OCTETS)) {
        const ways = [{ counter: 'S p', texts: [['P p', long]] }] as const
        lost += await value(store().addToTally(batch([{ domain, by: 1, ways }])))
      }
      assert.ok(lost > 0 && lost < 5, String(lost))
      assert.equal(await value(store().addToTally(batch([plain('S n')]))), 0)
    })
    it('what is read by whom shares it is dropped for all, and only that', async () => {
      const neighbour = NEIGHBOURS[0] ?? ''
      const ways = [{ counter: 'D n d', texts: [['T d', 'x']] }] as const
      await value(
        store().addToTally(
          batch([plain('S n'), { domain: DOMAIN, by: 1, ways }, plain('S n', 1, neighbour)]),
        ),
      )
      const names = (await value(store().readTally(day(), PART)))
        .filter(({ domain }) => domain === DOMAIN)
        .map(({ name }) => name)
      await value(store().dropTally(day(), DOMAIN, names))
      assert.deepEqual(await read(), { [`${neighbour} S n`]: '1' })
      // And its bounds with it: as many as ever fit in again.
      await value(store().addToTally(batch([{ domain: DOMAIN, by: 1, ways }])))
      assert.equal((await read())[`${DOMAIN} D n d`], '1')
    })
    it('TD-24 TD-27 a part that is sealed stays as it is, for all workers, and what comes late is said to be lost', async () => {
      await value(store().addToTally(batch([plain('S n', 2)])))
      const other = await another()
      for (const sealing of [store(), other, store()]) await value(sealing.sealTally(day(), PART))
      const late = batch([plain('S n', 3), plain('F n')])
      assert.equal(await value(store().addToTally(late)), 4)
      assert.equal(await value(store().addToTally(late)), 4, 'the same batch')
      assert.equal(await value(other.addToTally(batch([plain('S n')], { worker: 'w2' }))), 1)
      const before = { [`${DOMAIN} S n`]: '2' }
      assert.deepEqual(await read(), before)
      await value(store().dropTally(day(), DOMAIN, ['S n']))
      assert.equal(await value(store().addToTally(batch([plain('S n')]))), 1, 'dropped')
      assert.deepEqual(await read(), {})
      assert.equal(await value(store().addToTally(batch([plain('S n')], { day: day() - 1 }))), 0)
      assert.equal((await store().sealTally(day(), 256)).ok, false)
    })
    it('days and parts are apart', async () => {
      await value(store().addToTally(batch([plain('S n')])))
      assert.deepEqual(await value(store().readTally(day() - 1, PART)), [])
      assert.deepEqual(await value(store().readTally(day(), (PART + 1) % 256)), [])
    })
    it('refuses what is no batch', async () => {
      const good = batch([plain('S n')])
      const bad: readonly Partial<TallyBatch>[] = [
        { day: -1 },
        { day: 1.5 },
        { day: NaN },
        { part: 256 },
        { part: (PART + 1) % 256 },
        { worker: '' },
        { worker: 'a b' },
        { sequence: 0 },
        { sequence: 1.5 },
        { adds: Array.from({ length: MOST_ADDS + 1 }, () => plain('S n')) },
        ...['', 'S', 's n', 'S n\n', 'S  n', '#', '.', 'S n n n', `S ${'x'.repeat(50)}`].map(
          (counter) => ({ adds: [plain(counter)] }),
        ),
        ...[0, -1, 1.5, NaN, 1e12].map((by) => ({ adds: [plain('S n', by)] })),
        ...['', 'A.test', 'a b', '~w1'].map((domain) => ({ adds: [plain('S n', 1, domain)] })),
        { adds: [{ domain: DOMAIN, by: 1, ways: [] }] },
        {
          adds: [
            {
              domain: DOMAIN,
              by: 1,
              ways: [{ counter: 'S p', texts: [['P p', 'x'.repeat(TEXT_OCTETS + 1)]] }],
            },
          ],
        },
      ]
      for (const changes of bad) {
        const outcome = await store().addToTally({ ...good, ...changes })
        assert.equal(outcome.ok, false, JSON.stringify(changes).slice(0, 200))
      }
      assert.equal((await store().readTally(-1, 0)).ok, false)
      assert.equal((await store().readTally(day(), 256)).ok, false)
      assert.equal((await store().dropTally(day(), 'A', ['S n'])).ok, false)
      assert.equal((await store().dropTally(day(), DOMAIN, ['*'])).ok, false)
      assert.deepEqual(await read(), {})
    })
    it('TJ-05 has a name of its own, which stays', async () => {
      const name = await value(store().clusterName())
      assert.match(name, /^[a-z]{8}$/)
      assert.equal(await value(store().clusterName()), name)
      const other = await value((await another()).clusterName())
      assert.equal(other === name, isShared())
    })
    it('TD-27 every store counts as the rule says, whatever is added; and what was added is read, or was lost', async () => {
      const name = fc.nat(60).map(String)
      const text = fc
        .tuple(name, fc.nat(12_000))
        .map(([one, length]) => [`P ${one}`, 'y'.repeat(Math.min(length, TEXT_OCTETS))] as const)
      const way = fc.record({
        counter: fc
          .tuple(fc.constantFrom('S', 'D n', 'E n', 'C n'), name)
          .map((one) => one.join(' ')),
        texts: fc.array(text, { maxLength: 1 }),
      })
      const add = fc.record({
        domain: fc.constantFrom(DOMAIN, ...NEIGHBOURS.slice(0, 3)),
        by: fc.integer({ min: 1, max: 1000 }),
        ways: fc.array(way, { minLength: 1, maxLength: 3 }),
      })
      let used = 0
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.array(add, { minLength: 1, maxLength: 40 }), { maxLength: 6 }),
          async (batches) => {
            // A day of its own for each run.
            used += 1
            const at = { day: day() + used }
            const fields = new Map<string, string>()
            const rule = {
              get: (field: string) => fields.get(field),
              put: (field: string, text_: string) => void fields.set(field, text_),
            }
            let added = 0
            let lost = 0
            for (const adds of batches) {
              const one = batch(adds, at)
              const gone = await value(store().addToTally(one))
              assert.equal(gone, addBatch(rule, one))
              lost += gone
              for (const { by } of adds) added += by
            }
            const found = await value(store().readTally(at.day, PART))
            const sorted = (entries: readonly unknown[]) =>
              entries.map((one) => JSON.stringify(one)).sort()
            assert.deepEqual(sorted(found), sorted(readFields(fields)))
            const counts = found.filter(({ name: one }) => !one.startsWith('P '))
            assert.equal(
              counts.reduce((sum, one) => sum + Number(one.value), lost),
              added,
            )
          },
        ),
        { numRuns: 25 },
      )
    })
    it('a domain leaves nothing behind', () => {
      const names = ['S n', 'P p', 'D n d', 'T d']
      assert.deepEqual(
        fieldsOf('a.test', names).map((field) => field.slice(7)),
        [...names, '#', '#P', '#D n'],
      )
    })
    it('ends with the store', async () => {
      const other = await another()
      await other.close()
      assert.equal((await other.addToTally(batch([plain('S n')]))).ok, false)
      assert.equal((await other.readTally(day(), PART)).ok, false)
      assert.equal((await other.dropTally(day(), DOMAIN, ['S n'])).ok, false)
      assert.equal((await other.clusterName()).ok, false)
    })
  })
}
