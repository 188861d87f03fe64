/** The policies as the operator sees and changes them: the command's list, show, refresh and purge, and the count for metrics. */
import type { CachedPolicies } from './cached-policies'
import { fetchFailed, policyIn, txtFailed, withoutRecord } from './conclude'
import type { TxtVerdict } from './discover'
import type { FetchOnce } from './fetch-once'
import { isGivenUp } from './in-use'
import { eachPolicy } from './list-all'
import type { Looks } from './look'
import { policyDomain } from './policy-domain'
import { readProblem } from './policy-lifetime'
import { REFRESH_FAILED } from './refresh'
import type { KnownPolicy, StsLookup, StsProblem } from './types'
import type { Logger, Store } from '../store/types'

export interface PolicyAdmin {
  /**
   * Every policy that holds now, one after the other: there may be millions. One may come twice.
   * Rejects where the store cannot say what it has.
   */
  each(): AsyncIterable<KnownPolicy>
  /** Every policy that holds now, as far as the store says. */
  list(): Promise<readonly KnownPolicy[]>
  /**
   * The policy of a domain that holds now, from the store alone.
   * Rejects where the store cannot be read and this worker knows of none.
   */
  show(domain: string): Promise<KnownPolicy | undefined>
  /** How a kept policy is looked after, as far as the store says. */
  upkeep(domain: string): Promise<PolicyUpkeep>
  /** Looks at the TXT record and fetches, whatever is cached; a failure leaves the cached policy. */
  refresh(domain: string): Promise<StsLookup>
  /** Forgets a policy, for all workers. @returns whether the store did */
  purge(domain: string): Promise<boolean>
}

export interface PolicyUpkeep {
  /** Why the last refresh failed, within a day of it. */
  readonly problem?: StsProblem
  /** The last day on which mail went there, about: days since the epoch. */
  readonly lastUsed?: number
  /** No mail for so long that the policy is refreshed no more. */
  readonly givenUp: boolean
}

export interface PolicyAdminTools {
  readonly store: Store
  readonly cached: CachedPolicies
  readonly askTxt: (domain: string, fresh: boolean) => Promise<TxtVerdict>
  readonly fetchOnce: FetchOnce
  readonly afterFetch: Looks['afterFetch']
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly log: Pick<Logger, 'warn'>
}

export function createPolicyAdmin(tools: PolicyAdminTools): PolicyAdmin {
  const { store, cached, askTxt, fetchOnce, afterFetch, clock, log } = tools
  const each = () => eachPolicy(store, async (domain) => policyIn(await cached.load(domain, true)))

  return {
    each,
    async list() {
      const known = new Map<string, KnownPolicy>()
      try {
        for await (const policy of each()) known.set(policy.domain, policy)
      } catch (error) {
        log.warn(`mta-sts: the store does not list its policies: ${String(error)}`)
      }
      return [...known.values()]
    },
    async show(domain) {
      const name = policyDomain(domain)
      if (name === undefined) return undefined
      const found = await cached.load(name)
      if (found.kind === 'unread') throw new Error(`the store cannot be read: ${found.detail}`)
      return policyIn(found)
    },
    async upkeep(domain) {
      const [failed, used] = await Promise.all([
        store.getNote(domain, REFRESH_FAILED),
        store.lastUsed(domain),
      ])
      const lastUsed = used.ok ? used.value : undefined
      return {
        ...(failed.ok && failed.value !== undefined ? { problem: readProblem(failed.value) } : {}),
        ...(lastUsed === undefined ? {} : { lastUsed }),
        givenUp: isGivenUp(lastUsed, clock()),
      }
    },
    async refresh(domain) {
      const name = policyDomain(domain)
      if (name === undefined) return { kind: 'none' }
      const [found, txt] = await Promise.all([cached.load(name), askTxt(name, true)])
      if (txt.kind === 'failed') return txtFailed(found, txt.detail)
      if (txt.kind !== 'record') return withoutRecord(found, txt.detail)
      const obtained = await fetchOnce.anew(name, txt.id, Infinity)
      if (obtained !== undefined) return afterFetch(name, obtained, found, txt.ttlMs)
      const detail = 'another worker is fetching the policy'
      return fetchFailed(found, { reason: 'sts-policy-fetch-error', detail })
    },
    async purge(domain) {
      const name = policyDomain(domain)
      if (name === undefined) return false
      cached.drop(name)
      const purged = await store.deletePolicy(name)
      cached.drop(name)
      return purged.ok
    },
  }
}
