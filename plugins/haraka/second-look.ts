/**
 * Another look at the policy, past all caches, before mail is kept back because of it: a newer one may be out (RFC 8461 §5.1). Once
 * in an attempt.
 */
import type { Plan } from '../delivery/types'
import { domainOf, errorText, policyId } from './attempt'
import type { PlannedAttempt } from './attempt'
import type { MessageDemand } from '../requiretls/demand'
import type { HMailItem } from './types'

export interface SecondLookOptions {
  /** Past all caches; rejects where the decision fails, or takes too long. */
  readonly planAnew: (domain: string, demand: MessageDemand | undefined) => Promise<Plan>
  /** Begins the attempt again with the newer plan. */
  readonly beginAgain: (hmail: HMailItem, attempt: PlannedAttempt, plan: Plan) => Promise<void>
}

/** @returns whether the attempt is out of the caller's hands */
export type SecondLook = (hmail: HMailItem, attempt: PlannedAttempt) => Promise<boolean>

export function createSecondLook({ planAnew, beginAgain }: SecondLookOptions): SecondLook {
  return async (hmail, attempt) => {
    const [before] = attempt.plans
    if (attempt.rechecked || !before || before.facts.mx.kind === 'route') return false
    attempt.rechecked = true
    let plan: Plan
    try {
      plan = await planAnew(domainOf(hmail), attempt.demand)
    } catch (err: unknown) {
      hmail.logerror(`tls-policy: another look at the policy failed: ${errorText(err)}`)
      return false
    }
    // A look that failed, or that found no policy or no hosts, takes nothing from what stands (RFC 8461 §5.1): only another
    // policy begins anything again.
    if (plan.outcome.kind !== 'hosts' || plan.facts.sts.kind !== 'policy') return false
    if (policyId(plan) === policyId(before)) return false
    await beginAgain(hmail, attempt, plan)
    return true
  }
}
