/** The agenda in Redis, one for all machines, over that of this machine. */
import type { Ask } from './asking'
import type { Keys } from './keys'
import { TAKE_DUE } from './scripts'
import { either, failed, stored } from '../outcome'
import { GRACE, isDomain, MAX_LIFETIME } from '../record'
import type { Store } from '../types'

/** @param getPolicy brings this machine's copy up to date */
export function agendaIn(
  ask: Ask,
  { index }: Keys,
  local: Store,
  getPolicy: (domain: string) => Promise<unknown>,
): Pick<Store, 'takeDue' | 'plan'> {
  const followPlan = async (domain: string, at: number): Promise<void> => {
    await getPolicy(domain)
    await local.plan(domain, at)
  }
  return {
    async takeDue(due) {
      const own = await local.takeDue(due)
      const ours = own.ok ? own.value : { domains: [], more: false }
      const arguments_ = [due.now, due.beyond, due.until, due.limit].map((number) =>
        String(Math.round(number)),
      )
      const taken = await ask((redis) =>
        Promise.all([
          redis.eval(TAKE_DUE, { keys: [index], arguments: arguments_ }),
          Promise.all(ours.domains.map((domain) => redis.zScore(index, domain))),
        ]),
      )
      if (!taken.ok) return own
      const [remote, scores] = taken.value
      const given = new Set(namesIn(remote))
      const follow = ours.domains.map(async (domain, n) => {
        const planned = scores[n]
        // Redis has lost it: it is looked at for this machine's sake, and so comes back.
        if (planned === null || planned === undefined) given.add(domain)
        // Another worker looks after it. This machine's copy must not grow old beside it.
        else if (!given.has(domain)) await followPlan(domain, Math.max(planned, due.until))
      })
      await Promise.all(follow)
      return stored({
        domains: [...given],
        more: ours.more || (Array.isArray(remote) && remote.length >= due.limit),
      })
    },
    async plan(domain, at) {
      if (!isDomain(domain)) return failed('not a domain')
      const planned = ask((redis): Promise<unknown> =>
        at === undefined
          ? redis.zRem(index, domain)
          : Promise.all([
              redis.zAdd(index, { score: Math.round(at), value: domain }),
              redis.pExpire(index, MAX_LIFETIME + GRACE),
            ]),
      )
      return either(await Promise.all([planned, local.plan(domain, at)]))
    },
  }
}

/** The domains that a script returned. */
function namesIn(found: unknown): readonly string[] {
  const items = Array.isArray(found) ? (found as readonly unknown[]) : []
  return items.filter((item): item is string => typeof item === 'string' && isDomain(item))
}
