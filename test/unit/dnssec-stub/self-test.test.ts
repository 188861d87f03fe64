import assert from 'node:assert/strict'
import { monitor, selfTest } from '../../../plugins/dnssec-stub/self-test'
import type { Health } from '../../../plugins/dnssec-stub/types'
import {
  failed,
  insecure,
  mx,
  nodata,
  scriptedResolver,
  secure,
  type Zone,
} from '../../support/scripted-resolver'

describe('dnssec-stub self-test', () => {
  const cases: [what: string, zone: Zone, state: Health['state'], detail: RegExp][] = [
    [
      'a secure answer',
      { 'signed.test': { MX: secure(mx(10, 'a.test')) } },
      'validating',
      /signed\.test/,
    ],
    ['a secure denial', { 'signed.test': { MX: nodata() } }, 'validating', /signed\.test/],
    [
      'DNS-01 an insecure answer',
      { 'signed.test': { MX: insecure(mx(10, 'a.test')) } },
      'blind',
      /does not come back secure/,
    ],
    [
      'an insecure denial',
      { 'signed.test': { MX: nodata('insecure') } },
      'blind',
      /does not come back secure/,
    ],
    ['a failure', { 'signed.test': { MX: failed('timeout') } }, 'unreachable', /scripted timeout/],
    [
      'a bogus name taken for good',
      { 'signed.test': { MX: nodata() }, 'bogus.test': { A: secure('192.0.2.1') } },
      'blind',
      /bogus\.test/,
    ],
    [
      'a bogus name denied',
      { 'signed.test': { MX: nodata() }, 'bogus.test': { A: nodata('insecure') } },
      'blind',
      /bogus\.test/,
    ],
    [
      'a bogus name that fails',
      { 'signed.test': { MX: nodata() }, 'bogus.test': { A: failed('bogus') } },
      'validating',
      /fails/,
    ],
  ]
  for (const [what, zone, state, detail] of cases) {
    it(`${what}: ${state}`, async () => {
      const names = {
        signedName: 'signed.test',
        ...('bogus.test' in zone ? { bogusName: 'bogus.test' } : {}),
      }
      const health = await selfTest(scriptedResolver(zone), names)
      assert.equal(health.state, state)
      assert.match(health.detail, detail)
    })
  }

  it('the root will do as a signed name', async () => {
    const dns = scriptedResolver({ '': { MX: nodata() } })
    assert.equal((await selfTest(dns, { signedName: '.' })).state, 'validating')
  })

  describe('the monitor', () => {
    const good: Health = { state: 'validating', detail: '' }
    const bad: Health = { state: 'blind', detail: '' }
    /** Timers that run when told to. */
    const fakeTimers = () => {
      const due = new Map<number, { run: () => void; milliseconds: number }>()
      let last = 0
      return {
        due,
        timers: {
          set: (run: () => void, milliseconds: number) => {
            due.set(++last, { run, milliseconds })
            return last
          },
          clear: (timer: unknown) => void due.delete(timer as number),
        },
        /** Runs the one timer that is due; how long it would have waited. */
        fire: (): number => {
          assert.equal(due.size, 1)
          const [[key, { run, milliseconds }]] = [...due] as [
            [number, { run: () => void; milliseconds: number }],
          ]
          due.delete(key)
          run()
          return milliseconds
        },
      }
    }

    it('XC-12 tests at start and several times in two minutes, well or not, and tells each change once', async () => {
      const clock = fakeTimers()
      const results = [good, good, bad, bad, good]
      const told: string[] = []
      const watch = monitor(() => Promise.resolve(results.shift() ?? good), {
        timers: clock.timers,
        now: () => 0,
        onChange: (health, before) => told.push(`${before?.state ?? 'start'} to ${health.state}`),
      })
      assert.equal(watch.health(), undefined)
      assert.equal((await watch.check()).state, 'validating')
      for (let round = 0; round < 4; round++) {
        // A test may take twenty seconds; what it finds is told within a minute.
        assert.equal(clock.fire(), 40_000)
        await watch.check()
      }
      assert.deepEqual(told, ['start to validating', 'validating to blind', 'blind to validating'])
      watch.stop()
      assert.equal(clock.due.size, 0)
    })

    it('as often as it is told to', async () => {
      const clock = fakeTimers()
      const watch = monitor(() => Promise.resolve(good), {
        timers: clock.timers,
        now: () => 0,
        intervalMs: 7000,
      })
      await watch.check()
      assert.equal(clock.fire(), 7000)
      watch.stop()
    })

    it('XC-12 a result older than a minute is not handed out: late timers, a process that was stopped', async () => {
      const clock = fakeTimers()
      let [time, tests] = [1000, 0]
      let state: Health = good
      const watch = monitor(
        () => {
          tests++
          return Promise.resolve(state)
        },
        { timers: clock.timers, now: () => time },
      )
      const first = watch.recent()
      assert.ok(first instanceof Promise, 'the first result is waited for')
      await first
      state = bad
      time += 60_000
      assert.equal(watch.recent(), good)
      time += 1
      const [one, other] = [watch.recent(), watch.recent()]
      assert.equal(await one, bad)
      assert.equal(await other, bad)
      assert.equal(tests, 2, 'one test for all who wait')
      assert.equal(watch.recent(), bad)
      watch.stop()
    })

    it('XC-12 the age of a result counts from the beginning of its test', async () => {
      let time = 0
      const watch = monitor(
        () => {
          time += 20_000
          return Promise.resolve(good)
        },
        { timers: fakeTimers().timers, now: () => time },
      )
      await watch.check()
      time = 60_001
      assert.ok(watch.recent() instanceof Promise)
      watch.stop()
    })

    it('a test that is asked for anew begins after the asking, and is shared', async () => {
      const ends: ((health: Health) => void)[] = []
      const watch = monitor(() => new Promise<Health>((resolve) => ends.push(resolve)), {
        timers: fakeTimers().timers,
        now: () => 0,
      })
      const joined = watch.check()
      const [anew, too] = [watch.again(), watch.again()]
      assert.equal(ends.length, 1)
      ends[0]?.(good)
      assert.equal(await joined, good)
      await new Promise(setImmediate)
      assert.equal(ends.length, 2)
      ends[1]?.(bad)
      assert.deepEqual([await anew, await too], [bad, bad])
      watch.stop()
    })

    it('a test that throws, or an ear that throws, is no end', async () => {
      const clock = fakeTimers()
      const watch = monitor(() => Promise.reject(new Error('broken')), {
        timers: clock.timers,
        now: () => 0,
        onChange: () => {
          throw new Error('deaf')
        },
      })
      const health = await watch.check()
      assert.equal(health.state, 'unreachable')
      assert.match(health.detail, /broken/)
      assert.equal(clock.due.size, 1)
      watch.stop()
    })

    it('stopped during a test it sets no further timer', async () => {
      const clock = fakeTimers()
      const watch = monitor(() => Promise.resolve(good), { timers: clock.timers, now: () => 0 })
      watch.stop()
      await watch.check()
      assert.equal(clock.due.size, 0)
    })
  })
})
