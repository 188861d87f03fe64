/**
 * Why REQUIRETLS cannot be kept here for any message, so that it is not offered (RFC 8689 §4.1): a sentence for the operator. Pure.
 */
import { isTaker, otherRoads } from './roads'
import type { Hook } from './roads'

export interface ObstacleFacts {
  readonly mode: 'enforce' | 'observe'
  readonly tlsSwitchedOff: boolean
  /** `[requiretls] offer=all`: the operator vouches for plugins of which nothing is known. */
  readonly vouched: boolean
  /** By hook, in the order in which Haraka calls them. */
  readonly hooks: Readonly<Record<string, readonly Hook[] | undefined>>
}

export function obstacleOf(facts: ObstacleFacts): string | undefined {
  const { mode, tlsSwitchedOff, vouched, hooks } = facts
  if (mode === 'observe') return 'mode=observe enforces nothing'
  if (tlsSwitchedOff) return 'outbound.ini says enable_tls=false'
  const [first] = hooks['mail'] ?? []
  if (first && first.plugin !== 'tls-policy') {
    return `the plugin ${first.plugin} is asked about each sender first, and may hide what the client asks. Name tls-policy before it in config/plugins`
  }
  const road = otherRoads(hooks['queue_outbound'] ?? []).find(
    ({ plugin }) => !vouched || isTaker(plugin),
  )
  return road && `the plugin ${road.plugin} may have the message, and knows nothing of what it asks`
}
