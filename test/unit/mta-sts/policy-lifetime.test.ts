import assert from 'node:assert/strict'
import { currentPolicy, toKnown } from '../../../plugins/mta-sts/policy-lifetime'
import type { KnownPolicy } from '../../../plugins/mta-sts/types'
import { NOW, record } from '../../support/store-contract'

describe('MTA-STS policies out of the store (RFC 8461 §5.1)', () => {
  const text = (maxAge: number) =>
    `version: STSv1\nmode: enforce\nmx: mx1.rcpt.test\nmax_age: ${maxAge}\n`
  const cases: [title: string, changes: Parameters<typeof record>[0], left: number | undefined][] = [
    ['a policy within its lifetime holds to its end', { text: text(60) }, 60_000],
    ['a record that claims more than max_age does not get it', { expiresAt: NOW + 9e9, text: text(1) }, 1000],
    ['after its end it is none', { fetchedAt: NOW - 2000, text: text(1) }, undefined],
    ['a fetch in the future holds for max_age from now', { fetchedAt: NOW + 5000, text: text(1) }, 1000],
    ['max_age 0 is expired at once, also where the fetch lies in the future', { fetchedAt: NOW + 5000, text: text(0) }, undefined],
    ['a text that is no policy is none', { text: 'mode: enforce\n' }, undefined],
  ] // prettier-ignore
  for (const [title, changes, left] of cases) {
    it(title, () => {
      const known = toKnown(record(changes), NOW)
      assert.equal(known && known.expiresAt - NOW, left)
      if (known !== undefined) assert.equal(currentPolicy(known, NOW), known)
    })
  }

  it('a clock that was set back shortens a policy at hand', () => {
    const known = toKnown(record({ text: text(60) }), NOW)
    assert.ok(known)
    const kept: KnownPolicy | undefined = currentPolicy(known, NOW - 10_000)
    assert.equal(kept?.expiresAt, NOW + 50_000)
  })
})
