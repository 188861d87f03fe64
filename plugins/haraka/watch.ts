/**
 * Watches a session that Haraka holds by itself, in mode observe, and says what enforcing would have done. Touches nothing:
 * no octet, no order of events, no verdict of Haraka's.
 */
import type { TLSSocket } from 'node:tls'
import { judge } from '../delivery/judge'
import { demandsTls } from '../delivery/types'
import type { Plan, PlannedHost } from '../delivery/types'
import type { LogFields } from '../observe/log-line'
import { presentedChain } from '../x509/presented'
import type { HarakaMx, HarakaSocket } from './types'

/** Call after Haraka has put its own listeners on, so that it hears everything first. */
export function watch(
  socket: HarakaSocket,
  mx: HarakaMx,
  plan: Promise<Plan>,
  now: () => Date,
  report: (fields: LogFields) => void,
): void {
  const evidence = new Promise<Evidence>((resolve) => {
    socket.once('secureConnect', () => {
      resolve(readEvidence(socket.cleartext as TLSSocket))
    })
    const withoutTls = () => {
      resolve({ kind: 'no-tls' })
    }
    socket.once('close', withoutTls)
    socket.once('error', withoutTls)
    const removeAllListeners = socket.removeAllListeners.bind(socket)
    // Haraka ends every session with this; the listeners above would never hear of it.
    socket.removeAllListeners = (...args: []) => {
      withoutTls()
      return removeAllListeners(...args)
    }
  })
  Promise.all([plan, evidence]).then(
    ([settled, seen]) => {
      const planned = plannedFor(settled, mx)
      if (planned) report(describe(settled, planned, mx, seen, now()))
    },
    () => undefined,
  )
}

type Evidence =
  | { readonly kind: 'no-tls' }
  | { readonly kind: 'tls'; readonly session: Parameters<typeof judge>[1]; readonly tls: string }

function readEvidence(tls: TLSSocket): Evidence {
  const error: unknown = tls.authorizationError
  return {
    kind: 'tls',
    session: {
      chain: presentedChain(tls),
      pkix: tls.authorized ? { ok: true } : { ok: false, code: String(error) },
    },
    tls: `${tls.getProtocol() ?? 'unknown'} ${tls.getCipher().name}`,
  }
}

function plannedFor({ outcome }: Plan, mx: HarakaMx): PlannedHost | undefined {
  if (outcome.kind !== 'hosts') return undefined
  const name = mx.from_dns?.toLowerCase()
  return outcome.hosts.find(
    ({ host, addresses }) =>
      host === name || (mx.exchange !== undefined && addresses.includes(mx.exchange)),
  )
}

function describe(
  plan: Plan,
  planned: PlannedHost,
  mx: HarakaMx,
  evidence: Evidence,
  now: Date,
): LogFields {
  const { host, policy, requirement } = planned
  const common = {
    domain: plan.nextHop,
    mx: host,
    ...(mx.exchange === undefined ? {} : { ip: mx.exchange }),
    policy,
    require: requirement.level,
    mode: 'observe',
    ...(evidence.kind === 'tls' ? { tls: evidence.tls } : {}),
  } as const
  if (requirement.level === 'refuse') {
    return { ...common, verdict: 'refused', reason: requirement.reason, detail: requirement.detail }
  }
  if (!demandsTls(requirement)) {
    return {
      ...common,
      verdict: evidence.kind === 'tls' ? 'encrypted' : 'cleartext',
      reason: requirement.reason,
    }
  }
  if (evidence.kind === 'no-tls') {
    return {
      ...common,
      verdict: 'refused',
      reason: 'starttls-not-offered',
      detail: 'no TLS in this session',
    }
  }
  const { verdict, reason, detail } = judge(requirement, evidence.session, now)
  return { ...common, verdict, reason, detail }
}
