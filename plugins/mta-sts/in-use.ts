/** Which policy domains are in use: those to which mail went within half a year. Only their policies are refreshed (RFC 8461 §3.3). */
import { boundedMap } from '../bounded/map'
import type { Store } from '../store/types'

const DAY = 86_400_000
/** Days without mail after which a domain counts as given up. */
export const IN_USE_DAYS = 180

/**
 * @param lastUsed days since the epoch; undefined where the store has no mark, as Redis evicts what it likes
 * @param now milliseconds since the epoch
 */
export function isGivenUp(lastUsed: number | undefined, now: number): boolean {
  return lastUsed !== undefined && Math.floor(now / DAY) - lastUsed > IN_USE_DAYS
}

/** If the store fails, the domain counts as in use. */
export async function isInUse(
  store: Pick<Store, 'lastUsed'>,
  domain: string,
  now: number,
): Promise<boolean> {
  const last = await store.lastUsed(domain)
  return !last.ok || !isGivenUp(last.value, now)
}

/** Octets of memory for the days on which domains were marked as in use, by this worker; some 230 each. */
const MOST_MARKS = 1_048_576
/** Days for which a mark need not be renewed: half a year needs no mark for each day, and a look costs less than a write. */
const MARK_EVERY = 7

export interface UseMarks {
  /** Mail goes to the domain today. */
  mark(domain: string): void
}

/** Writes the marks in the background, after one look a day and domain. */
export function createUseMarks(
  store: Pick<Store, 'lastUsed' | 'markUsed'>,
  clock: () => number,
): UseMarks {
  const markedOn = boundedMap<number>({ mostOctets: MOST_MARKS, now: clock })
  return {
    mark(domain) {
      const today = Math.floor(clock() / DAY)
      if (markedOn.get(domain) === today) return
      markedOn.set(domain, today, 0, clock() + DAY)
      store
        .lastUsed(domain)
        .then((last) => {
          const age = last.ok && last.value !== undefined ? today - last.value : Infinity
          return age >= 0 && age < MARK_EVERY ? undefined : store.markUsed(domain, today)
        })
        // Marked at the next use, if need be.
        .catch(() => markedOn.delete(domain))
    },
  }
}
