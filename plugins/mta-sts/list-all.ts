/** Goes through all policies of the store, in little steps: their number has no bound, and mail must get its turn in between. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Store } from '../store/types'
import type { KnownPolicy } from './types'

/** Policies that are read at the same time. */
const AT_ONCE = 50

/**
 * @param load the policy of a domain as it holds now
 * @throws Error where the store cannot say what it has: then there may be more
 */
export async function* eachPolicy(
  store: Store,
  load: (domain: string) => Promise<KnownPolicy | undefined>,
): AsyncGenerator<KnownPolicy, void, void> {
  let after: string | undefined
  do {
    const page = await store.listDomains(after)
    if (!page.ok) throw new Error(page.detail)
    const { domains, next } = page.value
    for (let first = 0; first < domains.length; first += AT_ONCE) {
      const read = await Promise.all(domains.slice(first, first + AT_ONCE).map(load))
      for (const policy of read) if (policy !== undefined) yield policy
      await nextTurn()
    }
    after = next
  } while (after !== undefined)
}
