/**
 * A delivery attempt up to, and without, MAIL FROM: hosts and addresses in the order of the plan, the same pre-flight, EHLO once
 * more inside TLS, QUIT. For hosts that demand TLS the rules are the delivery's own code; for the others they are Haraka's
 * (unaided.ts).
 * It promises that no envelope is sent, that every connection is closed, and that it ends. The network
 * cannot make it reject.
 */
import type { SecureContext, TLSSocket } from 'node:tls'
import type { Judge } from '../delivery/judge'
import { createJudge } from '../delivery/judgements'
import { demandsTls, raiseToOperatorsFloor } from '../delivery/requirement'
import type { Plan, PlannedHost, Requirement, Verdict } from '../delivery/types'
import { secondRound } from './anyhow'
import type { FirstEnd } from './anyhow'
import type { SessionStage } from '../delivery/host-end'
import { mxIsSecure } from '../delivery/decide'
import { askInside } from './ask-inside'
import type { Inside } from './ask-inside'
import { preflight } from './preflight'
import type { HandshakeEvidence, PreflightResult } from './preflight'
import { connectStandalone } from './standalone-socket'
import type { Connected, StandaloneOptions } from './standalone-socket'
import { afterTls, unaidedRequirement, unaidedResult } from './unaided'
import type { SessionOptions } from './operator-tls'
import type { TrialResult, UnaidedTls } from './unaided'

export interface RehearsalOptions {
  readonly plan: Pick<Plan, 'outcome' | 'facts'>
  /** False in mode observe and for destinations switched off: Haraka delivers by itself, and the policy is only looked at. */
  readonly enforce: boolean
  /** What EHLO says. */
  readonly helo: string
  /** What the operator asks of a session beside its context. */
  readonly session?: SessionOptions
  /** `policy`: where a policy is enforced or looked at. `unaided`: where Haraka itself demands a certificate. */
  readonly contextFor: (
    address: string,
    use: 'policy' | 'opportunistic' | 'unaided',
  ) => SecureContext
  /** What Haraka, left to itself, does about TLS with this address. */
  readonly unaidedTls: (host: string, address: string) => UnaidedTls
  /** Haraka's connect_timeout in milliseconds. */
  readonly timeoutMs: number
  readonly now: () => Date
  /** Default: a TCP connection. */
  readonly connect?: (options: StandaloneOptions) => Promise<Connected>
}

export interface Trial {
  readonly planned: PlannedHost
  /** Undefined where the host is not even connected to. */
  readonly address: string | undefined
  readonly result: TrialResult
  /** What the handshake brought, as far as there was one. */
  readonly evidence: HandshakeEvidence | undefined
  /** The code of the reply with which the server refused. */
  readonly reply: number | undefined
  /** Where the session ended; undefined where there was none. */
  readonly stage: SessionStage | undefined
  /** Where the policy is only looked at: what enforcing it would have said. */
  readonly enforcing: Verdict | undefined
}

export interface Rehearsal {
  readonly trials: readonly Trial[]
  /** How the attempt would end. `deferred` without `by`: no host was left. */
  readonly end:
    | { readonly kind: 'delivers'; readonly by: Trial }
    | { readonly kind: 'deferred' | 'bounced'; readonly by: Trial | undefined }
}

/** As in a delivery: each of greeting, EHLO, STARTTLS and handshake may take as long as a server may be silent. */
const PREFLIGHT_STAGES = 4

/** Goes through the plan's hosts until one takes the mail, or Haraka would give up. */
export async function rehearse(options: RehearsalOptions): Promise<Rehearsal> {
  const { plan } = options
  if (plan.outcome.kind !== 'hosts') return { trials: [], end: { kind: 'deferred', by: undefined } }
  const judge = createJudge()
  const first = await tryHosts(plan.outcome.hosts, options, judge)
  const then = first.end.by ? [] : secondRound(plan, first.trials.map(endOf))
  if (then.length === 0) return first
  const second = await tryHosts(then, options, judge)
  return { trials: [...first.trials, ...second.trials], end: second.end }
}

/** A trial, as a delivery would keep it in mind. */
function endOf({ planned, address, result, stage }: Trial): FirstEnd {
  const { kind, reason } = result
  return {
    host: planned.host,
    ...(address === undefined ? {} : { address }),
    verdict: kind === 'delivers' ? result.verdict : 'refused',
    require: planned.requirement.level,
    reason,
    ...(stage === undefined ? {} : { session: { stage } }),
  }
}

async function tryHosts(
  hosts: readonly PlannedHost[],
  options: RehearsalOptions,
  judge: Judge,
): Promise<Rehearsal> {
  const trials: Trial[] = []
  for (const planned of hosts) {
    const { requirement } = planned
    if (requirement.level === 'refuse' && (options.enforce || planned.addresses.length === 0)) {
      const { reason, detail } = requirement
      trials.push(untried(planned, { kind: 'next', reason, detail }))
      continue
    }
    for (const address of planned.addresses) {
      const trial = await tryAddress(planned, address, options, judge)
      trials.push(trial)
      const { kind } = trial.result
      if (kind === 'delivers') return { trials, end: { kind, by: trial } }
      if (kind !== 'next') return { trials, end: { kind, by: trial } }
    }
  }
  return { trials, end: { kind: 'deferred', by: undefined } }
}

function untried(planned: PlannedHost, result: TrialResult): Trial {
  return {
    ...{ planned, address: undefined, result },
    ...{ evidence: undefined, stage: undefined, reply: undefined, enforcing: undefined },
  }
}

async function tryAddress(
  asPlanned: PlannedHost,
  address: string,
  options: RehearsalOptions,
  judge: Judge,
): Promise<Trial> {
  const unaided = options.unaidedTls(asPlanned.host, address)
  const isForced = unaided === 'forced' || unaided === 'impossible'
  const mxSecure = mxIsSecure(options.plan.facts)
  const planned = isForced ? raiseToOperatorsFloor(asPlanned, mxSecure) : asPlanned
  const { requirement, port, host } = planned
  const tls = requirement.level === 'opportunistic' && requirement.withoutTls ? 'never' : unaided
  const { timeoutMs, enforce, connect = connectStandalone } = options
  const strict = enforce && demandsTls(requirement) ? requirement : undefined
  const context = options.contextFor(address, strict ? 'policy' : contextUse(tls))
  const connected = await connect({ address, port, timeoutMs })
  if (!connected.ok) {
    const { detail } = connected
    return {
      ...untried(planned, { kind: 'next', reason: 'connect-failed', detail }),
      address,
      stage: 'connect',
    }
  }
  let evidence: HandshakeEvidence | undefined
  const met = await preflight(connected.socket, {
    requirement: strict ?? unaidedRequirement(host, tls),
    judge,
    helo: options.helo,
    context,
    ...(options.session === undefined ? {} : { session: options.session }),
    timeoutMs: timeoutMs * PREFLIGHT_STAGES,
    now: options.now,
    onEvidence: (seen) => {
      evidence = seen
    },
  })
  const inside = met.ok ? await greetInside(met, options) : undefined
  const reason = requirement.level === 'opportunistic' ? requirement.reason : 'not-covered'
  const result = strict ? strictResult(met, inside) : unaidedResult(met, inside, reason, tls)
  return {
    planned,
    address,
    result,
    evidence,
    stage: met.session.stage,
    reply: met.ok ? undefined : met.code,
    enforcing: enforce ? undefined : enforcing(requirement, evidence, options.now(), judge),
  }
}

function contextUse(tls: UnaidedTls): 'opportunistic' | 'unaided' {
  return tls === 'forced' ? 'unaided' : 'opportunistic'
}

function strictResult(met: PreflightResult, inside: Inside | undefined): TrialResult {
  if (!met.ok) return { kind: 'next', reason: met.reason, detail: met.detail }
  return afterTls(inside) ?? { kind: 'delivers', ...met.verdict }
}

/** EHLO is what Haraka says next inside TLS; a server that is gone by then took nothing. */
async function greetInside(
  { tls, release, inside }: Extract<PreflightResult, { ok: true }>,
  { helo, timeoutMs }: Pick<RehearsalOptions, 'helo' | 'timeoutMs'>,
): Promise<Inside | undefined> {
  try {
    // For a message with REQUIRETLS the pre-flight has asked already.
    return inside ? undefined : await askInside(tls, helo, timeoutMs)
  } finally {
    release()
    part(tls)
  }
}

function part(tls: TLSSocket): void {
  tls.removeAllListeners('data')
  tls.on('error', () => undefined)
  tls.resume()
  if (tls.writable) tls.end('QUIT\r\n')
  tls.destroySoon()
}

/** In mode observe: the verdict that enforcing would have come to in this session. */
function enforcing(
  requirement: Requirement,
  evidence: HandshakeEvidence | undefined,
  now: Date,
  judge: Judge,
): Verdict | undefined {
  if (!demandsTls(requirement)) return undefined
  if (evidence) return judge(requirement, evidence, now)
  const detail = 'no TLS in this session'
  return { verdict: 'refused', reason: 'starttls-not-offered', detail }
}
