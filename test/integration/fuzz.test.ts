/**
 * A sample of what `npm run fuzz` does for longer (docs/fuzzing.md): damaged and malicious input for everything that reads what others
 * wrote. The counterexample of a failure is the number of its input: `npm run fuzz -- 0.01 TARGET --seed NUMBER`.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { seeded } from '../fuzz/random'
import { targets, type TargetName } from '../fuzz/targets'

/** How many inputs, and what must become of some, or the others show little. */
const SAMPLES: Readonly<Record<TargetName, readonly [runs: number, ...outcomes: RegExp[]]>> = {
  'dns-message': [400, /^malformed/, /^answer/, /^nodata/, /^failed/],
  tlsa: [120, /^verified by DANE-EE/, /^dane-ta-/, /^no record is usable/],
  certificate: [300, /^verified by DANE-EE/, /^verified by DANE-TA/, /^dane-/],
  smtp: [400, /^reader: reply/, /^reader: malformed/, /envelope inside TLS/, /^session: smtp-/],
  sts: [500, /^record/, /policy that/, /no policy/],
  store: [2000, /^policy/, /^no record/],
  requiretls: [
    1000,
    ...[/^no command/, /^MAIL: take/, /^MAIL: refuse/, /^MAIL: untagged/, /header: No/],
    ...[/notes: requiretls/, /notes: tls-required-no/, /notes: nothing/],
  ],
  tlsrpt: [1000, /^none/, /^invalid/, /^record: https/, /mailto/, /without a destination/],
}

describe('fuzz: a sample of every target', function () {
  this.timeout(120_000)

  for (const [name, [numRuns, ...expected]] of Object.entries(SAMPLES)) {
    it(`property: ${name}: all claims hold for damaged and malicious input`, async () => {
      const target = await targets[name as TargetName]()
      const outcomes = new Set<string>()
      try {
        const seed = fc.integer({ min: 0, max: 2 ** 32 - 1 })
        await fc.assert(
          fc.asyncProperty(fc.noShrink(fc.noBias(seed)), async (number) => {
            outcomes.add(await target.check(target.make(seeded(number))))
          }),
          { numRuns },
        )
      } finally {
        await target.close?.()
      }
      for (const outcome of expected)
        assert.ok(
          [...outcomes].some((seen) => outcome.test(seen)),
          `nothing came to ${outcome}`,
        )
    })
  }
})
