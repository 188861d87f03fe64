/**
 * [destinations] of tls-policy.ini: what the operator wants for a next-hop domain, or for all below a parent, whatever the
 * receiver has published. Pure.
 */
import { isIP } from 'node:net'
import { canonicalName } from './dnssec-stub/names'
import { normalizeHostName } from './x509/names'

export const DESTINATION_RULES = [
  ...(['dane-only', 'dane', 'sts'] as const),
  ...(['verify', 'encrypt', 'observe', 'off'] as const),
] as const
export type DestinationRule = (typeof DESTINATION_RULES)[number]

export interface Destination {
  readonly rule: DestinationRule
  /** Of `verify`: names of which a certificate must bear one, `.parent` for any below it; left out: the MX host's name. */
  readonly match?: readonly string[]
  /** The last day on which the rule holds, `YYYY-MM-DD` in UTC; without it, the rule has no end. */
  readonly until?: string
}

/** By next-hop domain, or `.parent` for everything below it. */
export type Destinations = ReadonlyMap<string, Destination>

/**
 * @param section by key as written: a domain, `.parent` or `*.parent`
 * @param wrong is told each mistake: the key, its value where that is what is wrong, and what is allowed
 */
export function readDestinations(
  section: Readonly<Record<string, unknown>>,
  wrong: (key: string, value: string | undefined, allowed: string) => void,
): Destinations {
  const destinations = new Map<string, Destination>()
  const written = new Map<string, string>()
  for (const [key, value] of Object.entries(section)) {
    const name = destinationName(key)
    const destination = parseDestination(typeof value === 'string' ? value : '')
    const before = written.get(name ?? '')
    if (name === undefined) {
      wrong(key, undefined, 'a domain, or .parent for all below it,')
    } else if (before !== undefined) {
      wrong(key, undefined, `the same as ${before}; only one of them`)
    } else if ('allowed' in destination) {
      wrong(key, String(value), destination.allowed)
    } else {
      destinations.set(name, destination)
    }
    if (name !== undefined) written.set(name, key)
  }
  return destinations
}

const OUR_LINE = /^\s*((?:\*\.)?(?:[\p{L}\p{M}\p{N}._-]|\u200c|\u200d)+)\s*=\s*(.*?)\s*$/u

/** A destination's line that Haraka's reader does not understand: `*.parent`, or a name with other letters than ASCII's. */
export function readDestinationLine(
  text: string,
): { readonly key: string; readonly value: string } | undefined {
  const [, key, value] = OUR_LINE.exec(text) ?? []
  return key === undefined || value === undefined ? undefined : { key, value }
}

/** No URL, no path and no port. */
export function mayBeName(text: string): boolean {
  return /^[\w.\-\u0080-\u{10ffff}]+$/u.test(text)
}

const NAME = /^(?=.{1,253}$)(?:[\w-]{1,63}\.)*[\w-]{1,63}$/

/** @returns lower-case A-labels, with a dot in front for a parent; undefined for what no next-hop domain can be */
export function destinationName(key: string): string | undefined {
  const [, parent, name = ''] = /^(\.|\*\.)?(.*)$/.exec(key) ?? []
  if (!mayBeName(name)) return undefined
  // In the very form in which a delivery asks for its next hop: a rule that no delivery can find must not look sound.
  const domain = canonicalName(name)
  // An address has no policies of its own.
  if (domain === undefined || !NAME.test(domain) || isIP(domain) !== 0) return undefined
  return parent === undefined ? domain : `.${domain}`
}

const A_RULE = `one of ${DESTINATION_RULES.join(', ')}, alone or with "until YYYY-MM-DD",`
const MOST_NAMES = 32
const NAMES = `match= with 1 to ${MOST_NAMES} host names, or .parent for all below it, comma separated,`

/** @returns what is allowed instead, where it is no rule */
function parseDestination(text: string): Destination | { readonly allowed: string } {
  const [, word, names, until] =
    /^(\S+)(?:\s+match\s*=\s*(.*?))?(?:\s+until\s+(\d{4}-\d{2}-\d{2}))?$/.exec(text.trim()) ?? []
  const rule = DESTINATION_RULES.find((one) => one === word)
  if (rule === undefined || (until !== undefined && !isDate(until))) return { allowed: A_RULE }
  const end = until === undefined ? {} : { until }
  if (names === undefined) return { rule, ...end }
  if (rule !== 'verify') return { allowed: 'match= behind the rule verify, and no other,' }
  const match = readNames(names)
  return match === undefined ? { allowed: NAMES } : { rule, match, ...end }
}

/** @returns undefined where one of them is a name that no certificate can bear */
function readNames(text: string): readonly string[] | undefined {
  const written = text.split(',')
  const names = written.flatMap((name) => destinationName(name.trim()) ?? []).filter(mayBeCertified)
  return names.length === written.length && names.length <= MOST_NAMES ? names : undefined
}

function mayBeCertified(name: string): boolean {
  return normalizeHostName(name.replace(/^\./, '')) !== undefined
}

function isDate(text: string): boolean {
  const date = new Date(`${text}T00:00:00Z`)
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text)
}

export interface NamedDestination extends Destination {
  /** As in the map: the domain, or `.parent`. */
  readonly name: string
}

/** Every destination that fits a next-hop domain, the one that counts first. */
export function destinationsFor(
  { destinations }: { readonly destinations: Destinations },
  nextHop: string,
  now: Date,
): { readonly inForce: readonly NamedDestination[]; readonly ended: readonly NamedDestination[] } {
  const fitting = [nextHop, ...parentsOf(nextHop)].flatMap((name) => {
    const destination = destinations.get(name)
    return destination ? [{ name, ...destination }] : []
  })
  return {
    inForce: fitting.filter((destination) => !hasEnded(destination, now)),
    ended: fitting.filter((destination) => hasEnded(destination, now)),
  }
}

/** As its line in the file. */
export function destinationLine({ name, ...destination }: NamedDestination): string {
  return `${name}=${destinationText(destination)}`
}

/** As it stands to the right of a destination. */
export function destinationText({ rule, match, until }: Destination): string {
  const names = match === undefined ? '' : ` match=${match.join(',')}`
  return `${rule}${names}${until === undefined ? '' : ` until ${until}`}`
}

/**
 * The operator's rule for a next-hop domain: its own, else the nearest parent's; an exception past its day is none.
 * @param nextHop Lower case A-labels.
 */
export function ruleFor(
  config: { readonly destinations: Destinations },
  nextHop: string,
  now: Date,
): DestinationRule | undefined {
  return destinationFor(config, nextHop, now)?.rule
}

/** The same, with what goes with the rule. */
export function destinationFor(
  { destinations }: { readonly destinations: Destinations },
  nextHop: string,
  now: Date,
): Destination | undefined {
  if (destinations.size === 0) return undefined
  for (const name of [nextHop, ...parentsOf(nextHop)]) {
    const destination = destinations.get(name)
    if (destination && !hasEnded(destination, now)) return destination
  }
  return undefined
}

/** Exceptions whose last day is over; they have no effect any more and deserve one warning. */
export function endedDestinations(
  { destinations }: { readonly destinations: Destinations },
  now: Date,
): readonly string[] {
  return [...destinations]
    .filter(([, destination]) => hasEnded(destination, now))
    .map(([name, destination]) => destinationLine({ name, ...destination }))
}

function hasEnded({ until }: Destination, now: Date): boolean {
  return until !== undefined && now.toISOString().slice(0, 10) > until
}

function parentsOf(domain: string): readonly string[] {
  const labels = domain.split('.')
  return labels.slice(1).map((_, index) => `.${labels.slice(index + 1).join('.')}`)
}
