/** Notes, and the days of the last use, in Redis and on this machine. */
import type { Ask } from './asking'
import { type Keys, px } from './keys'
import { DONE, either, failed, stored } from '../outcome'
import { isDomain, isNote, MARK_DAYS, MAX_NOTE, readTime } from '../record'
import type { Store } from '../types'

const DAY = 86_400_000

type Notes = Pick<Store, 'getNote' | 'setNote' | 'lastUsed' | 'markUsed'>

export function notesIn(ask: Ask, keys: Keys, local: Store): Notes {
  return {
    async getNote(domain, name, { everywhere = false } = {}) {
      if (!isNote(domain, name)) return failed('not a note')
      const key = keys.of(domain, `note:${name}`)
      const found = await ask((redis) => redis.getRange(key, 0, MAX_NOTE * 4))
      if (found.ok && found.value) return stored(found.value.slice(0, MAX_NOTE))
      if (everywhere) return found.ok ? stored(undefined) : found
      return local.getNote(domain, name)
    },
    async setNote(domain, name, text, ttl, { everywhere = false } = {}) {
      if (!isNote(domain, name)) return failed('not a note')
      const key = keys.of(domain, `note:${name}`)
      const set = ask((redis) => redis.set(key, text.slice(0, MAX_NOTE), px(ttl)))
      if (everywhere) {
        const alone = await set
        return alone.ok ? DONE : alone
      }
      return either(await Promise.all([set, local.setNote(domain, name, text, ttl)]))
    },
    async lastUsed(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      const [remote, own] = await Promise.all([
        ask((redis) => redis.getRange(keys.of(domain, 'used'), 0, 15)),
        local.lastUsed(domain),
      ])
      if (!remote.ok) return own
      const days = [readTime(remote.value), own.ok ? own.value : undefined].filter(
        (day) => day !== undefined,
      )
      return stored(days.length === 0 ? undefined : Math.max(...days))
    },
    async markUsed(domain, day) {
      if (!isDomain(domain)) return failed('not a domain')
      const set = ask((redis) =>
        redis.set(keys.of(domain, 'used'), String(day), px(MARK_DAYS * DAY)),
      )
      return either(await Promise.all([set, local.markUsed(domain, day)]))
    },
  }
}
