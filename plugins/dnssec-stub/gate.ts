/**
 * Lets a bounded number through at a time, the others wait in line: a burst of mail must not open a socket for each of
 * its lookups.
 */

/** Called once, it lets the next one in. */
export type Leave = () => void

export interface Gate {
  /** @returns undefined where the signal fired first */
  enter(signal: AbortSignal): Promise<Leave | undefined>
}

export function gate(limit: number): Gate {
  let inside = 0
  const line = new Set<() => void>()

  const leave = (): void => {
    inside--
    const [next] = line
    next?.()
  }

  return {
    enter(signal) {
      if (signal.aborted) return Promise.resolve(undefined)
      if (inside < limit) {
        inside++
        return Promise.resolve(leave)
      }
      return new Promise((resolve) => {
        const done = (): void => {
          line.delete(admit)
          signal.removeEventListener('abort', giveUp)
        }
        const admit = (): void => {
          done()
          inside++
          resolve(leave)
        }
        const giveUp = (): void => {
          done()
          resolve(undefined)
        }
        line.add(admit)
        signal.addEventListener('abort', giveUp, { once: true })
      })
    },
  }
}
