/**
 * One report to its destinations (RFC 8460 §3, §5.3, §5.4), and what came of it.
 *
 * Promises: the same counts, first tried at the same time, give the same octets at each try; no more destinations than the record
 * gives are used; without a DKIM key no mail is sent. Never rejects. It is delivered as soon as one destination has taken it.
 */
import { gzipSync } from 'node:zlib'
import { troubleText } from '../x509/trouble'
import type { Stored } from '../store'
import type { KeyFound } from './key'
import { composeReport } from './mail'
import { fileName, isoDay, reportId, subject, submitterOf } from './names'
import type { Posted } from './post'
import type { Destination } from './record'
import { makeReport, reportJson } from './report'
import type { DomainDay, Report } from './types'

export interface OutgoingMail {
  readonly from: string
  readonly to: string
  readonly message: string
  /** The policy domain, for the log. */
  readonly domain: string
}

/** Whether a message of ours is in the queue, on the disk. */
export type Sent = { readonly ok: true } | { readonly ok: false; readonly detail: string }

export interface DeliverSettings {
  readonly from: string
  readonly organization: string
  readonly https: boolean
  /** A copy of each mail. */
  readonly bcc: string | undefined
  /** Domains and addresses that get nothing; lower case. */
  readonly never: readonly string[]
}

export interface DeliverTools {
  readonly settings: DeliverSettings
  readonly key: () => KeyFound
  readonly send: (mail: OutgoingMail) => Promise<Sent>
  readonly post: (url: string, body: Buffer) => Promise<Posted>
  /** Whether reports to an address came back lately. */
  readonly isLeftAlone: (address: string) => Promise<Stored<boolean>>
  readonly count: (by: 'mail' | 'https', result: 'sent' | 'failed' | 'refused') => void
}

export interface ReportToSend {
  readonly counted: DomainDay
  /** Eight letters of all who share the store. */
  readonly cluster: string
  /** When it was tried first, in milliseconds since the epoch: the date of the message. */
  readonly firstTried: number
}

export type Delivered =
  | { readonly kind: 'taken' }
  /** May be tried again. */
  | { readonly kind: 'failed'; readonly detail: string }
  /** Trying again would give the same. */
  | { readonly kind: 'refused'; readonly detail: string }

export async function deliverReport(
  { counted, cluster, firstTried }: ReportToSend,
  destinations: readonly Destination[],
  tools: DeliverTools,
): Promise<Delivered> {
  const { settings } = tools
  const { domain, day } = counted
  const submitter = submitterOf(settings.from)
  const naming = { day, domain, cluster, submitter }
  const report = makeReport({
    counted,
    organization: settings.organization,
    contact: settings.from,
    cluster,
  })
  const gzipped = gzipSync(reportJson(report))

  async function byMail(address: string): Promise<Delivered> {
    const leftAlone = await tools.isLeftAlone(address)
    if (!leftAlone.ok) return { kind: 'failed', detail: leftAlone.detail }
    if (leftAlone.value)
      return { kind: 'refused', detail: `${address} is left alone: reports came back` }
    const found = tools.key()
    // It may be put there yet.
    if (!found.ok) return { kind: 'failed', detail: found.detail }
    const composed = await composeReport(
      {
        from: settings.from,
        to: address,
        domain,
        submitter,
        reportId: reportId(naming),
        subject: subject(naming),
        fileName: fileName(naming),
        date: new Date(firstTried),
        text: inPlainText(report, counted, submitter),
        gzipped,
      },
      found.key,
    )
    if (!composed.ok) return { kind: 'failed', detail: composed.detail }
    const mail = { from: settings.from, domain, message: composed.message }
    const sent = await tools.send({ ...mail, to: address })
    if (!sent.ok) return { kind: 'failed', detail: sent.detail }
    // The copy is the operator's own; that it fails is no reason to send the report again.
    if (settings.bcc !== undefined) await tools.send({ ...mail, to: settings.bcc })
    return { kind: 'taken' }
  }

  async function byHttps(url: string): Promise<Delivered> {
    const posted = await tools.post(url, gzipped)
    return posted.kind === 'taken' ? { kind: 'taken' } : posted
  }

  const outcomes: Delivered[] = []
  for (const destination of inOrder(destinations, settings)) {
    const isMail = destination.kind === 'mailto'
    let outcome: Delivered
    try {
      outcome = isMail ? await byMail(destination.address) : await byHttps(destination.url)
    } catch (error: unknown) {
      outcome = { kind: 'failed', detail: troubleText(error) }
    }
    tools.count(isMail ? 'mail' : 'https', outcome.kind === 'taken' ? 'sent' : outcome.kind)
    outcomes.push(outcome)
  }
  return summary(outcomes)
}

/** Mail first: its receiver can tell by the signature from whom it is. */
function inOrder(
  destinations: readonly Destination[],
  { https, never }: DeliverSettings,
): readonly Destination[] {
  const isWanted = (destination: Destination): boolean => {
    if (destination.kind === 'https') {
      return https && !never.includes(new URL(destination.url).hostname.toLowerCase())
    }
    const address = destination.address.toLowerCase()
    return !never.includes(address) && !never.includes(address.slice(address.lastIndexOf('@') + 1))
  }
  const wanted = destinations.filter(isWanted)
  return [
    ...wanted.filter(({ kind }) => kind === 'mailto'),
    ...wanted.filter(({ kind }) => kind === 'https'),
  ]
}

function summary(outcomes: readonly Delivered[]): Delivered {
  if (outcomes.some(({ kind }) => kind === 'taken')) return { kind: 'taken' }
  const failed = outcomes.filter((outcome) => outcome.kind === 'failed')
  const told = failed.length > 0 ? failed : outcomes.filter(({ kind }) => kind === 'refused')
  const detail = told.map((one) => ('detail' in one ? one.detail : '')).join('; ')
  if (outcomes.length === 0) return { kind: 'refused', detail: 'no destination may be used' }
  return { kind: failed.length > 0 ? 'failed' : 'refused', detail }
}

/** What the attachment says, for a human. */
function inPlainText(report: Report, { domain, day }: DomainDay, submitter: string): string {
  const lines = report.policies.map(({ policy, summary }) => {
    const good = summary['total-successful-session-count']
    const bad = summary['total-failure-session-count']
    return `  ${policy['policy-type']} (${policy['policy-domain']}): ${good} sessions successful, ${bad} failed`
  })
  return [
    `This is an aggregate report on TLS from ${submitter} (RFC 8460).`,
    '',
    `It is about mail to ${domain} on ${isoDay(day)}, UTC.`,
    '',
    ...lines.slice(0, 20),
    '',
    'All of it is in the attachment, which is JSON, compressed with gzip.',
    '',
  ].join('\r\n')
}
