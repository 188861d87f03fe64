import assert from 'node:assert/strict'
import { startOfDay } from '../../../plugins/tlsrpt/names'
import {
  beginOf,
  COMMON,
  dueAt,
  pauseAfter,
  readPart,
  readState,
  readWishes,
  WISHES,
  writeState,
  writeWishes,
} from '../../../plugins/tlsrpt/schedule'
import { fault } from '../../support/faults-page'
import { DAY_MS, FIRST_DAY, HOUR, Killed, MINUTE, ReportsWorld } from '../../support/reports-world'

const names = (count: number) => Array.from({ length: count }, (_none, n) => `d${n}.test`)

describe('rounds of reports', () => {
  it('TD-01 TD-02 over three days each domain has one report a day, spread over four hours from a quarter past midnight', async () => {
    const world = new ReportsWorld()
    const workers = [1, 2, 3, 4].map((number) => world.worker(number))
    const domains = names(60)
    for (let day = 0; day < 3; day++) {
      for (const domain of domains) await world.count(domain)
      await world.pass(DAY_MS, workers)
    }
    await world.pass(DAY_MS, workers)
    assert.equal(world.sent.length, 180)
    const ids = new Set(world.sent.map(({ domain, day }) => `${day} ${domain}`))
    assert.equal(ids.size, 180)
    for (const { day, at } of world.sent) {
      const after = at - startOfDay(day + 1)
      assert.ok(after >= 15 * MINUTE && after <= 4 * HOUR + 25 * MINUTE, `${after / MINUTE}`)
    }
    const hours = new Set(
      world.sent.map(({ day, at }) => Math.floor((at - startOfDay(day + 1)) / HOUR)),
    )
    assert.ok(hours.size >= 4, 'not all at once')
    assert.deepEqual(await world.left(), [])
  })

  it(`TD-20 TD-21 TD-24 ${fault('A receiver takes no report for a day')}: the pauses grow, the date stays, and after 24 hours it is over`, async () => {
    const world = new ReportsWorld()
    await world.count('rcpt.test')
    const tries: number[] = []
    world.outcome = () => {
      tries.push(world.now)
      return { kind: 'failed', detail: 'HTTP status 503' }
    }
    await world.pass(3 * DAY_MS, [world.worker(1), world.worker(2)], 5 * MINUTE)
    const pauses = tries.slice(1).map((at, n) => Math.round((at - (tries[n] ?? 0)) / (30 * MINUTE)))
    assert.deepEqual(pauses, [1, 2, 4, 8, 16, 16])
    assert.deepEqual(world.givenUp, ['time rcpt.test'])
    assert.deepEqual(await world.left(), [])
  })
  it('TD-20 TD-24 taken at the third try: one report, with the date of the first', async () => {
    const world = new ReportsWorld()
    await world.count('rcpt.test')
    let tries = 0
    let first = 0
    world.outcome = () => {
      if (tries === 0) first = world.now
      tries += 1
      return tries < 3 ? { kind: 'failed', detail: 'HTTP status 503' } : { kind: 'taken' }
    }
    await world.pass(2 * DAY_MS, [world.worker()])
    assert.deepEqual(world.sent.map(({ firstTried }) => firstTried), [first])
    assert.equal(tries, 3)
  }) // prettier-ignore
  it(`TR-14 TR-16 ${fault('The record for reports cannot be looked up')}: it is asked for again, and the counts are kept meanwhile`, async () => {
    const world = new ReportsWorld()
    await world.count('rcpt.test')
    world.record = () =>
      world.looked.length < 3
        ? { kind: 'failed', detail: 'servfail' }
        : { kind: 'record', destinations: [{ kind: 'mailto', address: 'r@rcpt.test' }] }
    await world.pass(2 * DAY_MS, [world.worker()])
    assert.equal(world.looked.length, 3)
    assert.equal(world.sent.length, 1)
  })
  it('TR-02 no record: no report, one lookup, and nothing is kept', async () => {
    const world = new ReportsWorld()
    await world.count('rcpt.test')
    world.record = () => ({ kind: 'none' })
    await world.pass(2 * DAY_MS, [world.worker()])
    assert.deepEqual(world.looked, ['rcpt.test'])
    assert.deepEqual(await world.left(), [])
  })

  it(`TD-27 ${fault('Redis is away when reports are due')}: over midnight and for hours nobody sends; then each report goes once`, async () => {
    const world = new ReportsWorld()
    const workers = [world.worker(1), world.worker(2)]
    for (const domain of names(20)) await world.count(domain)
    await world.pass(11 * HOUR, workers)
    world.away = true
    await world.pass(9 * HOUR, workers)
    assert.equal(world.sent.length, 0)
    world.away = false
    await world.pass(DAY_MS, workers)
    assert.equal(world.sent.length, 20)
  })
  it('TD-21 nobody could send for more than a day: given up', async () => {
    const world = new ReportsWorld()
    await world.count('rcpt.test')
    world.now += DAY_MS + 17 * HOUR
    await world.pass(HOUR, [world.worker()])
    assert.deepEqual(world.givenUp, ['time rcpt.test'])
    assert.equal(world.sent.length, 0)
  })

  const steps = [
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
  const killedWhileSending = fault('A worker is killed while it sends reports')
  for (const step of steps) {
    it(`TD-27 ${killedWhileSending}, at "${step}": no report is lost, at most the one under way comes twice, with the same id and octets, whatever is counted late`, async () => {
      const world = new ReportsWorld()
      const domains = names(12)
      for (const domain of domains) await world.count(domain)
      const dead = new Set<number>()
      let killed = 0
      world.at = (here, _domain, worker) => {
        // The dead one does nothing more.
        if (dead.has(worker)) throw new Killed()
        if (here !== step || killed >= 3) return
        killed += 1
        dead.add(worker)
        throw new Killed()
      }
      let number = 1
      let worker = world.worker(number)
      for (const end = world.now + 40 * HOUR; world.now < end; world.now += 10 * MINUTE) {
        // A worker that died is followed by another one.
        if (dead.has(number)) worker = world.worker((number += 1))
        await worker.look()
        if (dead.has(number)) worker.stop()
        // A worker that could not reach the store tells what it counted at last.
        if (killed > 0) for (const domain of domains) await world.count(domain, FIRST_DAY)
      }
      assert.equal(killed, 3)
      assert.ok(world.lost > 0)
      const times = new Map<string, number>()
      for (const { domain } of world.sent) times.set(domain, (times.get(domain) ?? 0) + 1)
      assert.equal(times.size, 12)
      assert.ok(world.sent.length <= 15, `${world.sent.length} sent`)
      for (const domain of times.keys()) {
        const sent = world.sent.filter((each) => each.domain === domain)
        const whole = sent.map(({ id, octets, firstTried }) => `${id} ${octets} ${firstTried}`)
        assert.equal(new Set(whole).size, 1, domain)
      }
    }) // prettier-ignore
  }

  it('XC-13 most_reports: so many and no more, which is said once', async () => {
    const world = new ReportsWorld()
    world.mostReports = 7
    for (const domain of names(20)) await world.count(domain)
    await world.pass(2 * DAY_MS, [world.worker()])
    assert.equal(world.sent.length, 7)
    assert.equal(world.givenUp.length, 13)
    assert.equal(world.said.filter((line) => line.includes('most_reports')).length, 1)
  })
  it('XC-13 a report that throws costs itself a try, and the others nothing', async () => {
    const world = new ReportsWorld()
    for (const domain of names(5)) await world.count(domain)
    let thrown = 0
    world.outcome = (domain) => {
      if (domain === 'd2.test' && thrown++ < 2) throw new Error('a mistake')
      return { kind: 'taken' }
    }
    await world.pass(2 * DAY_MS, [world.worker()])
    assert.equal(world.sent.length, 5)
  })

  it('the operator wants one sent now: it goes at the next look, also between two tries; today is waited for', async () => {
    const world = new ReportsWorld()
    await world.count('rcpt.test')
    await world.count('other.test')
    const wish = (domain: string) =>
      world.store.setNote(COMMON, WISHES, writeWishes([{ day: FIRST_DAY, domain }]), DAY_MS)
    const worker = world.worker()
    await wish('rcpt.test')
    await worker.look()
    assert.equal(world.sent.length, 0)
    world.now = startOfDay(FIRST_DAY + 1) + 16 * MINUTE
    await worker.look()
    assert.ok(world.sent.some(({ domain }) => domain === 'rcpt.test'))
    const note = await world.store.getNote(COMMON, WISHES)
    assert.ok(note.ok && readWishes(note.value).length === 0)
  })
})

describe('what is kept of reports', () => {
  it('TD-21 the pauses double up to eight hours, and the last try is within a day', () => {
    const pauses = [1, 2, 3, 4, 5, 6].map((tries) => pauseAfter(tries) / MINUTE)
    assert.deepEqual(pauses, [30, 60, 120, 240, 480, 480])
  })
  it('TD-02 parts are due within the spread, and clusters begin with different ones', () => {
    const begin = startOfDay(FIRST_DAY + 1) + 15 * MINUTE
    const all = Array.from({ length: 256 }, (_none, part) =>
      dueAt(FIRST_DAY, part, beginOf('abcdefgh'), 14_400),
    )
    assert.ok(Math.min(...all) >= begin && Math.max(...all) < begin + 4 * HOUR)
    assert.equal(new Set(all).size, 256)
    assert.notEqual(beginOf('abcdefgh'), beginOf('zzzzzzzz'))
  })
  it('XC-13 others may have written anything into the store: it is as if nothing stood there', () => {
    for (const text of ['', 'OVER', 'over ', 'tries', 'tries x 1 1 ', 'tries 1 1', `tries 1 ${'9'.repeat(16)} 1 x`, '\0', 'x'.repeat(5000)])
      assert.deepEqual(readState(text), { kind: 'untried' }, text)
    for (const text of ['', 'done', 'done x', '-1 0', `1 ${'9'.repeat(10)}`])
      assert.deepEqual(readPart(text), { next: 0, sent: 0 }, text)
    assert.deepEqual(readWishes('1 rcpt.test\n\n2 a b\nx y\n3 UPPER\n1234567 z'), [{ day: 1, domain: 'rcpt.test' }])
    const state = { kind: 'trying', tries: 2, first: 1, next: 3, why: 'a "b" c' } as const
    assert.deepEqual(readState(writeState(state)), state)
  }) // prettier-ignore
})
