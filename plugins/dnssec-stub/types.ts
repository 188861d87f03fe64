/**
 * What a DNSSEC-aware lookup can say. Four outcomes, never fewer: an answer, a denial (the name has no such records, or
 * does not exist), each with its security, or a failure. A failure is never "no records": the caller must be able to
 * tell an attacker's silence from a domain owner's (RFC 7672 §2.1.1). Pure.
 */

/** RFC 4035 §4.3, as a stub sees it: `insecure` covers answers without the AD bit and answers over an untrusted path. */
export type Security = 'secure' | 'insecure'

export interface MxRecord {
  /** 0–65535, lower is tried first. */
  readonly preference: number
  /** Lower case, A-labels, no trailing dot; the empty string is the root (null MX, RFC 7505). */
  readonly exchange: string
}

/** The RDATA of one TLSA record, unjudged: fields are as received (RFC 6698 §2.1). */
export interface TlsaData {
  /** True when the RDATA was shorter than its three fixed octets; the numbers are then 255 and `data` is what came. */
  readonly malformed: boolean
  readonly usage: number
  readonly selector: number
  readonly matchingType: number
  readonly data: Buffer
}

export interface RecordData {
  /** Dotted quad. */
  A: string
  /** RFC 5952 text. */
  AAAA: string
  MX: MxRecord
  /** One entry a record: its character-strings joined without a separator, as octets (RFC 8461 §3.1 wants ASCII). */
  TXT: Buffer
  /** Lower case, no trailing dot. */
  CNAME: string
  TLSA: TlsaData
}

export type RecordType = keyof RecordData

interface Known {
  /** The weakest link of the CNAME chain and of the final data or denial (RFC 7672 §2.1.3). */
  readonly security: Security
  /** Seconds for which this may be kept: the least TTL of everything used; for denials as RFC 2308 §5. */
  readonly ttl: number
  /** The names that CNAMEs led through, in order, without the queried name; empty where the name is no alias. */
  readonly aliases: readonly string[]
}

export interface Answer<T extends RecordType> extends Known {
  readonly kind: 'answer'
  /** Never empty. */
  readonly records: readonly RecordData[T][]
}

export interface Denial extends Known {
  readonly kind: 'nodata' | 'nxdomain'
}

export type FailureCause =
  /** The validator found the data bogus (getdns says so itself; over `ad` an extended error 6–12 tells). */
  | 'bogus'
  | 'servfail'
  | 'refused'
  /** Another error rcode. */
  | 'rcode'
  | 'timeout'
  /** No server could be reached. */
  | 'network'
  /** The reply was no well-formed answer to the question. */
  | 'malformed'
  /** More TLSA or TXT records than are looked at: which of them count cannot be told from a part. */
  | 'too-large'
  /** Too many aliases, or a loop of them (RFC 7672 §2.1.3). */
  | 'alias-chain'
  /** The name cannot be asked for: a label over 63 octets, an empty label, a name over 255. */
  | 'bad-name'
  /** The caller's signal fired, or the resolver is closed. */
  | 'aborted'

export interface Failure {
  readonly kind: 'failed'
  readonly cause: FailureCause
  /** One line for a human, with the server and what it said. Never contains control characters. */
  readonly detail: string
  /** RFC 8914, where the reply carried one. */
  readonly extendedError?: { readonly code: number; readonly text: string }
}

export type Outcome<T extends RecordType> = Answer<T> | Denial | Failure

export interface ResolveOptions {
  /** Ends the lookup with `failed/aborted`. */
  readonly signal?: AbortSignal
  /** Asks the servers even where an answer is kept. */
  readonly fresh?: boolean
  /** No mail waits for it: it has its turn behind lookups for which mail waits. */
  readonly background?: boolean
}

/** Everything that asks the DNS for something takes this; the two backends and the tests' scripted one are it. */
export interface Resolver {
  /**
   * Looks a name up, following CNAMEs. Never rejects and never throws: trouble is `failed`.
   * @param name FQDN in any case, with or without trailing dot; IDN already in A-labels. Never completed from a search list.
   */
  resolve<T extends RecordType>(
    name: string,
    type: T,
    options?: ResolveOptions,
  ): Promise<Outcome<T>>
}

/** Why a resolver whose answers come is blind. */
export type BlindCause =
  /** No server is on a trusted path: whatever they say of security is not believed. */
  | 'untrusted'
  /** A signed name comes back, and not secure. */
  | 'not-validating'
  /** It takes no EDNS, and so no DNSSEC. */
  | 'no-edns'
  /** A name with broken signatures is taken for good. */
  | 'takes-bogus'
  /** It answers for other names, but not for the signed one: whether it validates cannot be told. */
  | 'untestable'

/** What the self-test found (RFC 7672 §2.1.1: is this resolver's word on security worth anything?). */
export type Health =
  | { readonly state: 'validating'; readonly detail: string }
  /** Answers come, but never secure ones: DANE is blind, and no domain is at fault. */
  | { readonly state: 'blind'; readonly detail: string; readonly cause?: BlindCause }
  /** No answers come. */
  | { readonly state: 'unreachable'; readonly detail: string; readonly cause?: FailureCause }
