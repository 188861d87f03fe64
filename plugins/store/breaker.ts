/**
 * A circuit breaker: calls to something that may be down end within a deadline, and after a failure none are made for a
 * while, which doubles with each failed try. It says so once when things break, and once when they work again.
 */
import { failed, inWords, stored, within } from './outcome'
import type { Logger, Stored } from './types'

export interface BreakerOptions {
  /** Names the other side in the log. */
  readonly name: string
  /** What happens without it, for the log. */
  readonly meanwhile: string
  readonly log: Logger
  readonly now: () => number
  /** An error that is an answer like any other: it does not mean that the other side is down. */
  readonly isAnswer: (error: unknown) => boolean
}

export interface Breaker {
  /** @param ms the deadline of this call */
  run<T>(ms: number, call: () => Promise<T>): Promise<Stored<T>>
}

/** Milliseconds without calls after the first failure, and at most. */
const FIRST_PAUSE = 1_000
const LONGEST_PAUSE = 30_000

export function createBreaker({ name, meanwhile, log, now, isAnswer }: BreakerOptions): Breaker {
  let failures = 0
  let openSince = 0
  let probing = false

  const pause = (): number => Math.min(FIRST_PAUSE * 2 ** (failures - 1), LONGEST_PAUSE)
  /** A clock that was set back must not keep it open. */
  const isOpen = (): boolean => {
    const passed = now() - openSince
    return failures > 0 && passed >= 0 && passed < pause()
  }

  return {
    async run(ms, call) {
      if (isOpen() || (failures > 0 && probing)) return failed(`${name} is not reachable`)
      const probe = failures > 0
      if (probe) probing = true
      try {
        const value = await within(ms, call())
        if (failures > 0) log.notice(`${name} is back`)
        failures = 0
        return stored(value)
      } catch (error) {
        if (isAnswer(error)) return failed(inWords(error))
        if (failures === 0) log.warn(`${name} is not reachable (${inWords(error)}); ${meanwhile}`)
        // Many calls may fail at once; together they are one failure.
        if (probe || failures === 0) failures += 1
        openSince = now()
        return failed(inWords(error))
      } finally {
        if (probe) probing = false
      }
    },
  }
}
