/**
 * What a message's own demand makes of what the policies ask (RFC 8689). REQUIRETLS raises it for each host: a name that nobody
 * can have forged, a peer that proves to be it, and the extension. `TLS-Required: No` makes a wish of it. Neither takes
 * anything from what the operator has laid down. Pure.
 */
import type { Decided } from './decide'
import { sniFor } from './requirement'
import type { Facts, PlannedHost, Requirement } from './types'

/** RFC 8689 §2 and §4.2.1. A refusal stays one. */
export function raiseToRequireTls(decided: Decided, host: string, facts: Facts): Decided {
  const { requirement } = decided
  if (requirement.level === 'refuse') return decided
  if (sniFor(host) === undefined) {
    return refuse(decided, 'requiretls-no-name', `${host} is an address, and no name`)
  }
  if (!isNameSafe(decided, facts)) return refuseUnsafeName(decided, host, facts)
  if (requirement.level === 'authenticate' && (requirement.dane || !requirement.pkix?.by)) {
    return { ...decided, requirement: { ...requirement, success: 'verified', requiretls: 'must' } }
  }
  // The host's own name, and the operator's names for the destination beside it.
  const match = requirement.level === 'authenticate' ? requirement.pkix?.match : undefined
  return {
    ...decided,
    policy: 'requiretls',
    requirement: {
      level: 'authenticate',
      sni: host,
      pkix: { host, patterns: [], by: 'requiretls', ...(match === undefined ? {} : { match }) },
      success: 'verified',
      requiretls: 'must',
    },
  }
}

/** The MX RRset is signed, there is none to forge, or an MTA-STS policy in force names the host (RFC 8689 §4.2.1 (2)). */
function isNameSafe({ requirement }: Decided, { mx }: Facts): boolean {
  if (mx.kind !== 'mx' || mx.security === 'secure') return true
  return (
    requirement.level === 'authenticate' &&
    requirement.pkix !== undefined &&
    requirement.pkix.by === undefined
  )
}

/** What may be otherwise in an hour waits; what is so goes back to its author. */
function refuseUnsafeName(decided: Decided, host: string, { nextHop, sts }: Facts): Decided {
  if (sts.kind === 'unknown') {
    return refuse(decided, 'sts-txt-lookup-failed', sts.problem.detail)
  }
  if (sts.kind === 'none' && sts.problem?.reason === 'sts-policy-fetch-error') {
    return refuse(decided, 'requiretls-policy-unknown', sts.problem.detail)
  }
  return refuse(
    decided,
    'requiretls-mx-not-validated',
    `the MX records of ${nextHop} are not signed, and no MTA-STS policy in force names ${host}`,
  )
}

/** The demands of the receiver's policies stay as they are: none of them has failed. */
function refuse(
  { demands }: Decided,
  reason: Extract<Requirement, { level: 'refuse' }>['reason'],
  detail: string,
): Decided {
  return { policy: 'requiretls', requirement: { level: 'refuse', reason, detail }, demands }
}

/** A next hop of which the operator says that it keeps the promise without the extension: TLS at least, the tag where offered. */
export function raiseToTls(decided: Decided, host: string): Decided {
  const { requirement } = decided
  switch (requirement.level) {
    case 'refuse':
      return decided
    case 'authenticate':
    case 'encrypt':
      return { ...decided, requirement: { ...requirement, requiretls: 'may' } }
    case 'opportunistic':
      return {
        ...decided,
        policy: 'operator',
        requirement: {
          level: 'encrypt',
          sni: sniFor(host),
          reason: 'operator-encrypt',
          requiretls: 'may',
        },
      }
  }
}

/** TLS is tried, the policies are judged and told of, and what fails of them stops nothing (RFC 8689 §4.2.2). */
export function wishOnly(planned: PlannedHost): PlannedHost {
  const { requirement, host, addresses } = planned
  // What is not reachable does not become so.
  if (addresses.length === 0) return planned
  const wished = requirement.level === 'authenticate' ? requirement : undefined
  return {
    ...planned,
    requirement: {
      level: 'encrypt',
      sni: wished?.sni ?? sniFor(host),
      reason: 'tls-required-no',
      ...(wished === undefined ? {} : { wished }),
      ...(requirement.level === 'refuse'
        ? { because: { reason: requirement.reason, detail: requirement.detail } }
        : {}),
    },
    demands: planned.demands.map((demand) => ({ ...demand, enforced: false })),
  }
}

/** For a host at which TLS itself failed (RFC 8689 §4.2.2); what the policies ask has been judged by then. */
export function withoutTls(planned: PlannedHost): PlannedHost {
  if (planned.addresses.length === 0) return planned
  const requirement = {
    level: 'opportunistic',
    reason: 'tls-required-no',
    withoutTls: true,
  } as const
  return { ...planned, requirement, demands: [] }
}

/** A host of which no policy is asked: Haraka goes its own way with it. */
export function leftToHaraka(planned: PlannedHost): PlannedHost {
  if (planned.addresses.length === 0) return planned
  const requirement = { level: 'opportunistic', reason: 'not-covered' } as const
  return { ...planned, policy: 'none', requirement, demands: [] }
}
