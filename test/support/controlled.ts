/** Messages in Haraka's queue, led by the control of deliveries over decisions that a test makes. */
import assert from 'node:assert/strict'
import { cont } from 'haraka-constants'
import { decide } from '../../plugins/delivery/decide'
import type { Planner } from '../../plugins/delivery/planner'
import type { Plan } from '../../plugins/delivery/types'
import { createControl } from '../../plugins/haraka/control'
import type { HarakaMx, HMailItem } from '../../plugins/haraka/types'
import { facts, policy, rules } from './facts'

class Mx {
  constructor(source: HarakaMx | string) {
    Object.assign(this, source)
  }
}

/** Leads messages by these decisions. */
export function controlOver(planForDomain: Planner['planForDomain']) {
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
export function message(ends: string[], more: object = {}): HMailItem {
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

/** Comes to nothing: each host takes the connection and then Haraka gives up. @returns what Haraka keeps of it */
export async function deferredOnce(control: ReturnType<typeof controlOver>, err: string) {
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

export const planOf = (n: number): Plan =>
  decide(facts({ nextHop: `d${n}.test`, sts: policy('enforce') }), rules(), () => 0)
