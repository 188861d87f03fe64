/** What may be done with a requirement: ask of it, and raise it. Pure. */
import type { PlannedHost, Requirement } from './types'

/** Must the host be secured before the envelope? */
export function demandsTls(
  requirement: Requirement,
): requirement is Extract<Requirement, { level: 'encrypt' | 'authenticate' }> {
  return requirement.level === 'encrypt' || requirement.level === 'authenticate'
}

/** SNI is a host name, never an address (RFC 6066 §3). */
export function sniFor(host: string): string | undefined {
  return /^[0-9.]+$|:/.test(host) ? undefined : host
}

/**
 * The operator's tls.ini demands authenticated TLS for a host (force_tls_hosts): what the policies ask is raised to that, where it
 * is less. DANE that authenticates is not less, and hosts without policy are left to Haraka, which sees to it itself.
 */
export function raiseToOperatorsFloor(planned: PlannedHost, mxSecure: boolean): PlannedHost {
  if (planned.requirement.level !== 'encrypt') return planned
  const { wished, requiretls } = planned.requirement
  // What the message would have let go is asked again.
  if (wished) {
    const demands = planned.demands.map((one) => ({ ...one, enforced: true }))
    return { ...planned, requirement: wished, demands }
  }
  const requirement = {
    level: 'authenticate',
    sni: planned.host,
    pkix: { host: planned.host, patterns: [], by: 'operator' },
    success: mxSecure ? 'verified' : 'trusted',
    ...(requiretls === undefined ? {} : { requiretls }),
  } as const
  const others = planned.demands.filter(({ policy }) => policy !== 'operator')
  return {
    ...planned,
    policy: 'operator',
    requirement,
    demands: [...others, { policy: 'operator', enforced: true, demand: requirement }],
  }
}
