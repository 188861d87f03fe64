/**
 * The policy file (RFC 8461 §3.2), as a pure function of the body's octets.
 *
 * Promises: never throws, time linear in the size, and what it accepts can be parsed again from `lines` with the same
 * result. Choices where the RFC is silent: a max_age beyond the RFC's bound is clamped to it (erratum 7282), one
 * malformed mx makes the whole policy invalid, blank lines say nothing wherever they are.
 * Refuses: everything else that the ABNF does not allow, so that a web page or a half-written file is never a policy.
 */
import { oneLine } from './one-line'
import type { StsMode, StsPolicy } from './types'

export type ParsedPolicy =
  | { readonly ok: true; readonly policy: StsPolicy }
  /** `detail`: one line for a human, without control characters. */
  | { readonly ok: false; readonly detail: string }

/** Seconds: the RFC's upper bound of max_age, about a year (§3.2). */
export const MAX_AGE_LIMIT = 31_557_600

const KEY = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$/
const MAX_AGE = /^[0-9]{1,10}$/
// eslint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u001f\u007f]/
// Case is folded after this test, not before: U+212A would fold to a plain k.
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/
const MAX_DOMAIN = 253

/** What the fields seen so far say; a key that is absent has not been seen. */
interface Fields {
  version?: string
  mode?: StsMode
  maxAge?: number
  readonly mx: string[]
}

/**
 * Reads a policy body. The caller bounds its size.
 * @returns the policy, or why it is none: treat as a failed fetch, and keep a cached policy (RFC 8461 §3.3)
 */
export function parsePolicy(body: Buffer): ParsedPolicy {
  const text = decode(body)
  if (text === undefined) return invalid('the policy is not UTF-8')
  const lines = splitLines(text)
  const fields: Fields = { mx: [] }
  const seen = new Set<string>()
  for (const [index, line] of lines.entries()) {
    if (isBlank(line)) continue
    const problem = takeLine(line, fields, seen)
    if (problem !== undefined) return invalid(`line ${index + 1}: ${problem}`)
  }
  return complete(fields, lines)
}

function invalid(detail: string): ParsedPolicy {
  return { ok: false, detail }
}

/** A byte order mark is kept as a character: the first key then does not match, and the policy is refused. */
function decode(body: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body)
  } catch {
    return undefined
  }
}

/** Lines end in LF or CRLF (erratum 6253); a CR anywhere else stays in its line and fails there. */
function splitLines(text: string): string[] {
  const lines = text
    .split('\n')
    .map((line, index, all) =>
      index < all.length - 1 && line.endsWith('\r') ? line.slice(0, -1) : line,
    )
  const whole = lines.length
  while (lines.length > 0 && isBlank(lines[lines.length - 1] ?? '')) lines.pop()
  // A part of a text keeps the whole of it in memory, and the blanks behind a policy may be a thousand times as long.
  return lines.length === whole ? lines : lines.join('\n').split('\n')
}

/** @returns what is wrong with the line, or undefined when it was taken (or rightly ignored) */
function takeLine(line: string, fields: Fields, seen: Set<string>): string | undefined {
  if (line.includes('\r')) return 'a carriage return inside the line'
  const colon = line.indexOf(':')
  if (colon < 0) return `no colon in "${oneLine(line, 80)}"`
  const key = line.slice(0, colon)
  if (!KEY.test(key)) return `not a key: "${oneLine(key, 80)}"`
  const value = trimWhiteSpace(line.slice(colon + 1))
  if (key !== 'mx') {
    // Of a repeated key only the first counts; what follows is not even looked at (RFC 8461 §3.2).
    if (seen.has(key)) return undefined
    seen.add(key)
  }
  return takeField(key, value, fields)
}

function takeField(key: string, value: string, fields: Fields): string | undefined {
  switch (key) {
    case 'version':
      fields.version = value
      return value === 'STSv1' ? undefined : `version is not STSv1 but "${oneLine(value, 40)}"`
    case 'mode':
      if (value !== 'enforce' && value !== 'testing' && value !== 'none') {
        return `mode is not enforce, testing or none but "${oneLine(value, 40)}"`
      }
      fields.mode = value
      return undefined
    case 'max_age':
      if (!MAX_AGE.test(value)) return `max_age is not 1 to 10 digits but "${oneLine(value, 40)}"`
      fields.maxAge = Math.min(Number(value), MAX_AGE_LIMIT)
      return undefined
    case 'mx': {
      if (!isMxPattern(value)) return `mx is no host name in A-labels: "${oneLine(value, 80)}"`
      fields.mx.push(value.toLowerCase())
      return undefined
    }
    default:
      return value === '' || CONTROL.test(value) ? `no value for "${key}"` : undefined
  }
}

function complete(fields: Fields, lines: readonly string[]): ParsedPolicy {
  if (fields.version === undefined) return invalid('version is missing')
  if (fields.mode === undefined) return invalid('mode is missing')
  if (fields.maxAge === undefined) return invalid('max_age is missing')
  if (fields.mode !== 'none' && fields.mx.length === 0) return invalid('mx is missing')
  return { ok: true, policy: { mode: fields.mode, mx: fields.mx, maxAge: fields.maxAge, lines } }
}

/**
 * `["*."] Domain` (RFC 5321 §4.1.2). An IPv4 address fits that grammar and is refused all the same: it can
 * match no MX name, and its author did not mean what the RFC reads.
 */
function isMxPattern(pattern: string): boolean {
  const domain = pattern.startsWith('*.') ? pattern.slice(2) : pattern
  if (domain.length > MAX_DOMAIN) return false
  const labels = domain.split('.')
  return (
    labels.every((label) => LABEL.test(label)) && !/^[0-9]+$/.test(labels[labels.length - 1] ?? '')
  )
}

function isBlank(line: string): boolean {
  return trimWhiteSpace(line) === ''
}

function isWhiteSpace(character: string | undefined): boolean {
  return character === ' ' || character === '\t'
}

// By hand: /[ \t]+$/ is quadratic on a run of blanks that does not end the text.
function trimWhiteSpace(text: string): string {
  let start = 0
  let end = text.length
  while (isWhiteSpace(text[start])) start += 1
  while (end > start && isWhiteSpace(text[end - 1])) end -= 1
  return text.slice(start, end)
}
