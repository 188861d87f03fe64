import assert from 'node:assert/strict'
import { readConfig } from '../../../plugins/config'
import { createPlanner } from '../../../plugins/delivery/planner'
import { onAbort } from '../../../plugins/dnssec-stub/abort'
import { cached } from '../../../plugins/dnssec-stub/cache'
import { limits } from '../../../plugins/dnssec-stub/gate'
import { resolverOver } from '../../../plugins/dnssec-stub/lookup'
import { beforeAbort } from '../../../plugins/mta-sts/store-changes'
import { validating } from '../../support/facts'
import { mx, scriptedResolver, secure } from '../../support/scripted-resolver'

/** Warnings of the process while something is done; Node gives them out in a turn of their own. */
async function warningsDuring(act: () => Promise<unknown>): Promise<readonly string[]> {
  const warnings: string[] = []
  const heard = (warning: Error) => void warnings.push(warning.message)
  process.on('warning', heard)
  try {
    await act()
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    process.off('warning', heard)
  }
  return warnings
}

const many = <T>(make: (n: number) => Promise<T>) =>
  Promise.all(Array.from({ length: 50 }, (_, n) => make(n)))

describe('one signal that many lookups hear', () => {
  const cases: [what: string, act: () => Promise<unknown>][] = [
    [
      'through the cache',
      () => {
        const { signal } = new AbortController()
        const cache = cached(scriptedResolver(), { now: () => 0, maxOctets: 0 })
        return many((n) => cache.resolve(`mx${n}.test`, 'A', { signal }))
      },
    ],
    [
      'without the cache',
      () => {
        const { signal } = new AbortController()
        const resolver = resolverOver(
          () => Promise.resolve({ kind: 'nodata', security: 'secure', ttl: 1, aliases: [] }),
          { deadlineMs: 1000, limits: limits(1, { abreast: 1, asideMs: 1000, background: 1 }) },
        )
        return many((n) => resolver.resolve(`mx${n}.test`, 'A', { signal }))
      },
    ],
    [
      'at the end of a policy lookup',
      () => {
        const { signal } = new AbortController()
        return many(() => beforeAbort(Promise.resolve(1), signal, () => 2))
      },
    ],
    [
      'in a plan with twenty hosts',
      async () => {
        const read = readConfig({}, () => undefined)
        assert.ok(read.ok)
        const hosts = Array.from({ length: 20 }, (_, n) => mx(n, `mx${n}.rcpt.test`))
        const dns = scriptedResolver({
          'rcpt.test': { MX: secure(...hosts) },
          ...Object.fromEntries(
            hosts.map(({ exchange }) => [exchange, { A: secure('192.0.2.1') }] as const),
          ),
        })
        const planner = createPlanner({
          resolver: cached(dns, { now: () => 0, maxOctets: 1_000_000 }),
          sts: { lookup: () => Promise.resolve({ kind: 'none' }) },
          self: () => Promise.resolve(undefined),
          config: () => read.config,
          tlsSwitchedOff: () => false,
          selfTest: validating,
          now: () => new Date(0),
          ticks: () => 0,
          random: () => 0,
        })
        const { outcome } = await planner.planForDomain('rcpt.test')
        assert.equal(outcome.kind === 'hosts' && outcome.hosts.length, 20)
      },
    ],
  ]
  for (const [what, act] of cases) {
    it(`${what}: nothing is said of a leak`, async () => {
      assert.deepEqual(await warningsDuring(act), [])
    })
  }

  it('each hears it, but who has left', () => {
    const abort = new AbortController()
    const heard: number[] = []
    const leave = [1, 2, 3].map((n) => onAbort(abort.signal, () => void heard.push(n)))
    leave[1]?.()
    abort.abort()
    assert.deepEqual(heard, [1, 3])
  })
})
