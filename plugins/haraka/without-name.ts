/**
 * A tagged message on a route to a next hop that has no name to prove (RFC 8689 §4.2.1): an address, a socket, LMTP. What does not
 * leave this machine is let through; where else it may go, the operator says ([requiretls_hops]). Pure.
 */
import { isIP } from 'node:net'
import type { Rules } from '../delivery/decide'
import type { Plan } from '../delivery/types'
import type { Route } from './routes'
import type { HarakaMx } from './types'

export type HopRule = NonNullable<Rules['requiretlsHop']>

/** @param left What is done with the entry for any other message. */
export function withoutName<Left extends { readonly kind: 'left'; readonly mx: HarakaMx }>(
  left: Left,
  ruleOf: (host: string) => HopRule | undefined,
): Left | Exclude<Route, { kind: 'left' }> {
  const { mx } = left
  const host = mx.exchange ?? ''
  if (mx.path || isThisMachine(host)) return left
  const rule = ruleOf(host)
  if (rule === 'if-possible') return left
  if (rule === 'tls' && isIP(host) !== 0 && !mx.using_lmtp && mx.port) {
    return { kind: 'planned', mx, plan: planForAddress(host, mx.port) }
  }
  const detail = `another plugin's route leads to ${describe(mx)}, which has no name that a certificate could prove`
  return { kind: 'refused', host: host || undefined, reason: 'requiretls-no-name', detail }
}

/** RFC 1122 §3.2.1.3, RFC 4291 §2.5.3, RFC 6761 §6.3. */
function isThisMachine(host: string): boolean {
  return /^127\.[\d.]+$/.test(host) || host === '::1' || /^localhost\.?$/i.test(host)
}

/** TLS at least, with whatever certificate. */
function planForAddress(address: string, port: number): Plan {
  return {
    nextHop: address,
    outcome: {
      kind: 'hosts',
      hosts: [
        {
          host: address,
          preference: 0,
          port,
          addresses: [address],
          requirement: {
            level: 'encrypt',
            sni: undefined,
            reason: 'operator-encrypt',
            requiretls: 'may',
          },
          policy: 'operator',
          demands: [],
        },
      ],
    },
    facts: {
      nextHop: address,
      nextHopExpanded: address,
      mx: { kind: 'route' },
      hosts: [],
      sts: { kind: 'not-asked' },
    },
  }
}

/** A message to an address instead of a domain: there is nothing to wait for. */
export function planOfLiteral(nextHop: string) {
  const detail = `${nextHop} is an address, and has no name that a certificate could prove`
  return {
    nextHop,
    outcome: { kind: 'bounce', reason: 'requiretls-no-name', detail },
    facts: {
      nextHop,
      nextHopExpanded: nextHop,
      mx: { kind: 'route' },
      hosts: [],
      sts: { kind: 'not-asked' },
    },
  } as const
}

function describe({ exchange, using_lmtp }: HarakaMx): string {
  return `${exchange ?? ''}${using_lmtp ? ' in LMTP' : ''}`
}
