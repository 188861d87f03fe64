/**
 * Whether Redis does all that the store needs: tried at once and then every few seconds, so that an outage is noticed, and its end,
 * whether or not there is mail.
 */
import { type Asking, UNREACHABLE } from './asking'
import { type RedisTroubleKind, saying } from './errors'
import { examine, type Examined } from './exam'
import type { Troubles } from '../troubles'

export interface Health {
  /** Tries all that the store needs now. */
  look(): Promise<Examined>
  stop(): void
}

export interface HealthTools {
  readonly askOpenly: Asking['askOpenly']
  readonly prefix: string
  readonly channel: string
  readonly troubles: Troubles<RedisTroubleKind>
  readonly probeMs: number
  readonly closed: AbortSignal
}

export function watchHealth(tools: HealthTools): Health {
  const { askOpenly, prefix, channel, troubles, probeMs, closed } = tools
  const look = async (): Promise<Examined> => {
    const examined = await examine({ ask: askOpenly, prefix, channel })
    if (closed.aborted) return examined
    for (const trouble of examined) {
      if (!UNREACHABLE.includes(trouble.kind)) troubles.begin(trouble)
    }
    // While Redis is not reachable nothing is known to be over.
    const isDown = examined.some(({ kind }) => UNREACHABLE.includes(kind))
    for (const { kind } of isDown ? [] : troubles.lasting()) {
      const endsElsewhere = UNREACHABLE.includes(kind) || kind === 'redis-deaf'
      const isFound = examined.some((trouble) => trouble.kind === kind)
      if (!endsElsewhere && !isFound) troubles.over(kind, `it is over: ${saying(kind)}`)
    }
    return examined
  }
  /** Troubles are told by the look itself; one that fails is followed by the next. */
  const lookAgain = (): void => {
    look().catch(() => undefined)
  }
  lookAgain()
  const watch = setInterval(lookAgain, probeMs).unref()
  return { look, stop: () => clearInterval(watch) }
}
