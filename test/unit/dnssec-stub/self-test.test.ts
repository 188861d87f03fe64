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

    it('tests at start, hourly while all is well, each minute while not, and tells each change once', async () => {
      const clock = fakeTimers()
      const results = [good, good, bad, bad, good]
      const told: string[] = []
      const watch = monitor(() => Promise.resolve(results.shift() ?? good), {
        timers: clock.timers,
        onChange: (health, before) => told.push(`${before?.state ?? 'start'} to ${health.state}`),
      })
      assert.equal(watch.health(), undefined)
      assert.equal((await watch.check()).state, 'validating')
      const waits: number[] = []
      for (let round = 0; round < 4; round++) {
        waits.push(clock.fire())
        await watch.check()
      }
      assert.deepEqual(waits, [3_600_000, 3_600_000, 60_000, 60_000])
      assert.deepEqual(told, ['start to validating', 'validating to blind', 'blind to validating'])
      watch.stop()
      assert.equal(clock.due.size, 0)
    })

    it('as often as it is told to, which may change, and hourly where that cannot be said', async () => {
      const clock = fakeTimers()
      let interval: () => number = () => 3_600_000
      const watch = monitor(() => Promise.resolve(good), {
        timers: clock.timers,
        intervalMs: () => interval(),
      })
      await watch.check()
      // Whoever has changed it asks for a test.
      interval = () => 5000
      await watch.check()
      assert.equal(clock.fire(), 5000)
      interval = () => assert.fail('no settings')
      await watch.check()
      assert.equal(clock.fire(), 3_600_000)
      watch.stop()
      const fixed = monitor(() => Promise.resolve(good), {
        timers: clock.timers,
        intervalMs: 7000,
      })
      await fixed.check()
      await watch.check()
      assert.equal(clock.fire(), 7000)
      fixed.stop()
    })

    it('a test that throws, or an ear that throws, is no end', async () => {
      const clock = fakeTimers()
      const watch = monitor(() => Promise.reject(new Error('broken')), {
        timers: clock.timers,
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
      const watch = monitor(() => Promise.resolve(good), { timers: clock.timers })
      watch.stop()
      await watch.check()
      assert.equal(clock.due.size, 0)
    })
  })
})
