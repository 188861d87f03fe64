/** What passes between the getdns backend and its child process (advanced serialization, so octets stay octets). */

/** The first message to the child. */
export interface Open {
  readonly kind: 'open'
  /** What to require. */
  readonly modulePath: string
  readonly upstreams: readonly (readonly [address: string, port: number])[]
  /** A file with DNSKEY or DS records; getdns's own default where absent. */
  readonly trustAnchor?: string
  /** For one question, milliseconds. */
  readonly timeoutMs: number
}

export interface Ask {
  readonly kind: 'ask'
  readonly id: number
  /** Absolute, with trailing dot. */
  readonly name: string
  /** IANA's number of the type. */
  readonly code: number
}

export type ToChild = Open | Ask

/** RFC 4033 §5, as getdns judged a whole reply. */
export type Validity = 'secure' | 'insecure' | 'bogus' | 'indeterminate'

export type FromChild =
  /** getdns is loaded. */
  | { readonly kind: 'opened' }
  /** getdns cannot be had, and never will in this process. */
  | { readonly kind: 'unusable'; readonly why: string }
  | {
      readonly kind: 'reply'
      readonly id: number
      readonly validity: Validity
      /** The reply as it came over the wire. */
      readonly octets: Uint8Array
    }
  | {
      readonly kind: 'failed'
      readonly id: number
      readonly cause: 'timeout' | 'network'
      readonly why: string
    }
