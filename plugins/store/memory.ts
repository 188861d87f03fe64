/**
 * The store of one process: for tests, and where a file or Redis cannot be had. Bounded in octets of memory: policies, notes, marks
 * and leases each have their own room, so that none can push out the others, nor few large policies many small ones. Expired
 * entries are dropped, policies a day later: a clock that jumps ahead and back again must not have cost any.
 */
import { boundedMap, type BoundedMap } from '../bounded/map'
import { OBJECT, ofText } from '../bounded/octets'
import { memoryTallies } from './memory-tally'
import { memoryWaiting } from './memory-waiting'
import { failed, stored, tell } from './outcome'
import { GRACE, isDomain, isNote, MAX_NOTE, whyUnstorable } from './record'
import { isAlive } from './timed'
import type { ChangeListener, PolicyRecord, Store, StoreTools } from './types'

/** Octets of memory for policies of ordinary size, some 700 each. */
const MOST_POLICIES = 4_194_304
/** For those above that size; the largest record that can be stored still fits in. */
const LARGE = 8192
const MOST_LARGE = 1_310_720
const MOST_NOTES = 2_097_152
/** For marks of use and for the agenda, each: for somewhat more domains than there is room for policies. */
const MOST_DAYS = 1_048_576
const MOST_LEASES = 262_144

interface Timed<T> {
  readonly value: T
  readonly until: number
  readonly ttl: number
}

export function memoryStore({ now }: Pick<StoreTools, 'now'>): Store {
  const policies = boundedMap<PolicyRecord>({
    mostOctets: MOST_POLICIES,
    large: { above: LARGE, mostOctets: MOST_LARGE },
    now,
  })
  const notes = boundedMap<Timed<string>>({ mostOctets: MOST_NOTES, now })
  const used = boundedMap<number>({ mostOctets: MOST_DAYS, now })
  const planned = boundedMap<number>({ mostOctets: MOST_DAYS, now })
  const leases = boundedMap<Timed<string>>({ mostOctets: MOST_LEASES, now })
  const listeners = new Set<ChangeListener>()
  let closed = false

  const alive = <T>(entry: Timed<T> | undefined): T | undefined => {
    return entry !== undefined && isAlive(entry, now()) ? entry.value : undefined
  }
  const keepTimed = (map: BoundedMap<Timed<string>>, key: string, value: string, ttl: number) => {
    const until = now() + ttl
    map.set(key, { value, until, ttl }, OBJECT + ofText(value), until)
  }
  const plan = (domain: string, at: number): void => {
    planned.set(domain, at, OBJECT / 3)
  }
  const answer = <T>(read: () => T) =>
    Promise.resolve(closed ? failed('the store is closed') : stored(read()))

  return {
    ...memoryTallies(now, answer),
    ...memoryWaiting(now, answer),
    getPolicy: (domain) => answer(() => policies.get(domain)),
    setPolicy(record) {
      const reason = whyUnstorable(record)
      if (reason !== undefined) return Promise.resolve(failed(reason))
      return answer(() => {
        const octets = 3 * OBJECT + ofText(record.id) + Buffer.byteLength(record.text)
        policies.set(record.domain, record, octets, record.expiresAt + GRACE)
        plan(record.domain, record.fetchedAt)
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
    listDomains: () => answer(() => ({ domains: domainsOf(policies), next: undefined })),
    takeDue: (due) =>
      answer(() => {
        const domains = [...planned.entries()]
          .filter(([, at]) => at <= due.now || at > due.beyond)
          .map(([domain]) => domain)
          .slice(0, due.limit)
        for (const domain of domains) plan(domain, due.until)
        return { domains, more: domains.length >= due.limit }
      }),
    plan(domain, at) {
      if (!isDomain(domain)) return Promise.resolve(failed('not a domain'))
      return answer(() => {
        if (at === undefined) planned.delete(domain)
        else plan(domain, at)
      })
    },
    getNote: (domain, name) => answer(() => alive(notes.get(`${domain} ${name}`))),
    setNote(domain, name, text, ttl) {
      if (!isNote(domain, name)) return Promise.resolve(failed('not a note'))
      return answer(() => {
        keepTimed(notes, `${domain} ${name}`, shortened(text), ttl)
      })
    },
    lastUsed: (domain) => answer(() => used.get(domain)),
    markUsed: (domain, day) => answer(() => used.set(domain, day, 0)),
    acquire: (name, owner, ttl) =>
      answer(() => {
        const holder = alive(leases.get(name))
        if (holder !== undefined && holder !== owner) return false
        keepTimed(leases, name, owner, ttl)
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

function domainsOf(policies: BoundedMap<PolicyRecord>): readonly string[] {
  return [...policies.entries()].map(([domain]) => domain)
}

/** By itself: a part of a text keeps the whole of it in memory. */
function shortened(text: string): string {
  return text.length > MAX_NOTE ? Buffer.from(text.slice(0, MAX_NOTE)).toString() : text
}
