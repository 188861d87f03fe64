/** Makes the store that the settings ask for. It never fails: a store that cannot be had is replaced by a lesser one, with a warning. */
import { createRequire } from 'node:module'
import { lmdbStore } from './lmdb/store'
import { memoryStore } from './memory'
import { failed, inWords } from './outcome'
import type * as Redis from './redis/store'
import type { StoreTrouble } from './troubles'
import type { Store, StoreSettings, StoreTools } from './types'
import { withoutShared, withoutTallies } from './unread'

const UNUSED = 'Redis is not used'

/**
 * Loads a backend's code ahead, while the user that started Haraka is still there: the one that it becomes may have no right to
 * read it. Redis' takes longer than all the rest together, so it is loaded only where it is asked for.
 */
export function loadBackend(backend: StoreSettings['backend']): void {
  if (backend !== 'redis') return
  try {
    loadRedis()
  } catch {
    // createStore meets the same, and says so.
  }
}

type RedisModule = typeof Redis
const load = createRequire(__filename)
let redis: RedisModule | undefined

/** Kept: import() would look for the file once more. */
function loadRedis(): RedisModule {
  redis ??= load('./redis/store.js') as RedisModule
  return redis
}

export function createStore(settings: StoreSettings, tools: StoreTools): Promise<Store> {
  return new Promise((resolve) => {
    resolve(makeStore(settings, tools))
  })
}

function makeStore(settings: StoreSettings, tools: StoreTools): Store {
  switch (settings.backend) {
    case 'memory':
      return memoryStore(tools)
    case 'lmdb':
      return lmdbStore(settings.path, tools, settings.fileCure)
    case 'redis': {
      const local = lmdbStore(settings.path, tools, settings.fileCure)
      try {
        return loadRedis().redisStore(settings, local, tools)
      } catch (error) {
        const trouble: StoreTrouble = {
          kind: 'redis-settings',
          text: failed(
            `Redis is not used (${inWords(error)}); going on with this machine's own store`,
          ).detail,
          cure: 'Correct redis.ini or [redis], and restart Haraka.',
        }
        tools.log.warn(`${trouble.text}. ${trouble.cure}`)
        return {
          ...withoutTallies(withoutShared(local, UNUSED, tools.now), UNUSED),
          troubles: () => [trouble, ...local.troubles()],
          examine: async () => [trouble, ...(await local.examine())],
        }
      }
    }
  }
}

export { TROUBLE_KINDS } from './troubles'
export type { StoreTrouble, TroubleKind } from './troubles'
export type * from './types'
