/**
 * [requiretls_hops] of tls-policy.ini: next hops at which a message with REQUIRETLS may be content with less, as with a filter or a
 * smarthost of one's own that does not know the extension. Pure.
 */
import { isIP } from 'node:net'
import { destinationName } from './destinations'

export const HOP_RULES = ['enforce', 'tls', 'if-possible'] as const
/**
 * `enforce`: what RFC 8689 asks. `tls`: TLS, whatever the certificate, and the parameter where it is offered. `if-possible`: as a
 * notification goes, with the parameter or else without.
 */
export type HopRule = (typeof HOP_RULES)[number]

/** By next-hop domain, host of a route, address, or `.parent`. */
export type Hops = ReadonlyMap<string, HopRule>

/** @param wrong is told each mistake: the key, its value where that is what is wrong, and what is allowed */
export function readHops(
  section: Readonly<Record<string, unknown>>,
  wrong: (key: string, value: string | undefined, allowed: string) => void,
): Hops {
  const hops = new Map<string, HopRule>()
  for (const [key, value] of Object.entries(section)) {
    const name = hopName(key)
    const rule = HOP_RULES.find((word) => word === String(value).trim())
    if (name === undefined) {
      wrong(key, undefined, 'a domain, a host, an address, or .parent for all below it,')
    } else if (hops.has(name)) {
      wrong(key, undefined, `only one line for ${name}`)
    } else if (rule === undefined) {
      wrong(key, String(value), `one of ${HOP_RULES.join(', ')}`)
    } else {
      hops.set(name, rule)
    }
  }
  return hops
}

/** @param nextHop Lower case A-labels, or an address. */
export function hopRuleFor(hops: Hops, nextHop: string): HopRule | undefined {
  if (hops.size === 0) return undefined
  const own = hops.get(nextHop)
  if (own !== undefined || isIP(nextHop) !== 0) return own
  const labels = nextHop.split('.')
  return labels
    .slice(1)
    .map((_, index) => hops.get(`.${labels.slice(index + 1).join('.')}`))
    .find((rule) => rule !== undefined)
}

function hopName(key: string): string | undefined {
  return isIP(key) === 0 ? destinationName(key) : key.toLowerCase()
}
