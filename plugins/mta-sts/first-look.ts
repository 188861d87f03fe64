/**
 * The first look at a domain of which no policy is cached, when many ask at once: one worker in the whole cluster asks for the
 * TXT record and fetches the policy, and the others take the policy that it stored (RFC 8461 §3.3).
 *
 * Promises: only a policy is taken from another worker. That it found none, or that its lookup failed, counts for that worker
 * alone: each other then looks for itself, so that one blinded resolver costs one machine its knowledge. No worker waits for
 * another longer than a lease lasts, whether that one died, hangs or is slow.
 */
import type { Leases } from '../store/leases'
import type { KnownPolicy } from './types'

export interface FirstLookTools {
  readonly leases: Leases
  /** The policy that is stored now. */
  readonly stored: (domain: string) => Promise<KnownPolicy | undefined>
  /** Resolves when the domain's policy changed, or after `ms`. */
  readonly changed: (domain: string, ms: number) => Promise<void>
  /** Milliseconds for which one waits for another's look. */
  readonly patienceMs: number
  /** Ends all waiting: the worker stops. */
  readonly signal: AbortSignal
}

/** Milliseconds between two looks at whether the other one is done; a stored policy is mostly heard of at once. */
const FIRST_LOOK = 20
const LONGEST_LOOK = 250

/**
 * @param look for oneself: TXT record and fetch
 * @returns what the look found, or the policy that another worker stored meanwhile
 */
export type FirstLook = <T>(
  domain: string,
  look: () => Promise<T>,
) => Promise<
  { readonly by: 'us'; readonly found: T } | { readonly by: 'another'; readonly known: KnownPolicy }
>

export function createFirstLook(tools: FirstLookTools): FirstLook {
  const { leases, stored, changed, patienceMs, signal } = tools
  const afterAnother = async (domain: string, name: string): Promise<KnownPolicy | undefined> => {
    // Counted and not read off a clock, which may be set meanwhile.
    let waited = 0
    for (let pause = FIRST_LOOK; waited < patienceMs && !signal.aborted; waited += pause) {
      await changed(domain, pause)
      // Check the lease before the store: if it is free, everything its holder stored is visible now.
      const free = await leases.isFree(name)
      const known = await stored(domain)
      if (known !== undefined || free) return known
      pause = Math.min(1.5 * pause, LONGEST_LOOK)
    }
    return undefined
  }

  return async (domain, look) => {
    const name = `look/${domain}`
    const first = await leases.under(name, async () => {
      // Between the look that found nothing and the lease another worker may have been through all of it.
      const known = await stored(domain)
      if (known !== undefined) return { by: 'another', known } as const
      return { by: 'us', found: await look() } as const
    })
    if (first !== undefined) return first
    const known = await afterAnother(domain, name)
    if (known !== undefined) return { by: 'another', known }
    return { by: 'us', found: await look() }
  }
}
