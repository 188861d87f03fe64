/**
 * Does a certificate name this host? (RFC 9525 §6, RFC 7672 §3.2.3)
 *
 * Promises: names are read from the DER of subjectAltName, octet by octet, never from a text form; only dNSNames count, never
 * addresses, URIs or mail addresses. A name with any octet that a host name cannot have (NUL, space, non-ASCII) fits
 * nothing. `*` stands for exactly one label and must be the whole first one. The common name counts only where the caller
 * allows it and the certificate has no dNSName at all. Never throws. Pure.
 */
import type { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { readProfile, type Profile } from './certificate'
import { commonNames } from './distinguished-name'

export interface NameMatch {
  /** The reference identifier that fits, normalised. */
  readonly matched: string
  /** Where the certificate says it. */
  readonly by: 'san' | 'cn'
}

const DNS_NAME = 2
const MOST_SHOWN = 100
/** Characters, before conversion to A-labels; no name of 253 octets has more. */
const LONGEST_NAME = 512

/**
 * A host name in the form in which it is compared: A-labels, lower case, no trailing dot.
 * @returns undefined for what is no host name: an IP address, an empty or overlong label, other characters than letters,
 *   digits, hyphen and underscore
 */
export function normalizeHostName(name: string): string | undefined {
  if (name.length > LONGEST_NAME) return undefined
  const bare = name.endsWith('.') ? name.slice(0, -1) : name
  // eslint-disable-next-line no-control-regex -- ASCII or not is the question
  const ascii = (/^[\x00-\x7f]*$/.test(bare) ? bare : domainToASCII(bare)).toLowerCase()
  if (ascii.length > 253 || isIP(ascii) !== 0 || /(^|\.)\d+$/.test(ascii)) return undefined
  return ascii.split('.').every((label) => /^[a-z0-9_-]{1,63}$/.test(label)) ? ascii : undefined
}

/**
 * Finds the first reference identifier that the certificate names.
 * @param references host names, in order of preference; those that are no host names match nothing
 * @param options.commonName whether a certificate without any dNSName may name the host in its subject (RFC 7672 §3.2.3
 *   allows it for DANE-TA; RFC 9525 forbids it elsewhere)
 */
export function matchDnsId(
  certificate: X509Certificate,
  references: readonly string[],
  options: { readonly commonName: boolean },
): NameMatch | undefined {
  const profile = readProfile(certificate)
  if (profile === undefined) return undefined
  const dnsIds = dnsNames(profile)
  const by = dnsIds.length === 0 && options.commonName ? 'cn' : 'san'
  const presented = by === 'cn' ? commonNames(profile.subject) : dnsIds
  for (const reference of references) {
    const matched = normalizeHostName(reference)
    if (matched !== undefined && presented.some((name) => fits(name, matched)))
      return { matched, by }
  }
  return undefined
}

/**
 * Finds the first of the names of an operator's own that the certificate bears.
 * @param names host names, or `.parent` for any host below it, however deep
 * @returns the name as given
 */
export function matchNameOrParent(
  certificate: X509Certificate,
  names: readonly string[],
): string | undefined {
  const profile = readProfile(certificate)
  if (profile === undefined) return undefined
  const presented = dnsNames(profile)
  return names.find((name) => {
    const reference = normalizeHostName(name.replace(/^\./, ''))
    if (reference === undefined) return false
    return name.startsWith('.')
      ? presented.some((one) => isBelow(one, reference))
      : presented.some((one) => fits(one, reference))
  })
}

/** `*` as the whole first label is below the parent as well; any other octet that no host name has is below nothing. */
function isBelow(presented: string, parent: string): boolean {
  const name = presented.toLowerCase().replace(/^\*\./, 'x.')
  return name.endsWith(`.${parent}`) && normalizeHostName(name) === name
}

/**
 * The DNS names that a certificate presents, as sent, for people to read: at most 100, octets outside printable ASCII
 * shown as `?`.
 */
export function presentedNames(certificate: X509Certificate): string[] {
  const profile = readProfile(certificate)
  return profile === undefined
    ? []
    : dnsNames(profile)
        .slice(0, MOST_SHOWN)
        .map((name) => name.slice(0, 255).replace(/[^\x21-\x7e]/g, '?'))
}

/** All dNSNames of the subjectAltName, one character an octet. */
export function dnsNames(profile: Profile): string[] {
  return (profile.subjectAltName ?? [])
    .filter(({ form }) => form === DNS_NAME)
    .map(({ value }) => value.toString('latin1'))
}

/** @param reference normalised, so that equality alone proves the presented name well-formed */
function fits(presented: string, reference: string): boolean {
  const name = presented.toLowerCase()
  if (name === reference) return true
  const dot = reference.indexOf('.')
  return name.startsWith('*.') && dot > 0 && name.slice(1) === reference.slice(dot)
}
