/**
 * Warns of policies that cannot be had: the TXT record says that there is one, none is known, and mail goes without it. Once a day
 * and domain, and again when it fails in another way: a broken policy host is the rule rather than the exception, and is seldom
 * mended within the hour.
 */
import type { Logger } from '../store/types'
import type { StsProblem } from './types'
import { wordsOf } from './one-line'

const AGAIN = 86_400_000
/** Domains that are remembered; the oldest goes first, and may be told of once more. */
const MOST_TOLD = 1000

export interface MissedOptions {
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'warn'>
}

export function tellMissed({
  clock,
  log,
}: MissedOptions): (domain: string, problem: StsProblem) => void {
  const told = new Map<string, { readonly reason: string; readonly at: number }>()
  return (domain, { reason, detail }) => {
    const last = told.get(domain)
    const passed = last?.reason === reason ? clock() - last.at : AGAIN
    if (passed >= 0 && passed < AGAIN) return
    told.delete(domain)
    told.set(domain, { reason, at: clock() })
    const [oldest] = told.keys()
    if (told.size > MOST_TOLD && oldest !== undefined) told.delete(oldest)
    log.warn(
      `mta-sts: ${domain} publishes a policy that cannot be had, so mail goes to it without one: ${reason}, ${wordsOf(detail)}`,
    )
  }
}
