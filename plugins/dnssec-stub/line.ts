/**
 * A line in which zones take turns, not questions: a sender to ten thousand names of one zone stands behind one name of
 * another. Pure; in order within a zone.
 */

export interface Line<T> {
  /** @returns takes it out again */
  readonly add: (zone: string, one: T) => () => void
  /** Takes out the next one of a zone that may go on now; undefined where there is none. */
  next(mayGo: (zone: string) => boolean): { readonly zone: string; readonly one: T } | undefined
  /** The same for the zone that came last. */
  last(mayGo: (zone: string) => boolean): { readonly zone: string; readonly one: T } | undefined
  readonly length: number
  /** How many of a zone. */
  of(zone: string): number
}

export function line<T>(): Line<T> {
  /** In order of their turn. */
  const zones = new Map<string, Set<{ readonly one: T }>>()
  let length = 0

  function remove(zone: string, place: { readonly one: T }): void {
    const places = zones.get(zone)
    if (places?.delete(place) !== true) return
    length--
    if (places.size === 0) zones.delete(zone)
  }

  function take(zone: string): { readonly zone: string; readonly one: T } | undefined {
    const [place] = zones.get(zone) ?? []
    if (place === undefined) return undefined
    remove(zone, place)
    return { zone, one: place.one }
  }

  return {
    get length() {
      return length
    },
    of: (zone) => zones.get(zone)?.size ?? 0,
    add(zone, one) {
      const place = { one }
      const places = zones.get(zone) ?? new Set()
      zones.set(zone, places.add(place))
      length++
      return () => remove(zone, place)
    },
    next(mayGo) {
      for (const zone of zones.keys()) {
        if (!mayGo(zone)) continue
        const taken = take(zone)
        const left = zones.get(zone)
        if (left !== undefined) {
          zones.delete(zone)
          zones.set(zone, left)
        }
        return taken
      }
      return undefined
    },
    last(mayGo) {
      let last: string | undefined
      for (const zone of zones.keys()) if (mayGo(zone)) last = zone
      return last === undefined ? undefined : take(last)
    },
  }
}

/**
 * By whom a name is most likely run, for taking turns and for nothing else: its last two labels, three below what looks like
 * co.uk or com.au. A guess too coarse makes neighbours share their turn, one too fine gives an owner a second one.
 */
export function zoneOf(name: string): string {
  const labels = name.split('.')
  const [second = '', top = ''] = labels.slice(-2)
  const isPublicSuffix = top.length === 2 && second.length <= 3
  return labels.slice(isPublicSuffix ? -3 : -2).join('.')
}
