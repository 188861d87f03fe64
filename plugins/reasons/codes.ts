/** The codes of everything that a log line, a deferral, a metric or a report may give as its reason (docs/reasons.md). Pure. */

export type ReasonCode = PlanReason | SessionReason | SuccessReason | StsProblemReason

/** Why a host or a whole attempt is refused before any connection; reason codes (docs/reasons.md). */
export type PlanReason =
  | 'resolver-blind'
  | 'mx-lookup-failed'
  | 'no-such-domain'
  | 'null-mx'
  | 'no-mail-host'
  | 'bad-domain'
  | 'mx-loop'
  | 'no-address'
  | 'no-remote-address'
  | 'address-lookup-failed'
  | 'tlsa-lookup-failed'
  | 'dane-required'
  | 'verify-no-name'
  | 'tlsa-unusable'
  | 'sts-domain-denied'
  | 'sts-mx-not-listed'
  | 'sts-txt-lookup-failed'
  | 'sts-store-unread'
  | 'tls-switched-off'
  | 'bad-route'
  | 'requiretls-mx-not-validated'
  | 'requiretls-policy-unknown'
  | 'requiretls-no-name'
  | 'decision-failed'

/** Why a session with a host that must be secured ended before the envelope. */
export type SessionReason =
  | DaneFailureReason
  | 'connect-failed'
  | 'greeting-refused'
  | 'starttls-not-offered'
  | 'starttls-refused'
  | 'starttls-injection'
  | 'smtp-malformed-reply'
  | 'smtp-timeout'
  | 'smtp-closed'
  | 'tls-handshake-failed'
  | 'pkix-untrusted'
  | 'pkix-expired'
  | 'pkix-not-yet-valid'
  | 'pkix-name-mismatch'
  | 'pkix-no-certificate'
  | 'requiretls-not-offered'
  | 'tls-lost'

/** Why a presented chain does not satisfy the TLSA records; a reason code (docs/reasons.md). */
export type DaneFailureReason =
  | 'dane-no-match'
  | 'dane-ta-not-in-chain'
  | 'dane-ta-name-mismatch'
  | 'dane-ta-expired'
  | 'dane-ta-not-yet-valid'
  | 'dane-ta-chain-invalid'
  | 'dane-ta-too-costly'
  | 'dane-no-certificate'
  | 'dane-key-too-weak'

/** Why a host is used, and what its session then was. */
export type SuccessReason =
  | 'dane-ee-matched'
  | 'dane-ta-matched'
  | 'sts-matched'
  | 'dane-and-sts-matched'
  | 'operator-matched'
  | 'requiretls-matched'
  | 'tls-required-no'
  | 'tls-unauthenticated'
  | 'operator-encrypt'
  | 'no-policy'
  | 'sts-testing'
  | 'sts-none'
  | 'not-covered'

/** What went wrong on the way to a policy; a reason code (docs/reasons.md). */
export type StsProblemReason =
  /** The TXT lookup itself failed. */
  | 'sts-txt-lookup-failed'
  /** A TXT record that is none, malformed or one of several, while a policy is cached. */
  | 'sts-txt-invalid'
  /** DNS, TCP, TLS, status, size or time: the policy could not be had. */
  | 'sts-policy-fetch-error'
  | 'sts-policy-invalid'
  | 'sts-webpki-invalid'
