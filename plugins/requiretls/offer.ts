/**
 * To which clients REQUIRETLS is offered: inside TLS only, and only where the promise can be kept for what they send (RFC 8689
 * §4.1). An offer that is forgotten is worse than none. Pure.
 */

export interface OfferFacts {
  /** `[requiretls] offer`. */
  readonly setting: 'relay' | 'all' | 'no'
  /** Why nobody's promise could be kept now; undefined: it can. */
  readonly obstacle: string | undefined
  readonly secured: boolean
  /** Whether what the client sends goes, or may go, to Haraka's own delivery. */
  readonly mayRelay: boolean
}

export type Offer =
  | { readonly kind: 'offered' }
  /** It would be offered inside TLS. */
  | { readonly kind: 'needs-tls' }
  /** `why` is for the log: it is no client's business. */
  | { readonly kind: 'not-offered'; readonly why: string }

export function offerTo({ setting, obstacle, secured, mayRelay }: OfferFacts): Offer {
  if (setting === 'no') return notOffered('it is switched off')
  if (obstacle !== undefined) return notOffered(obstacle)
  if (setting === 'relay' && !mayRelay) return notOffered('it is for mail that this server relays')
  return secured ? { kind: 'offered' } : { kind: 'needs-tls' }
}

/** Ports at which Haraka takes mail of clients that may relay, and of no other (RFC 6409, RFC 8314). */
const SUBMISSION_PORTS: readonly unknown[] = [587, 465]

export interface ClientFacts {
  readonly relaying: boolean
  readonly port: unknown
  /** EHLO keywords of this connection, arguments behind them. */
  readonly capabilities: readonly unknown[]
}

/** A client that is offered AUTH may relay soon, and need not say EHLO again for it (RFC 4954 §4). */
export function mayRelay({ relaying, port, capabilities }: ClientFacts): boolean {
  return (
    relaying ||
    SUBMISSION_PORTS.includes(port) ||
    capabilities.some((keyword) => /^AUTH( |=|$)/i.test(String(keyword)))
  )
}

function notOffered(why: string): Offer {
  return { kind: 'not-offered', why }
}
