/**
 * A store of which the shared part cannot be read at all: a file that cannot be opened, a Redis whose settings are none. Policies
 * that are put into the part that is left hold; for every other domain the answer is that it is not known whether there is one.
 */
import { failed } from './outcome'
import type { PolicyRecord, Store, TallyStore, WaitingStore } from './types'

/** @param why a sentence without its end, for mail that waits */
export function withoutShared(store: Store, why: string, now: () => number): Store {
  return {
    ...store,
    async getPolicy(domain, options) {
      const own = await store.getPolicy(domain, options)
      return own.ok && holds(own.value, now()) ? own : failed(why)
    },
    getNote: async (domain, name, options) =>
      options?.everywhere === true ? failed(why) : store.getNote(domain, name),
    setNote: async (domain, name, text, ttl, options) =>
      options?.everywhere === true ? failed(why) : store.setNote(domain, name, text, ttl),
    acquire: async (name, owner, ttl, options) =>
      options?.everywhere === true ? failed(why) : store.acquire(name, owner, ttl),
  }
}

/** Counts, and destinations that wait, that nobody shares would be reported as those of all. */
export function withoutTallies(store: Store, why: string): Store {
  const refuse = () => Promise.resolve(failed(why))
  const none: TallyStore & WaitingStore = {
    addToTally: refuse,
    sealTally: refuse,
    readTally: refuse,
    dropTally: refuse,
    clusterName: refuse,
    noteWaiting: refuse,
    readWaiting: refuse,
  }
  return { ...store, ...none }
}

/** Whether a record of this machine may be used in place of one that cannot be read. */
export function holds(record: PolicyRecord | undefined, now: number): boolean {
  return record !== undefined && record.expiresAt > now
}
