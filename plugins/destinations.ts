/**
 * [destinations] of tls-policy.ini: what the operator wants for a next-hop domain, or for all below a parent, whatever the
 * receiver has published. Pure.
 */
import { isIP } from 'node:net'
import { canonicalName } from './dnssec-stub/names'

export const DESTINATION_RULES = ['dane-only', 'dane', 'sts', 'encrypt', 'observe', 'off'] as const
export type DestinationRule = (typeof DESTINATION_RULES)[number]

export interface Destination {
  readonly rule: DestinationRule
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
    } else if (destination === undefined) {
      wrong(
        key,
        String(value),
        `one of ${DESTINATION_RULES.join(', ')}, alone or with "until YYYY-MM-DD",`,
      )
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

function parseDestination(text: string): Destination | undefined {
  const match = /^(\S+)(?:\s+until\s+(\d{4}-\d{2}-\d{2}))?$/.exec(text.trim())
  const rule = DESTINATION_RULES.find((word) => word === match?.[1])
  if (rule === undefined) return undefined
  const until = match?.[2]
  if (until === undefined) return { rule }
  return isDate(until) ? { rule, until } : undefined
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
export function destinationLine({ name, rule, until }: NamedDestination): string {
  return `${name}=${rule}${until === undefined ? '' : ` until ${until}`}`
}

/**
 * The operator's rule for a next-hop domain: its own, else the nearest parent's; an exception past its day is none.
 * @param nextHop Lower case A-labels.
 */
export function ruleFor(
  { destinations }: { readonly destinations: Destinations },
  nextHop: string,
  now: Date,
): DestinationRule | undefined {
  if (destinations.size === 0) return undefined
  for (const name of [nextHop, ...parentsOf(nextHop)]) {
    const destination = destinations.get(name)
    if (destination && !hasEnded(destination, now)) return destination.rule
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
