/**
 * Domain names as this resolver knows them: lower case, A-labels, no trailing dot, never completed from a search list.
 * The root is the empty string inside and `.` for whoever asks. Names that cannot go on the wire are refused here,
 * so that nothing further in needs to doubt a name.
 */
import { domainToASCII } from 'node:url'

const MAX_LABEL = 63
/** 255 octets on the wire (RFC 1035 §2.3.4) are 253 characters without the root's and the first label's length. */
const MAX_NAME = 253

/** What can stand in a label without escaping: printable ASCII but the dot and the backslash. */
const PLAIN_LABEL = /^[!-[\]-~]+$/
const ALREADY_CANONICAL = /^(?:[a-z0-9_-]+\.)+[a-z0-9_-]+$/
const NOT_ASCII = /[\u0080-\uffff]/

/**
 * @param input a fully qualified name in any case, with or without trailing dot; U-labels become A-labels (RFC 5891).
 * @returns the canonical name (the empty string for `.`), or undefined when the DNS cannot be asked for it.
 */
export function canonicalName(input: string): string | undefined {
  if (input === '.') return ''
  if (ALREADY_CANONICAL.test(input)) return fits(input) ? input : undefined
  const ascii = NOT_ASCII.test(input) ? domainToASCII(input) : input
  const name = (ascii.endsWith('.') ? ascii.slice(0, -1) : ascii).toLowerCase()
  return fits(name) && name.split('.').every((label) => PLAIN_LABEL.test(label)) ? name : undefined
}

function fits(name: string): boolean {
  return name.length <= MAX_NAME && name.split('.').every((label) => label.length <= MAX_LABEL)
}

/** True where `name` is `ancestor` or below it. Both canonical. */
export function isWithin(name: string, ancestor: string): boolean {
  return ancestor === '' || name === ancestor || name.endsWith(`.${ancestor}`)
}

/**
 * The text of one label as it came over the wire. Octets that a plain label cannot hold are written `\DDD`
 * (RFC 1035 §5.1), so that two names are equal exactly where their octets are, and none smuggles in a dot.
 */
export function labelText(octets: Uint8Array): string {
  let text = ''
  for (const octet of octets) {
    if (octet >= 0x41 && octet <= 0x5a) text += String.fromCharCode(octet + 0x20)
    else if (octet > 0x20 && octet < 0x7f && octet !== 0x2e && octet !== 0x5c) {
      text += String.fromCharCode(octet)
    } else text += `\\${String(octet).padStart(3, '0')}`
  }
  return text
}

/** For texts that came from outside and go into a line for humans: no control characters, bounded. */
export function printable(text: string, limit = 200): string {
  const clean = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean
}
