import assert from 'node:assert/strict'
import fc from 'fast-check'
import { matchesMx } from '../../../plugins/mta-sts/match'
import { cpuMilliseconds } from '../../support/cpu'

const cases: [string, string[], string, boolean][] = [
  ['SA-09 one label under a wildcard', ['*.example.net'], 'a.example.net', true],
  ['SA-09 no label under a wildcard', ['*.example.net'], 'example.net', false],
  ['SA-09 two labels under a wildcard', ['*.example.net'], 'a.b.example.net', false],
  ['SA-09 an empty label under a wildcard', ['*.example.net'], '.example.net', false],
  ['SA-09 a name that only ends alike', ['*.example.net'], 'a.badexample.net', false],
  ['SA-09 a name that only ends alike, without wildcard', ['example.net'], 'a.example.net', false],
  ['SA-09 a host that is itself a wildcard', ['*.example.net'], '*.example.net', false],
  ['SA-10 case and trailing dot of the host', ['mail.rcpt.test'], 'Mail.RCPT.test.', true],
  ['SA-10 two trailing dots', ['mail.rcpt.test'], 'mail.rcpt.test..', false],
  ['SA-11 only the name given is compared', ['host.prov.test'], 'mx1.rcpt.test', false],
  ['SA-12 the policy domain itself, listed', ['rcpt.test'], 'rcpt.test', true],
  ['SA-12 the policy domain itself, not listed', ['mail.rcpt.test'], 'rcpt.test', false],
  ['RL-07 A-labels', ['xn--bcher-kva.test'], 'XN--BCHER-KVA.test', true],
  ['RL-07 a U-label is not folded into a match', ['k.test'], '\u212a.test', false],
  ['SA-01 any of several patterns', ['a.test', '*.b.test', 'c.test'], 'x.b.test', true],
  ['SA-01 none of several patterns', ['a.test', '*.b.test', 'c.test'], 'evil.test', false],
  ['SA-01 no patterns', [], 'mx.test', false],
  ['SA-01 the root', ['*.test', 'a.test'], '', false],
  ['SA-01 a dot', ['*.test', 'a.test'], '.', false],
  ['SA-09 an underscore is a label like any other', ['*.rcpt.test'], 'my_mx.rcpt.test', true],
]

describe('MX patterns of a policy (RFC 8461 §4.1)', () => {
  for (const [title, mx, host, expected] of cases) {
    it(`${title}: ${expected ? 'match' : 'no match'}`, () =>
      assert.equal(matchesMx({ mx }, host), expected))
  }

  it('agrees with the plain reading of the rule for any labels', () => {
    const label = fc.constantFrom('a', 'b', 'example', 'net', 'x-1')
    const name = fc.array(label, { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(name, name, fc.boolean(), (pattern, host, wild) => {
        const text = (wild ? ['*', ...pattern] : pattern).join('.')
        const tail = wild ? host.slice(1) : host
        assert.equal(
          matchesMx({ mx: [text] }, host.join('.')),
          tail.join('.') === pattern.join('.'),
        )
      }),
    )
  })

  it('takes time linear in the size of the host', () => {
    const spent = cpuMilliseconds(() => {
      for (const filler of ['.', 'a.', 'a', '*', '..a'])
        matchesMx({ mx: ['*.a'] }, filler.repeat(1_000_000) + '\n')
    })
    assert.ok(spent < 2000, `${spent} ms`)
  })
})
