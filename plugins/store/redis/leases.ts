/** Leases in Redis; while it does not answer, those of this machine. */
import type { Ask } from './asking'
import { type Keys, lifetime } from './keys'
import { ACQUIRE, RELEASE } from './scripts'
import { either, stored } from '../outcome'
import type { Store } from '../types'

export function leasesIn(ask: Ask, keys: Keys, local: Store): Pick<Store, 'acquire' | 'release'> {
  return {
    async acquire(name, owner, ttl, { everywhere = false } = {}) {
      const options = { keys: [keys.lease(name)], arguments: [owner, String(lifetime(ttl))] }
      const taken = await ask((redis) => redis.eval(ACQUIRE, options))
      if (taken.ok) return stored(taken.value === 1)
      return everywhere ? taken : local.acquire(name, owner, ttl)
    },
    async release(name, owner) {
      const options = { keys: [keys.lease(name)], arguments: [owner] }
      const released = ask((redis) => redis.eval(RELEASE, options))
      return either(await Promise.all([released, local.release(name, owner)]))
    },
  }
}
