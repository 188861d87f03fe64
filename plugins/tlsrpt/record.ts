/**
 * The TXT record at `_smtp._tls.<policy domain>` (RFC 8460 §3), as a pure function of the answer's records.
 *
 * Promises: octets in, typed outcome out, never an exception; order of judgement is the RFC's own (discard what does not begin with
 * the version, then count, then read). A destination that cannot be used is skipped with a reason; the others are used.
 * Pure.
 */
import { oneLine } from '../mta-sts/one-line'

export type Destination =
  /** One address, US-ASCII, its local part quoted where it must be. */
  | { readonly kind: 'mailto'; readonly address: string }
  | { readonly kind: 'https'; readonly url: string }

export type ReportRecord =
  | {
      readonly kind: 'record'
      /** In the order of the record, each once, at most MOST_DESTINATIONS. */
      readonly destinations: readonly Destination[]
      /** Why others are not used; one line each. */
      readonly skipped: readonly string[]
    }
  /** No record begins with the version: the domain wants no reports. */
  | { readonly kind: 'none' }
  /** Several records, or the only one cannot be read: treat as none. */
  | { readonly kind: 'invalid'; readonly detail: string }

/** More than anybody has use for; each is a mail to a stranger. */
export const MOST_DESTINATIONS = 5
/** Characters of one URI. */
const MOST_URI = 1_000
const MOST_SKIPPED = 10

/** The ABNF allows blanks before the semicolon; the discard rule is written without them. Such a record counts (TR-15). */
const VERSION = /^v=TLSRPTv1[ \t]*;/
const FIELD_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/

/** Where the record of a policy domain is. */
export function reportName(domain: string): string {
  return `_smtp._tls.${domain}`
}

/** @param txt one entry a record, its character-strings already joined without a separator */
export function parseReportRecord(txt: readonly Buffer[]): ReportRecord {
  // latin1 keeps one character an octet: what is not US-ASCII fails below instead of being decoded.
  const records = txt
    .map((record) => record.toString('latin1'))
    .filter((text) => VERSION.test(text))
  const [record] = records
  if (record === undefined) return { kind: 'none' }
  if (records.length > 1) {
    const detail = `${records.length} records begin with v=TLSRPTv1, one is allowed`
    return { kind: 'invalid', detail }
  }
  const uris = urisIn(record.slice(record.indexOf(';') + 1))
  return typeof uris === 'string' ? { kind: 'invalid', detail: uris } : chooseFrom(uris)
}

/** All of all `rua` fields; other fields are ignored (RFC 8460 §3). @returns a sentence where the record cannot be read */
function urisIn(fields: string): readonly string[] | string {
  const uris: string[] = []
  for (const part of fields.split(';')) {
    const field = trim(part)
    if (field === '') continue
    const equals = field.indexOf('=')
    const name = trim(field.slice(0, Math.max(equals, 0)))
    if (equals < 0 || !FIELD_NAME.test(name)) return `not a field: "${oneLine(field, 80)}"`
    // A comma of a URI's own arrives percent-encoded.
    if (name === 'rua') uris.push(...field.slice(equals + 1).split(','))
  }
  return uris.length === 0 ? 'rua is missing' : uris.map(trim)
}

function chooseFrom(uris: readonly string[]): ReportRecord {
  const destinations = new Map<string, Destination>()
  const skipped: string[] = []
  for (const uri of uris) {
    const destination = readUri(uri)
    if (typeof destination === 'string') {
      if (skipped.length < MOST_SKIPPED) skipped.push(`${destination}: "${oneLine(uri, 80)}"`)
    } else if (destinations.size < MOST_DESTINATIONS) {
      const key = destination.kind === 'mailto' ? destination.address : destination.url
      if (!destinations.has(key)) destinations.set(key, destination)
    }
  }
  return { kind: 'record', destinations: [...destinations.values()], skipped }
}

/** @returns why it is not used, in a few words */
function readUri(uri: string): Destination | string {
  if (uri === '') return 'empty'
  if (uri.length > MOST_URI) return `longer than ${MOST_URI} characters`
  if (!/^[\x21-\x7e]+$/.test(uri)) return 'not a URI'
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(uri)?.[1]?.toLowerCase()
  switch (scheme) {
    case 'mailto':
      return readMailto(uri.slice('mailto:'.length))
    case 'https':
      return readHttps(uri)
    case undefined:
      return 'without a scheme'
    default:
      return 'neither mailto nor https'
  }
}

/** Header fields behind a question mark are ignored, and so are further addresses: a report is ours, not the record's (RFC 6068). */
function readMailto(rest: string): Destination | string {
  const encoded = (rest.split(/[?#]/, 1)[0] ?? '').split(',', 1)[0] ?? ''
  let decoded: string
  try {
    decoded = decodeURIComponent(encoded)
  } catch {
    return 'not percent-encoded'
  }
  const address = readAddress(decoded)
  return address === undefined ? 'not a mail address' : { kind: 'mailto', address }
}

function readHttps(uri: string): Destination | string {
  if (!URL.canParse(uri)) return 'not a URL'
  const { hostname, username, password } = new URL(uri)
  if (username !== '' || password !== '') return 'with a login'
  return hostname === '' ? 'without a host' : { kind: 'https', url: uri }
}

const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
const DOT_ATOM = new RegExp(`^${ATOM}(?:\\.${ATOM})*$`)
const LABEL = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?'
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`)

/**
 * A bare address (RFC 5321 §4.1.2), as it goes into an envelope and a header.
 * @returns with its local part quoted where it must be; undefined where it is none, or not all US-ASCII
 */
export function readAddress(text: string): string | undefined {
  const at = text.lastIndexOf('@')
  const domain = text.slice(at + 1)
  if (at < 1 || domain.length > 253 || !DOMAIN.test(domain)) return undefined
  const local = localPart(text.slice(0, at))
  return local === undefined || local.length > 64 ? undefined : `${local}@${domain.toLowerCase()}`
}

function localPart(text: string): string | undefined {
  if (DOT_ATOM.test(text)) return text
  const quoted = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\[\x20-\x7e])*)"$/.exec(text)?.[1]
  const content = quoted === undefined ? text : quoted.replace(/\\(.)/g, '$1')
  // Two addresses in one, or a mistake.
  if (quoted === undefined && content.includes('@')) return undefined
  if (content === '' || !/^[\x20-\x7e]+$/.test(content)) return undefined
  return DOT_ATOM.test(content) ? content : `"${content.replace(/["\\]/g, '\\$&')}"`
}

function trim(text: string): string {
  let start = 0
  let end = text.length
  while (text[start] === ' ' || text[start] === '\t') start += 1
  while (end > start && (text[end - 1] === ' ' || text[end - 1] === '\t')) end -= 1
  return text.slice(start, end)
}
