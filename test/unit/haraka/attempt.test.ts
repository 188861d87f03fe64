/** The words of a deferral, of a notification and of the log of Haraka's queue, and when they are ours to give. */
import assert from 'node:assert/strict'
import { decide } from '../../../plugins/delivery/decide'
import type { HostEnd } from '../../../plugins/delivery/host-end'
import type { Facts } from '../../../plugins/delivery/types'
import {
  describeToRecipients,
  explain,
  isLastTry,
  leadingFailure,
  leavesAHostOut,
  policyHadAPart,
  policyId,
  stsHadAPart,
} from '../../../plugins/haraka/attempt'
import type { PlannedAttempt } from '../../../plugins/haraka/attempt'
import type { HMailItem, Recipient } from '../../../plugins/haraka/types'
import { facts, host, policy, rules, tlsa } from '../../support/facts'
import { refusedEnd } from '../../support/session-ends'

const planOf = (changes: Partial<Facts> = {}) => decide(facts(changes), rules(), () => 0)

function attempt(ends: readonly HostEnd[], changes: Partial<Facts> = {}): PlannedAttempt {
  return {
    kind: 'planned',
    domain: 'rcpt.test',
    plans: [planOf(changes)],
    ends: [...ends],
    rechecked: false,
    demand: undefined,
    secondRound: false,
    resume: () => undefined,
  }
}

const down = refusedEnd({ reason: 'connect-failed', detail: 'ECONNREFUSED', host: 'mx2.rcpt.test' })
const plainDown = { ...down, policy: 'none', require: 'opportunistic' } as const
const forged = refusedEnd({ detail: 'expected aa, presented bb' })

describe('the words of an attempt that came to nothing', () => {
  it('XC-05 names each host with its address, policy, reason and detail', () => {
    assert.equal(
      explain(attempt([forged, refusedEnd({ host: undefined, address: undefined, policy: 'none', reason: 'mx-lookup-failed', detail: 'SERVFAIL' } as never)])),
      'No mail host of rcpt.test could be used safely: mx1.rcpt.test [192.0.2.1] (dane) dane-no-match: ' +
        'expected aa, presented bb; mx-lookup-failed: SERVFAIL',
    ) // prettier-ignore
  })

  it('says of hosts that were accepted nothing, unless they were lost', () => {
    const verified = refusedEnd({ verdict: 'verified', reason: 'dane-ee-matched' })
    const lost = refusedEnd({ reason: 'tls-lost', detail: 'ECONNRESET', corrects: true })
    assert.doesNotMatch(explain(attempt([verified, down])), /mx1/)
    assert.match(explain(attempt([verified, lost])), /mx1.* tls-lost: ECONNRESET$/)
  })

  it('tells five and counts the rest', () => {
    const text = explain(attempt(Array.from({ length: 8 }, () => forged)))
    assert.equal(text.split('dane-no-match').length - 1, 5)
    assert.match(text, /; and 3 more$/)
  })

  it('is one line of printable ASCII, whatever servers say', () => {
    const text = explain(attempt([{ ...forged, detail: 'ü\r\nX\u001b[2J'.repeat(900) }]))
    assert.match(text, /^[\x20-\x7e]{100,1500}$/)
  })

  it('speaks of security before it speaks of reachability, and of what was demanded before what was not', () => {
    const plain = refusedEnd({ require: 'opportunistic', policy: 'none', reason: 'tls-handshake-failed' })
    assert.equal(leadingFailure(attempt([down, forged])), forged)
    assert.equal(leadingFailure(attempt([plain, down, forged])), forged)
    assert.equal(leadingFailure(attempt([down])), down)
    assert.equal(leadingFailure(attempt([])), undefined)
  }) // prettier-ignore
})

describe('whose words they are', () => {
  const cases: readonly (readonly [string, readonly HostEnd[], Partial<Facts>, boolean])[] = [
    ['a forged certificate', [forged], { hosts: [host({ tlsa: tlsa.usable })] }, true],
    ['a host that is down, where a policy demands TLS', [down], { hosts: [host({ tlsa: tlsa.usable })] }, true],
    ['a host that is down, without a policy', [plainDown], {}, false],
    ['a failed handshake, without a policy', [{ ...plainDown, reason: 'tls-handshake-failed' }], {}, false],
    ['no host failed', [], { hosts: [host({ tlsa: tlsa.usable })] }, false],
    ['a host that was not even contacted', [refusedEnd({ require: 'refuse', reason: 'no-address', policy: 'none' })], {}, true],
  ] // prettier-ignore
  for (const [title, ends, changes, ours] of cases) {
    it(`${title}: ${ours ? 'ours' : "Haraka's"}`, () => {
      assert.equal(policyHadAPart(attempt(ends, changes)), ours)
    })
  }

  it('SA-14 an MTA-STS policy had a part where it is enforced, and nowhere else', () => {
    for (const mode of ['enforce', 'testing', 'none'] as const)
      assert.equal(stsHadAPart(attempt([], { sts: policy(mode) })), mode === 'enforce')
    assert.equal(stsHadAPart(attempt([])), false)
  })

  it('SA-14 leaves a host out where the policy does not list it', () => {
    assert.equal(leavesAHostOut(planOf({ sts: policy('enforce', ['other.test']) })), true)
    assert.equal(leavesAHostOut(planOf({ sts: policy('enforce') })), false)
    assert.equal(leavesAHostOut(planOf({ sts: policy('testing', ['other.test']) })), false)
  })

  it('SA-14 knows another policy by its id, mode or hosts', () => {
    const id = (sts: Facts['sts']) => policyId(planOf({ sts }))
    const ids = [
      id({ kind: 'none' }),
      id(policy('enforce')),
      id(policy('testing')),
      id(policy('enforce', ['other.test'])),
    ]
    assert.equal(new Set(ids).size, ids.length)
    assert.equal(id(policy('enforce')), id(policy('enforce')))
  })
})

describe('what each recipient is told', () => {
  function told(kind: 4 | 5, text = 'why'): Recipient {
    const recipient: Recipient = {}
    const hmail = { todo: { domain: 'rcpt.test', rcpt_to: [recipient] } } as unknown as HMailItem
    describeToRecipients(hmail, { reason: 'dane-no-match', host: 'mx1.rcpt.test', policy: 'dane', text }, kind)
    return recipient
  } // prettier-ignore

  it('XC-05 mail that waits: delayed, with the code of the reason, and its source', () => {
    assert.deepEqual(told(4), {
      dsn_status: '4.7.5',
      dsn_code: 450,
      dsn_msg: 'why',
      dsn_action: 'delayed',
      reason: 'why (4.7.5; RFC 7672 section 3.2)',
      dsn_remote_mta: 'dns;mx1.rcpt.test',
    })
  })

  it('XC-05 mail that comes back: failed, and first of all in words for its author', () => {
    const { dsn_status, dsn_code, dsn_action, reason } = told(5)
    assert.deepEqual([dsn_status, dsn_code, dsn_action], ['5.7.5', 550, 'failed'])
    assert.match(reason ?? '', /^Mail to rcpt\.test must be protected .* For those who can: why \(/)
  })

  it('mail that comes back fits a line of mail (RFC 5322 section 2.1.1)', () => {
    assert.ok((told(5, 'x'.repeat(2000)).dsn_msg ?? '').length <= 480)
    assert.ok((told(5, 'x'.repeat(2000)).reason ?? '').length <= 998)
  })

  it('the last try is the one behind which the list of intervals ends', () => {
    const message = (failures: number) =>
      ({ num_failures: failures, cfg: { temp_fail_intervals: [60, 60] } }) as unknown as HMailItem
    assert.deepEqual([0, 1, 2].map((count) => isLastTry(message(count))), [false, false, true])
  }) // prettier-ignore
})
