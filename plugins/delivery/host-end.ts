/**
 * What became of one host: the single value out of which log line, metrics, deferral text and reports are made. Pure.
 * Each host that was tried or refused has exactly one; where a session is lost later on, a second one corrects the first.
 */
import type { ReasonCode } from '../reasons/codes'
import type { Judged } from './judge'
import type {
  Facts,
  Plan,
  PlannedHost,
  PlanOutcome,
  PolicyDemand,
  PolicyKind,
  Requirement,
  Verdict,
} from './types'

export type Mode = 'enforce' | 'observe'

/** What one policy demanded of a host, and whether it was met. */
export interface PolicyEnd {
  readonly policy: PolicyDemand['policy']
  /** False where the demand is judged and told, but not insisted on: MTA-STS `testing`, and MTA-STS beside DANE. */
  readonly enforced: boolean
  readonly met: boolean
  readonly reason: ReasonCode
  /** One line. */
  readonly detail: string
  /** What OpenSSL calls the failure, where it is OpenSSL's. */
  readonly code?: string
}

/** The stage of a session before the envelope at which it ended; `tls`: TLS was up. */
export type SessionStage = 'connect' | 'greeting' | 'ehlo' | 'starttls' | 'handshake' | 'tls'

/** Of a host that was contacted. */
export interface SessionEnd {
  readonly stage: SessionStage
  /** Our own address in the session; left out where there was no connection. */
  readonly local?: string
  readonly peer: string
  /** The name with which the server introduced itself: first word of its EHLO reply, else of its greeting. */
  readonly helo?: string
  readonly tls?: { readonly protocol: string; readonly cipher: string }
  /** The failure, as OpenSSL, Node or the server's reply call it: `ERR_SSL_WRONG_VERSION_NUMBER`, `smtp-454`. */
  readonly code?: string
  /** MAIL says REQUIRETLS in it (RFC 8689 §2). */
  readonly requiretls?: true
  /** From greeting to judgement, in seconds, where the plugin itself held the session until then. */
  readonly seconds?: number
  /** Haraka's own settings kept it from TLS (tls.ini no_tls_hosts, its memory of failed handshakes): nobody's failure. */
  readonly leftAlone?: true
}

export interface HostEnd {
  /** `observe`: mail goes as Haraka sends it, and this is what enforcing would have said. */
  readonly mode: Mode
  /** For humans: the recipients' domain, where another plugin routes elsewhere. */
  readonly domain: string
  /** What was looked up, with the next-hop domain; undefined where nothing was: a route that cannot be dialled. */
  readonly facts: Facts | undefined
  /** Left out where it did not come to any host. */
  readonly host?: string
  readonly address?: string
  /** Which policy set the requirement. */
  readonly policy: PolicyKind
  /** What was demanded of the host; `refuse`: not even to connect to it. */
  readonly require: Requirement['level']
  readonly verdict: Verdict['verdict']
  readonly reason: ReasonCode
  readonly detail: string
  /** Left out where the host was never contacted. */
  readonly session?: SessionEnd
  /** One for each policy that demanded something of the host and could be judged. */
  readonly byPolicy: readonly PolicyEnd[]
  /** The session was lost after an end had been told of it. */
  readonly corrects?: true
}

/** One address of a planned host, to which a connection was asked for. */
export interface Tried {
  readonly mode: Mode
  readonly domain: string
  readonly facts: Facts
  readonly planned: PlannedHost
  readonly address: string
  /** Haraka itself goes on with TLS or not at all (tls.ini force_tls_hosts). */
  readonly forced?: boolean
}

/** What came of the connection, up to the envelope. */
export type Met =
  | {
      readonly kind: 'failed'
      readonly reason: ReasonCode
      readonly detail: string
      readonly session: SessionEnd
    }
  /** Haraka's own settings kept it from TLS. */
  | { readonly kind: 'left-alone'; readonly session: SessionEnd }
  | {
      readonly kind: 'secured'
      readonly session: SessionEnd
      /** Judges the session by one demand. Asked first for what is insisted on. */
      readonly judge: (demand: Judged) => Verdict
    }

type Refusal = Extract<Requirement, { level: 'refuse' }>
type HostRefused = PlannedHost & { readonly requirement: Refusal }

export function isRefused(planned: PlannedHost): planned is HostRefused {
  return planned.requirement.level === 'refuse'
}

/** A host that is not contacted. */
export function endOfRefused(
  { mode, domain, facts, address }: Pick<Tried, 'mode' | 'domain' | 'facts'> & { address?: string },
  { host, policy, requirement, demands }: HostRefused,
): HostEnd {
  const { reason, detail } = requirement
  return {
    mode,
    domain,
    facts,
    host,
    ...(address === undefined ? {} : { address }),
    policy,
    require: 'refuse',
    verdict: 'refused',
    reason,
    detail,
    byPolicy: demands
      .filter(({ demand }) => demand.level === 'refuse')
      .map((demand) => unmet(demand, reason, detail)),
  }
}

/** An attempt, or a route of it, that comes to no host at all. */
export function endWithoutHost(
  { mode, domain, facts }: Pick<HostEnd, 'mode' | 'domain' | 'facts'>,
  why: {
    readonly host?: string | undefined
    readonly policy?: PolicyKind
    readonly reason: ReasonCode
    readonly detail: string
  },
): HostEnd {
  const { host, policy = 'none', reason, detail } = why
  return {
    mode,
    domain,
    facts,
    ...(host === undefined ? {} : { host }),
    policy,
    require: 'refuse',
    verdict: 'refused',
    reason,
    detail,
    byPolicy: policiesOf(policy).map((one) => ({
      policy: one,
      enforced: true,
      met: false,
      reason,
      detail,
    })),
  }
}

/** Which policy stands in the way of an attempt that has no hosts. */
export function policyOf(outcome: Exclude<PlanOutcome, { kind: 'hosts' }>): PolicyKind {
  return outcome.kind === 'defer' ? (outcome.policy ?? 'none') : 'none'
}

/** A plan that has no hosts. */
export function endOfPlan(
  { facts, outcome }: Plan & { readonly outcome: Exclude<PlanOutcome, { kind: 'hosts' }> },
  { mode, domain, host }: Pick<HostEnd, 'mode' | 'domain' | 'host'>,
): HostEnd {
  const { reason, detail } = outcome
  return endWithoutHost(
    { mode, domain, facts },
    { host, policy: policyOf(outcome), reason, detail },
  )
}

/** A host that was contacted. */
export function endOfTried(tried: Tried, met: Met): HostEnd {
  const { mode, domain, facts, planned, address } = tried
  if (isRefused(planned)) return endOfRefused(tried, planned)
  const { host, policy, requirement, demands } = planned
  // What is insisted on is judged before what is not: signatures may cost only so much.
  const { verdict, reason, detail } = verdictOn(requirement, met, tried.forced ?? false)
  const inOrder = [...demands].sort((a, b) => Number(b.enforced) - Number(a.enforced))
  return {
    mode,
    domain,
    facts,
    host,
    address,
    policy,
    require: requirement.level,
    verdict,
    reason,
    detail,
    session: met.session,
    byPolicy: met.kind === 'left-alone' ? [] : inOrder.map((demand) => judged(demand, met)),
  }
}

/** A session that was lost after its host had been accepted. */
export function endOfLost(end: HostEnd, detail: string): HostEnd {
  return { ...end, verdict: 'refused', reason: 'tls-lost', detail, corrects: true }
}

function verdictOn(
  requirement: Requirement,
  met: Met,
  forced: boolean,
): Pick<HostEnd, 'verdict' | 'reason' | 'detail'> {
  if (requirement.level === 'refuse') {
    return { verdict: 'refused', reason: requirement.reason, detail: requirement.detail }
  }
  if (requirement.level === 'opportunistic') return undemanded(requirement.reason, met, forced)
  switch (met.kind) {
    case 'failed':
      return { verdict: 'refused', reason: met.reason, detail: met.detail }
    case 'left-alone':
      return { verdict: 'cleartext', reason: 'not-covered', detail: LEFT_ALONE }
    case 'secured':
      return met.judge(requirement)
  }
}

const LEFT_ALONE =
  "Haraka's own settings keep it from TLS with this host; what enforcing would find is not known"

/** Nothing is insisted on: Haraka goes on without TLS where none is offered. */
function undemanded(
  reason: ReasonCode,
  met: Met,
  forced: boolean,
): Pick<HostEnd, 'verdict' | 'reason' | 'detail'> {
  switch (met.kind) {
    case 'secured':
      return { verdict: 'encrypted', reason, detail: '' }
    case 'left-alone':
      return { verdict: 'cleartext', reason, detail: '' }
    case 'failed':
      return met.reason === 'starttls-not-offered' && !forced
        ? { verdict: 'cleartext', reason, detail: met.detail }
        : { verdict: 'refused', reason: met.reason, detail: met.detail }
  }
}

function judged(demand: PolicyDemand, met: Exclude<Met, { kind: 'left-alone' }>): PolicyEnd {
  const what = demand.demand
  if (what.level === 'refuse') return unmet(demand, what.reason, what.detail)
  if (met.kind === 'failed') return unmet(demand, met.reason, met.detail)
  const judgement = met.judge(what)
  const { verdict, reason, detail } = judgement
  const { policy, enforced } = demand
  const code = 'code' in judgement ? judgement.code : undefined
  const end = { policy, enforced, met: verdict !== 'refused', reason, detail }
  return code === undefined ? end : { ...end, code }
}

function unmet({ policy, enforced }: PolicyDemand, reason: ReasonCode, detail: string): PolicyEnd {
  return { policy, enforced, met: false, reason, detail }
}

function policiesOf(policy: PolicyKind): readonly PolicyDemand['policy'][] {
  switch (policy) {
    // The author's demand is no policy of the receiver's.
    case 'requiretls':
    case 'none':
      return []
    case 'dane+sts':
      return ['dane', 'sts']
    case 'dane':
    case 'sts':
    case 'operator':
      return [policy]
  }
}
