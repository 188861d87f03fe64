/** `reports send` and `reports drop`: what the command leaves in the store, and when it refuses. */
import assert from 'node:assert/strict'
import { gunzipSync } from 'node:zlib'
import { reportsDrop, reportsPending, reportsSend } from '../../../plugins/cli/report-queue'
import type { Store } from '../../../plugins/store'
import { partOf } from '../../../plugins/store/tally'
import { isoDay, startOfDay } from '../../../plugins/tlsrpt/names'
import {
  CLOSING_MS,
  COMMON,
  NOTE_MS,
  partLease,
  readWishes,
  reportNote,
  WISHES,
  writeState,
  writeWishes,
} from '../../../plugins/tlsrpt/schedule'
import { talliesIn } from '../../../plugins/tlsrpt/tallies'
import { FIRST_DAY, HOUR, ReportsWorld } from '../../support/reports-world'

const DATE = isoDay(FIRST_DAY)

async function ready(): Promise<ReportsWorld> {
  const world = new ReportsWorld()
  await world.count('rcpt.test')
  await world.count('other.test')
  world.now = startOfDay(FIRST_DAY + 1) + CLOSING_MS
  return world
}
const queue = ({ store, now }: ReportsWorld, changes: Partial<Store> = {}) => {
  const used = { ...store, ...changes }
  return { tallies: talliesIn(used), store: used, now }
}
async function wishes({ store }: ReportsWorld) {
  const note = await store.getNote(COMMON, WISHES)
  return note.ok ? readWishes(note.value) : assert.fail(note.detail)
}
const away = () => Promise.resolve({ ok: false, detail: 'Redis is away' } as const)

describe('reports send', () => {
  it("leaves a wish, once, of which a worker makes a report at its next look; yesterday's where no day is named", async () => {
    const world = await ready()
    for (const date of [undefined, DATE]) {
      const { exitCode, problem, reports } = await reportsSend(queue(world), 'RCPT.test', date)
      assert.deepEqual([exitCode, problem], [0, null])
      const none = { tries: 0, nextTry: null, trouble: null }
      assert.deepEqual(reports, [{ domain: 'rcpt.test', day: DATE, ...none }])
    }
    assert.deepEqual(await wishes(world), [{ day: FIRST_DAY, domain: 'rcpt.test' }])
    await world.worker().look()
    assert.ok(world.sent.some(({ domain }) => domain === 'rcpt.test'))
    assert.deepEqual(await wishes(world), [])
    const again = await reportsSend(queue(world), 'rcpt.test', DATE)
    assert.match(again.problem ?? '', /^nothing was counted of rcpt\.test on .*, or its report has/)
  })
  it('between two tries, the report goes with the date and the counts of the first', async () => {
    const world = await ready()
    world.outcome = () => ({ kind: 'failed', detail: 'HTTP status 503' })
    await reportsSend(queue(world), 'rcpt.test', DATE)
    await world.worker().look()
    const pending = (await reportsPending(queue(world))).reports
    const first = pending.find(({ domain }) => domain === 'rcpt.test')
    assert.deepEqual([first?.tries, first?.trouble], [1, 'HTTP status 503'])
    const begun = world.now
    world.now += 60_000
    await world.count('rcpt.test', FIRST_DAY)
    world.outcome = () => ({ kind: 'taken' })
    assert.equal((await reportsSend(queue(world), 'rcpt.test', DATE)).exitCode, 0)
    await world.worker().look()
    const sent = world.sent.find(({ domain }) => domain === 'rcpt.test')
    assert.equal(sent?.firstTried, begun)
    const json = gunzipSync(Buffer.from(sent.octets, 'base64')).toString()
    assert.match(json, /"total-successful-session-count": 1,/)
    assert.equal(world.lost, 1, 'what came between is in no report')
  })

  const refused: readonly (readonly [
    string,
    (world: ReportsWorld) => Promise<Partial<Store> | undefined>,
    RegExp,
  ])[] = [
    ['the day is not over', (world) => { world.now -= 1; return Promise.resolve(undefined) }, /is not over/],
    ['the report has gone', async ({ store }) => { await store.setNote('rcpt.test', reportNote(FIRST_DAY), writeState({ kind: 'over' }), NOTE_MS); return undefined }, /^the report has gone/],
    ['another command is at it', async ({ store }) => { await store.acquire('report/wishes', 'other', HOUR); return undefined }, /^a worker is at it just now/],
    ['as many wait as can be', async ({ store }) => { await store.setNote(COMMON, WISHES, writeWishes(Array.from({ length: 40 }, (_none, n) => ({ day: FIRST_DAY, domain: `${'long'.repeat(4)}${n}.test` }))), NOTE_MS); return undefined }, /^as many reports as can be/],
    ['the counts cannot be read', () => Promise.resolve({ readTally: away }), /^the counts cannot be read: Redis is away/],
    ['the notes cannot be read', () => Promise.resolve({ getNote: away }), /^the store cannot be read: Redis is away/],
    ['no note is taken', () => Promise.resolve({ setNote: away }), /^the store took no note: Redis is away/],
    ['no lease is to be had', () => Promise.resolve({ acquire: away }), /^the store cannot be asked: Redis is away/],
  ] // prettier-ignore
  for (const [title, prepare, expected] of refused) {
    it(`${title}: says so, with exit code 1, and leaves no wish`, async () => {
      const world = await ready()
      const changes = await prepare(world)
      const { exitCode, problem, reports } = await reportsSend(queue(world, changes), 'rcpt.test', DATE)
      assert.match(problem ?? '', expected)
      assert.deepEqual([exitCode, reports], [1, []])
      assert.ok((await wishes(world)).every(({ domain }) => domain !== 'rcpt.test'))
    }) // prettier-ignore
  }
})

describe('reports drop', () => {
  it('the counts are gone, and no report goes; others stay', async () => {
    const world = await ready()
    const { exitCode, reports } = await reportsDrop(queue(world), 'rcpt.test', undefined)
    assert.equal(exitCode, 0)
    assert.deepEqual(reports.map(({ domain, day }) => [domain, day]), [['rcpt.test', DATE]]) // prettier-ignore
    await world.pass(24 * HOUR, [world.worker()])
    assert.deepEqual(world.sent.map(({ domain }) => domain), ['other.test']) // prettier-ignore
  })
  it('while a worker sends it, or the store fails, says so, and drops nothing', async () => {
    const world = await ready()
    const failing = await reportsDrop(queue(world, { dropTally: away }), 'rcpt.test', DATE)
    assert.match(failing.problem ?? '', /^the counts are still there: Redis is away/)
    await world.store.acquire(partLease(FIRST_DAY, partOf('rcpt.test')), 'worker', HOUR)
    const { exitCode, problem } = await reportsDrop(queue(world), 'rcpt.test', DATE)
    assert.deepEqual([exitCode, problem], [1, 'a worker is at it just now; try once more'])
    const unknown = await reportsDrop(queue(world), 'nobody.test', DATE)
    assert.match(unknown.problem ?? '', /^nothing was counted of nobody\.test/)
    assert.equal((await world.left()).length, 2)
  })
})
