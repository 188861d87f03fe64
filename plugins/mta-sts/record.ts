/**
 * The TXT record at `_mta-sts.<policy domain>` (RFC 8461 §3.1), as a pure function of the answer's records.
 *
 * Promises: octets in, typed outcome out, in time linear in their number; order of judgement is the RFC's own (prefix
 * filter, then count, then syntax), so that a broken second record cannot be overlooked.
 * Refuses: any deviation from the ABNF. A record that somebody only nearly wrote must not start or steer a policy.
 */
import { own } from '../bounded/octets'
import { oneLine } from './one-line'

/** What the TXT records of one name come to. */
export type StsRecord =
  | { readonly kind: 'record'; readonly id: string }
  /** No record begins with the version: the domain does not speak MTA-STS (a wildcard SPF record, say). */
  | { readonly kind: 'none' }
  /** Several records, or the only one is malformed: treat as none, and tell the operator. */
  | { readonly kind: 'invalid'; readonly detail: string }

/**
 * The discard rule's literal prefix is `v=STSv1;`; the ABNF allows white space before the semicolon. Such a record
 * counts (erratum 6285): it is the domain owner's, and counting it can only ask for more care, never for less.
 */
const VERSION = /^v=STSv1[ \t]*;/
const ID = /^[A-Za-z0-9]{1,32}$/
const EXTENSION_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/
const EXTENSION_VALUE = /^[\x21-\x3a\x3c\x3e-\x7e]+$/

/**
 * Reads the records of a TXT answer.
 * @param txt one entry a record, its character-strings already joined without a separator
 */
export function parseRecords(txt: readonly Buffer[]): StsRecord {
  // latin1 keeps one character an octet: what is not US-ASCII fails the grammar below instead of being decoded.
  const records = txt
    .map((record) => record.toString('latin1'))
    .filter((text) => VERSION.test(text))
  const [record] = records
  if (record === undefined) return { kind: 'none' }
  if (records.length > 1) {
    return {
      kind: 'invalid',
      detail: `${records.length} records begin with v=STSv1, one is allowed`,
    }
  }
  return parseFields(record.slice(record.indexOf(';') + 1))
}

/** `text` is what follows the first semicolon: fields between `*WSP ";" *WSP`, the last delimiter optional. */
function parseFields(text: string): StsRecord {
  const parts = text.split(';')
  let id: string | undefined
  for (const [index, part] of parts.entries()) {
    const last = index === parts.length - 1
    // White space belongs to a delimiter; the end of the record is none, so there it stays and is an error.
    const field = last ? trimStart(part) : trimEnd(trimStart(part))
    if (field === '' && last && index > 0) break
    const equals = field.indexOf('=')
    const name = field.slice(0, Math.max(equals, 0))
    const value = field.slice(equals + 1)
    if (name === 'id' && id === undefined) {
      if (!ID.test(value)) return malformed('id is not 1 to 32 letters and digits', field)
      // By itself: a part of a text keeps the whole of it in memory, and the record may be as long as 64 KiB.
      id = own(value)
    } else if (!EXTENSION_NAME.test(name) || !EXTENSION_VALUE.test(value)) {
      return malformed('not a field', field)
    }
  }
  return id === undefined ? { kind: 'invalid', detail: 'id is missing' } : { kind: 'record', id }
}

function malformed(what: string, field: string): StsRecord {
  return { kind: 'invalid', detail: `${what}: "${oneLine(field, 80)}"` }
}

function isWhiteSpace(character: string | undefined): boolean {
  return character === ' ' || character === '\t'
}

// By hand and not by /[ \t]+$/, which is quadratic on a run of blanks that does not end the text.
function trimEnd(text: string): string {
  let end = text.length
  while (isWhiteSpace(text[end - 1])) end -= 1
  return text.slice(0, end)
}

function trimStart(text: string): string {
  let start = 0
  while (isWhiteSpace(text[start])) start += 1
  return text.slice(start)
}
