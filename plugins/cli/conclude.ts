/** How a delivery would end, out of the plan and its rehearsal; with the exit code of `check`. Pure. */
import type { Plan } from '../delivery/types'
import type { Rehearsal, Trial } from '../haraka/rehearsal'
import { isForGood, REASONS } from '../reasons/catalogue'
import type { ReasonCode } from '../reasons/codes'
import type { Asked } from './arguments'
import { printable } from './words'

export const EXIT = {
  verified: 0,
  unverified: 1,
  held: 2,
  usage: 64,
  software: 70,
  config: 78,
} as const

export interface Conclusion {
  /** `if-verified`: without --connect, where the host must show a certificate. */
  readonly delivery: 'verified' | 'if-verified' | 'unverified' | 'deferred' | 'bounced'
  readonly host: string | null
  readonly reason: ReasonCode | null
  readonly rfc: string | null
  readonly detail: string
}

/**
 * How the delivery would end.
 * @param enforce false where Haraka delivers by itself, whatever the policies say
 * @param rehearsal undefined without --connect: then the plan alone speaks, and the first usable host is taken to keep it
 */
export function conclude(
  { outcome }: Pick<Plan, 'outcome'>,
  enforce: boolean,
  rehearsal: Rehearsal | undefined,
  asked: Asked | null = null,
): Conclusion {
  if (outcome.kind !== 'hosts') {
    const { kind, reason, detail } = outcome
    return concluded(kind === 'defer' ? 'deferred' : 'bounced', undefined, reason, detail)
  }
  if (rehearsal) return concludeRehearsal(rehearsal, asked)
  const usable = outcome.hosts.find(
    ({ requirement, addresses }) =>
      requirement.level !== 'refuse' || (!enforce && addresses.length > 0),
  )
  if (!usable) {
    const refused = outcome.hosts.flatMap(({ host, requirement }) =>
      requirement.level === 'refuse' ? [{ host, ...requirement }] : [],
    )
    const { host, reason, detail } = leading(refused) ?? {}
    const isOver = asked === 'requiretls' && refused.every((one) => isForGood(one.reason))
    return concluded(isOver ? 'bounced' : 'deferred', host, reason, detail ?? 'no host is left')
  }
  const { host, requirement } = usable
  if (!enforce) return concluded('unverified', host, undefined, 'no policy is enforced')
  return requirement.level === 'authenticate'
    ? concluded(
        'if-verified',
        host,
        undefined,
        `its certificate must be what the policy demands (--connect looks), and counts as "${requirement.success}"`,
      )
    : concluded(
        'unverified',
        host,
        requirement.level === 'refuse' ? undefined : requirement.reason,
        'if the host can be reached (--connect looks)',
      )
}

function concludeRehearsal({ trials, end }: Rehearsal, asked: Asked | null): Conclusion {
  if (end.kind === 'delivers') {
    const { result, planned } = end.by
    const verified = result.kind === 'delivers' && result.verdict === 'verified'
    const { reason, detail } = result
    return concluded(verified ? 'verified' : 'unverified', planned.host, reason, detail)
  }
  const failed = trials.map(({ planned, result }) => ({
    host: planned.host,
    reason: result.reason,
    detail: result.detail,
  }))
  const { host, reason, detail } =
    (end.by ? { host: end.by.planned.host, ...end.by.result } : leading(failed)) ?? {}
  const isOver = asked === 'requiretls' && trials.length > 0 && trials.every(hasFailedForGood)
  return concluded(isOver ? 'bounced' : end.kind, host, reason, detail ?? 'no host is left')
}

/** In what REQUIRETLS demands: the message comes back at once (RFC 8689 section 4.2.1). */
function hasFailedForGood({ result, reply }: Trial): boolean {
  return result.kind === 'next' && isForGood(result.reason) && (reply === undefined || reply > 499)
}

/** The failure that a deferral speaks of: one of security before one of reachability. */
function leading<F extends { readonly reason: ReasonCode }>(failures: readonly F[]): F | undefined {
  return (
    failures.find(({ reason }) => reason === 'requiretls-not-offered') ??
    failures.find(({ reason }) => REASONS[reason].status?.startsWith('7.')) ??
    failures[0]
  )
}

function concluded(
  delivery: Conclusion['delivery'],
  host: string | undefined,
  reason: ReasonCode | undefined,
  detail: string,
): Conclusion {
  return {
    delivery,
    host: host ?? null,
    reason: reason ?? null,
    rfc: reason === undefined ? null : REASONS[reason].rfc,
    detail: printable(detail),
  }
}

export function exitCodeOf({ delivery }: Conclusion): number {
  switch (delivery) {
    case 'verified':
      return EXIT.verified
    case 'if-verified':
    case 'unverified':
      return EXIT.unverified
    case 'deferred':
    case 'bounced':
      return EXIT.held
  }
}
