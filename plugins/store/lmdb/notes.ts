/** Notes, and the days of the last use, in the LMDB file. */
import type { Access } from './access'
import type { Overflow } from './overflow'
import { failed } from '../outcome'
import { isDomain, isNote, MAX_NOTE, readTime } from '../record'
import { readTimed, writeTimed } from '../timed'
import type { Store } from '../types'

type Notes = Pick<Store, 'getNote' | 'setNote' | 'lastUsed' | 'markUsed'>

export function notesIn(access: Access, overflow: Overflow, now: () => number): Notes {
  return {
    async getNote(domain, name) {
      if (!isNote(domain, name)) return failed('not a note')
      const kept = await overflow.inUse()?.getNote(domain, name)
      if (kept?.ok === true && kept.value !== undefined) return kept
      return access.read(({ notes }) => readTimed(notes.get(`${domain} ${name}`), now()))
    },
    async setNote(domain, name, text, ttl) {
      if (!isNote(domain, name)) return failed('not a note')
      const line = writeTimed(text.slice(0, MAX_NOTE), ttl, now())
      return overflow.keep({
        act: ({ notes }) => notes.putSync(`${domain} ${name}`, line),
        instead: (memory) => memory.setNote(domain, name, text, ttl),
      })
    },
    async lastUsed(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      return access.read(({ used }) => readTime(used.get(domain)))
    },
    async markUsed(domain, day) {
      if (!isDomain(domain)) return failed('not a domain')
      return access.write(({ used }) => used.putSync(domain, String(day)))
    },
  }
}
