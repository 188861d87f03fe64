/**
 * Tasks that one worker in the whole cluster does at a time, each under a lease in the store.
 *
 * Promises: the lease is prolonged while its holder lives, and ends by itself soon after he died; two attempts of one
 * worker exclude each other as well. A store that fails gives no lease: a task that may be done twice is then done by every
 * worker, and one that may not (`everywhere`) by none.
 */
import { randomUUID } from 'node:crypto'
import type { Store } from './types'

export interface UnderOptions {
  /** The task may not be done twice: without the lease of the whole cluster it is not begun, and it is told to end. */
  readonly everywhere?: boolean
}

export interface Leases {
  /**
   * Does the task under the lease of this name.
   * @param task its signal is aborted when the lease may be another's; without `everywhere`, never
   * @returns its result; undefined, and nothing done, where another attempt has the lease
   */
  under<T>(
    name: string,
    task: (signal: AbortSignal) => Promise<T>,
    options?: UnderOptions,
  ): Promise<T | undefined>
  /** Whether the lease is free now; many may ask at once, and none is in another's way. */
  isFree(name: string): Promise<boolean>
  /** Resolves when every lease that is over has been given back. */
  returned(): Promise<void>
}

/** isFree() takes the lease for 1 ms under one owner's name for all: the store cannot look at a lease otherwise. */
const ASKING = 'asking'
const AT_ONCE = 1

/** @param leaseMs milliseconds for which a holder who died keeps the others out */
export function createLeases(store: Store, leaseMs: number): Leases {
  const returning = new Set<Promise<unknown>>()

  /** In the background: the caller has its result. */
  const giveBack = (name: string, owner: string): void => {
    const released = store
      .release(name, owner)
      // A lease that is not given back ends by itself.
      .catch(() => undefined)
      .finally(() => returning.delete(released))
    returning.add(released)
  }
  return {
    async under(name, task, { everywhere = false } = {}) {
      const owner = randomUUID()
      const acquire = () =>
        everywhere
          ? store.acquire(name, owner, leaseMs, { everywhere })
          : store.acquire(name, owner, leaseMs)
      const lost = new AbortController()
      const takenAt = performance.now()
      const taken = await acquire()
      if (taken.ok ? !taken.value : everywhere) return undefined
      /** Counted from before the store was asked: it may have counted from then. */
      const endsAfter = (since: number) =>
        setTimeout(() => lost.abort(), Math.max(0, since + leaseMs - performance.now()))
      let end = everywhere ? endsAfter(takenAt) : undefined
      const prolong = setInterval(() => {
        const since = performance.now()
        acquire()
          .then((again) => {
            if (!everywhere || lost.signal.aborted || over) return
            if (again.ok && !again.value) lost.abort()
            if (!again.ok || !again.value) return
            clearTimeout(end)
            end = endsAfter(since)
          })
          // As when the store does not answer: the lease ends in time.
          .catch(() => undefined)
      }, leaseMs / 3)
      let over = false
      try {
        return await task(lost.signal)
      } finally {
        over = true
        clearInterval(prolong)
        clearTimeout(end)
        giveBack(name, owner)
      }
    },
    async isFree(name) {
      const taken = await store.acquire(name, ASKING, AT_ONCE)
      return !taken.ok || taken.value
    },
    async returned() {
      await Promise.all(returning)
    },
  }
}
