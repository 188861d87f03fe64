/** What MTA-STS keeps in memory: bounded in octets, whatever domains publish. */
import assert from 'node:assert/strict'
import { parsePolicy } from '../../../plugins/mta-sts/policy'
import { parseRecords } from '../../../plugins/mta-sts/record'
import type { StsLookup } from '../../../plugins/mta-sts/types'
import { createL1Cache } from '../../../plugins/mta-sts/l1-cache'
import { octetsAlive } from '../../support/heap'

const body = (domain: string, behind = '') =>
  Buffer.from(
    `version: STSv1\r\nmode: enforce\r\nmx: mx1.${domain}\r\nmx: mx2.${domain}\r\nmax_age: 604800\r\n${behind}`,
  )

function lookup(domain: string, text = body(domain)): StsLookup {
  const parsed = parsePolicy(text)
  assert.ok(parsed.ok)
  const known = { domain, id: '1', policy: parsed.policy, fetchedAt: 0, expiresAt: 604_800_000 }
  return { kind: 'policy', known, source: 'fetched' }
}

describe('MTA-STS in memory', function () {
  this.timeout(60_000)

  const kinds: [what: string, make: (domain: string) => StsLookup, count: number][] = [
    ['domains without a policy', () => ({ kind: 'none' }), 9000],
    ['policies', lookup, 2100],
    [
      'policies of a thousand lines',
      (domain) => lookup(domain, body(domain, 'a: b\r\n'.repeat(1000))),
      50,
    ],
    [
      'problems',
      (domain) => ({
        kind: 'none',
        problem: { reason: 'sts-policy-fetch-error', detail: `${domain}: ${'x'.repeat(200)}` },
      }),
      2100,
    ],
  ]
  for (const [what, make, count] of kinds) {
    it(`${what}: no more is taken than is counted`, async () => {
      // Once for nothing: what the code itself takes of the heap comes with its first use.
      const first = createL1Cache(() => 1000, 1e9)
      for (let n = 0; n < count; n++) first.put(`d${n}.test`, make(`d${n}.test`), 300_000)
      const warm = createL1Cache(() => 1000, 1e9)
      const before = await octetsAlive()
      for (let n = 0; n < count; n++) warm.put(`d${n}.test`, make(`d${n}.test`), 300_000)
      const taken = (await octetsAlive()) - before
      assert.ok(warm.fresh('d0.test'))
      // Whatever else of the process comes and goes meanwhile.
      const others = 1_048_576
      assert.ok(taken <= warm.octets + others, `${taken} taken, ${warm.octets} counted`)
    })
  }

  it('XC-13 20,000 domains without a policy and 2,000 with one are all known, in 8 MiB', () => {
    const warm = createL1Cache(() => 1000)
    const names = Array.from({ length: 20_000 }, (_, n) => `dom${n}.customer-${n % 97}.example`)
    const policies = Array.from({ length: 2000 }, (_, n) => `sts${n}.customer.example`)
    for (const name of names) warm.put(name, { kind: 'none' }, 300_000)
    for (const name of policies) warm.put(name, lookup(name), 300_000)
    for (const name of [...names, ...policies]) assert.ok(warm.fresh(name), name)
    assert.ok(warm.octets < 8 * 2 ** 20)
  })

  it('XC-13 large policies of one zone push out large ones only', () => {
    const warm = createL1Cache(() => 1000)
    const names = Array.from({ length: 1000 }, (_, n) => `d${n}.customer.example`)
    for (const name of names) warm.put(name, lookup(name), 300_000)
    const large = lookup('evil.example', body('evil.example', `a: ${'b'.repeat(60_000)}\r\n`))
    for (let n = 0; n < 1000; n++) warm.put(`d${n}.evil.example`, large, 300_000)
    for (const name of names) assert.ok(warm.known(name), name)
    assert.ok(warm.octets < 8 * 2 ** 20)
  })

  it('a policy holds on to none of the blanks behind it', async () => {
    const before = await octetsAlive()
    const kept = Array.from({ length: 200 }, (_, n) =>
      parsePolicy(body(`d${n}.test`, '\n'.repeat(60_000))),
    )
    const taken = (await octetsAlive()) - before
    assert.equal(kept.length, 200)
    assert.ok(taken < 1_000_000, `${taken} taken`)
  })

  it('an id holds on to none of the record that it stood in', async () => {
    const before = await octetsAlive()
    const kept = Array.from({ length: 200 }, (_, n) =>
      parseRecords([Buffer.from(`v=STSv1; id=1234567890123456789a${n}; x=${'y'.repeat(60_000)}`)]),
    )
    assert.equal(kept[0]?.kind, 'record', JSON.stringify(kept[0]))
    const taken = (await octetsAlive()) - before
    assert.ok(taken < 1_000_000, `${taken} taken`)
  })

  it('what is over is dropped without being asked for; a policy a day later', () => {
    let time = 0
    const warm = createL1Cache(() => time, 1e9)
    for (let n = 0; n < 100; n++) {
      warm.put(`n${n}.test`, { kind: 'none' }, 300_000)
      warm.put(`p${n}.test`, lookup(`p${n}.test`), 300_000)
    }
    const full = warm.octets
    time = 604_800_000
    warm.put('other.test', { kind: 'none' }, 300_000)
    assert.ok(warm.octets < full)
    // The clock had jumped ahead, and is set right: the policies hold as they did.
    time = 1000
    assert.ok(warm.known('p1.test'))
    time = 700_000_000
    warm.put('other.test', { kind: 'none' }, 300_000)
    assert.ok(warm.octets < full / 100)
  })
})
