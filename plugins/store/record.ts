/**
 * How records look in a file or in Redis, and which of the texts found there are taken for one. Pure.
 *
 * Others may be able to write there, and may have written anything: a text that is not exactly a record of ours, for this very
 * domain, is refused as if it were absent. Each text starts with the version of its format.
 */
import type { PolicyRecord } from './types'

/** Octets of a whole record; a policy body is at most 64 KiB unless the operator says otherwise. */
export const MAX_RECORD = 1_048_576
export const MAX_NOTE = 1_000
/** Days for which the mark of a domain's last use is kept at least. */
export const MARK_DAYS = 200
/** Milliseconds: max_age is at most 31557600 s (RFC 8461 §3.2). */
export const MAX_LIFETIME = 31_557_600_000
/**
 * Milliseconds for which an expired record stays: a clock that jumps forward and back again must not have destroyed
 * policies on the way. Such a record is never applied.
 */
export const GRACE = 86_400_000

const VERSION = '1'
const DOMAIN = /^[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}$/
const ID = /^[A-Za-z0-9]{1,32}$/
const NOTE_NAME = /^[a-z0-9-]{1,32}(?:\/[A-Za-z0-9]{1,32})?$/

export function isDomain(text: string): boolean {
  return text.length <= 253 && DOMAIN.test(text)
}

/** In the place of a domain: a note that is of none. */
export const NO_DOMAIN = '.'

export function isNote(domain: string, name: string): boolean {
  return (domain === NO_DOMAIN || isDomain(domain)) && NOTE_NAME.test(name)
}

/** `1 <id> <fetchedAt> <expiresAt> <domain>`, a line feed, and the policy as served. */
export function encodeRecord(record: PolicyRecord): string {
  const { id, fetchedAt, expiresAt, domain, text } = record
  return `${VERSION} ${id} ${fetchedAt} ${expiresAt} ${domain}\n${text}`
}

/** @returns undefined for anything but a whole record of this domain */
export function decodeRecord(found: unknown, domain: string): PolicyRecord | undefined {
  if (typeof found !== 'string' || Buffer.byteLength(found) > MAX_RECORD) return undefined
  const end = found.indexOf('\n')
  // Two numbers, an id and a domain; a longer line is refused without splitting it.
  if (end < 0 || end > 400) return undefined
  const fields = found.slice(0, end).split(' ')
  const [version, id = '', fetched = '', expires = '', name] = fields
  const fetchedAt = readTime(fetched)
  const expiresAt = readTime(expires)
  if (fields.length !== 5 || version !== VERSION || !ID.test(id) || name !== domain)
    return undefined
  if (fetchedAt === undefined || expiresAt === undefined) return undefined
  if (expiresAt < fetchedAt || expiresAt - fetchedAt > MAX_LIFETIME) return undefined
  return { domain, id, text: found.slice(end + 1), fetchedAt, expiresAt }
}

/** Milliseconds since the epoch, or any other count, in at most 15 digits. */
export function readTime(text: unknown): number | undefined {
  return typeof text === 'string' && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined
}

/** @returns what is wrong with a record to be stored, or undefined */
export function whyUnstorable(record: PolicyRecord): string | undefined {
  if (!isDomain(record.domain)) return 'not a domain'
  const text = encodeRecord(record)
  if (Buffer.byteLength(text) > MAX_RECORD) return `longer than ${MAX_RECORD} octets`
  return decodeRecord(text, record.domain) === undefined ? 'not a whole record' : undefined
}

/** Which of two records of a domain is the later one; a time that has not come yet counts as now. */
export function isFetchedLater(one: PolicyRecord, other: PolicyRecord, now: number): boolean {
  return Math.min(one.fetchedAt, now) > Math.min(other.fetchedAt, now)
}
