import assert from 'node:assert/strict'
import fc from 'fast-check'
import { nextHopDomain } from '../../../plugins/delivery/planner'

describe('the next-hop domain in its A-label form (RFC 5890 §2.3.2.1)', () => {
  const given: Readonly<Record<string, string | undefined>> = {
    'good.test': 'good.test',
    'GOOD.Test.': 'good.test',
    'm\u00fcnchen.test': 'xn--mnchen-3ya.test',
    'xn--mnchen-3ya.test': 'xn--mnchen-3ya.test',
    'xn--abc.test': 'xn--abc.test',
    'gone.xn--abc.m\u00fcnchen.test': 'gone.xn--abc.xn--mnchen-3ya.test',
    'foo.123': 'foo.123',
    '-hyphens-.a--b.test': '-hyphens-.a--b.test',
    'a/b.test': 'a/b.test',
    'a%2eb.test': 'a%2eb.test',
    '1.2.3.4': '1.2.3.4',
    '0x7f.1': '0x7f.1',
    'a b.test': undefined,
    'a..test': undefined,
    '.test': undefined,
    [`${'x'.repeat(63)}.test`]: `${'x'.repeat(63)}.test`,
    [`${'x'.repeat(64)}.test`]: undefined,
    [`${'x.'.repeat(126)}y`]: `${'x.'.repeat(126)}y`,
    [`${'x.'.repeat(126)}yz`]: undefined,
    'm\u00fcnchen/.test': undefined,
    '\uff11.\uff12': undefined,
    '.': undefined,
    '': undefined,
  }
  for (const [domain, expected] of Object.entries(given)) {
    it(`"${domain}" -> ${expected ?? 'none'}`, () => {
      assert.equal(nextHopDomain(domain), expected)
    })
  }

  it('a domain in ASCII is asked for as it is written, or not at all', () => {
    const label = fc.oneof(
      fc.stringMatching(/^[a-z0-9-]{1,12}$/),
      fc.constantFrom('xn--', 'xn--a', 'xn--mnchen-3ya', 'a--b', '-', '1', '0x1', 'TEST', '%41'),
      fc.string({ unit: 'grapheme-ascii', maxLength: 4 }),
    )
    const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'))
    fc.assert(
      fc.property(name, (domain) => {
        if (domain.includes('\\')) return
        const asked = nextHopDomain(domain)
        if (asked !== undefined) assert.equal(asked, domain.replace(/\.$/, '').toLowerCase())
      }),
      { numRuns: 5000 },
    )
  })
})
