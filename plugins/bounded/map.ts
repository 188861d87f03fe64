/**
 * A map with a bound on what it takes in memory: every cache of ours is one. Pure.
 *
 * Promises: never holds more octets than it may, counted as in octets.ts; the entry that has not been used for longest goes first; an
 * expired one is not given out, and is dropped at the next change, once a minute at most. Where large entries have a room of their
 * own, few of them cannot push out many small ones.
 */
import { ofAscii, own } from './octets'

export interface BoundedMapOptions {
  readonly mostOctets: number
  /** Entries above this size share `mostOctets` of their own, and take nothing from the others. */
  readonly large?: { readonly above: number; readonly mostOctets: number }
  /** Milliseconds of the clock that `expires` is told by. */
  readonly now: () => number
}

export interface BoundedMap<V> {
  /** The value, unless it has expired; it counts as used. */
  get(key: string): V | undefined
  /** The same, and until when it is kept. */
  find(key: string): { readonly value: V; readonly expires: number } | undefined
  /**
   * An entry that is larger than its whole room is not kept, and the one before it is gone.
   * @param key US-ASCII
   * @param octets what the value takes; key and entry are counted by the map
   * @param expires by the map's clock; left out: never
   */
  set(key: string, value: V, octets: number, expires?: number): void
  delete(key: string): void
  clear(): void
  /** In no order that means anything; expired entries that are yet to be dropped among them. */
  entries(): IterableIterator<[string, V]>
  readonly size: number
  readonly octets: number
}

/** An entry without key and value: its object, its times, and its places in the table, which grows by doubling. */
const ENTRY = 160
/** Milliseconds between two looks for expired entries. */
const SWEEP = 60_000

interface Entry<V> {
  readonly value: V
  readonly octets: number
  readonly expires: number
  /** Since it was last passed over. */
  used: boolean
}

interface Room<V> {
  readonly entries: Map<string, Entry<V>>
  readonly most: number
  octets: number
}

export function boundedMap<V>({ mostOctets, large, now }: BoundedMapOptions): BoundedMap<V> {
  const room = (most: number): Room<V> => ({ entries: new Map(), most, octets: 0 })
  const common = room(mostOctets)
  const rooms = large === undefined ? [common] : [common, room(large.mostOctets)]
  const roomFor = (octets: number): Room<V> =>
    large !== undefined && octets > large.above ? (rooms[1] ?? common) : common
  let swept = now()

  const drop = (from: Room<V>, key: string): void => {
    from.octets -= from.entries.get(key)?.octets ?? 0
    from.entries.delete(key)
  }
  /** Least lately used first: an entry that was used since it was last passed over is passed over once more, as is the newest. */
  const makeRoom = (within: Room<V>, newest: string): void => {
    for (const [key, entry] of within.entries) {
      if (within.octets <= within.most) return
      if (!entry.used && key !== newest) {
        drop(within, key)
        continue
      }
      entry.used = false
      within.entries.delete(key)
      within.entries.set(key, entry)
    }
  }
  const sweep = (): void => {
    const time = now()
    // A clock that was set back must not put it off for long.
    if (time >= swept && time - swept < SWEEP) return
    swept = time
    for (const each of rooms) {
      for (const [key, { expires }] of each.entries) if (time >= expires) drop(each, key)
    }
  }
  const remove = (key: string): void => {
    for (const each of rooms) drop(each, key)
  }

  const find = (key: string): Entry<V> | undefined => {
    for (const each of rooms) {
      const entry = each.entries.get(key)
      if (entry === undefined) continue
      if (entry.expires === Infinity || now() < entry.expires) {
        entry.used = true
        return entry
      }
      drop(each, key)
    }
    return undefined
  }

  return {
    get: (key) => find(key)?.value,
    find,
    set(key, value, ofValue, expires = Infinity) {
      remove(key)
      sweep()
      const octets = ENTRY + ofAscii(key) + ofValue
      const place = roomFor(octets)
      if (octets > place.most) return
      place.entries.set(own(key), { value, octets, expires, used: false })
      place.octets += octets
      makeRoom(place, key)
    },
    delete(key) {
      remove(key)
      sweep()
    },
    clear() {
      for (const each of rooms) {
        each.entries.clear()
        each.octets = 0
      }
    },
    *entries() {
      for (const each of rooms) {
        for (const [key, { value }] of each.entries) yield [key, value]
      }
    },
    get size() {
      return rooms.reduce((sum, { entries }) => sum + entries.size, 0)
    },
    get octets() {
      return rooms.reduce((sum, { octets }) => sum + octets, 0)
    },
  }
}
