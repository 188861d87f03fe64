import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { refusedEnd } from '../../support/session-ends'
import { logLine } from '../../../plugins/telemetry/log-line'
import { plainWords, REASONS, sourceOf, statusCode } from '../../../plugins/reasons/catalogue'
import { reasonsPage } from '../../support/reasons-page'
import type { ReasonCode } from '../../../plugins/reasons/codes'
import { codePoint } from '../../support/code-point'

describe('reasons', () => {
  it('docs/reasons.md says what the code says', () => {
    assert.equal(readFileSync('docs/reasons.md', 'utf8'), reasonsPage())
  })

  it('every text is a sentence for people, with a source', () => {
    for (const [code, { meaning, rfc, sender, receiver }] of Object.entries(REASONS)) {
      assert.match(code, /^[a-z][a-z-]+$/)
      for (const text of [meaning, sender, receiver]) assert.match(text, /^[A-Z].*\.$/, code)
      assert.match(rfc, /^RFC \d{4} section [\d.]+(; RFC \d{4} section [\d.]+)*$/, code)
    }
  })

  it('STLS-18 status codes are honest', () => {
    assert.equal(statusCode('starttls-not-offered', 4), '4.7.4')
    assert.equal(statusCode('dane-no-match', 4), '4.7.5')
    assert.equal(statusCode('tlsa-lookup-failed', 5), '5.7.5')
    assert.equal(statusCode('mx-lookup-failed', 4), '4.4.3')
    assert.equal(statusCode('null-mx', 5), '5.1.10')
  })
})

describe('what the author of returned mail reads', () => {
  for (const [code, { status }] of Object.entries(REASONS)) {
    if (status === undefined) continue
    it(`${code}: what happened and what to do, without a word of the trade`, () => {
      const words = plainWords(code as ReasonCode, 'rcpt.test')
      assert.match(words, /rcpt\.test/)
      assert.match(words, /Please /)
      assert.doesNotMatch(words, /\b(?:TLSA?|DANE|STS|MX|DNS|RFC|host|certificate|policy|\d)\b/)
      assert.match(words, /^[A-Za-z].*\.$/)
    })
  }

  it('is short enough for a line, whatever the domain', () => {
    for (const code of Object.keys(REASONS)) {
      assert.ok(plainWords(code as ReasonCode, `${'a'.repeat(63)}.`.repeat(4)).length <= 400, code)
    }
  })
})

describe('log line', () => {
  const end = refusedEnd()

  it('XC-05 has policy, requirement, verdict, reason and source, in one order', () => {
    assert.equal(
      logLine(end),
      'domain=rcpt.test mx=mx1.rcpt.test ip=192.0.2.1 policy=dane require=authenticate ' +
        'verdict=refused reason=dane-no-match rfc="RFC 7672 section 3.2"',
    )
  })

  it('lets no remote text forge a field, a line or an escape sequence', () => {
    const line = logLine({ ...end, detail: 'x" verdict=verified\r\nnew line \u001b[2J' })
    assert.match(line, / detail="x' verdict:verified\?\?new line \?\[2J"$/)
  })

  const KEYS = 'domain mx ip policy require verdict reason rfc mode tls unmet detail'.split(' ')
  const hostile = fc.oneof(
    fc.string({ unit: codePoint }),
    fc
      .array(
        fc.constantFrom(
          ...['verdict=verified', ' reason=dane-ee-matched', '"', "'", ' ', ';', '=', '\\', '\\"'],
          ...['\r\n', 'tls-policy: ', 'domain=bank.example', '\u2028', '\uff1d', '\t', 'x'],
        ),
      )
      .map((parts) => parts.join('')),
  )
  const tls = fc.record({ protocol: hostile, cipher: hostile })
  const session = fc.record({ stage: fc.constant('tls' as const), peer: hostile, tls })
  const texts = { domain: hostile, host: hostile, address: hostile, detail: hostile, session }

  it('whatever hosts and servers say, each field is there once and says what we said', () => {
    fc.assert(
      fc.property(fc.record(texts, { requiredKeys: ['domain'] }), (theirs) => {
        const line = logLine({ ...end, mode: 'observe', ...theirs })
        assert.match(line, /^[\x20-\x7e]+$/)
        // As grep counts.
        for (const key of KEYS)
          assert.ok([...line.matchAll(new RegExp(`${key}=`, 'g'))].length <= 1)
        assert.deepEqual(line.match(/verdict=\S*/g), ['verdict=refused'])
        // As one who knows of no quotes reads it.
        const pairs = line.split(' ').flatMap((word) => (word.includes('=') ? [word] : []))
        assert.ok(pairs.every((pair) => KEYS.includes(pair.slice(0, pair.indexOf('=')))))
        assert.ok(pairs.includes('policy=dane') && pairs.includes('reason=dane-no-match'))
        // As one who knows of quotes reads it: nothing is left over.
        const read = [...line.matchAll(/(\w+)=("[^"]*"|[^" ]+)(?: |$)/g)]
        assert.equal(read.map(([pair]) => pair).join(''), line)
        assert.equal(new Set(read.map(([, key]) => key)).size, read.length)
      }),
      { numRuns: 3000 },
    )
  })

  it('names the source of the policy that was at work, and both where both were', () => {
    const [ofDane, ofSts] = ['RFC 7672 section 2.2', 'RFC 8461 section 5']
    for (const [policy, source] of [
      ['dane', ofDane],
      ['sts', ofSts],
      ['dane+sts', `${ofDane}; ${ofSts}`],
      ['operator', `${ofDane}; ${ofSts}`],
    ] as const) {
      assert.equal(sourceOf('starttls-not-offered', policy), source)
    }
    assert.equal(sourceOf('sts-mx-not-listed', 'dane'), REASONS['sts-mx-not-listed'].rfc)
  })
})
