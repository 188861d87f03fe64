/**
 * What a finished handshake is worth against a requirement; pure. Called before a single byte of the envelope, and the
 * only place that may say "verified".
 */
import type { X509Certificate } from 'node:crypto'
import { verifyDane } from '../dane/verify'
import type { Effort } from '../x509/effort'
import { matchDnsId, matchNameOrParent, presentedNames } from '../x509/names'
import type { DaneDemand, PkixDemand, Requirement, Verdict } from './types'
import type { SessionReason } from '../reasons/codes'

export interface SessionEvidence {
  /** As the peer sent it, leaf first. */
  readonly chain: readonly X509Certificate[]
  /** OpenSSL's word on the chain against the trusted roots, names left aside. */
  readonly pkix: { readonly ok: true } | { readonly ok: false; readonly code: string }
}

type Refusal = Extract<Verdict, { verdict: 'refused' }>
type Part =
  { readonly ok: true; readonly usage: 2 | 3 | undefined; readonly detail: string } | Refusal

export type Judged = Extract<Requirement, { level: 'encrypt' | 'authenticate' }>

export type Judge = (requirement: Judged, evidence: SessionEvidence, now: Date) => Verdict

/**
 * @param now Certificates are judged at this moment.
 * @param effort What signatures may cost; left out: what one judgement may.
 */
export function judge(
  requirement: Judged,
  evidence: SessionEvidence,
  now: Date,
  effort?: Effort,
): Verdict {
  if (requirement.level === 'encrypt') {
    return requirement.reason === 'tls-required-no'
      ? judgeWish(requirement, evidence, now, effort)
      : {
          verdict: 'encrypted',
          reason: requirement.reason,
          detail: 'TLS was mandatory, authentication was not',
        }
  }
  const { dane, pkix } = requirement
  const byDane = dane ? judgeDane(dane, evidence, now, effort) : undefined
  if (byDane && 'verdict' in byDane) return byDane
  const byPkix = pkix ? judgePkix(pkix, evidence) : undefined
  if (byPkix && 'verdict' in byPkix) return byPkix
  const passed = [byDane, byPkix].filter((part) => part !== undefined)
  if (passed.length === 0) {
    // An authentication without a demand is a mistake of ours, and no success.
    return refused('pkix-untrusted', 'no way to authenticate was named')
  }
  return {
    verdict: requirement.success,
    reason: successReason(byDane?.usage, pkix),
    detail: passed.map(({ detail }) => detail).join('; '),
  }
}

/** What is met counts as ever; what is not is said, and stops nothing (RFC 8689 §4.2.2). */
function judgeWish(
  { wished, because }: Extract<Judged, { level: 'encrypt' }>,
  evidence: SessionEvidence,
  now: Date,
  effort: Effort | undefined,
): Verdict {
  const met = wished && judge(wished, evidence, now, effort)
  if (met && met.verdict !== 'refused') return met
  const failure = met ?? because
  const detail = failure
    ? `not insisted on: ${failure.reason}: ${failure.detail}`
    : 'no policy was there to insist on'
  return { verdict: 'encrypted', reason: 'tls-required-no', detail }
}

function successReason(
  usage: 2 | 3 | undefined,
  pkix: PkixDemand | undefined,
):
  | 'dane-ee-matched'
  | 'dane-ta-matched'
  | 'sts-matched'
  | 'dane-and-sts-matched'
  | 'operator-matched'
  | 'requiretls-matched' {
  if (pkix?.by === 'operator') return 'operator-matched'
  if (pkix?.by === 'requiretls') return 'requiretls-matched'
  if (usage === undefined) return 'sts-matched'
  if (pkix) return 'dane-and-sts-matched'
  return usage === 3 ? 'dane-ee-matched' : 'dane-ta-matched'
}

function judgeDane(
  demand: DaneDemand,
  evidence: SessionEvidence,
  now: Date,
  effort: Effort | undefined,
): Part {
  const verdict = verifyDane({
    chain: evidence.chain,
    records: demand.records,
    references: demand.references,
    now,
    ...(effort === undefined ? {} : { effort }),
  })
  if (!verdict.ok) return refused(verdict.reason, verdict.detail)
  const { usage, selector, matchingType } = verdict.record
  const named = verdict.matchedName === undefined ? '' : ` as ${verdict.matchedName}`
  return {
    ok: true,
    usage,
    detail: `TLSA ${usage} ${selector} ${matchingType} at ${demand.base} matches${named}`,
  }
}

function judgePkix(demand: PkixDemand, { chain, pkix }: SessionEvidence): Part {
  const leaf = chain[0]
  if (leaf === undefined)
    return refused('pkix-no-certificate', 'the server presented no certificate')
  if (!pkix.ok) {
    return refused(
      pkixReason(pkix.code),
      `the certificate chain is not trusted (${pkix.code}): subject ${oneLine(leaf.subject)}, ` +
        `issuer ${oneLine(leaf.issuer)}, valid ${leaf.validFrom} to ${leaf.validTo}`,
      pkix.code,
    )
  }
  const { host, match } = demand
  const found: string[] = []
  if (host !== undefined) {
    const byHost = matchDnsId(leaf, [host], { commonName: false })
    if (byHost === undefined) return refusedName(leaf, host)
    found.push(byHost.matched)
  }
  if (match !== undefined) {
    const byMatch = matchNameOrParent(leaf, match)
    if (byMatch === undefined) return refusedName(leaf, `one of your own, ${firstOf(match)}`)
    found.push(byMatch)
  }
  // A demand without a name is a mistake of ours, and no success.
  if (found.length === 0) return refused('pkix-name-mismatch', 'no name to expect was given')
  return { ok: true, usage: undefined, detail: `certificate names ${found.join(' and ')}` }
}

function refusedName(leaf: X509Certificate, expected: string): Refusal {
  const presented = firstOf(presentedNames(leaf)) || 'no DNS name'
  return refused('pkix-name-mismatch', `expected ${expected}, presented ${presented}`)
}

function firstOf(names: readonly string[]): string {
  return names.slice(0, 8).join(' ')
}

function pkixReason(code: string): SessionReason {
  switch (code) {
    case 'CERT_HAS_EXPIRED':
      return 'pkix-expired'
    case 'CERT_NOT_YET_VALID':
      return 'pkix-not-yet-valid'
    default:
      return 'pkix-untrusted'
  }
}

function refused(reason: SessionReason, detail: string, code?: string): Refusal {
  return { verdict: 'refused', reason, detail, ...(code === undefined ? {} : { code }) }
}

/**
 * Certificate subjects are the peer's words and have a line each for every attribute. Node types them as strings, and gives
 * undefined for an empty name, which some CAs' certificates have.
 */
function oneLine(text: string | undefined): string {
  if (text === undefined) return '(empty)'
  return text
    .replace(/\n/g, ', ')
    .replace(/[^\x20-\x7e]/g, '?')
    .slice(0, 200)
}
