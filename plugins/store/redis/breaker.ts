/**
 * A circuit breaker: calls to something that may be down end within a deadline, and after silence or a broken connection none
 * are made for a while, which doubles with each failed try. An error that is an answer is no such failure: the other side is
 * there. It says so once when things break, and once when they work again.
 */
import { within } from '../outcome'

export interface BreakerOptions {
  readonly now: () => number
  /** An error that is an answer like any other: it does not mean that the other side is down. */
  readonly isAnswer: (error: unknown) => boolean
  /** Whether all of the other side is there: one part that works does not end an outage of another. */
  readonly isWhole: () => boolean
  /** Called when an outage begins. */
  readonly onDown: (error: unknown) => void
  /** Called when it is over. */
  readonly onBack: () => void
}

/** No call was made: the other side has been down a moment ago. */
export class Down extends Error {}

export interface Breaker {
  /**
   * @param ms the deadline of this call
   * @returns what the call gave; rejects with its error, when its time is over, or with Down
   */
  run<T>(ms: number, call: () => Promise<T>): Promise<T>
}

/** Milliseconds without calls after the first failure, and at most. */
const FIRST_PAUSE = 1_000
const LONGEST_PAUSE = 30_000

export function createBreaker(options: BreakerOptions): Breaker {
  const { now, isAnswer, isWhole, onDown, onBack } = options
  let failures = 0
  let openSince = 0
  let probing = false
  let toldDown = false

  const pause = (): number => Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
  /** A clock that was set back must not keep it open. */
  const isOpen = (): boolean => {
    const passed = now() - openSince
    return failures > 0 && passed >= 0 && passed < pause()
  }
  const answered = (): void => {
    failures = 0
    if (!toldDown || !isWhole()) return
    toldDown = false
    onBack()
  }

  return {
    async run(ms, call) {
      if (isOpen() || (failures > 0 && probing)) throw new Down('not asked, it was down just now')
      const probe = failures > 0
      if (probe) probing = true
      try {
        const value = await within(ms, call())
        answered()
        return value
      } catch (error) {
        if (isAnswer(error)) {
          answered()
          throw error
        }
        if (!toldDown) onDown(error)
        toldDown = true
        // Many calls may fail at once; together they are one failure.
        if (probe || failures === 0) failures += 1
        openSince = now()
        throw error
      } finally {
        if (probe) probing = false
      }
    },
  }
}
