/** Told of the end of each host, counts it: for the reports of its next-hop domain, and for metrics. Never throws. */
import { isIP } from 'node:net'
import type { HostEnd } from '../delivery/host-end'
import type { Facts } from '../delivery/types'
import { isDomain } from '../store/record'
import { additionsOfPlan, attribute } from './attribute'
import type { Tally } from './tally'
import type { PolicyType, ResultType } from './types'

export interface CountingTools {
  readonly tally: Pick<Tally, 'add'>
  /** Asked each time, as settings may change. */
  readonly isOn: () => boolean
  readonly metrics: {
    reportSession(policy: PolicyType, result: 'success' | 'failure'): void
    reportFailure(type: ResultType): void
  }
}

export function createCounting({ tally, isOn, metrics }: CountingTools): (end: HostEnd) => void {
  /** Plans whose trouble with MTA-STS has been counted: several hosts end under one. */
  const counted = new WeakSet<Facts>()

  return (end) => {
    const { facts } = end
    if (!isOn() || facts === undefined) return
    // Where mail is routed to an address, there is no domain that could ask for a report.
    if (!isDomain(facts.nextHop) || isIP(facts.nextHop) !== 0) return
    const ofPlan = counted.has(facts) ? [] : additionsOfPlan(facts)
    counted.add(facts)
    const additions = [...attribute(end), ...ofPlan]
    if (additions.length === 0) return
    tally.add(facts.nextHop, additions)
    for (const { policy, success, failure, detail } of additions) {
      if (success > 0) metrics.reportSession(policy['policy-type'], 'success')
      if (failure > 0) metrics.reportSession(policy['policy-type'], 'failure')
      if (detail !== undefined) metrics.reportFailure(detail['result-type'])
    }
  }
}
