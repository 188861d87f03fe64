/**
 * Time limits that stand still while lookups stand in line. How long a worker's own line is says nothing of a domain: no mail
 * may be held back, and no policy count as unknown, because others asked before.
 */
import { setMaxListeners } from 'node:events'

/** One for all gates of a resolver. */
export interface LineClock {
  /** To be told whether somebody stands in line. */
  stands(isThere: boolean): void
  /** Does somebody stand there now? */
  readonly isThere: () => boolean
  /** Milliseconds, in all, in which somebody stood in line. */
  readonly stoodMs: () => number
}

/** @param now Milliseconds of a clock that never steps. */
export function lineClock(now: () => number): LineClock {
  let passed = 0
  let since: number | undefined
  return {
    stands(isThere) {
      if (isThere === (since !== undefined)) return
      if (since !== undefined) passed += now() - since
      since = isThere ? now() : undefined
    },
    isThere: () => since !== undefined,
    stoodMs: () => passed + (since === undefined ? 0 : now() - since),
  }
}

/** A line that is never over ends a time limit all the same: after this many milliseconds more. */
const LONGEST_LINE_MS = 600_000

export interface TimeLimit {
  readonly signal: AbortSignal
  /** Ends the clock, not the signal. */
  readonly stop: () => void
}

/** A signal that fires after so many milliseconds, those not counted in which somebody stood in line. */
export function timeLimit(
  milliseconds: number,
  stoodMs: () => number,
  longestLineMs = LONGEST_LINE_MS,
): TimeLimit {
  const end = new AbortController()
  // Every lookup of a plan listens to it: many of them are no leak, and no warning to the operator.
  setMaxListeners(0, end.signal)
  const over = () => {
    end.abort()
  }
  return { signal: end.signal, stop: whenOver(milliseconds, stoodMs, over, longestLineMs) }
}

/**
 * The same without a signal, which costs several times as much to make.
 * @returns what ends the clock
 */
export function whenOver(
  milliseconds: number,
  stoodMs: () => number,
  over: () => void,
  longestLineMs = LONGEST_LINE_MS,
): () => void {
  const began = stoodMs()
  let granted = 0
  let timer: NodeJS.Timeout
  const wait = (ms: number): void => {
    timer = setTimeout(() => {
      const owed = Math.min(stoodMs() - began, longestLineMs) - granted
      granted += owed
      if (owed < 1) over()
      else wait(owed)
    }, ms)
    timer.unref()
  }
  wait(milliseconds)
  return () => {
    clearTimeout(timer)
  }
}
