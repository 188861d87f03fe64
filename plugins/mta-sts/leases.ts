/**
 * Tasks that one worker in the whole cluster does at a time, each under a lease in the store.
 *
 * Promises: the lease is prolonged while its holder lives, and ends by itself soon after he died; two attempts of one
 * worker exclude each other as well. A store that fails gives no lease, and then everybody goes on without.
 */
import { randomUUID } from 'node:crypto'
import type { Store } from '../store/types'

export interface Leases {
  /**
   * Does the task under the lease of this name.
   * @returns its result; undefined, and nothing done, where another attempt has the lease
   */
  under<T>(name: string, task: () => Promise<T>): Promise<T | undefined>
  /** Whether nobody has the lease now; many may ask at once, and none is in another's way. */
  isFree(name: string): Promise<boolean>
  /** Resolves when every lease that is over has been given back. */
  returned(): Promise<void>
}

/** All who only ask are one owner, and what they take is over at once. */
const ASKING = 'asking'
const AT_ONCE = 1

/** @param leaseMs milliseconds for which a holder who died keeps the others out */
export function createLeases(store: Store, leaseMs: number): Leases {
  const returning = new Set<Promise<unknown>>()

  /** Nobody waits for the disk who has the result already. */
  const giveBack = (name: string, owner: string): void => {
    const released = store
      .release(name, owner)
      // What is not given back is over by itself.
      .catch(() => undefined)
      .finally(() => returning.delete(released))
    returning.add(released)
  }
  return {
    async under(name, task) {
      const owner = randomUUID()
      const taken = await store.acquire(name, owner, leaseMs)
      if (taken.ok && !taken.value) return undefined
      const prolong = setInterval(() => {
        store.acquire(name, owner, leaseMs).catch(() => undefined)
      }, leaseMs / 3)
      try {
        return await task()
      } finally {
        clearInterval(prolong)
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
