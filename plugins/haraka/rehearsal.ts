/**
 * A delivery attempt up to, and without, MAIL FROM: hosts and addresses in the order of the plan, the same pre-flight, EHLO once
 * more inside TLS, QUIT. For hosts that demand TLS the rules are the delivery's own code; for the others they are what
 * Haraka's outbound code does by itself (hmail.js, the same in 3.1.6 to 3.3.4), written down here once.
 * It promises that no envelope is sent, that every connection is closed, and that it ends. The network
 * cannot make it reject.
 */
import type { SecureContext, TLSSocket } from 'node:tls'
import { judge } from '../delivery/judge'
import { demandsTls } from '../delivery/types'
import type { PlannedHost, Requirement, SuccessReason, Verdict } from '../delivery/types'
import type { ReasonCode } from '../observe/reasons'
import { preflight } from './preflight'
import type { HandshakeEvidence, PreflightResult } from './preflight'
import { ReplyReader } from './reply-reader'
import type { Reply } from './reply-reader'
import { connectStandalone } from './standalone-socket'
import type { Connected, StandaloneOptions } from './standalone-socket'

export interface RehearsalOptions {
  /** In the order of trial, as in the plan. */
  readonly hosts: readonly PlannedHost[]
  /** False in mode observe and for destinations switched off: Haraka delivers by itself, and the policy is only looked at. */
  readonly enforce: boolean
  /** What EHLO says. */
  readonly helo: string
  readonly contextFor: (address: string, requirement: Requirement['level']) => SecureContext
  /** Whether Haraka, left to itself, uses TLS with this address (outbound.ini enable_tls, tls.ini no_tls_hosts). */
  readonly usesTls: (address: string) => boolean
  /** Haraka's connect_timeout in milliseconds. */
  readonly timeoutMs: number
  readonly now: () => Date
  /** Default: a TCP connection. */
  readonly connect?: (options: StandaloneOptions) => Promise<Connected>
}

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

export interface Trial {
  readonly planned: PlannedHost
  /** Undefined where the host is not even connected to. */
  readonly address: string | undefined
  readonly result: TrialResult
  /** What the handshake brought, as far as there was one. */
  readonly evidence: HandshakeEvidence | undefined
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
  const trials: Trial[] = []
  for (const planned of options.hosts) {
    const { requirement } = planned
    if (requirement.level === 'refuse' && (options.enforce || planned.addresses.length === 0)) {
      const { reason, detail } = requirement
      trials.push(untried(planned, { kind: 'next', reason, detail }))
      continue
    }
    for (const address of planned.addresses) {
      const trial = await tryAddress(planned, address, options)
      trials.push(trial)
      const { kind } = trial.result
      if (kind === 'delivers') return { trials, end: { kind, by: trial } }
      if (kind !== 'next') return { trials, end: { kind, by: trial } }
    }
  }
  return { trials, end: { kind: 'deferred', by: undefined } }
}

function untried(planned: PlannedHost, result: TrialResult): Trial {
  return { planned, address: undefined, result, evidence: undefined, enforcing: undefined }
}

async function tryAddress(
  planned: PlannedHost,
  address: string,
  options: RehearsalOptions,
): Promise<Trial> {
  const { requirement, port, host } = planned
  const { timeoutMs, enforce, connect = connectStandalone } = options
  const strict = enforce && demandsTls(requirement) ? requirement : undefined
  const context = options.contextFor(address, strict?.level ?? 'opportunistic')
  const connected = await connect({ address, port, timeoutMs })
  if (!connected.ok) {
    const { detail } = connected
    return {
      ...untried(planned, { kind: 'next', reason: 'connect-failed', detail }),
      address,
    }
  }
  let evidence: HandshakeEvidence | undefined
  const met = await preflight(connected.socket, {
    requirement: strict ?? { level: 'encrypt', sni: sniOf(host), reason: 'operator-encrypt' },
    helo: options.helo,
    context,
    timeoutMs: timeoutMs * PREFLIGHT_STAGES,
    now: options.now,
    onEvidence: (seen) => {
      evidence = seen
    },
  })
  const inside = met.ok ? await greetInside(met, options) : undefined
  const result = strict
    ? strictResult(met, inside)
    : laxResult(met, inside, planned, options.usesTls(address))
  return {
    planned,
    address,
    result,
    evidence,
    enforcing: enforce ? undefined : enforcing(requirement, evidence, options.now()),
  }
}

/** SNI is a host name, never an address (RFC 6066 §3). */
function sniOf(host: string): string | undefined {
  return /^[0-9.]+$|:/.test(host) ? undefined : host
}

function strictResult(met: PreflightResult, inside: Inside | undefined): TrialResult {
  if (!met.ok) return { kind: 'next', reason: met.reason, detail: met.detail }
  return afterTls(inside) ?? { kind: 'delivers', ...met.verdict }
}

/** What Haraka makes of a session without any demand. */
function laxResult(
  met: PreflightResult,
  inside: Inside | undefined,
  { requirement }: PlannedHost,
  usesTls: boolean,
): TrialResult {
  const reason = requirement.level === 'opportunistic' ? requirement.reason : 'not-covered'
  if (!met.ok && met.reason === 'greeting-refused') return refusedByReply(met)
  if (!usesTls && reachedStartTls(met)) {
    return {
      kind: 'delivers',
      verdict: 'cleartext',
      reason,
      detail: 'outbound.ini or tls.ini keeps Haraka from using TLS with this host',
    }
  }
  if (met.ok) {
    const { protocol, cipher } = met
    const detail = `${protocol} ${cipher}, nobody authenticated`
    return afterTls(inside) ?? { kind: 'delivers', verdict: 'encrypted', reason, detail }
  }
  const { detail, code } = met
  if (met.reason === 'starttls-refused') return refusedByReply(met)
  if (met.reason === 'smtp-malformed-reply') return { kind: 'bounced', reason: met.reason, detail }
  if (met.reason !== 'starttls-not-offered') return { kind: 'next', reason: met.reason, detail }
  // Refused with 5xx, EHLO is followed by HELO.
  return code !== undefined && code < 500
    ? refusedByReply(met)
    : { kind: 'delivers', verdict: 'cleartext', reason, detail }
}

function reachedStartTls(met: PreflightResult): boolean {
  return met.ok || /^(starttls-|tls-)/.test(met.reason)
}

function refusedByReply(met: Extract<PreflightResult, { ok: false }>): TrialResult {
  const { reason, detail, code = 400 } = met
  return { kind: code >= 500 ? 'bounced' : 'deferred', reason, detail }
}

/** Undefined where Haraka would go on to MAIL FROM. */
function afterTls(inside: Inside | undefined): TrialResult | undefined {
  switch (inside?.kind) {
    case 'lost':
      return { kind: 'next', reason: 'tls-lost', detail: inside.detail }
    case 'malformed':
      return { kind: 'bounced', reason: 'smtp-malformed-reply', detail: inside.detail }
    case 'reply': {
      const { code, lines } = inside.reply
      // 5xx is followed by HELO, inside TLS.
      if (code < 300 || code >= 500) return undefined
      const detail = `EHLO inside TLS was answered "${code} ${lines.join(' ')}"`.slice(0, 300)
      return { kind: 'deferred', reason: 'greeting-refused', detail }
    }
    case undefined:
      return undefined
  }
}

type Inside =
  | { readonly kind: 'reply'; readonly reply: Reply }
  | { readonly kind: 'lost' | 'malformed'; readonly detail: string }

/** EHLO is what Haraka says next inside TLS; a server that is gone by then took nothing. */
async function greetInside(
  { tls, release }: Extract<PreflightResult, { ok: true }>,
  { helo, timeoutMs }: Pick<RehearsalOptions, 'helo' | 'timeoutMs'>,
): Promise<Inside> {
  const reader = new ReplyReader()
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<Inside>((resolve) => {
      const lost = (why: string) => resolve({ kind: 'lost', detail: `${why} after the handshake` })
      timer = setTimeout(() => lost('no answer to EHLO'), timeoutMs)
      tls.on('error', (err: Error) => lost(err.message.replace(/[^\x20-\x7e]/g, '?').slice(0, 300)))
      tls.once('close', () => lost('the server closed the connection'))
      tls.once('end', () => lost('the server closed the connection'))
      tls.on('data', (chunk: Buffer) => {
        const read = reader.push(chunk)
        if (read.kind === 'reply') resolve({ kind: 'reply', reply: read.reply })
        if (read.kind === 'malformed') resolve({ kind: 'malformed', detail: read.detail })
      })
      release()
      tls.write(`EHLO ${helo}\r\n`)
    })
  } finally {
    clearTimeout(timer)
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
): Verdict | undefined {
  if (!demandsTls(requirement)) return undefined
  if (evidence) return judge(requirement, evidence, now)
  const detail = 'no TLS in this session'
  return { verdict: 'refused', reason: 'starttls-not-offered', detail }
}
