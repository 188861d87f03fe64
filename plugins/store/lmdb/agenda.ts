/** The agenda in the LMDB file. */
import { type Access, OCTETS } from './access'
import { domainsOf, dueEntries, replan, takeEntries } from './agenda-entries'
import type { Overflow } from './overflow'
import { failed, stored } from '../outcome'
import { isDomain } from '../record'
import type { Store } from '../types'

export function agendaIn(access: Access, overflow: Overflow): Pick<Store, 'takeDue' | 'plan'> {
  /** While the file takes no writes: the last entry that was given out; the next page begins behind it. */
  let givenOut: string | undefined
  return {
    async takeDue(due) {
      const kept = await overflow.inUse()?.takeDue(due)
      const more = kept?.ok === true ? kept.value : { domains: [], more: false }
      const taken = await access.write((file) => takeEntries(file, due), OCTETS.many)
      // Entries that cannot be taken can still be looked at: each once, and then from the beginning at the next round.
      const found = taken.ok ? taken : await access.read((file) => dueEntries(file, due, givenOut))
      if (!found.ok) return kept?.ok === true ? kept : found
      givenOut = taken.ok ? undefined : found.value.at(-1)
      return stored({
        domains: [...new Set([...domainsOf(found.value), ...more.domains])],
        more: more.more || found.value.length >= due.limit,
      })
    },
    async plan(domain, at) {
      if (!isDomain(domain)) return failed('not a domain')
      await overflow.inUse()?.plan(domain, at)
      return access.write((file) => {
        replan(file, domain, at)
      }, OCTETS.some)
    },
  }
}
