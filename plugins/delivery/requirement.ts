/** What may be done with a requirement: ask of it, and raise it. Pure. */
import type { Decided } from './decide'
import type { PkixDemand, PlannedHost, PolicyDemand, Requirement } from './types'

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
  const { requirement: asked, host } = planned
  // The operator's own names for the destination are less here: force_tls_hosts is about the host.
  if (asked.level === 'authenticate' && !asked.dane && asked.pkix && !asked.pkix.host) {
    return { ...planned, requirement: { ...asked, pkix: { ...asked.pkix, host } } }
  }
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

/**
 * The operator's rule `verify`: a certificate of a trusted CA with the MX hostname, or with a name that the operator gives for the
 * destination. It stands beside what the receiver has published, and takes nothing from it: with usable TLSA records both must pass.
 * @param match undefined: the MX hostname, which is worth no more than the MX record that it comes from
 */
export function raiseToVerify(
  decided: Decided,
  host: string,
  mxSecure: boolean,
  match: readonly string[] | undefined,
): Decided {
  const { requirement } = decided
  if (requirement.level === 'refuse') return decided
  const others = decided.demands.filter(({ policy }) => policy !== 'operator')
  const insisting = (demand: PolicyDemand['demand']) =>
    [...others, { policy: 'operator', enforced: true, demand }] as const
  if (sniFor(host) === undefined) {
    const detail = `${host} is an address, and no name`
    const refusal = { level: 'refuse', reason: 'verify-no-name', detail } as const
    return { requirement: refusal, policy: 'operator', demands: insisting(refusal) }
  }
  const pkix: PkixDemand = {
    ...(match === undefined ? { host } : { match }),
    ...{ patterns: [], by: 'operator' },
  }
  const own = {
    level: 'authenticate',
    sni: host,
    pkix,
    success: match !== undefined || mxSecure ? 'verified' : 'trusted',
  } as const
  const demands = insisting(own)
  if (requirement.level !== 'authenticate') return { requirement: own, policy: 'operator', demands }
  if (requirement.pkix) {
    const both = { ...requirement.pkix, ...(match === undefined ? {} : { match }) }
    return { ...decided, requirement: { ...requirement, pkix: both }, demands }
  }
  const success = requirement.success === 'verified' ? 'verified' : own.success
  return { requirement: { ...requirement, pkix, success }, policy: 'operator', demands }
}
