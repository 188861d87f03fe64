/** The counters of TLSRPT in Prometheus' form (docs/metrics.md). */
import type * as promClient from 'prom-client'
import type { Registry } from 'prom-client'
import { RESULT_TYPES } from '../tlsrpt/types'
import type { Metrics, ReportPolicy } from './metrics'

const POLICIES: Readonly<Record<ReportPolicy, string>> = {
  tlsa: 'tlsa',
  sts: 'sts',
  'no-policy-found': 'none',
}

export function reportCounters(
  client: typeof promClient,
  registers: Registry[],
  prefix: string,
): Pick<
  Metrics,
  'reportSession' | 'reportFailure' | 'reportLost' | 'reportDone' | 'reportGivenUp' | 'reportRecord'
> {
  const sessions = new client.Counter({
    name: `${prefix}report_sessions_total`,
    help: 'Sessions counted for TLSRPT reports, under each policy, by result.',
    labelNames: ['policy', 'result'],
    registers,
  })
  const failures = new client.Counter({
    name: `${prefix}report_failures_total`,
    help: 'Failures counted for TLSRPT reports, by result type (RFC 8460 section 4.3).',
    labelNames: ['type'],
    registers,
  })
  const lost = new client.Counter({
    name: `${prefix}report_lost_total`,
    help: 'Counts that are in no TLSRPT report, by why they were lost.',
    labelNames: ['why'],
    registers,
  })
  const done = new client.Counter({
    name: `${prefix}reports_total`,
    help: 'TLSRPT reports to a destination, by way and result of the try.',
    labelNames: ['by', 'result'],
    registers,
  })
  const givenUp = new client.Counter({
    name: `${prefix}reports_given_up_total`,
    help: 'TLSRPT reports that no destination will get, by why.',
    labelNames: ['why'],
    registers,
  })
  const records = new client.Counter({
    name: `${prefix}report_domains_total`,
    help: 'Lookups of whether a domain wants a TLSRPT report, by what was found.',
    labelNames: ['record'],
    registers,
  })
  for (const by of ['mail', 'https']) {
    for (const result of ['sent', 'failed', 'refused']) done.inc({ by, result }, 0)
  }
  for (const why of ['time', 'bound', 'refused']) givenUp.inc({ why }, 0)
  for (const record of ['record', 'none', 'failed']) records.inc({ record }, 0)
  for (const policy of Object.values(POLICIES)) {
    for (const result of ['success', 'failure']) sessions.inc({ policy, result }, 0)
  }
  for (const type of RESULT_TYPES) failures.inc({ type }, 0)
  for (const why of ['bound', 'store']) lost.inc({ why }, 0)

  return {
    reportSession(policy, result) {
      sessions.inc({ policy: POLICIES[policy], result })
    },
    reportFailure(type) {
      failures.inc({ type })
    },
    reportLost(why, count) {
      lost.inc({ why }, count)
    },
    reportDone(by, result) {
      done.inc({ by, result })
    },
    reportGivenUp(why) {
      givenUp.inc({ why })
    },
    reportRecord(record) {
      records.inc({ record })
    },
  }
}
