import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import type { FetchOutcome } from '../../../plugins/mta-sts/fetch'
import type { KnownPolicy, StsLookup, StsMode } from '../../../plugins/mta-sts/types'
import type { Store } from '../../../plugins/store/types'
import { cpuMilliseconds } from '../../support/cpu'
import { hang } from '../../support/scripted-resolver'
import {
  DAY,
  HOUR,
  outcomeOf,
  policy,
  START,
  stsWorld,
  type StsWorld,
} from '../../support/sts-world'
import type { StsProblemReason } from '../../../plugins/reasons/codes'

const D = 'rcpt.test'
const TXT = `_mta-sts.${D}`
const MINUTE = 60_000

/** A policy host that takes its time. */
function slowly(text: string): () => Promise<FetchOutcome> {
  return () => new Promise((resolve) => setTimeout(() => resolve(outcomeOf(text)), 100))
}

describe('MTA-STS policies, cached (RFC 8461 §3.3, §5)', () => {
  let world: StsWorld
  beforeEach(() => {
    world = stsWorld()
  })
  afterEach(async () => {
    await world.policies.close()
  })
  const look = (): Promise<StsLookup> => world.policies.lookup(D)
  /** The next lookup that is not answered from the outcome of the last one. */
  const later = (ms = 6 * MINUTE): Promise<StsLookup> => {
    world.advance(ms)
    return look()
  }
  function assertPolicy(lookup: StsLookup, mode: StsMode, problem?: StsProblemReason): KnownPolicy {
    assert.ok(lookup.kind === 'policy', JSON.stringify(lookup))
    assert.equal(lookup.known.policy.mode, mode)
    assert.equal(lookup.problem?.reason, problem)
    return lookup.known
  }
  function assertNone(lookup: StsLookup, problem?: StsProblemReason): void {
    assert.equal(lookup.kind, 'none', JSON.stringify(lookup))
    assert.equal(lookup.kind === 'none' ? lookup.problem?.reason : '', problem)
  }

  describe('discovery', () => {
    it('SD-01 SD-25 the first lookup waits for TXT record and policy', async () => {
      const known = assertPolicy(await look(), 'enforce')
      assert.deepEqual(world.resolver.log(), ['_mta-sts.rcpt.test TXT'])
      assert.equal(known.id, '1')
      assert.equal(known.fetchedAt, START)
      assert.equal(known.expiresAt, START + 604_800_000)
    })
    it('SD-17 SD-24 no TXT record: none, and nothing is fetched', async () => {
      world.publish('gone')
      assertNone(await look())
      world.publish(['v=spf1 -all'])
      assertNone(await later())
      assert.equal(world.fetches(), 0)
    })
    it('SD-03 SD-05 several or malformed records: none, and nothing is fetched', async () => {
      world.publish(['v=STSv1; id=1;', 'v=STSv1; id=2;'])
      assertNone(await look())
      world.publish(['v=STSv1; id=has-hyphen;'])
      assertNone(await later())
      assert.equal(world.fetches(), 0)
    })
    it('SD-16 SC-06 a TXT record that is gone, doubled or malformed deletes no cached policy', async () => {
      await look()
      for (const reply of [
        'gone',
        ['v=STSv1; id=1;', 'v=STSv1; id=2;'],
        ['v=STSv1; junk'],
        ['v=spf1 -all'],
      ] as const) {
        world.publish(reply)
        assertPolicy(await later(), 'enforce', 'sts-txt-invalid')
      }
      assert.equal(world.fetches(), 1)
    })
    it('a policy that holds in spite of a problem: said when it begins, not at each look', async () => {
      await look()
      for (const reply of ['gone', 'gone', 'gone', ['v=STSv1; junk'], ['v=STSv1; junk']] as const) {
        world.publish(reply)
        assertPolicy(await later(), 'enforce', 'sts-txt-invalid')
      }
      assert.equal(world.log.filter((line) => line.startsWith('notice')).length, 2)
    })
    it('SF-12 a policy that cannot be had, while none is known: a warning a day, and one for each new cause', async () => {
      const warnings = () => world.log.filter((line) => line.startsWith('warn'))
      world.serve({ problem: 'sts-policy-fetch-error' })
      assertNone(await look(), 'sts-policy-fetch-error')
      for (let hour = 0; hour < 20; hour++) {
        assertNone(await later(HOUR), 'sts-policy-fetch-error')
      }
      assert.equal(warnings().length, 1)
      assert.match(
        warnings()[0] ?? '',
        /^warn mta-sts: rcpt\.test publishes a policy that cannot be had, so mail goes to it without one: sts-policy-fetch-error, /,
      )
      world.serve({ problem: 'sts-webpki-invalid' })
      assertNone(await later(HOUR), 'sts-webpki-invalid')
      assert.equal(warnings().length, 2)
      assertNone(await later(DAY), 'sts-webpki-invalid')
      assert.equal(warnings().length, 3)
      world.publish('gone')
      assertNone(await later(DAY))
      world.publish('2')
      world.serve(policy())
      assertPolicy(await later(DAY), 'enforce')
      world.publish('3')
      world.serve({ problem: 'sts-webpki-invalid' })
      assertPolicy(await later(DAY), 'enforce', 'sts-webpki-invalid')
      assert.equal(warnings().length, 3)
    })
    it('what a policy host says names no field of the log', async () => {
      world.serve('version: STSv1\nverdict=verified reason=sts-matched domain="bank.example"\n')
      assertNone(await look(), 'sts-policy-invalid')
      assert.match(world.log.join('\n'), /verdict:verified/)
      assert.doesNotMatch(world.log.join('\n'), /verdict=|reason=|domain=/)
    })
    it('SD-18 the TXT lookup fails and nothing is cached: unknown, after one more try', async () => {
      world.publish('failing')
      const lookup = await look()
      assert.ok(lookup.kind === 'unknown')
      assert.equal(lookup.problem.reason, 'sts-txt-lookup-failed')
      assert.equal(world.resolver.asked('_mta-sts.rcpt.test', 'TXT'), 2)
      world.publish('1')
      assertPolicy(await look(), 'enforce')
    })
    it('SD-19 the TXT lookup fails and a policy is cached: it holds', async () => {
      await look()
      world.publish('failing')
      assertPolicy(await later(), 'enforce', 'sts-txt-lookup-failed')
    })
    it('SD-21 SD-22 only the domain as given is asked, never a parent', async () => {
      assertNone(await world.policies.lookup('sub.rcpt.test'))
      assert.deepEqual(world.resolver.log(), ['_mta-sts.sub.rcpt.test TXT'])
    })
    it('SD-23 ids have no order, and each other one is fetched', async () => {
      world.publish('9')
      await look()
      for (const [index, id] of ['10', '2', 'a', 'A'].entries()) {
        world.publish(id)
        assert.equal(assertPolicy(await later(), 'enforce').id, id)
        assert.equal(world.fetches(), index + 2)
      }
    })
    it('DNS-33 RL-05 addresses and what is no name: none, nothing is asked', async () => {
      for (const name of [
        '[192.0.2.1]',
        '192.0.2.1',
        '::1',
        '',
        '.',
        'a..b',
        'x'.repeat(300),
        `${'a.'.repeat(124)}test`,
      ]) {
        assertNone(await world.policies.lookup(name))
        assert.equal(world.policies.peek(name), undefined)
      }
      assert.deepEqual(world.resolver.log(), [])
    })
    it('RL-08 SF-23 SA-10 one policy for a domain in any notation', async () => {
      await world.policies.lookup('RCPT.Test.')
      assert.equal(world.policies.peek('rcpt.test')?.kind, 'policy')
      assert.equal(world.policies.peek('RCPT.test.')?.kind, 'policy')
      await world.policies.lookup('bücher.test')
      assert.deepEqual(world.resolver.log(), [
        '_mta-sts.rcpt.test TXT',
        '_mta-sts.xn--bcher-kva.test TXT',
      ])
    })
  })

  describe('fetching', () => {
    it('SF-12 SP-23 the fetch fails and nothing is cached: none, with the problem', async () => {
      for (const problem of [
        'sts-policy-fetch-error',
        'sts-policy-invalid',
        'sts-webpki-invalid',
      ] as const) {
        const own = stsWorld()
        own.serve({ problem })
        assertNone(await own.policies.lookup(D), problem)
        await own.policies.close()
      }
    })
    it('SF-13 SP-22 SC-05 a new id whose fetch fails keeps old policy, old id and old expiry', async () => {
      const before = assertPolicy(await look(), 'enforce')
      world.publish('2')
      for (const problem of [
        'sts-policy-fetch-error',
        'sts-policy-invalid',
        'sts-webpki-invalid',
      ] as const) {
        world.serve({ problem })
        assert.deepEqual(assertPolicy(await later(), 'enforce', problem), before)
      }
      assert.equal(world.fetches(), 4)
    })
    it('SF-14 after a failure no fetch of that id for five minutes, whoever asks', async () => {
      world.serve({ problem: 'sts-policy-fetch-error' })
      const other = world.worker()
      for (let n = 0; n < 20; n++) {
        assertNone(await look(), 'sts-policy-fetch-error')
        assertNone(await other.lookup(D), 'sts-policy-fetch-error')
        world.advance(14_000)
      }
      assert.equal(world.fetches(), 1)
      world.serve(policy())
      assertPolicy(await later(2 * MINUTE), 'enforce')
      assert.equal(world.fetches(), 2)
      await other.close()
    })
    it('SF-14 also where the store keeps nothing', async () => {
      const own = stsWorld({ wrap: brokenStore })
      own.serve({ problem: 'sts-policy-fetch-error' })
      for (let n = 0; n < 4; n++) {
        const lookup = await own.policies.lookup(D)
        assert.ok(lookup.kind === 'store-unread')
        assert.equal(lookup.problem.reason, 'sts-policy-fetch-error')
        own.advance(MINUTE)
      }
      assert.equal(own.fetches(), 1)
      await own.policies.close()
    })
    it('SF-15 a new id is fetched at once in spite of the back-off of another', async () => {
      world.serve({ problem: 'sts-policy-fetch-error' })
      await look()
      world.publish('2')
      world.serve(policy())
      world.advance(MINUTE)
      assertPolicy(await look(), 'enforce')
      assert.equal(world.fetches(), 2)
    })
    it('SF-22 fifty lookups at once, in one worker or several: one fetch', async () => {
      const workers = [world.policies, world.worker(), world.worker()]
      world.serve(() => new Promise((resolve) => setImmediate(() => resolve(outcomeOf(policy())))))
      const all = await Promise.all(
        Array.from({ length: 150 }, (_, n) => (workers[n % 3] ?? world.policies).lookup(D)),
      )
      for (const lookup of all) assertPolicy(lookup, 'enforce')
      assert.equal(world.fetches(), 1)
      await Promise.all(workers.map((worker) => worker.close()))
    })
    it('SF-22 fifty lookups at once of a policy host that fails: one fetch', async () => {
      const workers = [world.policies, world.worker(), world.worker()]
      world.serve({ problem: 'sts-webpki-invalid' })
      const all = await Promise.all(
        Array.from({ length: 150 }, (_, n) => (workers[n % 3] ?? world.policies).lookup(D)),
      )
      for (const lookup of all) assertNone(lookup, 'sts-webpki-invalid')
      assert.equal(world.fetches(), 1)
      await Promise.all(workers.map((worker) => worker.close()))
    })
    it('SF-22 a policy that another worker stored just before we got the lease is not fetched again', async () => {
      const own = stsWorld({
        wrap: (store) => ({
          ...store,
          async acquire(...lease) {
            const expiresAt = START + DAY
            await store.setPolicy({
              domain: D,
              id: '1',
              text: policy(),
              fetchedAt: START,
              expiresAt,
            })
            return store.acquire(...lease)
          },
        }),
      })
      assertPolicy(await own.policies.lookup(D), 'enforce')
      assert.equal(own.fetches(), 0)
      await own.policies.close()
    })
    it('SF-22 lookups at once of a domain that nobody knows: one worker asks for the TXT record, and the others take what he stored', async () => {
      const workers = [world.policies, world.worker(), world.worker()]
      world.serve(slowly(policy()))
      const all = await Promise.all(workers.map((worker) => worker.lookup(D)))
      for (const lookup of all) assertPolicy(lookup, 'enforce')
      assert.equal(world.resolver.asked(TXT, 'TXT'), 1)
      const late = world.worker()
      assertPolicy(await late.lookup(D), 'enforce')
      assert.equal(world.resolver.asked(TXT, 'TXT'), 1)
      // It is a loan for half a minute: then everybody looks for himself.
      world.publish('gone')
      world.advance(30_000)
      assertPolicy(await late.lookup(D), 'enforce', 'sts-txt-invalid')
      await Promise.all([...workers, late].map((worker) => worker.close()))
    })
    it('SF-22 another worker found no record, or his DNS failed: that is his own; everybody else asks for himself', async () => {
      for (const [reply, asked] of [['gone', 3], ['failing', 6]] as const) {
        const own = stsWorld()
        const workers = [own.policies, own.worker(), own.worker()]
        own.publish(reply)
        const all = await Promise.all(workers.map((worker) => worker.lookup(D)))
        for (const { kind } of all) assert.equal(kind, reply === 'gone' ? 'none' : 'unknown')
        assert.equal(own.resolver.asked(TXT, 'TXT'), asked)
        await Promise.all(workers.map((worker) => worker.close()))
      }
    }) // prettier-ignore
    it('SF-22 of many who wait for another, none is held up by the others, when he found nothing', async () => {
      let over = false
      let refused = 0
      const own = stsWorld({
        wrap: (store) => ({
          ...store,
          async acquire(name, ...rest) {
            const taken = await store.acquire(name, ...rest)
            if (over && taken.ok && !taken.value) refused += 1
            return taken
          },
          // It takes as long as a disk does.
          async release(...lease) {
            await new Promise((resolve) => setTimeout(resolve, 5))
            const released = await store.release(...lease)
            over = true
            return released
          },
        }),
      })
      own.publish('gone')
      const workers = [own.policies, ...Array.from({ length: 5 }, () => own.worker())]
      const all = await Promise.all(workers.map((worker) => worker.lookup(D)))
      for (const { kind } of all) assert.equal(kind, 'none')
      assert.equal(refused, 0)
      await Promise.all(workers.map((worker) => worker.close()))
    })
    it('SF-22 another worker hangs in his look: after a lease we look for ourselves', async () => {
      const own = stsWorld({ leaseMs: 300 })
      const hanging = own.worker()
      own.resolver.set(TXT, 'TXT', hang)
      const theirs = hanging.lookup(D)
      while (own.resolver.asked(TXT, 'TXT') === 0) await new Promise(setImmediate)
      own.publish('1')
      assertPolicy(await own.policies.lookup(D), 'enforce')
      await hanging.close()
      assert.equal((await theirs).kind, 'unknown')
      await own.policies.close()
    })
    it('XC-13 of large policies only so many wait for a slow TXT record; those beyond hold at once, and small ones wait', async () => {
      const large = `version: STSv1\nmode: enforce\n${'mx: a.b\n'.repeat(8000)}max_age: 604800\n`
      const names = Array.from({ length: 20 }, (_, n) => `large${n}.test`)
      const plant = async (name: string, text: string): Promise<void> => {
        world.resolver.set(`_mta-sts.${name}`, 'TXT', hang)
        const expiresAt = START + DAY
        await world.store.setPolicy({
          domain: name,
          id: '1',
          text,
          fetchedAt: START - HOUR,
          expiresAt,
        })
      }
      for (const name of names) await plant(name, large)
      await plant('small.test', policy())
      const late = new AbortController()
      let waits = 0
      const looks = [...names, 'small.test'].map(async (name) => {
        waits++
        const found = await world.policies.lookup(name, { signal: late.signal })
        waits--
        return found
      })
      await turn()
      assert.ok(waits > 1 && waits < 10, `${waits} wait`)
      late.abort()
      for (const look of looks) assertPolicy(await look, 'enforce', 'sts-txt-lookup-failed')
    })
    it('SF-22 a store that forgets every lease, or never gives one, costs no policy', async () => {
      for (const free of [true, false]) {
        const own = stsWorld({
          leaseMs: 200,
          wrap: (store) => ({
            ...store,
            acquire: (name, ...rest) =>
              name.startsWith('look/')
                ? Promise.resolve({ ok: true, value: free })
                : store.acquire(name, ...rest),
          }),
        })
        const workers = [own.policies, own.worker()]
        const all = await Promise.all(workers.map((worker) => worker.lookup(D)))
        for (const lookup of all) assertPolicy(lookup, 'enforce')
        assert.equal(own.fetches(), 1)
        await Promise.all(workers.map((worker) => worker.close()))
      }
    })
    it('a fetch that throws is an unknown outcome, and no rejection', async () => {
      world.serve(() => Promise.reject(new Error('a fault of ours')))
      assert.equal((await look()).kind, 'unknown')
      world.serve(policy())
      assertPolicy(await look(), 'enforce')
    })
  })

  describe('time and the caller', () => {
    it('SF-11 the caller gives up while the fetch hangs: none, and later ones get its result', async () => {
      let finish: (outcome: FetchOutcome) => void = () => undefined
      const begun = new Promise<void>((resolve) => {
        world.serve(() => new Promise((done) => ((finish = done), resolve())))
      })
      const caller = new AbortController()
      const first = world.policies.lookup(D, { signal: caller.signal })
      await begun
      caller.abort()
      assertNone(await first, 'sts-policy-fetch-error')
      assertNone(
        await world.policies.lookup(D, { signal: caller.signal }),
        'sts-policy-fetch-error',
      )
      const second = look()
      finish(outcomeOf(policy()))
      assertPolicy(await second, 'enforce')
      assert.equal(world.fetches(), 1)
    })
    it('the caller gives up while the DNS hangs: unknown, or the cached policy', async () => {
      const caller = new AbortController()
      world.resolver.set('_mta-sts.rcpt.test', 'TXT', hang)
      const cold = world.policies.lookup(D, { signal: caller.signal })
      await until(() => world.resolver.asked(TXT, 'TXT') > 0)
      caller.abort()
      assert.equal((await cold).kind, 'unknown')
      await world.policies.close()

      const own = stsWorld()
      await own.policies.lookup(D)
      own.resolver.set('_mta-sts.rcpt.test', 'TXT', hang)
      own.advance(6 * MINUTE)
      const again = new AbortController()
      const warm = own.policies.lookup(D, { signal: again.signal })
      again.abort()
      assertPolicy(await warm, 'enforce', 'sts-txt-lookup-failed')
      await own.policies.close()
    })
    it('fifty cold domains at once are no leak that Node warns of', async () => {
      const warnings: string[] = []
      const hear = ({ message }: Error): void => void warnings.push(message)
      process.on('warning', hear)
      const names = Array.from({ length: 50 }, (_, n) => `d${n}.test`)
      for (const name of names) world.resolver.set(`_mta-sts.${name}`, 'TXT', hang)
      const lookups = names.map((name) => world.policies.lookup(name))
      // Node tells of a leak in the next turn.
      await new Promise((resolve) => setImmediate(resolve))
      process.off('warning', hear)
      assert.deepEqual(warnings, [])
      await world.policies.close()
      for (const lookup of await Promise.all(lookups)) assert.equal(lookup.kind, 'unknown')
    })
    it('close ends what hangs', async () => {
      world.resolver.set('_mta-sts.rcpt.test', 'TXT', hang)
      const lookup = look()
      await world.policies.close()
      assert.equal((await lookup).kind, 'unknown')
    })
  })

  describe('cache', () => {
    it('SC-01 a restarted worker applies what the store has, with TXT and policy host gone', async () => {
      await look()
      world.publish('gone')
      world.serve({ problem: 'sts-policy-fetch-error' })
      world.advance(MINUTE)
      const restarted = world.worker()
      assertPolicy(await restarted.lookup(D), 'enforce', 'sts-txt-invalid')
      await restarted.close()
    })
    it('SC-02 SC-08 an expired policy is not applied; an unchanged id does not lengthen it', async () => {
      world.serve(policy('enforce', 1000))
      await look()
      world.serve({ problem: 'sts-policy-fetch-error' })
      assertPolicy(await later(999_000), 'enforce')
      assertNone(await later(1_000), 'sts-policy-fetch-error')
      assert.equal(world.fetches(), 2)
    })
    it('SC-02 not even out of this worker\'s own memory', async () => {
      world.publish('1', 86_400)
      world.serve(policy('enforce', 5))
      await look()
      world.advance(4_999)
      assert.equal(world.policies.peek(D)?.kind, 'policy')
      world.advance(1)
      assert.equal(world.policies.peek(D), undefined)
    }) // prettier-ignore
    it('SC-03 same id: no fetch', async () => {
      await look()
      for (let n = 0; n < 10; n++) assertPolicy(await later(), 'enforce')
      assert.equal(world.fetches(), 1)
    })
    it('SC-04 a new id brings the new policy', async () => {
      await look()
      world.publish('2')
      world.serve(policy('testing'))
      assert.equal(assertPolicy(await later(), 'testing').id, '2')
    })
    it('SC-07 a new policy of mode none ends enforcement at once, in all workers', async () => {
      const other = world.worker()
      await look()
      assertPolicy(await other.lookup(D), 'enforce')
      world.publish('2')
      world.serve(policy('none'))
      assertPolicy(await later(), 'none')
      assertPolicy(await other.lookup(D), 'none')
      assert.equal(world.fetches(), 2)
      await other.close()
    })
    it('SC-12 a shorter max_age shortens the cache', async () => {
      await look()
      world.publish('2')
      world.serve(policy('enforce', 60))
      const known = assertPolicy(await later(), 'enforce')
      assert.equal(known.expiresAt, world.now() + MINUTE)
      world.publish('gone')
      assertNone(await later(MINUTE))
    })
    it('SC-13 "no policy" lasts no longer than its TTL', async () => {
      world.publish('gone', 60)
      assertNone(await look())
      world.publish('1')
      assertNone(await later(59_000))
      assert.equal(world.resolver.asked('_mta-sts.rcpt.test', 'TXT'), 1)
      assertPolicy(await later(1_000), 'enforce')
    })
    it('SC-14 mode none, and its TXT record gone: dropped', async () => {
      world.serve(policy('none'))
      await look()
      world.publish('gone')
      assertNone(await later())
      assert.deepEqual(await world.store.getPolicy(D), { ok: true, value: undefined })
    })
    it('SP-07 max_age is clamped', async () => {
      world.serve(policy('enforce', 9_999_999_999))
      assert.equal(assertPolicy(await look(), 'enforce').expiresAt, START + 31_557_600_000)
    })
    it('SP-08 max_age 0 holds for the delivery in hand and is not kept; what was kept before ends', async () => {
      await look()
      world.publish('2')
      world.serve(policy('enforce', 0))
      assertPolicy(await later(), 'enforce')
      assert.equal(world.policies.peek(D), undefined)
      world.publish('gone')
      assertNone(await look())
    })
    it('SP-24 the raw lines come along, from the store too', async () => {
      await look()
      const other = world.worker()
      const known = assertPolicy(await other.lookup(D), 'enforce')
      assert.deepEqual(known.policy.lines, policy().trimEnd().split('\n'))
      await other.close()
    })
    it('SC-03 a warm lookup asks nobody, says where the policy is from, and ends with the TTL', async () => {
      world.publish('1', 60)
      assert.equal(world.policies.peek(D), undefined)
      const first = await look()
      assert.equal(first.kind === 'policy' && first.source, 'fetched')
      world.resolver.forget()
      const warm = await look()
      assert.equal(warm.kind === 'policy' && warm.source, 'cache')
      assert.deepEqual(world.policies.peek(D), warm)
      assert.deepEqual(world.resolver.log(), [])
      world.advance(60_000)
      assert.equal(world.policies.peek(D), undefined)
    })
    it('a TTL of a week is not trusted for longer than five minutes', async () => {
      world.publish('1', 604_800)
      await look()
      world.advance(300_000)
      assert.equal(world.policies.peek(D), undefined)
    })
    it('SA-14 recheck looks at the TXT record although the outcome is warm', async () => {
      world.publish('1', 300)
      await look()
      world.publish('2')
      world.serve(policy('testing'))
      assertPolicy(await look(), 'enforce')
      assertPolicy(await world.policies.lookup(D, { recheck: true }), 'testing')
    })
    it('SA-26 policies of two domains stay apart', async () => {
      await look()
      assertNone(await world.policies.lookup('other.test'))
      assertPolicy(await look(), 'enforce')
    })
    it('a warm lookup is cheap: a million peeks take no second or two', async () => {
      await look()
      const spent = cpuMilliseconds(() => {
        for (let n = 0; n < 1_000_000; n++) world.policies.peek(D)
      })
      assert.ok(spent < 5000, `${spent} ms`)
    })
  })

  describe('clock', () => {
    it('set back: a policy holds, and no longer than max_age from now', async () => {
      world.serve(policy('enforce', 86_400))
      await look()
      world.advance(-300 * DAY)
      world.publish('gone')
      const known = assertPolicy(await look(), 'enforce', 'sts-txt-invalid')
      assert.equal(known.expiresAt, world.now() + DAY)
      const other = world.worker()
      assert.equal(
        assertPolicy(await other.lookup(D), 'enforce', 'sts-txt-invalid').expiresAt,
        world.now() + DAY,
      )
      await other.close()
    })
    it('set back: a warm outcome is not repeated for years', async () => {
      world.publish('gone', 300)
      assertNone(await look())
      world.advance(-300 * DAY)
      assert.equal(world.policies.peek(D), undefined)
      world.publish('1')
      assertPolicy(await look(), 'enforce')
    })
    it('set forward and back within a day: nothing is lost', async () => {
      world.serve(policy('enforce', 3600))
      await look()
      world.publish('gone')
      assertNone(await later(20 * HOUR))
      world.advance(MINUTE - 20 * HOUR)
      assertPolicy(await look(), 'enforce', 'sts-txt-invalid')
    })
    it('set back: the back-off ends all the same', async () => {
      world.serve({ problem: 'sts-policy-fetch-error' })
      await look()
      world.serve(policy())
      assertPolicy(await later(-300 * DAY), 'enforce')
    })
  })

  describe('a store that fails', () => {
    it('policies are fetched, kept in this worker, and hold', async () => {
      const own = stsWorld({ wrap: brokenStore })
      assertPolicy(await own.policies.lookup(D), 'enforce')
      own.publish('gone')
      own.serve({ problem: 'sts-policy-fetch-error' })
      own.advance(6 * MINUTE)
      assertPolicy(await own.policies.lookup(D), 'enforce', 'sts-txt-invalid')
      assert.equal(own.fetches(), 1)
      assert.equal(own.log.filter((line) => line.startsWith('warn')).length, 1)
      await own.policies.close()
    })
    it('one that takes nothing but answers: what it never had was not purged', async () => {
      const own = stsWorld({
        wrap: (store) => ({
          ...store,
          setPolicy: () => Promise.resolve({ ok: false, detail: 'full' }),
        }),
      })
      assertPolicy(await own.policies.lookup(D), 'enforce')
      for (const id of ['1', 'gone', 'gone']) {
        own.publish(id)
        own.advance(6 * MINUTE)
        const problem = id === '1' ? undefined : 'sts-txt-invalid'
        assertPolicy(await own.policies.lookup(D), 'enforce', problem)
      }
      await own.policies.close()
    })
    it('failing after a purge: what was purged does not come back out of memory', async () => {
      let broken = false
      const own = stsWorld({
        wrap: (store) => ({
          ...store,
          getPolicy: (domain) =>
            broken ? brokenStore().getPolicy(domain) : store.getPolicy(domain),
        }),
      })
      await own.policies.lookup(D)
      await own.store.deletePolicy(D)
      own.publish('failing')
      assert.equal((await own.policies.lookup(D)).kind, 'unknown')
      broken = true
      assert.equal((await own.policies.lookup(D)).kind, 'store-unread')
      await own.policies.close()
    })
    describe('XC-11 one that cannot be read is not one without a policy', () => {
      type Txt = string | readonly string[]
      const records: readonly (readonly [string, Txt])[] = [
        ['a TXT record', '1'],
        ['no TXT record', 'gone'],
        ['a malformed TXT record', ['v=STSv1; junk']],
        ['a TXT lookup that fails', 'failing'],
      ]
      const fetches = ['a fetch that succeeds', 'a fetch that fails'] as const
      /** What follows, by store, TXT record and fetch. */
      const expected = (store: string, txt: string, fetch: string): string => {
        if (store === 'a policy') return 'policy'
        const unread = store === 'unread'
        if (txt === 'a TXT lookup that fails') return unread ? 'store-unread' : 'unknown'
        if (txt !== 'a TXT record') return 'none'
        if (fetch === 'a fetch that succeeds') return 'policy'
        return unread ? 'store-unread' : 'none'
      }
      for (const store of ['a policy', 'none', 'unread'] as const) {
        for (const [txt, published] of records) {
          for (const fetch of fetches) {
            const kind = expected(store, txt, fetch)
            it(`${store} in the store, ${txt}, ${fetch}: ${kind}`, async () => {
              let reads = (domain: string, from: Store) => from.getPolicy(domain)
              const own = stsWorld({
                wrap: (inner) => ({ ...inner, getPolicy: (domain) => reads(domain, inner) }),
              })
              if (store === 'a policy') {
                const text = policy()
                const times = { fetchedAt: START - HOUR, expiresAt: START + DAY }
                await own.store.setPolicy({ domain: D, id: '0', text, ...times })
              }
              if (store === 'unread') reads = (domain) => brokenStore().getPolicy(domain)
              own.publish(published)
              if (fetch === 'a fetch that fails') own.serve({ problem: 'sts-webpki-invalid' })
              for (const recheck of [false, true]) {
                const lookup = await own.policies.lookup(D, { recheck })
                assert.equal(lookup.kind, kind, JSON.stringify(lookup))
                if (lookup.kind !== 'store-unread') continue
                assert.equal(lookup.store, 'out of order')
                // It is not kept: with the next call the store may be readable again.
                assert.equal(own.policies.peek(D), undefined)
              }
              await own.policies.close()
            })
          }
        }
      }
      it('an exception on the way, or a caller who gives up before the store has answered: the same', async () => {
        const throwing = stsWorld({
          wrap: (inner) => ({ ...inner, getPolicy: () => Promise.reject(new Error('a fault')) }),
        })
        assert.equal((await throwing.policies.lookup(D)).kind, 'store-unread')
        await throwing.policies.close()
        const hanging = stsWorld({
          wrap: (inner) => ({ ...inner, getPolicy: () => new Promise(() => undefined) }),
        })
        const signal = AbortSignal.abort()
        assert.equal((await hanging.policies.lookup(D, { signal })).kind, 'store-unread')
      })
      it('the command says that the store cannot be read, not that nothing is kept', async () => {
        const own = stsWorld({ wrap: brokenStore })
        await assert.rejects(own.policies.show(D), /cannot be read: out of order/)
        await own.policies.close()
      })
      it('a domain whose policy this worker remembers is unaffected', async () => {
        let broken = false
        const own = stsWorld({
          wrap: (inner) => ({
            ...inner,
            getPolicy: (domain) => (broken ? brokenStore() : inner).getPolicy(domain),
          }),
        })
        await own.policies.lookup(D)
        broken = true
        own.publish('failing')
        own.advance(6 * MINUTE)
        assertPolicy(await own.policies.lookup(D), 'enforce', 'sts-txt-lookup-failed')
        await own.policies.close()
      })
    })
    it('one with hostile contents: a text that is no policy, or claims to live for ever', async () => {
      const base = { domain: D, id: '1', fetchedAt: START, expiresAt: START + 31_557_600_000 }
      await world.store.setPolicy({ ...base, text: '<html>' })
      assertPolicy(await look(), 'enforce')
      assert.equal(world.fetches(), 1)
      const own = stsWorld()
      await own.store.setPolicy({ ...base, text: policy('enforce', 60) })
      assert.equal(assertPolicy(await own.policies.lookup(D), 'enforce').expiresAt, START + MINUTE)
      await own.policies.close()
    })
  })

  describe('for the operator', () => {
    it('list and show', async () => {
      assert.deepEqual(await world.policies.list(), [])
      await look()
      assert.deepEqual((await world.policies.list()).map(({ domain }) => domain), [D])
      assert.equal((await world.policies.show('RCPT.test'))?.id, '1')
      assert.equal(await world.policies.show('other.test'), undefined)
      world.advance(8 * DAY)
      assert.deepEqual(await world.policies.list(), [])
    }) // prettier-ignore
    it('purge forgets in all workers; the next mail asks again', async () => {
      const other = world.worker()
      await look()
      await other.lookup(D)
      assert.equal(await world.policies.purge(D), true)
      assert.equal(world.policies.peek(D), undefined)
      assert.equal(other.peek(D), undefined)
      world.publish('gone')
      assertNone(await other.lookup(D))
      assertNone(await look())
      await other.close()
    })
    it('refresh fetches although the id is the same; a failure leaves the policy', async () => {
      await look()
      world.serve(policy('testing'))
      assertPolicy(await world.policies.refresh(D), 'testing')
      assertPolicy(await look(), 'testing')
      world.serve({ problem: 'sts-webpki-invalid' })
      assertPolicy(await world.policies.refresh(D), 'testing', 'sts-webpki-invalid')
      world.publish('gone')
      assertPolicy(await world.policies.refresh(D), 'testing', 'sts-txt-invalid')
      world.publish('failing')
      assertPolicy(await world.policies.refresh(D), 'testing', 'sts-txt-lookup-failed')
      assertNone(await world.policies.refresh('192.0.2.1'))
    })
  })
})

/** Asks until it holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve))
}

/** A store to which every call fails. */
function brokenStore(): Store {
  const fail = () => Promise.resolve({ ok: false, detail: 'out of order' } as const)
  return {
    getPolicy: fail, setPolicy: fail, deletePolicy: fail, listDomains: fail, takeDue: fail, plan: fail, getNote: fail, setNote: fail,
    lastUsed: fail, markUsed: fail, acquire: fail, release: fail, onChange: () => () => undefined,
    addToTally: fail, sealTally: fail, readTally: fail, dropTally: fail, clusterName: fail, noteWaiting: fail, readWaiting: fail,
    troubles: () => [], examine: () => Promise.resolve([]), close: () => Promise.resolve(),
  } // prettier-ignore
}
