import assert from 'node:assert/strict'
import { cached, type CachedResolver } from '../../../plugins/dnssec-stub/cache'
import type { Outcome } from '../../../plugins/dnssec-stub/types'
import {
  failed,
  hang,
  insecure,
  nodata,
  nxdomain,
  scriptedResolver,
  secure,
  txt,
  withTtl,
  type ScriptedResolver,
  type Zone,
} from '../../support/scripted-resolver'

describe('dnssec-stub cache', () => {
  let time = 0
  const setup = (
    zone: Zone,
    maxOctets = 100_000,
  ): { dns: ScriptedResolver; cache: CachedResolver } => {
    time = 1000
    const dns = scriptedResolver(zone)
    return { dns, cache: cached(dns, { now: () => time, maxOctets }) }
  }

  const kept: [what: string, outcome: Outcome<'A'>, seconds: number][] = [
    ['a secure answer', withTtl(30, secure('192.0.2.1')), 30],
    ['an insecure answer', withTtl(30, insecure('192.0.2.1')), 30],
    ['a secure denial', nxdomain('secure', 20), 20],
    ['an insecure denial', nodata('insecure', 20), 20],
    ['an answer with a TTL of a year', withTtl(31536000, secure('192.0.2.1')), 3600],
    ['a failure', failed('servfail'), 5],
    ['a bogus one', failed('bogus', { code: 6, text: '' }), 5],
  ]
  for (const [what, outcome, seconds] of kept) {
    it(`DNS-36 ${what} is kept for ${seconds} s with its security, no longer`, async () => {
      const { dns, cache } = setup({ 'a.test': { A: outcome } })
      assert.equal(cache.cachedOutcome('a.test', 'A'), undefined)
      assert.deepEqual(await cache.resolve('a.test', 'A'), outcome)
      // Those who keep it on go by its TTL: what is kept for an hour here must not live for another one there.
      const ttl = outcome.kind === 'failed' ? {} : { ttl: Math.min(outcome.ttl, 3600) }
      assert.deepEqual(cache.cachedOutcome('A.Test.', 'A'), { ...outcome, ...ttl })
      time += seconds * 1000 - 1
      const last = await cache.resolve('a.test', 'A')
      assert.equal(last.kind, outcome.kind)
      if (last.kind !== 'failed' && outcome.kind !== 'failed') {
        assert.equal(last.security, outcome.security)
        assert.equal(last.ttl, Math.min(outcome.ttl, 3600) - seconds + 1)
      }
      assert.equal(dns.asked('a.test', 'A'), 1)
      time += 1
      assert.equal(cache.cachedOutcome('a.test', 'A'), undefined)
      await cache.resolve('a.test', 'A')
      assert.equal(dns.asked('a.test', 'A'), 2)
    })
  }

  for (const outcome of [failed('bad-name'), failed('aborted'), withTtl(0, secure('192.0.2.1'))]) {
    it(`${outcome.kind === 'failed' ? outcome.cause : 'TTL 0'} is never kept`, async () => {
      const { cache } = setup({ 'a.test': { A: outcome } })
      await cache.resolve('a.test', 'A')
      assert.equal(cache.cachedOutcome('a.test', 'A'), undefined)
    })
  }

  it('a fresh lookup asks the servers, and what they say takes the place of what was kept', async () => {
    const zone: Record<string, { A: Outcome<'A'> }> = { 'a.test': { A: secure('192.0.2.1') } }
    const { dns, cache } = setup(zone)
    await cache.resolve('a.test', 'A')
    zone['a.test'] = { A: secure('192.0.2.2') }
    const fresh = await cache.resolve('a.test', 'A', { fresh: true })
    assert.equal(dns.asked('a.test', 'A'), 2)
    assert.deepEqual(await cache.resolve('a.test', 'A'), fresh)
    assert.equal(dns.asked('a.test', 'A'), 2)
  })

  it('types are kept apart', async () => {
    const { cache } = setup({ 'a.test': { A: secure('192.0.2.1') } })
    await cache.resolve('a.test', 'A')
    assert.equal(cache.cachedOutcome('a.test', 'AAAA'), undefined)
  })

  it('many who ask the same at the same time share one lookup', async () => {
    const { dns, cache } = setup({ 'a.test': { A: secure('192.0.2.1') } })
    const outcomes = await Promise.all(
      ['a.test', 'A.TEST', 'a.test.'].map((name) => cache.resolve(name, 'A')),
    )
    assert.equal(outcomes.length, 3)
    assert.equal(new Set(outcomes).size, 1)
    assert.equal(dns.asked('a.test', 'A'), 1)
  })

  it("one waiter's abort does not end the others' lookup", async () => {
    let release: (outcome: Outcome<'A'>) => void = () => undefined
    const signals: (AbortSignal | undefined)[] = []
    const { dns, cache } = setup({
      'a.test': {
        A: (_question, { signal }) => {
          signals.push(signal)
          return new Promise<Outcome<'A'>>((resolve) => (release = resolve))
        },
      },
    })
    const abort = new AbortController()
    const leaver = cache.resolve('a.test', 'A', { signal: abort.signal })
    const stayer = cache.resolve('a.test', 'A')
    abort.abort()
    const left = await leaver
    assert.ok(left.kind === 'failed' && left.cause === 'aborted')
    assert.equal(signals[0]?.aborted, false)
    release(secure('192.0.2.1'))
    assert.equal((await stayer).kind, 'answer')
    assert.equal(dns.asked('a.test', 'A'), 1)
  })

  it('the last waiter who leaves ends the lookup; who comes later starts another', async () => {
    const { dns, cache } = setup({ 'a.test': { A: hang } })
    const abort = new AbortController()
    const leaving = [1, 2].map(() => cache.resolve('a.test', 'A', { signal: abort.signal }))
    abort.abort()
    for (const outcome of await Promise.all(leaving)) {
      assert.ok(outcome.kind === 'failed' && outcome.cause === 'aborted')
    }
    dns.set('a.test', 'A', secure('192.0.2.1'))
    assert.equal((await cache.resolve('a.test', 'A')).kind, 'answer')
    const late = await cache.resolve('a.test', 'AAAA', { signal: abort.signal })
    assert.ok(late.kind === 'failed' && late.cause === 'aborted')
    assert.deepEqual(dns.log(), ['a.test A', 'a.test A'])
  })

  it('is bounded: what was not used for longest goes first', async () => {
    const { cache } = setup(
      { '1.test': { A: secure('1') }, '2.test': { A: secure('2') }, '3.test': { A: secure('3') } },
      // Two outcomes of this kind, and a half.
      (2.5 * 606 * 8) / 7,
    )
    await cache.resolve('1.test', 'A')
    await cache.resolve('2.test', 'A')
    cache.cachedOutcome('1.test', 'A')
    await cache.resolve('3.test', 'A')
    assert.equal(cache.cachedOutcome('2.test', 'A'), undefined)
    assert.notEqual(cache.cachedOutcome('1.test', 'A'), undefined)
    assert.notEqual(cache.cachedOutcome('3.test', 'A'), undefined)
  })

  it('does not keep huge answers', async () => {
    const { cache } = setup({ 'a.test': { TXT: secure(txt('x'.repeat(8193))) } })
    assert.equal((await cache.resolve('a.test', 'TXT')).kind, 'answer')
    assert.equal(cache.cachedOutcome('a.test', 'TXT'), undefined)
  })

  it('a resolver that throws is a failed lookup', async () => {
    const { cache } = setup({
      'a.test': {
        A: () => {
          throw new Error('broken')
        },
      },
    })
    assert.deepEqual(await cache.resolve('a.test', 'A'), {
      kind: 'failed',
      cause: 'servfail',
      detail: 'broken',
    })
  })

  it('forgets all when told to', async () => {
    const { cache } = setup({ 'a.test': { A: secure('192.0.2.1') } })
    await cache.resolve('a.test', 'A')
    cache.clear()
    assert.equal(cache.cachedOutcome('a.test', 'A'), undefined)
  })

  it('XC-12 forgets what is not secure when told to, and keeps proofs', async () => {
    const { cache } = setup({
      'proved.test': { A: secure('192.0.2.1') },
      'denied.test': { A: nodata() },
      'open.test': { A: insecure('192.0.2.2') },
      'void.test': { A: nodata('insecure') },
      'down.test': { A: failed('servfail') },
    })
    const names = ['proved.test', 'denied.test', 'open.test', 'void.test', 'down.test']
    for (const name of names) await cache.resolve(name, 'A')
    cache.forgetInsecure()
    assert.deepEqual(
      names.filter((name) => cache.cachedOutcome(name, 'A') !== undefined),
      ['proved.test', 'denied.test'],
    )
  })

  for (const forget of ['clear', 'forgetInsecure'] as const)
    it(`DNS-01 a lookup that was under way at ${forget} is neither kept nor joined`, async () => {
      let release: (outcome: Outcome<'A'>) => void = () => undefined
      const { dns, cache } = setup({
        'a.test': { A: () => new Promise<Outcome<'A'>>((resolve) => (release = resolve)) },
      })
      const before = cache.resolve('a.test', 'A')
      cache[forget]()
      dns.set('a.test', 'A', secure('192.0.2.1'))
      const after = await cache.resolve('a.test', 'A')
      release(insecure('192.0.2.1'))
      assert.deepEqual(await before, insecure('192.0.2.1'))
      assert.deepEqual(after, secure('192.0.2.1'))
      assert.deepEqual(cache.cachedOutcome('a.test', 'A'), after)
    })
})
