/**
 * Our parsers against those of mailauth 7.1.0 in its strict mode, which reads RFC 8461 independently of us.
 *
 * Where we differ on purpose (each difference is asked for by a row of the conformance list):
 * - mailauth skips a line without a colon and a malformed key; we refuse the policy (SP-18, SP-19);
 * - it does not look at the values of unknown keys; we refuse control characters and empty ones there (SP-19);
 * - it refuses a max_age above the RFC's bound; we clamp it (SP-07);
 * - it takes an IPv4 address, and labels or names of any length, as mx (SP-10);
 * - it decodes ill-formed UTF-8 with replacement characters; we refuse it (SP-21);
 * - it lists a repeated mx once; we keep every line (SP-15), which can change no match.
 * docs/mta-sts-differences.md gives the reason of each.
 * Hence: what both accept must mean the same, what we accept it must accept (but for the clamp), and what it accepts and
 * we refuse must be refused for one of these reasons.
 */
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { matchesMx } from '../../../plugins/mta-sts/match'
import { parsePolicy } from '../../../plugins/mta-sts/policy'
import { parseRecords } from '../../../plugins/mta-sts/record'

interface Mailauth {
  parsePolicy(
    file: Buffer,
    options: { strict: true },
  ): { version: string; mode: string; maxAge: number; mx?: string[] }
  resolvePolicy(
    domain: string,
    options: { strict: true; resolver: () => Promise<string[][]> },
  ): Promise<string | false>
  validateMx(mx: string, policy: { mode: string; mx: readonly string[] }): { valid: boolean }
}
const mailauth = createRequire(__filename)('mailauth/lib/mta-sts') as Mailauth

const OUR_REASONS =
  /no colon|not a key|no value for|carriage return|not UTF-8|mx is no host name in A-labels: "(?:\*\.)?(?:[0-9.]+|[^"]*\.[0-9]+|[^"]{60,})"/

const noise = fc.constantFrom(' ', '\t', '', '', '', '-', '*', '.', '\u0001', 'ü')
const value = fc.oneof(
  fc.constantFrom('STSv1', 'enforce', 'testing', 'none', '0', '86400', '31557600', '31557601', '9999999999'),
  fc.constantFrom('a.test', '*.a.test', '*', '*.', 'a..b', 'A.Test', 'xn--a.test', '192.0.2.1', 'a.test.', 'a_b.test'),
  fc.string({ maxLength: 12 }),
) // prettier-ignore
const key = fc.oneof(
  { arbitrary: fc.constantFrom('version', 'mode', 'max_age', 'mx', 'mx', 'x-y'), weight: 12 },
  { arbitrary: fc.string({ maxLength: 5 }), weight: 1 },
)
const line = fc.oneof(
  { arbitrary: fc.constantFrom('', ' ', 'version: STSv1', 'mode: enforce', 'max_age: 86400', 'max_age: 40000000', 'mx: mx.a.test'), weight: 8 },
  { arbitrary: fc.tuple(key, noise, fc.constant(':'), noise, value, noise).map((parts) => parts.join('')), weight: 3 },
) // prettier-ignore
const body = fc
  .tuple(fc.array(line, { minLength: 3, maxLength: 8 }), fc.constantFrom('\n', '\r\n'))
  .map(([lines, end]) => lines.join(end) + end)

describe('differential: mailauth 7.1.0, strict', () => {
  it('SP-01…21 policies', () => {
    const seen = { both: 0, neither: 0, ours: 0, theirs: 0 }
    const compare = (text: string) => {
      const ours = parsePolicy(Buffer.from(text))
      let theirs: ReturnType<Mailauth['parsePolicy']> | undefined
      try {
        theirs = mailauth.parsePolicy(Buffer.from(text), { strict: true })
      } catch {
        theirs = undefined
      }
      if (ours.ok && theirs !== undefined) {
        seen.both += 1
        assert.equal(ours.policy.mode, theirs.mode)
        assert.equal(ours.policy.maxAge, theirs.maxAge)
        assert.deepEqual([...new Set(ours.policy.mx)], theirs.mx ?? [])
      } else if (ours.ok) {
        seen.ours += 1
        assert.equal(ours.policy.maxAge, 31557600, `only we accept ${JSON.stringify(text)}`)
      } else if (theirs !== undefined) {
        seen.theirs += 1
        assert.match(ours.detail, OUR_REASONS, `only mailauth accepts ${JSON.stringify(text)}`)
      } else seen.neither += 1
    }
    fc.assert(fc.property(body, compare), { numRuns: 8000 })
    assert.ok(
      seen.both > 50 && seen.neither > 50 && seen.ours > 0 && seen.theirs > 0,
      JSON.stringify(seen),
    )
  })

  it('SD-02…14 TXT records: the same id, or none, in every case', async () => {
    const field = fc.oneof(
      { arbitrary: fc.constantFrom('id=1', 'id=20160831', 'x=y', 'id=a-b', 'ID=1', '', 'x=a=b', '_x=1'), weight: 4 },
      { arbitrary: fc.tuple(fc.constantFrom('id', 'x'), fc.string({ maxLength: 4 })).map((p) => p.join('=')), weight: 1 },
    ) // prettier-ignore
    const blank = fc.constantFrom('', '', ' ', '\t', '  ')
    const record = fc
      .tuple(
        fc.constantFrom('v=STSv1', 'v=STSv1', 'v=STSv1', 'v=stsv1', ' v=STSv1', 'v=spf1'),
        fc.array(fc.tuple(blank, field, blank), { maxLength: 4 }),
        fc.constantFrom('', ';', '; ', ' '),
      )
      .map(([version, fields, end]) => [version, ...fields.map((f) => f.join(''))].join(';') + end)
    let ids = 0
    await fc.assert(
      fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 2 }), async (records) => {
        const ours = parseRecords(records.map((text) => Buffer.from(text, 'latin1')))
        const theirs = await mailauth
          .resolvePolicy('rcpt.test', { strict: true, resolver: () => Promise.resolve(records.map((r) => [r])) })
          .catch(() => false as const) // prettier-ignore
        if (ours.kind === 'record') ids += 1
        assert.equal(ours.kind === 'record' ? ours.id : false, theirs, JSON.stringify(records))
      }),
      { numRuns: 5000 },
    )
    assert.ok(ids > 200, `only ${ids} records were good`)
  })

  it('SA-09 SA-10 MX matching: the same verdict in every case', () => {
    const label = fc.constantFrom('a', 'b', 'MX', 'xn--a')
    const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
    const pattern = fc.tuple(fc.constantFrom('', '*.'), name).map((p) => p.join('').toLowerCase())
    const host = fc.tuple(name, fc.constantFrom('', '', '.')).map((p) => p.join(''))
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 3 }), host, (mx, candidate) => {
        const theirs = mailauth.validateMx(candidate, { mode: 'enforce', mx })
        assert.equal(matchesMx({ mx }, candidate), theirs.valid)
      }),
      { numRuns: 5000 },
    )
  })
})
