/**
 * What became of a session that Haraka holds by itself, judged as one that must be secured would be. The session is Haraka's own:
 * its SNI is the MX host's name, and what it trusts is judged anew where `ca_file` names other roots.
 */
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { Met } from '../delivery/host-end'
import type { Judged, SessionEvidence } from '../delivery/judge'
import { createJudge } from '../delivery/judgements'
import { demandsTls } from '../delivery/requirement'
import type { PlannedHost, Verdict } from '../delivery/types'
import { presentedChain } from '../x509/presented'
import { againstRoots, readRoots } from '../x509/roots'
import type { Heard } from './listen'
import type { ContextSettings } from './tls-context'

export interface HeldOptions {
  readonly settings: ContextSettings
  readonly now: Date
  /** The name that Haraka's session asked for. */
  readonly askedFor: string | undefined
  /** False: nobody will ask for a judgement, so certificates need not be read. */
  readonly judges: boolean
}

/** Reads from the session what can be read only now. Call it as soon as the session is heard of. */
export function held(heard: Heard, options: HeldOptions): (planned: PlannedHost) => Met {
  switch (heard.kind) {
    case 'left-alone':
      return () => heard
    case 'no-tls': {
      const { session, why } = heard
      const { reason, detail } = why
      return () => ({ kind: 'failed', reason, detail, session })
    }
    case 'tls': {
      const evidence = options.judges ? readEvidence(heard.tls, options) : undefined
      return (planned) => secured(heard, evidence, planned, options)
    }
  }
}

function secured(
  { session }: Extract<Heard, { kind: 'tls' }>,
  evidence: SessionEvidence | undefined,
  { requirement }: PlannedHost,
  { settings, now, askedFor }: HeldOptions,
): Met {
  const { tls, ...before } = session
  const protocol = tls?.protocol ?? 'unknown'
  // Versions sort as they are named.
  const tooOld =
    protocol < settings.minVersion
      ? `the session spoke ${protocol}, and [tls] min_version=${settings.minVersion}`
      : undefined
  if (tooOld !== undefined && demandsTls(requirement)) {
    const reason = 'tls-handshake-failed'
    return { kind: 'failed', reason, detail: tooOld, session: { ...before, stage: 'handshake' } }
  }
  const judge = createJudge()
  return {
    kind: 'secured',
    session,
    judge(demand) {
      if (tooOld !== undefined || evidence === undefined) {
        const detail = tooOld ?? 'the certificates were not read'
        return { verdict: 'refused', reason: 'tls-handshake-failed', detail }
      }
      return withName(judge(demand, evidence, now), demand, askedFor)
    },
  }
}

/** A server may show another certificate to a client that asks for another name. */
function withName(verdict: Verdict, { sni }: Judged, askedFor: string | undefined): Verdict {
  if (verdict.verdict !== 'refused' || sni === undefined || sni === askedFor?.toLowerCase()) {
    return verdict
  }
  const other = ` (in a session for ${askedFor ?? 'no name'}; enforcing asks for ${sni} in SNI)`
  return { ...verdict, detail: verdict.detail + other }
}

function readEvidence(tls: TLSSocket, { settings, now }: HeldOptions): SessionEvidence | undefined {
  try {
    const chain = presentedChain(tls)
    return { chain, pkix: pkixOf(tls, chain, settings.ca, now) }
  } catch {
    // A socket that is gone in the very moment has nothing to read; that must not end the process.
    return undefined
  }
}

const WRONG_NAME = 'ERR_TLS_CERT_ALTNAME_INVALID'

/** What is said of the chain, names left aside, in a session that Haraka holds. */
export function pkixOf(
  tls: TLSSocket,
  chain: readonly X509Certificate[],
  ca: string | undefined,
  now: Date,
): SessionEvidence['pkix'] {
  if (ca !== undefined) return againstRoots(chain, readRoots(ca), now)
  const code = String(tls.authorizationError)
  // Node says this of a chain that is trusted; names are judged by judge(), whoever holds the session.
  return tls.authorized || code === WRONG_NAME ? { ok: true } : { ok: false, code }
}
