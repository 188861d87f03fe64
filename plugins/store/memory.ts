/**
 * The store of one process: for tests, and where a file or Redis cannot be had. Bounded: policies, notes, marks and leases
 * each have their own room, so that none can push out the others.
 */
import { failed, stored, tell } from './outcome'
import { isDomain, isNoteName, MAX_NOTE, whyUnstorable } from './record'
import type { ChangeListener, PolicyRecord, Store, StoreTools } from './types'

/** Entries of each kind; the oldest of its own kind goes first. */
const MOST = 20_000

interface Timed<T> {
  readonly value: T
  readonly until: number
  /** Milliseconds it was to live: more than that is never left, whatever the clock does. */
  readonly ttl: number
}

export function memoryStore({ now }: Pick<StoreTools, 'now'>): Store {
  const policies = new Map<string, PolicyRecord>()
  const notes = new Map<string, Timed<string>>()
  const used = new Map<string, number>()
  const planned = new Map<string, number>()
  const leases = new Map<string, Timed<string>>()
  const listeners = new Set<ChangeListener>()
  let closed = false

  const alive = <T>(entry: Timed<T> | undefined): T | undefined => {
    if (entry === undefined) return undefined
    const left = entry.until - now()
    return left > 0 && left <= entry.ttl ? entry.value : undefined
  }
  const answer = <T>(read: () => T) =>
    Promise.resolve(closed ? failed('the store is closed') : stored(read()))

  return {
    getPolicy: (domain) => answer(() => policies.get(domain)),
    setPolicy(record) {
      const reason = whyUnstorable(record)
      if (reason !== undefined) return Promise.resolve(failed(reason))
      return answer(() => {
        put(policies, record.domain, record)
        put(planned, record.domain, record.fetchedAt)
        tell(listeners, record.domain)
      })
    },
    deletePolicy: (domain) =>
      answer(() => {
        policies.delete(domain)
        used.delete(domain)
        planned.delete(domain)
        tell(listeners, domain)
      }),
    listDomains: () => answer(() => ({ domains: [...policies.keys()], next: undefined })),
    takeDue: (due) =>
      answer(() => {
        const domains = [...planned]
          .filter(([, at]) => at <= due.now || at > due.beyond)
          .map(([domain]) => domain)
          .slice(0, due.limit)
        for (const domain of domains) put(planned, domain, due.until)
        return { domains, more: domains.length >= due.limit }
      }),
    plan(domain, at) {
      if (!isDomain(domain)) return Promise.resolve(failed('not a domain'))
      return answer(() => {
        if (at === undefined) planned.delete(domain)
        else put(planned, domain, at)
      })
    },
    getNote: (domain, name) => answer(() => alive(notes.get(`${domain} ${name}`))),
    setNote(domain, name, text, ttl) {
      if (!isDomain(domain) || !isNoteName(name)) return Promise.resolve(failed('not a note'))
      return answer(() => {
        put(notes, `${domain} ${name}`, { value: text.slice(0, MAX_NOTE), until: now() + ttl, ttl })
      })
    },
    lastUsed: (domain) => answer(() => used.get(domain)),
    markUsed: (domain, day) => answer(() => put(used, domain, day)),
    acquire: (name, owner, ttl) =>
      answer(() => {
        const holder = alive(leases.get(name))
        if (holder !== undefined && holder !== owner) return false
        put(leases, name, { value: owner, until: now() + ttl, ttl })
        return true
      }),
    release: (name, owner) =>
      answer(() => {
        if (leases.get(name)?.value === owner) leases.delete(name)
      }),
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    troubles: () => [],
    examine: () => Promise.resolve([]),
    close() {
      closed = true
      listeners.clear()
      return Promise.resolve()
    },
  }
}

function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size <= MOST) return
  const [oldest] = map.keys()
  if (oldest !== undefined) map.delete(oldest)
}
