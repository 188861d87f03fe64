/**
 * The store of a cluster: Redis, over a local store that knows what this machine has seen.
 *
 * Promises: Redis may be down at start or die later; calls then end within the deadline, go on with the local store, and none
 * waits, exits or hangs. An error that Redis answers with costs that one call, and reads go on. A policy that may be in
 * Redis, while Redis cannot be read, is not known, which is not none. Every key has a lifetime, the configured prefix, and a hash
 * tag by domain. Values that are read are bounded and validated.
 */
import { agendaIn } from './agenda'
import { createAsking, UNREACHABLE } from './asking'
import { hearChanges } from './changes'
import { connectRedis } from './connect'
import type { RedisTroubleKind } from './errors'
import { watchHealth } from './health'
import { keysWith } from './keys'
import { leasesIn } from './leases'
import { notesIn } from './notes'
import { policiesIn } from './policies'
import { talliesIn } from './tally'
import { waitingIn } from './waiting'
import { within } from '../outcome'
import { createTroubles } from '../troubles'
import type { Store, StoreSettings, StoreTools } from '../types'

/** Milliseconds between two looks at whether Redis does all that it should. */
const PROBE = 10_000
/** Milliseconds for the first try to listen to changes, where somebody asks how Redis is. */
const LISTENING = 1_000

/**
 * @param local the store of this machine; it is closed with this one
 * @throws Error where the settings are none
 */
export function redisStore(
  { prefix, redis, redisCa }: Pick<StoreSettings, 'prefix' | 'redis' | 'redisCa'>,
  local: Store,
  { log, now, count = () => undefined, probeMs = PROBE }: StoreTools,
): Store {
  const keys = keysWith(prefix)
  const closing = new AbortController()
  const closed = closing.signal
  const troubles = createTroubles<RedisTroubleKind>(log)
  const connection = connectRedis(redis, redisCa)
  const { ask, askOpenly } = createAsking({ connection, troubles, closed, now, count })
  const { channel } = keys
  const changes = hearChanges({ connection, channel, troubles, probeMs, closed })
  const health = watchHealth({ askOpenly, prefix, channel, troubles, probeMs, closed })
  const policies = policiesIn(ask, keys, local, now)

  return {
    ...policies,
    ...agendaIn(ask, keys, local, (domain) => policies.getPolicy(domain)),
    ...notesIn(ask, keys, local),
    ...leasesIn(ask, keys, local),
    ...talliesIn(ask, keys),
    ...waitingIn(ask, keys, now),
    onChange(listener) {
      const stops = [changes.onChange(listener), local.onChange(listener)]
      return () => {
        for (const stop of stops) stop()
      }
    },
    troubles: () => [...troubles.lasting(), ...local.troubles()],
    async examine() {
      const [examined, own] = await Promise.all([
        health.look(),
        local.examine(),
        within(LISTENING, changes.listened).catch(() => undefined),
      ])
      // The breaker has told why Redis is not reachable; a look that it did not let through does not know.
      const seen = examined.filter(({ kind }) => !UNREACHABLE.includes(kind))
      const others = troubles.lasting().filter(({ kind }) => !seen.some((one) => one.kind === kind))
      return [...others, ...seen, ...own]
    },
    async close() {
      if (closed.aborted) return
      closing.abort()
      health.stop()
      changes.stop()
      connection.leave()
      await local.close()
    },
  }
}
