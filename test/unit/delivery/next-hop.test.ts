import assert from 'node:assert/strict'
import { domainToASCII } from 'node:url'
import fc from 'fast-check'
import { nextHopDomain } from '../../../plugins/delivery/planner'

/** As the URL standard has it, with nothing spared. */
function inFull(domain: string): string | undefined {
  return domainToASCII(domain).replace(/\.$/, '').toLowerCase() || undefined
}

describe('the next-hop domain in its A-label form (RFC 5890 §2.3.2.1)', () => {
  const given: Readonly<Record<string, string | undefined>> = {
    'good.test': 'good.test',
    'GOOD.Test.': 'good.test',
    'm\u00fcnchen.test': 'xn--mnchen-3ya.test',
    'xn--mnchen-3ya.test': 'xn--mnchen-3ya.test',
    '-hyphens-.a--b.test': '-hyphens-.a--b.test',
    'a b.test': undefined,
    '1.2.3.4': '1.2.3.4',
    '0x7f.1': '127.0.0.1',
    '': undefined,
  }
  for (const [domain, expected] of Object.entries(given)) {
    it(`"${domain}" -> ${expected ?? 'none'}`, () => {
      assert.equal(nextHopDomain(domain), expected)
    })
  }

  it('what is spared changes nothing', () => {
    const label = fc.oneof(
      fc.stringMatching(/^[a-z0-9-]{1,12}$/),
      fc.constantFrom('xn--', 'xn--a', 'xn--mnchen-3ya', 'a--b', '-', '1', '0x1', 'TEST', '\u00fc'),
      fc.string({ maxLength: 4 }),
    )
    const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
    fc.assert(
      fc.property(name, (domain) => {
        assert.equal(nextHopDomain(domain), inFull(domain))
      }),
      { numRuns: 5000 },
    )
  })
})
