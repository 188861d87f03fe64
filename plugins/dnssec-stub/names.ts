/**
 * Domain names as this resolver knows them: lower case, A-labels, no trailing dot, never completed from a search list.
 * The root is the empty string inside and `.` outside. Names that cannot go on the wire are refused here,
 * so that nothing further in needs to doubt a name; whether a host may bear such a name is not asked here.
 */
import { domainToASCII } from 'node:url'

const MAX_LABEL = 63
/** 255 octets on the wire (RFC 1035 §2.3.4) are 253 without the root's and the first label's length. */
const MAX_NAME = 253

/** Printable ASCII but the dot and the backslash as it is, any octet as `\DDD` (RFC 1035 §5.1). */
const LABEL = /^(?:[!-[\]-~]|\\(?:[01][0-9]{2}|2[0-4][0-9]|25[0-5]))+$/
const ESCAPE = /\\([0-9]{3})/g
/** A label without any escape. */
const UNESCAPED_LABEL = /^[!-\-/-[\]-~]+$/
/** Most names, and a tenth of a decision is saved. */
const ALREADY_CANONICAL = /^(?:[a-z0-9_-]{1,63}\.)+[a-z0-9_-]{1,63}$/
const NOT_ASCII = /[\u0080-\uffff]/
/** The dots of RFC 3490 §3.1. */
const OTHER_DOTS = /[\u3002\uff0e\uff61]/g
/** What may stand in a U-label beside what is not ASCII: for anything else domainToASCII would begin to read a URL. */
const U_LABEL = /^[A-Za-z0-9_\u0080-\uffff-]+$/

/**
 * @param input a fully qualified name in any case, with or without trailing dot; U-labels become A-labels (RFC 5891). A label
 *   in ASCII is a label whatever it looks like (RFC 5890 §2.3.1): the DNS, not this function, says whether it is there.
 * @returns the canonical name (the empty string for `.`), or undefined when the DNS cannot be asked for it.
 */
export function canonicalName(input: string): string | undefined {
  if (input === '.') return ''
  if (ALREADY_CANONICAL.test(input)) return input.length <= MAX_NAME ? input : undefined
  const dotted = NOT_ASCII.test(input) ? input.replace(OTHER_DOTS, '.') : input
  const labels: string[] = []
  for (const label of (dotted.endsWith('.') ? dotted.slice(0, -1) : dotted).split('.')) {
    const canonical = canonicalLabel(label)
    if (canonical === undefined) return undefined
    labels.push(canonical)
  }
  const name = labels.join('.')
  return fits(name) ? name : undefined
}

function canonicalLabel(label: string): string | undefined {
  if (NOT_ASCII.test(label)) return aLabel(label)
  if (!LABEL.test(label)) return undefined
  return label
    .toLowerCase()
    .replace(ESCAPE, (_escape, octet: string) => labelText(Uint8Array.of(Number(octet))))
}

/** Of one label alone, for a whole name could come back as an address. */
function aLabel(label: string): string | undefined {
  const ascii = U_LABEL.test(label) ? domainToASCII(label) : ''
  return /^[a-z0-9_-]+$/.test(ascii) ? ascii : undefined
}

function fits(name: string): boolean {
  const octets = name.includes('\\') ? name.replace(ESCAPE, '?') : name
  return octets.length <= MAX_NAME && octets.split('.').every((label) => label.length <= MAX_LABEL)
}

/** The octets of a canonical name as they go on the wire (RFC 1035 §3.1). */
export function wireName(name: string): Buffer {
  if (name === '') return Buffer.of(0)
  const labels = name.split('.').map((label) => {
    const text = label.replace(ESCAPE, (_escape, octet: string) =>
      String.fromCharCode(Number(octet)),
    )
    return Buffer.concat([Buffer.of(text.length), Buffer.from(text, 'latin1')])
  })
  return Buffer.concat([...labels, Buffer.of(0)])
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
  const { buffer, byteOffset, byteLength } = octets
  const text = Buffer.from(buffer, byteOffset, byteLength).toString('latin1')
  if (UNESCAPED_LABEL.test(text)) return text.toLowerCase()
  // Joined and not added up: such a text stays as many pieces in memory as it was made of.
  return Array.from(octets, characterText).join('')
}

function characterText(octet: number): string {
  if (octet >= 0x41 && octet <= 0x5a) return String.fromCharCode(octet + 0x20)
  if (octet > 0x20 && octet < 0x7f && octet !== 0x2e && octet !== 0x5c) {
    return String.fromCharCode(octet)
  }
  return `\\${String(octet).padStart(3, '0')}`
}

/** For texts that came from outside and go into a line for humans: no control characters, bounded. */
export function printable(text: string, limit = 200): string {
  const clean = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '?')
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean
}
