/** The counts of a domain-day as a report (RFC 8460 §4.4): the same octets each time for the same counts. Pure. */
import { isoDay, reportId, submitterOf } from './names'
import type { Detail, DomainDay, FailureDetails, Policy, PolicyResult, Report } from './types'

export interface ReportSource {
  readonly counted: DomainDay
  readonly organization: string
  /** A bare address, which is also the reporting domain's. */
  readonly contact: string
  readonly cluster: string
}

export function makeReport({ counted, organization, contact, cluster }: ReportSource): Report {
  const { day, domain } = counted
  return {
    'organization-name': organization,
    'date-range': {
      'start-datetime': `${isoDay(day)}T00:00:00Z`,
      'end-datetime': `${isoDay(day)}T23:59:59Z`,
    },
    'contact-info': contact,
    'report-id': reportId({ day, domain, cluster, submitter: submitterOf(contact) }),
    policies: counted.policies.map(inOrder),
  }
}

/** US-ASCII, whatever others' policies hold, with a line feed at its end. */
export function reportJson(report: Report): string {
  const json = JSON.stringify(report, undefined, 2)
  const ascii = json.replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return `${ascii}\n`
}

/** Keys in the order of the RFC's example, whatever order they were read in. */
function inOrder({ policy, summary, 'failure-details': details }: PolicyResult): PolicyResult {
  return {
    policy: policyInOrder(policy),
    summary: {
      'total-successful-session-count': summary['total-successful-session-count'],
      'total-failure-session-count': summary['total-failure-session-count'],
    },
    'failure-details': details.map(detailsInOrder),
  }
}

export function policyInOrder(policy: Policy): Policy {
  const { 'policy-string': text, 'mx-host': hosts } = policy
  return {
    'policy-type': policy['policy-type'],
    ...(text === undefined ? {} : { 'policy-string': text }),
    'policy-domain': policy['policy-domain'],
    ...(hosts === undefined ? {} : { 'mx-host': hosts }),
  }
}

const DETAIL_KEYS = [
  'sending-mta-ip',
  'receiving-mx-hostname',
  'receiving-mx-helo',
  'receiving-ip',
  'failure-reason-code',
] as const

export function detailInOrder(detail: Detail): Detail {
  const present = DETAIL_KEYS.filter((key) => detail[key] !== undefined)
  return {
    'result-type': detail['result-type'],
    ...Object.fromEntries(present.map((key) => [key, detail[key]])),
  }
}

function detailsInOrder(details: FailureDetails): FailureDetails {
  const { 'failed-session-count': count } = details
  return { ...detailInOrder(details), 'failed-session-count': count }
}
