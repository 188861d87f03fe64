import assert from 'node:assert/strict'
import { cont, ok } from 'haraka-constants'
import { decide } from '../../../plugins/delivery/decide'
import type { Planner } from '../../../plugins/delivery/planner'
import type { Facts, Plan } from '../../../plugins/delivery/types'
import { createControl } from '../../../plugins/haraka/control'
import type { HarakaMx, HMailItem } from '../../../plugins/haraka/types'
import { octetsAlive } from '../../support/heap'
import { facts, host, policy, rules, secureMx, servfail } from '../../support/facts'

class Mx {
  constructor(source: HarakaMx | string) {
    Object.assign(this, source)
  }
}

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

/** Leads messages by these decisions. */
function controlOver(planForDomain: Planner['planForDomain']) {
  return createControl({
    planner: { planForDomain, planForRoute: () => Promise.reject(new Error('no route')) },
    honourTlsRequiredNo: () => true,
    requiretlsHop: () => undefined,
    treatment: () => 'enforce',
    harakaMx: Mx,
    contexts: {
      contextFor: () => assert.fail('no connection is made'),
      sessionOptions: () => assert.fail('no connection is made'),
      withSharedContext: () => assert.fail('no connection is made'),
    },
    contextSettings: () => ({ minVersion: 'TLSv1.2', ca: undefined }),
    now: () => new Date(),
    decisionTimeoutMs: () => 1000,
    ended: () => undefined,
  })
}

/** A message in Haraka's queue that has told how it ended. */
function message(ends: string[], more: object = {}): HMailItem {
  const log = () => undefined
  return {
    todo: { domain: 'rcpt.test', rcpt_to: [{}] },
    cfg: { temp_fail_intervals: [60, 60] },
    num_failures: 0,
    temp_fail: () => ends.push('deferred'),
    bounce: () => ends.push('bounced'),
    loginfo: log,
    lognotice: log,
    logerror: log,
    logcrit: log,
    ...more,
  } as unknown as HMailItem
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

describe('control: a message that waits', function () {
  this.timeout(60_000)

  /** Comes to nothing: each host takes the connection and then Haraka gives up. @returns what Haraka keeps of it */
  async function deferredOnce(control: ReturnType<typeof controlOver>, err: string) {
    const mxlist: HarakaMx[] = []
    const ends: string[] = []
    const hmail = message(ends, { mxlist })
    await control.getMxRespond(hmail, cont, undefined, (_retval, list) => {
      mxlist.push(...(list as HarakaMx[]))
    })
    for (const mx of mxlist) control.getForceTls(hmail, mx, () => false)
    const [first] = mxlist
    assert.ok(first)
    control.tempFail(hmail, err, undefined, () => ends.push('deferred'))
    assert.deepEqual(ends, ['deferred'])
    return { hmail, first }
  }
  const planOf = (n: number): Plan =>
    decide(facts({ nextHop: `d${n}.test`, sts: policy('enforce') }), rules(), () => 0)

  for (const err of ['Tried all MXs', 'Upstream error: 450 later']) {
    it(`XC-13 keeps nothing of the attempt in memory (${err})`, async () => {
      let count = 0
      const control = controlOver(() => {
        const plan = planOf(count++)
        return Promise.resolve({ ...plan, facts: { ...plan.facts, ballast: Buffer.alloc(50_000) } })
      })
      const before = await octetsAlive()
      const waiting: unknown[] = []
      for (let n = 0; n < 200; n++) waiting.push(await deferredOnce(control, err))
      const taken = (await octetsAlive()) - before
      assert.equal(waiting.length, 200)
      assert.ok(taken < 2_000_000, `${taken} taken`)
    })

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
