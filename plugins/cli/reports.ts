/**
 * `reports`: what the workers of a running Haraka have counted for TLSRPT reports, out of the store that they use. Reading takes
 * nothing away.
 */
import type { TlsrptSettings } from '../tlsrpt/settings'
import { dayOf, isoDay, readDay } from '../tlsrpt/names'
import { makeReport, reportJson } from '../tlsrpt/report'
import { PARTS } from '../tlsrpt/types'
import type { Day, DomainDay, PolicyResult, Tallies } from '../tlsrpt/types'
import { normalizeHostName } from '../x509/names'
import { printable, wrap } from './words'

export interface ReportsToday {
  readonly version: 1
  readonly command: 'reports today'
  /** In UTC. */
  readonly day: string
  /** Whether the settings have Haraka count. */
  readonly counting: boolean
  readonly domains: readonly {
    readonly domain: string
    /** In the RFC's own words, as in a report. */
    readonly policies: readonly PolicyResult[]
  }[]
  readonly problem: string | null
  readonly exitCode: number
}

/** Parts that are read side by side. */
const AT_ONCE = 16

/** @param domain only this one */
export async function reportsToday(
  tallies: Tallies,
  settings: TlsrptSettings,
  now: number,
  domain: string | undefined,
): Promise<ReportsToday> {
  const day = dayOf(now)
  const read =
    domain === undefined ? await readAll(tallies, day) : await readOne(tallies, day, domain)
  const domains = typeof read === 'string' ? [] : read
  return {
    version: 1,
    command: 'reports today',
    day: isoDay(day),
    counting: settings.enabled,
    domains: [...domains]
      .sort((one, other) => (one.domain < other.domain ? -1 : 1))
      .map((one) => ({ domain: one.domain, policies: one.policies })),
    problem: typeof read === 'string' ? read : null,
    exitCode: typeof read === 'string' ? 1 : 0,
  }
}

async function readOne(tallies: Tallies, day: Day, domain: string) {
  const read = await tallies.readDomain(day, nameOf(domain))
  if (!read.ok) return unread(read.detail)
  return read.value === undefined ? [] : [read.value]
}

async function readAll(tallies: Tallies, day: Day): Promise<readonly DomainDay[] | string> {
  const found: DomainDay[] = []
  for (let first = 0; first < PARTS; first += AT_ONCE) {
    const parts = Array.from({ length: AT_ONCE }, (_, n) => tallies.readPart(day, first + n))
    for (const read of await Promise.all(parts)) {
      if (!read.ok) return unread(read.detail)
      found.push(...read.value)
    }
  }
  return found
}

function unread(detail: string): string {
  return `the counts cannot be read: ${printable(detail)}`
}

export type ReportShown =
  { readonly ok: true; readonly json: string } | { readonly ok: false; readonly problem: string }

/** The report as it would go. @param date `2026-11-27`; left out: today, as far as it has been counted */
export async function reportsShow(
  tallies: Tallies,
  { from, organization }: TlsrptSettings,
  now: number,
  domain: string,
  date: string | undefined,
): Promise<ReportShown> {
  if (from === undefined) {
    return { ok: false, problem: 'no reports are made: [tlsrpt] in tls-policy.ini has no from=' }
  }
  const day = date === undefined ? dayOf(now) : (readDay(date) ?? dayOf(now))
  const name = nameOf(domain)
  const [read, cluster] = await Promise.all([tallies.readDomain(day, name), tallies.cluster()])
  if (!read.ok) return { ok: false, problem: unread(read.detail) }
  if (!cluster.ok) return { ok: false, problem: unread(cluster.detail) }
  if (read.value === undefined) {
    const problem = `nothing was counted of ${printable(name)} on ${isoDay(day)}, or its report has gone`
    return { ok: false, problem }
  }
  const report = makeReport({
    counted: read.value,
    organization: organization ?? from.slice(from.lastIndexOf('@') + 1),
    contact: from,
    cluster: cluster.value,
  })
  return { ok: true, json: reportJson(report) }
}

function nameOf(domain: string): string {
  return normalizeHostName(domain) ?? domain
}

export function reportsTodayText(report: ReportsToday): readonly string[] {
  const { day, counting, domains, problem } = report
  return [
    ...(counting ? [] : wrap('', 'Nothing is counted: [tlsrpt] in tls-policy.ini has no from=.')),
    ...(problem === null && domains.length === 0 ? [`Nothing was counted on ${day}.`] : []),
    ...domains.flatMap(({ domain, policies }) => [
      ...wrap('', domain),
      ...policies.flatMap(policyText),
    ]),
    ...(problem === null ? [] : wrap('', `Problem: ${problem}`)),
  ]
}

function policyText({
  policy,
  summary,
  'failure-details': details,
}: PolicyResult): readonly string[] {
  const { 'policy-type': type, 'policy-domain': domain } = policy
  const counts =
    `${summary['total-successful-session-count']} successful, ` +
    `${summary['total-failure-session-count']} failed`
  return [
    ...wrap(`  ${type.padEnd(16)}`, `${printable(domain)}: ${counts}`),
    ...details.flatMap((detail) => {
      const { 'failed-session-count': count, 'failure-reason-code': code } = detail
      const { 'receiving-mx-hostname': host, 'receiving-ip': ip } = detail
      const words = [
        detail['result-type'],
        ...(code === undefined ? [] : [`(${printable(code)})`]),
        ...(host === undefined ? [] : [printable(host)]),
        ...(ip === undefined ? [] : [`[${printable(ip)}]`]),
      ]
      return wrap(' '.repeat(18), `${count} ${words.join(' ')}`)
    }),
  ]
}
