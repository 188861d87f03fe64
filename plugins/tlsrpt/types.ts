/**
 * The shapes of TLSRPT (RFC 8460): what is counted of sessions, and what a report says of a day. Keys are the RFC's own, letter for
 * letter, so that what is counted is what is sent. Pure.
 */
import type { Stored } from '../store'

/** Whole days since the epoch, UTC. */
export type Day = number

/** The registered names (RFC 8460 §6.6); no other is ever sent. */
export const RESULT_TYPES = [
  'starttls-not-supported',
  'certificate-host-mismatch',
  'certificate-expired',
  'certificate-not-trusted',
  'validation-failure',
  'tlsa-invalid',
  'dnssec-invalid',
  'dane-required',
  'sts-policy-fetch-error',
  'sts-policy-invalid',
  'sts-webpki-invalid',
] as const

export type ResultType = (typeof RESULT_TYPES)[number]

export type PolicyType = 'tlsa' | 'sts' | 'no-policy-found'

/** What governed a session (RFC 8460 §4.4). A key without a value is left out, never null. */
export interface Policy {
  readonly 'policy-type': PolicyType
  /** MTA-STS: the policy's lines as served; TLSA: one `U S M HEX` a record. Empty where the policy could not be had. */
  readonly 'policy-string'?: readonly string[]
  /** A-labels. */
  readonly 'policy-domain': string
  /** The patterns of an MTA-STS policy; an array, by erratum 6241. */
  readonly 'mx-host'?: readonly string[]
}

/** What failed, and between which hosts; what does not exist for an event is left out. */
export interface Detail {
  readonly 'result-type': ResultType
  readonly 'sending-mta-ip'?: string
  readonly 'receiving-mx-hostname'?: string
  readonly 'receiving-mx-helo'?: string
  readonly 'receiving-ip'?: string
  /** `[A-Za-z0-9_.-]{1,60}`; nothing of the inside of the sender. */
  readonly 'failure-reason-code'?: string
}

/** What one event adds to the day of a next-hop domain, under one policy. */
export interface Addition {
  readonly policy: Policy
  readonly success: 0 | 1
  readonly failure: 0 | 1
  /** May come without a failed session: trouble with a policy that held nevertheless. */
  readonly detail?: Detail
}

export interface FailureDetails extends Detail {
  readonly 'failed-session-count': number
}

/** One entry of a report's `policies`. */
export interface PolicyResult {
  readonly policy: Policy
  readonly summary: {
    readonly 'total-successful-session-count': number
    readonly 'total-failure-session-count': number
  }
  readonly 'failure-details': readonly FailureDetails[]
}

/** The unit of reporting: what was counted of one next-hop domain on one day. */
export interface DomainDay {
  readonly domain: string
  readonly day: Day
  /** Never empty. */
  readonly policies: readonly PolicyResult[]
  /** Under which names it stands in the store. */
  readonly names: readonly string[]
}

export interface Report {
  readonly 'organization-name': string
  readonly 'date-range': {
    /** RFC 3339, in UTC. */
    readonly 'start-datetime': string
    readonly 'end-datetime': string
  }
  readonly 'contact-info': string
  readonly 'report-id': string
  readonly policies: readonly PolicyResult[]
}

/** How many parts a day has: the unit of reading, and of whose turn it is to send. */
export const PARTS = 256

/** The counts of all who share the store. No call throws; after `ok: false` nothing is known, and nothing may be sent. */
export interface Tallies {
  /** From now on nothing is added to the part: what is read of it stays as it is, until it is dropped. */
  close(day: Day, part: number): Promise<Stored<void>>
  /**
   * The domains of a part, in alphabetical order; a part is bounded to about a mebioctet.
   * @param part 0 to PARTS-1
   */
  readPart(day: Day, part: number): Promise<Stored<readonly DomainDay[]>>
  /** `ok` with undefined: nothing was counted. */
  readDomain(day: Day, domain: string): Promise<Stored<DomainDay | undefined>>
  /** Forgets what was read. */
  drop(read: DomainDay): Promise<Stored<void>>
  /** Eight lower-case letters, made once for all who share the store. */
  cluster(): Promise<Stored<string>>
}
