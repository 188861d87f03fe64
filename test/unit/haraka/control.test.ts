import assert from 'node:assert/strict'
import { cont, ok } from 'haraka-constants'
import { decide } from '../../../plugins/delivery/decide'
import type { Facts, Plan } from '../../../plugins/delivery/types'
import type { HarakaMx } from '../../../plugins/haraka/types'
import { controlOver, deferredOnce, message, planOf } from '../../support/controlled'
import { facts, host, policy, rules, secureMx, servfail } from '../../support/facts'

/** Two hosts, the better one not listed in the policy. */
const hosts = [
  host({ host: 'mx1.rcpt.test', preference: 10 }),
  host({ host: 'mx2.rcpt.test', preference: 20 }),
]
const world: Partial<Facts> = {
  mx: secureMx('mx1.rcpt.test', 'mx2.rcpt.test'),
  hosts,
  sts: policy('enforce', ['mx2.rcpt.test']),
}

/** What becomes of a message whose second look at the policy finds this. */
async function secondLook(changes: Partial<Facts> | undefined) {
  const plan = (given: Partial<Facts>): Plan =>
    decide(facts({ ...world, ...given }), rules(), () => 0)
  const ends: string[] = []
  const control = controlOver((_domain, { recheck = false } = {}) =>
    recheck && changes === undefined
      ? Promise.reject(new Error('no second look'))
      : Promise.resolve(plan(recheck ? (changes ?? {}) : {})),
  )
  const hmail = message(ends)
  await control.getMxRespond(hmail, cont, undefined, (retval, list) => {
    assert.equal(retval, ok)
    for (const mx of list as HarakaMx[]) {
      ends.push(`${mx.from_dns ?? ''} ${control.getForceTls(hmail, mx, () => false) ? 'TLS' : ''}`)
    }
  })
  return ends
}

describe('control: another look at the policy, because a host is not listed', () => {
  const listed = ['mx2.rcpt.test TLS']
  const cases: readonly (readonly [string, Partial<Facts> | undefined, readonly string[]])[] = [
    ['the same: the listed host', {}, listed],
    ['a failure of ours: the listed host', undefined, listed],
    [
      'a failed MX lookup: the listed host',
      { mx: { kind: 'failed', failure: servfail }, sts: { kind: 'not-asked' } },
      listed,
    ],
    [
      'a denial that may be forged: the listed host, and no bounce',
      { mx: { kind: 'nxdomain', security: 'insecure' }, sts: { kind: 'not-asked' } },
      listed,
    ],
    [
      'no policy any more: the one that stood holds for this attempt',
      { sts: { kind: 'none' } },
      listed,
    ],
    [
      'another policy: what it says',
      { sts: policy('enforce', ['mx1.rcpt.test']) },
      ['mx1.rcpt.test TLS'],
    ],
    [
      'a policy in mode none: both hosts',
      { sts: policy('none') },
      ['mx1.rcpt.test ', 'mx2.rcpt.test '],
    ],
  ]
  for (const [title, changes, expected] of cases) {
    it(`SA-14 finds ${title}`, async () => {
      assert.deepEqual(await secondLook(changes), expected)
    })
  }
})

describe('control: a message that waits', () => {
  for (const err of ['Tried all MXs', 'Upstream error: 450 later']) {
    it(`XC-09 and is sent to nobody before it is decided upon again (${err})`, async () => {
      const control = controlOver(() => Promise.resolve(planOf(0)))
      const { hmail, first } = await deferredOnce(control, err)
      assert.equal(
        control.getForceTls(hmail, first, () => false),
        true,
      )
      const said: unknown[] = []
      control.getClient(
        first,
        (why) => said.push(why),
        () => assert.fail('a connection is made'),
      )
      assert.match(String(said[0]), /nothing was decided/)
    })
  }
})
