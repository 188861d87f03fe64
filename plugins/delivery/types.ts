/**
 * The words of one delivery (DESIGN: facts -> decide -> plan -> verdict). Facts are what lookups said; the plan is what
 * follows from them; nothing here does I/O. A requirement is met or the host is not used: there is no third way. Pure.
 */
import type { TlsaRecord, TlsaVerdict } from '../dane/types'
import type { Failure, MxRecord, Security } from '../dnssec-stub/types'
import type { StsLookup } from '../mta-sts/types'
import type { PlanReason, SessionReason, SuccessReason } from '../reasons/codes'

export interface HostFacts {
  /** The name as in the MX record (or the route, or the domain itself): lower case, A-labels; may be an IP literal. */
  readonly host: string
  readonly preference: number
  readonly port: number
  readonly addresses:
    | { readonly kind: 'resolved'; readonly list: readonly string[] }
    /** Secure where both families are denied securely. */
    | { readonly kind: 'none'; readonly security: Security }
    | { readonly kind: 'failed'; readonly failure: Failure }
  /** `not-asked`: DANE is off here, or the host has no name or no address. */
  readonly tlsa: TlsaVerdict | { readonly kind: 'not-asked' }
}

export type MxFacts =
  | { readonly kind: 'mx'; readonly security: Security; readonly records: readonly MxRecord[] }
  /** No MX record: the domain is its own host (RFC 5321 §5.1). */
  | { readonly kind: 'implicit'; readonly security: Security }
  /** The operator named the hosts (RFC 7672 §2.2.2, RFC 8461 §3.4). */
  | { readonly kind: 'route' }
  | { readonly kind: 'null-mx'; readonly security: Security }
  | { readonly kind: 'nxdomain'; readonly security: Security }
  | { readonly kind: 'failed'; readonly failure: Failure }

export interface Facts {
  /** Next-hop domain: recipient domain, or the relay that an operator routes to; lower case A-labels. */
  readonly nextHop: string
  /** Where CNAMEs at the next-hop domain led; the domain itself where it is no alias. */
  readonly nextHopExpanded: string
  readonly mx: MxFacts
  readonly hosts: readonly HostFacts[]
  readonly sts: StsLookup | { readonly kind: 'not-asked' }
}

export interface DaneDemand {
  readonly base: string
  readonly records: readonly TlsaRecord[]
  /** Names that a certificate under DANE-TA may carry (RFC 7672 §3.2.2). */
  readonly references: readonly string[]
  readonly presentation: readonly string[]
}

export interface PkixDemand {
  /** The MX hostname (RFC 8461 §4.2). At least one of host and match; where both are there, the certificate must bear both. */
  readonly host?: string
  /** Names that the operator has given for the destination, `.parent` for any below it: the certificate must bear one. */
  readonly match?: readonly string[]
  /** The policy's patterns, for the operator. */
  readonly patterns: readonly string[]
  /** Set where no MTA-STS policy demands it but the sender's own settings (`verify`, force_tls_hosts), or the message (RFC 8689). */
  readonly by?: 'operator' | 'requiretls'
}

/** `must`: the server has to offer REQUIRETLS inside TLS. `may`: MAIL says it where the server offers it. */
export type RequireTlsTag = 'must' | 'may'

export type Requirement =
  | {
      readonly level: 'opportunistic'
      readonly reason: 'no-policy' | 'sts-testing' | 'sts-none' | 'not-covered' | 'tls-required-no'
      /** STARTTLS has failed here, and the message would rather go without. */
      readonly withoutTls?: true
    }
  | {
      readonly level: 'encrypt'
      readonly sni: string | undefined
      readonly reason: 'tls-unauthenticated' | 'operator-encrypt' | 'tls-required-no'
      /** Judged and told, but not insisted on (RFC 8689 §4.2.2). */
      readonly wished?: Extract<Requirement, { level: 'authenticate' }>
      /** Why the host would not even have been connected to, had the message not let that go. */
      readonly because?: { readonly reason: PlanReason; readonly detail: string }
      readonly requiretls?: RequireTlsTag
    }
  | {
      readonly level: 'authenticate'
      readonly sni: string
      /** At least one of the two; where both are there, both must pass. */
      readonly dane?: DaneDemand
      readonly pkix?: PkixDemand
      /** What success may be called: `trusted` where the MX RRset was insecure (RFC 7672 §2.2.1). */
      readonly success: 'verified' | 'trusted'
      readonly requiretls?: RequireTlsTag
    }
  | { readonly level: 'refuse'; readonly reason: PlanReason; readonly detail: string }

export interface PlannedHost {
  readonly host: string
  readonly preference: number
  readonly port: number
  /** IPv6 first, as Haraka orders them; empty where the host is refused for want of one. */
  readonly addresses: readonly string[]
  readonly requirement: Requirement
  /** Which policy set the requirement, for logs and metrics. */
  readonly policy: PolicyKind
  /** What each policy demands of the host, those that are not insisted on included; the requirement is made of the others. */
  readonly demands: readonly PolicyDemand[]
}

export interface PolicyDemand {
  readonly policy: 'dane' | 'sts' | 'operator'
  /** False: judged and told, but not insisted on (MTA-STS `testing`, or MTA-STS beside DANE that satisfies on its own). */
  readonly enforced: boolean
  readonly demand: Exclude<Requirement, { level: 'opportunistic' }>
}

/** `requiretls`: the message itself (RFC 8689). */
export type PolicyKind = 'dane' | 'sts' | 'dane+sts' | 'operator' | 'requiretls' | 'none'

export type PlanOutcome =
  /** In the order of trial; hosts to refuse are among them, with the reason. Never empty. */
  | {
      readonly kind: 'hosts'
      readonly hosts: readonly PlannedHost[]
      /** The same hosts with less asked of them, for when none of the first round took a message that rather goes so than not. */
      readonly then?: readonly PlannedHost[]
    }
  | {
      readonly kind: 'defer'
      readonly reason: PlanReason
      readonly detail: string
      /** Where a policy stands in the way. */
      readonly policy?: PolicyKind
    }
  | {
      readonly kind: 'bounce'
      readonly reason:
        'null-mx' | 'no-such-domain' | 'no-mail-host' | 'bad-domain' | 'requiretls-no-name'
      readonly detail: string
    }

export interface Plan {
  readonly nextHop: string
  readonly outcome: PlanOutcome
  readonly facts: Facts
}

/** A session's end, in the words of DESIGN §3. */
export type Verdict =
  | {
      readonly verdict: 'verified' | 'trusted' | 'encrypted' | 'cleartext'
      readonly reason: SuccessReason
      readonly detail: string
    }
  | {
      readonly verdict: 'refused'
      readonly reason: SessionReason
      readonly detail: string
      /** OpenSSL's, where it is OpenSSL that does not trust the chain. */
      readonly code?: string
    }
