/** Makes the store that the settings ask for. It never fails: what cannot be had is replaced, with a warning. */
import { lmdbStore } from './lmdb'
import { memoryStore } from './memory'
import { inWords } from './outcome'
import type { Store, StoreSettings, StoreTools } from './types'

export async function createStore(settings: StoreSettings, tools: StoreTools): Promise<Store> {
  switch (settings.backend) {
    case 'memory':
      return memoryStore(tools)
    case 'lmdb':
      return lmdbStore(settings.path, tools)
    case 'redis': {
      const local = lmdbStore(settings.path, tools)
      try {
        // Loaded only where it is asked for: it takes longer than all the rest together.
        const { redisStore } = await import('./redis.js')
        return redisStore(settings, local, tools)
      } catch (error) {
        tools.log.warn(
          `Redis is not used, going on with this machine's own store: ${inWords(error)}`,
        )
        return local
      }
    }
  }
}

export type * from './types'
