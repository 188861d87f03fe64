import assert from 'node:assert/strict'
import { resolverWords } from '../../plugins/resolver-words'
import type { Health } from '../../plugins/dnssec-stub'

const detail = '127.0.0.1:53: what was seen'
const rows: [Health, says: RegExp, cure: RegExp | undefined][] = [
  [{ state: 'validating', detail }, /^DNSSEC is validated, DANE is on/, undefined],
  ...(['untrusted', 'not-validating', 'no-edns', 'takes-bogus'] as const).map(
    (cause): [Health, RegExp, RegExp] => [
      { state: 'blind', cause, detail },
      /^DNSSEC is NOT validated, so DANE is off; MTA-STS goes on/,
      /servers=127\.0\.0\.1/,
    ],
  ),
  [
    { state: 'blind', cause: 'untestable', detail },
    /^whether DNSSEC is validated cannot be told, mail goes on/,
    /self_test under \[dns\]/,
  ],
  ...([undefined, 'timeout', 'network'] as const).map((cause): [Health, RegExp, RegExp] => [
    { state: 'unreachable', detail, ...(cause === undefined ? {} : { cause }) },
    /^no DNS resolver answers, so mail waits/,
    /start the resolver/,
  ]),
  ...(['servfail', 'refused', 'rcode', 'bogus', 'malformed'] as const).map(
    (cause): [Health, RegExp, RegExp] => [
      { state: 'unreachable', cause, detail },
      /^DNS lookups fail, so mail waits/,
      /start the resolver/,
    ],
  ),
]

describe('the words for the resolver', () => {
  for (const [health, says, cure] of rows) {
    const cause = 'cause' in health ? (health.cause ?? '') : ''
    it(`${health.state} ${cause}`.trim(), () => {
      const words = resolverWords(health)
      assert.match(words.says, says)
      assert.ok(words.says.endsWith(`(${detail})`))
      if (cure === undefined) assert.equal(words.cure, undefined)
      else assert.match(words.cure ?? '', cure)
      const line = `${words.says}. Do: ${words.cure ?? ''}`
      assert.ok(line.length < 240, `${line.length} characters`)
      assert.equal(line.split('servers=').length <= 2, true, 'the cure stands there once')
    })
  }
})
