/**
 * One run at a time of something that may be asked for at any time. Promises: each caller gets a run that begins after its call,
 * and shares it with all who called before it began; two runs are never under way together.
 */
export interface Turns<T> {
  /** Joins the run that is under way, or begins one. */
  join(): Promise<T>
  /** A run that begins after this call. */
  anew(): Promise<T>
  /** The last run that somebody waits for, where one is under way or due. */
  pending(): Promise<T> | undefined
}

/** @param run must not reject. */
export function turns<T>(run: () => Promise<T>): Turns<T> {
  let current: Promise<T> | undefined
  let next: Promise<T> | undefined

  const begin = (): Promise<T> => {
    next = undefined
    const began = run()
    current = began
    const over = (): void => {
      if (current === began) current = undefined
    }
    began.then(over, over)
    return began
  }

  return {
    join: () => current ?? next ?? begin(),
    anew: () => next ?? (current === undefined ? begin() : (next = current.then(begin))),
    pending: () => next ?? current,
  }
}
