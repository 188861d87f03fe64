import type { HostEnd } from '../../plugins/delivery/host-end'

/** A host whose certificate matches no TLSA record. */
export function hostEnd(changes: Partial<HostEnd> = {}): HostEnd {
  return {
    mode: 'enforce',
    domain: 'rcpt.test',
    facts: undefined,
    host: 'mx1.rcpt.test',
    address: '192.0.2.1',
    policy: 'dane',
    require: 'authenticate',
    verdict: 'refused',
    reason: 'dane-no-match',
    detail: '',
    byPolicy: [],
    ...changes,
  }
}
