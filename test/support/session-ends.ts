/** Ends of hosts for tests of what is counted: a session with mx1.rcpt.test that went well, changed as needed. */
import type { HostEnd, PolicyEnd, SessionEnd } from '../../plugins/delivery/host-end'
import type { StsLookup, StsMode } from '../../plugins/mta-sts/types'
import { facts } from './facts'

export const LOCAL = '192.0.2.99'
export const PEER = '192.0.2.1'

export function session(changes: Partial<SessionEnd> = {}): SessionEnd {
  return {
    stage: 'tls',
    local: LOCAL,
    peer: PEER,
    helo: 'mx1.rcpt.test',
    ...(changes.stage === undefined ? { tls: { protocol: 'TLSv1.3', cipher: 'X' } } : {}),
    ...changes,
  }
}

/** Of a host of which nothing is demanded, over TLS. */
export function hostEnd(changes: Partial<HostEnd> = {}): HostEnd {
  return {
    mode: 'enforce',
    domain: 'rcpt.test',
    facts: facts(),
    host: 'mx1.rcpt.test',
    address: PEER,
    policy: 'none',
    require: 'opportunistic',
    verdict: 'encrypted',
    reason: 'no-policy',
    detail: '',
    session: session(),
    byPolicy: [],
    ...changes,
  }
}

/** Of a host whose certificate matches no TLSA record. */
export function refusedEnd(changes: Partial<HostEnd> = {}): HostEnd {
  const { session: _session, ...end } = hostEnd({
    facts: undefined,
    policy: 'dane',
    require: 'authenticate',
    verdict: 'refused',
    reason: 'dane-no-match',
  })
  void _session
  return { ...end, ...changes }
}

export function policyEnd(changes: Partial<PolicyEnd> & Pick<PolicyEnd, 'policy'>): PolicyEnd {
  return { enforced: true, met: true, reason: 'dane-ee-matched', detail: '', ...changes }
}

export const LINES = ['version: STSv1', 'mode: enforce', 'mx: *.rcpt.test', 'max_age: 86400']

export function sts(mode: StsMode = 'enforce'): Extract<StsLookup, { kind: 'policy' }> {
  return {
    kind: 'policy',
    source: 'cache',
    known: {
      domain: 'rcpt.test',
      id: '1',
      policy: { mode, mx: ['*.rcpt.test'], maxAge: 86_400, lines: LINES },
      fetchedAt: 0,
      expiresAt: 86_400_000,
    },
  }
}

/** Of a host that was not even connected to. */
export function notContacted(changes: Partial<HostEnd>): HostEnd {
  const {
    session: _session,
    address: _address,
    ...end
  } = hostEnd({
    require: 'refuse',
    verdict: 'refused',
    ...changes,
  })
  void [_session, _address]
  return end
}
