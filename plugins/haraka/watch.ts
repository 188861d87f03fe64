/**
 * Watches a session that Haraka holds by itself, in mode observe, and says what enforcing would have done. Touches nothing:
 * no octet, no order of events, no verdict of Haraka's. The session is Haraka's own: its SNI is the MX host's name, and what
 * it trusts is judged anew where `ca_file` names other roots.
 */
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { judge } from '../delivery/judge'
import { demandsTls } from '../delivery/types'
import type { Plan, PlannedHost } from '../delivery/types'
import type { LogFields } from '../telemetry/log-line'
import { presentedChain } from '../x509/presented'
import { againstRoots, readRoots } from '../x509/roots'
import { troubleText } from '../x509/trouble'
import { Eavesdropper } from './overheard'
import type { Overheard } from './overheard'
import type { ContextSettings } from './tls-context'
import type { HarakaMx, HarakaSocket } from './types'

export interface WatchOptions {
  readonly mx: HarakaMx
  readonly plan: Promise<Plan>
  readonly settings: ContextSettings
  readonly now: () => Date
  readonly report: (fields: LogFields) => void
}

/**
 * Call it once Haraka has its socket. Our listeners go ahead of Haraka's, which may end the session at once; they only note
 * what they hear.
 */
export function watch(socket: HarakaSocket, options: WatchOptions): void {
  const { mx, plan, report } = options
  const evidence = new Promise<Evidence>((resolve) => {
    const ear = new Eavesdropper()
    socket.prependListener('data', (chunk: Buffer | string) => {
      ear.hear(chunk)
    })
    socket.once('secureConnect', () => {
      try {
        resolve(readEvidence(socket.cleartext as TLSSocket, options))
      } catch (err: unknown) {
        // A socket that is gone in the very moment has nothing to read; that must not end the process.
        withoutTls(troubleText(err))
      }
    })
    const withoutTls = (why: string, timedOut = false) => {
      resolve(
        ear.tlsLeftAlone ? { kind: 'left-alone' } : { kind: 'no-tls', ...ear.ended(why, timedOut) },
      )
    }
    socket.prependOnceListener('close', () => {
      withoutTls('the server closed the connection')
    })
    socket.prependOnceListener('timeout', () => {
      withoutTls('', true)
    })
    socket.prependOnceListener('error', (err: unknown) => {
      withoutTls(troubleText(err))
    })
    const removeAllListeners = socket.removeAllListeners.bind(socket)
    // Haraka ends every session with this; the listeners above would never hear of it.
    socket.removeAllListeners = (...args: []) => {
      withoutTls('the session ended')
      return removeAllListeners(...args)
    }
  })
  Promise.all([plan, evidence])
    .then(([settled, seen]) => {
      const fields = describe(settled, mx, seen, options.now())
      if (fields) report(fields)
    })
    // A plan that failed has been told of where it was asked for; and what is only watched must not end the process.
    .catch(() => undefined)
}

type Evidence =
  | ({ readonly kind: 'no-tls' } & Overheard)
  /** TLS was to be had, and Haraka's own settings kept it from it: nothing is known. */
  | { readonly kind: 'left-alone' }
  | {
      readonly kind: 'tls'
      readonly session: Parameters<typeof judge>[1]
      readonly protocol: string
      readonly cipher: string
      readonly tooOld: string | undefined
    }

function readEvidence(tls: TLSSocket, { settings, now }: WatchOptions): Evidence {
  const chain = presentedChain(tls)
  const protocol = tls.getProtocol() ?? 'unknown'
  return {
    kind: 'tls',
    session: { chain, pkix: pkixOf(tls, chain, settings.ca, now()) },
    protocol,
    cipher: tls.getCipher().name,
    // Versions sort as they are named.
    tooOld: protocol < settings.minVersion ? settings.minVersion : undefined,
  }
}

const WRONG_NAME = 'ERR_TLS_CERT_ALTNAME_INVALID'

/** What is said of the chain, names left aside, in a session that Haraka holds. */
export function pkixOf(
  tls: TLSSocket,
  chain: readonly X509Certificate[],
  ca: string | undefined,
  now: Date,
): Parameters<typeof judge>[1]['pkix'] {
  if (ca !== undefined) return againstRoots(chain, readRoots(ca), now)
  const code = String(tls.authorizationError)
  // Node says this of a chain that is trusted; names are judged by judge(), whoever holds the session.
  return tls.authorized || code === WRONG_NAME ? { ok: true } : { ok: false, code }
}

export function plannedFor({ outcome }: Plan, mx: HarakaMx): PlannedHost | undefined {
  if (outcome.kind !== 'hosts') return undefined
  const name = mx.from_dns?.toLowerCase()
  return outcome.hosts.find(
    ({ host, addresses }) =>
      host === name || (mx.exchange !== undefined && addresses.includes(mx.exchange)),
  )
}

/** @returns undefined where nothing is demanded: what became of such a session, Haraka says when it has delivered. */
function describe(plan: Plan, mx: HarakaMx, evidence: Evidence, now: Date): LogFields | undefined {
  const planned = plannedFor(plan, mx)
  if (!planned) return undefined
  const { host, policy, requirement } = planned
  const common = {
    domain: plan.nextHop,
    mx: host,
    ...(mx.exchange === undefined ? {} : { ip: mx.exchange }),
    policy,
    require: requirement.level,
    mode: 'observe',
    // Of a session that enforcing would not have come to, there is nothing to say.
    ...(evidence.kind === 'tls' && evidence.tooOld === undefined && requirement.level !== 'refuse'
      ? { tls: `${evidence.protocol} ${evidence.cipher}` }
      : {}),
  } as const
  if (requirement.level === 'refuse') {
    return { ...common, verdict: 'refused', reason: requirement.reason, detail: requirement.detail }
  }
  if (!demandsTls(requirement)) return undefined
  switch (evidence.kind) {
    case 'left-alone':
      return {
        ...common,
        verdict: 'cleartext',
        reason: 'not-covered',
        detail:
          "Haraka's own settings keep it from TLS with this host; what enforcing would find is not known",
      }
    case 'no-tls': {
      const { reason, detail } = evidence
      return { ...common, verdict: 'refused', reason, detail }
    }
    case 'tls': {
      const { session, protocol, tooOld } = evidence
      if (tooOld !== undefined) {
        const detail = `the session spoke ${protocol}, and [tls] min_version=${tooOld}`
        return { ...common, verdict: 'refused', reason: 'tls-handshake-failed', detail }
      }
      const { verdict, reason, detail } = judge(requirement, session, now)
      const asked = mx.from_dns ?? mx.exchange
      const { sni } = requirement
      // A server may show another certificate to who asks for another name.
      const other =
        verdict !== 'refused' || sni === undefined || sni === asked?.toLowerCase()
          ? ''
          : ` (in a session for ${asked ?? 'no name'}; enforcing asks for ${sni} in SNI)`
      return { ...common, verdict, reason, detail: `${detail}${other}` }
    }
  }
}
