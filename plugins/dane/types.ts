/** The shapes of DANE for SMTP (RFC 6698, 7671, 7672) that other rooms see. Pure. */
import type { Failure } from '../dnssec-stub/types'
import type { DaneFailureReason } from '../reasons/codes'

/** A usable record: DANE-TA(2) or DANE-EE(3), known selector and matching type, well-formed data (RFC 7672 §3.1). */
export interface TlsaRecord {
  readonly usage: 2 | 3
  readonly selector: 0 | 1
  readonly matchingType: 0 | 1 | 2
  readonly data: Buffer
}

export type DigestName = 'sha512' | 'sha256'

/** What the TLSA lookups of one host and port came to (RFC 7672 §2.2). */
export type TlsaVerdict =
  | {
      readonly kind: 'usable'
      /** TLSA base domain: SNI and first reference identifier. */
      readonly base: string
      readonly records: readonly TlsaRecord[]
      /** All records as `U S M HEX`, for reports and operators. */
      readonly presentation: readonly string[]
    }
  | {
      /** Secure records, none usable: TLS is mandatory, authentication is not required (RFC 7672 §2.2). */
      readonly kind: 'unusable'
      readonly base: string
      readonly presentation: readonly string[]
      /** Why each record cannot be used, in the order of `presentation`. */
      readonly why: readonly string[]
    }
  | {
      readonly kind: 'none'
      readonly why: 'denied' | 'insecure-address' | 'insecure-records' | 'no-address'
    }
  | { readonly kind: 'failed'; readonly name: string; readonly failure: Failure }

export type DaneVerdict =
  | {
      readonly ok: true
      readonly record: TlsaRecord
      /** 0 is the leaf; for a trust anchor taken from the DNS, one more than the last certificate used. */
      readonly depth: number
      /** The reference identifier that fitted; undefined for DANE-EE, which checks no name (RFC 7672 §3.1.1). */
      readonly matchedName?: string
    }
  | {
      readonly ok: false
      readonly reason: DaneFailureReason
      /** One line: what was expected and what was presented (digests, names, dates). No control characters. */
      readonly detail: string
    }
