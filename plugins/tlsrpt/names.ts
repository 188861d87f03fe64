/** How a report, its file and its mail are called (RFC 8460 §5.1, §5.3); the same each time for the same day, domain and cluster. Pure. */
import type { Day } from './types'

export interface Naming {
  readonly day: Day
  /** The next-hop domain. */
  readonly domain: string
  /** Tells the reports of one cluster from those of another of the same submitter. */
  readonly cluster: string
  readonly submitter: string
}

const DAY_MS = 86_400_000

/** @param at milliseconds since the epoch */
export function dayOf(at: number): Day {
  return Math.floor(at / DAY_MS)
}

/** Milliseconds since the epoch. */
export function startOfDay(day: Day): number {
  return day * DAY_MS
}

/** `2026-11-27` */
export function isoDay(day: Day): string {
  return new Date(startOfDay(day)).toISOString().slice(0, 10)
}

/** @returns undefined for anything but a day as isoDay writes it */
export function readDay(text: string): Day | undefined {
  const at = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  // A 30th of February is read as the 2nd of March.
  return Number.isNaN(at) || at < 0 || isoDay(dayOf(at)) !== text ? undefined : dayOf(at)
}

/** The reporting domain: that of the contact address (RFC 8460 §5.1, §5.3). */
export function submitterOf(contact: string): string {
  return contact.slice(contact.lastIndexOf('@') + 1).toLowerCase()
}

/** The report-id, and the Message-ID without its brackets: no two days, domains or clusters share one. */
export function reportId({ day, domain, cluster, submitter }: Naming): string {
  return `${isoDay(day)}.${domain}.${cluster}@${submitter}`
}

/** `submitter!policy-domain!begin!end!unique.json.gz`, times in seconds (RFC 8460 §5.1). */
export function fileName(
  { day, domain, cluster, submitter }: Naming,
  extension: 'json.gz' | 'json' = 'json.gz',
): string {
  const begin = startOfDay(day) / 1000
  const end = startOfDay(day + 1) / 1000 - 1
  return `${[submitter, domain, begin, end, cluster].join('!')}.${extension}`
}

/** RFC 8460 §5.3. */
export function subject(naming: Naming): string {
  const { domain, submitter } = naming
  return `Report Domain: ${domain} Submitter: ${submitter} Report-ID: <${reportId(naming)}>`
}
