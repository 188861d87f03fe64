/** Which policy domains are in use: those to which mail went within half a year. Only their policies are refreshed (RFC 8461 §3.3). */
import type { Store } from '../store/types'

const DAY = 86_400_000
/** Days without mail after which a domain counts as given up. */
const IN_USE_DAYS = 180

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
