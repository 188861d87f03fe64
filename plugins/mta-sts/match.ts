/**
 * Does a policy list this MX host (RFC 8461 §4.1)? Pure.
 *
 * It compares the name of the MX record, never its CNAME target and never a certificate (whose name must be that of the
 * host, not of the pattern: §4.2). It knows nothing of modes: a policy of mode `none` is not to be asked.
 */
import { isIP } from 'node:net'
import type { StsPolicy } from './types'

/** No empty label, US-ASCII, and no `*`: that label is legal in the DNS and must not pass by equalling a pattern. */
const HOST = /^[!-)+-\-/-~]+(?:\.[!-)+-\-/-~]+)*$/

/**
 * @param host the MX record's exchange, or the policy domain itself where it has no MX; A-labels, any case, with or
 *   without the trailing dot
 * @returns whether a pattern fits; `*.` stands for exactly one label, whatever it is
 */
export function matchesMx(policy: Pick<StsPolicy, 'mx'>, host: string): boolean {
  const bare = host.endsWith('.') ? host.slice(0, -1) : host
  // An address has no labels that a pattern could speak of, whatever its dots look like.
  if (!HOST.test(bare) || isIP(bare) !== 0) return false
  const name = bare.toLowerCase()
  const dot = name.indexOf('.')
  const wildcard = dot > 0 ? `*${name.slice(dot)}` : undefined
  return policy.mx.some((pattern) => pattern === name || pattern === wildcard)
}
