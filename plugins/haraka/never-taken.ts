/**
 * Whether a recipient's domain could ever take a message with REQUIRETLS, as far as its plan says: known before the message is
 * taken, its author hears of it at once, and no bounce goes to a forged address (RFC 8689 §4.2.1, RFC 5321 §6.1).
 */
import { isRefused } from '../delivery/host-end'
import { inTime } from '../delivery/in-time'
import type { Planner } from '../delivery/planner'
import { isForGood } from '../reasons/catalogue'
import { wordsOf } from '../telemetry/log-line'

/** A client waits for it. */
const PATIENCE_MS = 10_000
/** Characters of a reply's text. */
const MOST_SAID = 300

/**
 * @returns why not; undefined where a host may.
 * @throws Error where it is not known in time
 */
export async function neverTaken(
  domain: string,
  planner: Pick<Planner, 'planForDomain'>,
): Promise<string | undefined> {
  const decision = planner.planForDomain(domain, { demand: 'requiretls' })
  const { outcome } = await inTime(decision, PATIENCE_MS, () => 0)
  if (outcome.kind !== 'hosts' || outcome.then) return undefined
  const refused = outcome.hosts.filter(isRefused)
  const isNever =
    refused.length === outcome.hosts.length &&
    refused.every(({ requirement }) => isForGood(requirement.reason))
  const [first] = refused
  if (!isNever || !first) return undefined
  const { reason, detail } = first.requirement
  return wordsOf(`${reason}: ${detail}`).slice(0, MOST_SAID)
}
