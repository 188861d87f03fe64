/**
 * What Haraka's outbound code does by itself with a host of which no policy demands anything, up to MAIL FROM: hmail.js, the same
 * in 3.1.6 to 3.3.4, with outbound.ini's enable_tls and tls.ini's no_tls_hosts and force_tls_hosts. Written down once, for the
 * rehearsal; an end-to-end test holds it against Haraka. Pure.
 */
import { sniFor } from '../delivery/requirement'
import type { Requirement } from '../delivery/types'
import type { Inside } from './ask-inside'
import type { PreflightResult } from './preflight'
import type { ReasonCode, SuccessReason } from '../reasons/codes'

/**
 * `offered`: TLS where the server offers it. `forced`: with a certificate of a trusted CA, or not at all. `impossible`: forced by
 * tls.ini and switched off by outbound.ini.
 */
export type UnaidedTls = 'never' | 'offered' | 'forced' | 'impossible'

/** What a trial of one address means for the attempt. */
export type TrialResult =
  | {
      readonly kind: 'delivers'
      readonly verdict: 'verified' | 'trusted' | 'encrypted' | 'cleartext'
      readonly reason: SuccessReason
      readonly detail: string
    }
  /** The next address or host has its turn. */
  | { readonly kind: 'next'; readonly reason: ReasonCode; readonly detail: string }
  /** Haraka tries no other host. */
  | {
      readonly kind: 'deferred' | 'bounced'
      readonly reason: ReasonCode
      readonly detail: string
    }

type Refused = Extract<PreflightResult, { ok: false }>

/** With which a pre-flight does what Haraka would do. */
export function unaidedRequirement(
  host: string,
  tls: UnaidedTls,
): Extract<Requirement, { level: 'encrypt' | 'authenticate' }> {
  const sni = sniFor(host)
  return tls === 'forced'
    ? { level: 'authenticate', sni: host, pkix: { host, patterns: [] }, success: 'verified' }
    : { level: 'encrypt', sni, reason: 'operator-encrypt' }
}

/**
 * @param inside undefined where the pre-flight failed
 * @param reason why nothing is demanded
 */
export function unaidedResult(
  met: PreflightResult,
  inside: Inside | undefined,
  reason: SuccessReason,
  tls: UnaidedTls,
): TrialResult {
  if (!met.ok && (met.reason === 'greeting-refused' || isPostponed(met))) return refusedByReply(met)
  if (tls === 'never' && reachedStartTls(met)) return withoutTls(reason)
  if (tls === 'impossible' && reachedStartTls(met)) {
    const detail = 'force_tls_hosts demands TLS, but outbound.ini says enable_tls=false'
    return { kind: 'deferred', reason: 'tls-switched-off', detail }
  }
  if (!met.ok) return unaidedFailure(met, reason, tls)
  const { protocol, cipher } = met.session.tls
  const whose = tls === 'forced' ? 'as tls.ini force_tls_hosts demands' : 'nobody authenticated'
  const detail = `${protocol} ${cipher}, ${whose}`
  return afterTls(inside) ?? { kind: 'delivers', verdict: 'encrypted', reason, detail }
}

/** EHLO was answered with anything but success or 5xx. */
function isPostponed({ reason, code }: Refused): boolean {
  return reason === 'starttls-not-offered' && code !== undefined && code < 500
}

function withoutTls(reason: SuccessReason): TrialResult {
  const detail = 'outbound.ini or tls.ini keeps Haraka from using TLS with this host'
  return { kind: 'delivers', verdict: 'cleartext', reason, detail }
}

function unaidedFailure(met: Refused, reason: SuccessReason, tls: UnaidedTls): TrialResult {
  const { detail } = met
  if (met.reason === 'starttls-refused') return refusedByReply(met)
  if (met.reason === 'smtp-malformed-reply') return { kind: 'bounced', reason: met.reason, detail }
  if (met.reason !== 'starttls-not-offered') return { kind: 'next', reason: met.reason, detail }
  // Also after 5xx to EHLO, which is followed by HELO.
  return tls === 'forced'
    ? { kind: 'deferred', reason: met.reason, detail }
    : { kind: 'delivers', verdict: 'cleartext', reason, detail }
}

function reachedStartTls(met: PreflightResult): boolean {
  if (met.ok || /^(starttls-|tls-)/.test(met.reason)) return true
  const { stage } = met.session
  return stage === 'starttls' || stage === 'handshake'
}

function refusedByReply({ reason, detail, code = 400 }: Refused): TrialResult {
  return { kind: code >= 500 ? 'bounced' : 'deferred', reason, detail }
}

/** Inside TLS it is Haraka's own session, demanded or not. Undefined where Haraka would go on to MAIL FROM. */
export function afterTls(inside: Inside | undefined): TrialResult | undefined {
  switch (inside?.kind) {
    case 'lost':
      return { kind: 'next', reason: 'tls-lost', detail: inside.detail }
    case 'malformed':
      return { kind: 'bounced', reason: 'smtp-malformed-reply', detail: inside.detail }
    case 'reply': {
      const { code, lines } = inside.reply
      // 5xx is followed by HELO.
      if (code < 300 || code >= 500) return undefined
      const detail = `EHLO inside TLS was answered "${code} ${lines.join(' ')}"`.slice(0, 300)
      return { kind: 'deferred', reason: 'greeting-refused', detail }
    }
    case undefined:
      return undefined
  }
}
