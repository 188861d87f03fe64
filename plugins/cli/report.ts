/**
 * What `check --json` prints, version 1: every field is in docs/command.md, and a test compares the two. Built from the plan
 * and the rehearsal of a delivery by pure functions; null stands for what does not apply, no field is ever left out.
 */
import { createHash } from 'node:crypto'
import type { X509Certificate } from 'node:crypto'
import { presentRecord } from '../dane/tlsa'
import type { Treatment } from '../delivery/planner'
import type { Facts, PlannedHost, Requirement, Verdict } from '../delivery/types'
import type { DestinationRule } from '../destinations'
import type { Health } from '../dnssec-stub'
import type { Trial } from '../haraka/rehearsal'
import { refreshTime } from '../mta-sts/refresh'
import type { StsLookup } from '../mta-sts/types'
import { REASONS, sourceOf } from '../reasons/catalogue'
import { readProfile } from '../x509/certificate'
import { presentedNames } from '../x509/names'
import type { Asked } from './arguments'
import type { Conclusion } from './conclude'
import type { Lookup } from './lookups'
import { printable } from './words'
import type { ReasonCode } from '../reasons/codes'

/** A reason code with where the rule comes from. */
export interface Reasoned {
  readonly reason: ReasonCode
  readonly rfc: string
  readonly meaning: string
  readonly detail: string
}

export interface Demand {
  readonly level: Requirement['level']
  readonly policy: PlannedHost['policy']
  /** Null for `authenticate`: there the policy is the reason. */
  readonly reason: ReasonCode | null
  readonly rfc: string
  readonly detail: string
  readonly sni: string | null
  /** What success may be called; null where it is not to be had. */
  readonly success: 'verified' | 'trusted' | null
  /** The TLSA records of which one must match, as `U S M HEX`. */
  readonly tlsa: readonly string[]
  /** Names of which a certificate under DANE-TA must bear one, or the host name under MTA-STS. */
  readonly names: readonly string[]
}

export interface ReportedHost {
  readonly host: string
  readonly preference: number
  readonly port: number
  readonly addresses: readonly string[]
  readonly demand: Demand
}

export interface ReportedPolicy {
  readonly mode: string
  readonly mx: readonly string[]
  readonly maxAge: number
  readonly id: string
  readonly source: 'cache' | 'fetched'
  readonly fetchedAt: string
  readonly expiresAt: string
  /** About when a running Haraka fetches it again; null where its life is too short for that. */
  readonly nextRefresh: string | null
}

export interface ReportedCertificate {
  readonly subject: string
  readonly issuer: string
  readonly names: readonly string[]
  readonly notBefore: string
  readonly notAfter: string
  /** The TLSA record that fits it: `3 1 1 …` for the server's own, `2 1 1 …` for those above. */
  readonly tlsa: string
}

export interface ReportedTrial extends Reasoned {
  readonly host: string
  readonly address: string | null
  readonly port: number
  readonly result: Trial['result']['kind']
  readonly verdict: Verdict['verdict']
  readonly protocol: string | null
  readonly cipher: string | null
  readonly certificates: readonly ReportedCertificate[]
  /** Where the policy is only observed: the verdict and reason of enforcing it. */
  readonly enforcing: { readonly verdict: Verdict['verdict']; readonly reason: ReasonCode } | null
}

export interface CheckReport {
  readonly version: 1
  readonly command: 'check'
  readonly domain: string
  readonly nextHop: string
  readonly route: { readonly host: string; readonly port: number } | null
  readonly checkedAt: string
  readonly treatment: Treatment
  /** What the message asks. */
  readonly asked: Asked | null
  readonly rule: DestinationRule | null
  /** The names of `verify match=`. */
  readonly ruleMatch: readonly string[]
  /** The line that the rule comes from: the domain, or `.parent`, and its last day. */
  readonly ruleFor: string | null
  readonly ruleUntil: string | null
  /** Lines that would fit, and are over. */
  readonly endedRules: readonly string[]
  readonly resolver: {
    readonly state: Health['state'] | 'not-asked'
    readonly detail: string
    readonly description: string
  }
  readonly mx: {
    readonly kind: Facts['mx']['kind']
    readonly security: 'secure' | 'insecure' | null
  }
  readonly lookups: readonly Lookup[]
  readonly sts: {
    readonly kind: StsLookup['kind'] | 'not-asked'
    readonly policy: ReportedPolicy | null
    /** Why the store could not be read, where it matters. */
    readonly store: string | null
    readonly problem: { readonly reason: ReasonCode; readonly detail: string } | null
  }
  readonly hosts: readonly ReportedHost[]
  /** Null without --connect. */
  readonly trials: readonly ReportedTrial[] | null
  readonly conclusion: Conclusion
  readonly exitCode: number
}

export function reportSts(sts: Facts['sts'], refreshSeconds: number): CheckReport['sts'] {
  const problem = 'problem' in sts && sts.problem ? sts.problem : null
  const policy = sts.kind === 'policy' ? reportPolicy(sts, refreshSeconds) : null
  const store = sts.kind === 'store-unread' ? printable(sts.store) : null
  return { kind: sts.kind, policy, store, problem }
}

export function reportPolicy(
  { known, source }: Pick<Extract<StsLookup, { kind: 'policy' }>, 'known' | 'source'>,
  refreshSeconds: number,
): ReportedPolicy {
  const { policy, id, fetchedAt, expiresAt } = known
  const { mode, mx, maxAge } = policy
  const nextRefresh = refreshTime(known, refreshSeconds * 1000, 1)
  return {
    mode,
    mx,
    maxAge,
    id,
    source,
    fetchedAt: new Date(fetchedAt).toISOString(),
    expiresAt: new Date(expiresAt).toISOString(),
    nextRefresh: nextRefresh === undefined ? null : new Date(nextRefresh).toISOString(),
  }
}

export function reportHost(planned: PlannedHost): ReportedHost {
  const { host, preference, port, addresses } = planned
  return { host, preference, port, addresses, demand: reportDemand(planned) }
}

function reportDemand({ requirement, policy }: PlannedHost): Demand {
  const common = { level: requirement.level, policy, sni: null, success: null, tlsa: [], names: [] }
  switch (requirement.level) {
    case 'refuse': {
      const { reason, detail } = requirement
      return { ...common, reason, rfc: sourceOf(reason, policy), detail: printable(detail) }
    }
    case 'opportunistic':
    case 'encrypt': {
      const { reason } = requirement
      const { rfc, meaning } = REASONS[reason]
      const sni = 'sni' in requirement ? (requirement.sni ?? null) : null
      return { ...common, reason, rfc, detail: meaning, sni }
    }
    case 'authenticate': {
      const { dane, pkix, sni, success, requiretls } = requirement
      const because = [
        ...(dane ? [`usable TLSA records at ${dane.base}`] : []),
        ...(pkix && !pkix.by ? ['an MTA-STS policy in mode enforce lists the host'] : []),
        ...(pkix?.by === 'operator' || pkix?.match ? ['your own settings demand a name'] : []),
        ...(requiretls ? ['the message asks for REQUIRETLS'] : []),
      ]
      const rfcs = [
        ...(dane ? ['RFC 7672 section 2.2'] : []),
        ...(pkix && !pkix.by ? ['RFC 8461 section 5'] : []),
        ...(pkix?.by === 'operator' ? [REASONS['operator-matched'].rfc] : []),
        ...(requiretls ? ['RFC 8689 section 4.2.1'] : []),
      ]
      return {
        ...common,
        reason: null,
        rfc: [...new Set(rfcs)].join('; '),
        detail: because.join(', and '),
        sni,
        success,
        tlsa: (dane?.records ?? []).map(presentRecord),
        names: [...new Set([...namesUnderDane(dane), ...namesUnderPkix(pkix)])],
      }
    }
  }
}

/** Under DANE-EE names do not count (RFC 7672 section 3.1.1). */
function namesUnderDane(
  dane: Extract<Requirement, { level: 'authenticate' }>['dane'],
): readonly string[] {
  return dane?.records.some(({ usage }) => usage === 2) ? dane.references : []
}

function namesUnderPkix(
  pkix: Extract<Requirement, { level: 'authenticate' }>['pkix'],
): readonly string[] {
  return [...(pkix?.host === undefined ? [] : [pkix.host]), ...(pkix?.match ?? [])]
}

export function reportTrial({
  planned,
  address,
  result,
  evidence,
  enforcing,
}: Trial): ReportedTrial {
  const { rfc, meaning } = REASONS[result.reason]
  return {
    host: planned.host,
    address: address ?? null,
    port: planned.port,
    result: result.kind,
    verdict: result.kind === 'delivers' ? result.verdict : 'refused',
    reason: result.reason,
    rfc,
    meaning,
    detail: printable(result.detail),
    protocol: evidence?.protocol ?? null,
    cipher: evidence?.cipher ?? null,
    certificates: (evidence?.chain ?? []).map(reportCertificate),
    enforcing: enforcing ? { verdict: enforcing.verdict, reason: enforcing.reason } : null,
  }
}

function reportCertificate(certificate: X509Certificate, depth: number): ReportedCertificate {
  const key = readProfile(certificate)?.publicKeyInfo
  const digest = key ? createHash('sha256').update(key).digest('hex') : 'unreadable'
  return {
    subject: printable(certificate.subject ?? '', 300),
    issuer: printable(certificate.issuer ?? '', 300),
    names: presentedNames(certificate),
    notBefore: isoDate(certificate.validFrom),
    notAfter: isoDate(certificate.validTo),
    tlsa: `${depth === 0 ? 3 : 2} 1 1 ${digest}`,
  }
}

function isoDate(text: string): string {
  const at = new Date(text)
  return Number.isNaN(at.getTime()) ? printable(text, 60) : at.toISOString()
}
