/**
 * The end of one host as what it adds to the day of its next-hop domain, under each policy (RFC 8460 §4.2, §4.3). Pure.
 *
 * One count a session and policy, at the moment when TLS was up or could not be had; what becomes of the mail does not matter. A
 * policy in mode testing, or one beside DANE, is counted as if it were enforced. What was our own doing is not counted at all.
 */
import { isIP } from 'node:net'
import type { HostEnd, PolicyEnd, SessionEnd } from '../delivery/host-end'
import type { Facts, HostFacts } from '../delivery/types'
import { dnsCode, problemCode, resultOf } from './result'
import type { Result } from './result'
import type { Addition, Detail, Policy } from './types'

/** @returns nothing for what was our own doing, and for a session that is told of a second time */
export function attribute(end: HostEnd): readonly Addition[] {
  const { facts, session } = end
  if (facts === undefined || end.corrects || session?.leftAlone) return []
  const host = facts.hosts.find((one) => one.host === end.host)
  const tlsa = host === undefined ? undefined : tlsaPolicy(host, end)
  const sts = stsPolicy(facts)
  const additions: Addition[] = []
  if (host !== undefined && tlsa !== undefined) {
    additions.push(...addition(tlsa, end, ofTlsa(host, end)))
  }
  if (sts !== undefined) additions.push(...addition(sts, end, ofSts(end)))
  if (tlsa === undefined && sts === undefined) {
    additions.push(...addition(noPolicy(facts), end, ofNone(end)))
  }
  return additions
}

/**
 * Once for each plan: the trouble on the way to the MTA-STS policy (RFC 8461 §6). Where a policy holds nevertheless, its sessions are
 * counted by themselves, and this is a detail beside them.
 */
export function additionsOfPlan(facts: Facts): readonly Addition[] {
  const { sts } = facts
  // Whether the domain has a policy at all is not known where its TXT record could not be read.
  if (sts.kind !== 'policy' && sts.kind !== 'none') return []
  const { problem } = sts
  if (problem === undefined) return []
  const result = resultOf(problem.reason, { code: problemCode(problem) })
  if (result === undefined) return []
  const detail = detailOf(result)
  if (sts.kind === 'policy') {
    const policy = stsPolicy(facts)
    return policy === undefined ? [] : [{ policy, success: 0, failure: 0, detail }]
  }
  const policy = {
    'policy-type': 'sts',
    'policy-string': [],
    'policy-domain': facts.nextHop,
  } as const
  return [{ policy, success: 0, failure: 1, detail }]
}

/** Undefined: neither a success nor a failure that is anybody's. */
type Outcome = 'success' | Result | undefined

function addition(policy: Policy, end: HostEnd, outcome: Outcome): readonly Addition[] {
  if (outcome === undefined) return []
  if (outcome === 'success') return [{ policy, success: 1, failure: 0 }]
  return [{ policy, success: 0, failure: 1, detail: { ...detailOf(outcome), ...between(end) } }]
}

function ofTlsa({ tlsa }: HostFacts, end: HostEnd): Outcome {
  const dane = of(end, 'dane')
  if (tlsa.kind === 'failed') {
    const code = dnsCode(tlsa.failure)
    return code === undefined ? undefined : resultOf('tlsa-lookup-failed', { code })
  }
  const operator = of(end, 'operator')
  if (operator?.reason === 'dane-required' || operator?.reason === 'tlsa-unusable') {
    return resultOf(operator.reason)
  }
  if (dane === undefined) return undefined
  // TLS without authentication is what unusable records leave, and nothing of what they were published for (TT-29).
  return tlsa.kind === 'unusable' && dane.met ? resultOf('tlsa-unusable') : outcomeOf(dane, end)
}

function ofSts(end: HostEnd): Outcome {
  const sts = of(end, 'sts')
  return sts === undefined ? undefined : outcomeOf(sts, end)
}

function ofNone(end: HostEnd): Outcome {
  const { session, verdict, reason } = end
  if (session === undefined) return undefined
  if (session.tls !== undefined) return 'success'
  return resultOf(verdict === 'cleartext' ? 'starttls-not-offered' : reason, session)
}

function of({ byPolicy }: HostEnd, policy: PolicyEnd['policy']): PolicyEnd | undefined {
  return byPolicy.find((one) => one.policy === policy)
}

function outcomeOf({ met, reason, code }: PolicyEnd, { session }: HostEnd): Outcome {
  return met ? 'success' : resultOf(reason, { stage: session?.stage, code: code ?? session?.code })
}

/** @returns undefined where DANE has no part in it */
function tlsaPolicy({ tlsa, host }: HostFacts, end: HostEnd): Policy | undefined {
  switch (tlsa.kind) {
    case 'usable':
    case 'unusable':
      return {
        'policy-type': 'tlsa',
        'policy-string': tlsa.presentation,
        'policy-domain': tlsa.base,
      }
    case 'failed':
      return unread(host)
    case 'none':
    case 'not-asked':
      return of(end, 'operator')?.reason === 'dane-required' ? unread(host) : undefined
  }
}

/** DANE was applied, and there were no records to show. */
function unread(host: string): Policy {
  return { 'policy-type': 'tlsa', 'policy-string': [], 'policy-domain': host }
}

/** A policy in mode none is none (TT-04). */
function stsPolicy({ sts }: Facts): Policy | undefined {
  if (sts.kind !== 'policy' || sts.known.policy.mode === 'none') return undefined
  const { domain, policy } = sts.known
  return {
    'policy-type': 'sts',
    'policy-string': policy.lines,
    'policy-domain': domain,
    'mx-host': policy.mx,
  }
}

function noPolicy({ nextHop }: Facts): Policy {
  return { 'policy-type': 'no-policy-found', 'policy-domain': nextHop }
}

function detailOf({ type, code }: Result): Detail {
  return {
    'result-type': type,
    ...(code === undefined ? {} : { 'failure-reason-code': code }),
  }
}

/** Who spoke with whom; of a host that was not contacted, its name. */
function between({ host, session }: HostEnd): Partial<Detail> {
  const local = plainAddress(session?.local)
  const peer = plainAddress(session?.peer)
  const helo = heloOf(session)
  return {
    ...(local === undefined ? {} : { 'sending-mta-ip': local }),
    ...(host === undefined || isIP(host) !== 0 ? {} : { 'receiving-mx-hostname': host }),
    ...(helo === undefined ? {} : { 'receiving-mx-helo': helo }),
    ...(peer === undefined ? {} : { 'receiving-ip': peer }),
  }
}

/** An IPv4 address by itself where a socket for both families shows it, and without a zone (RFC 5952 §5). */
function plainAddress(address: string | undefined): string | undefined {
  const plain = address?.replace(/^::ffff:(?=[\d.]+$)/i, '').replace(/%.*$/, '')
  return plain === undefined || isIP(plain) === 0 ? undefined : plain
}

/** The server's own word: printable, without blanks, no longer than a name. */
function heloOf(session: SessionEnd | undefined): string | undefined {
  const helo = session?.helo?.replace(/[^\x21-\x7e]/g, '?').slice(0, 255)
  return helo === undefined || helo === '' ? undefined : helo
}
