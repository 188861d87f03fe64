/** The policies in the LMDB file. */
import { type Access, OCTETS } from './access'
import { replan } from './agenda-entries'
import { type Changes, noteChange } from './changes'
import type { Overflow } from './overflow'
import { ofText } from '../../bounded/octets'
import { failed, stored } from '../outcome'
import { decodeRecord, encodeRecord, isDomain, isFetchedLater, whyUnstorable } from '../record'
import type { Store } from '../types'

/** Domains in a page of the list. */
const PAGE = 1_000

type Policies = Pick<Store, 'getPolicy' | 'setPolicy' | 'deletePolicy' | 'listDomains'>

export function policiesIn(
  access: Access,
  overflow: Overflow,
  changes: Changes,
  now: () => number,
): Policies {
  return {
    async getPolicy(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      const kept = await overflow.inUse()?.getPolicy(domain)
      const found = await access.read(({ policies }) => decodeRecord(policies.get(domain), domain))
      if (kept?.ok !== true || kept.value === undefined) return found
      // Another worker, for whom the file takes writes, may have been later.
      const isLater =
        found.ok && found.value !== undefined && isFetchedLater(found.value, kept.value, now())
      return isLater ? found : kept
    },
    async setPolicy(record) {
      const reason = whyUnstorable(record)
      if (reason !== undefined) return failed(reason)
      const { domain, fetchedAt } = record
      const line = encodeRecord(record)
      const outcome = await overflow.keep({
        act: (file) => {
          file.policies.putSync(domain, line)
          replan(file, domain, fetchedAt)
          noteChange(file, domain)
        },
        octets: OCTETS.some + Buffer.byteLength(line),
        holds: ofText(line),
        instead: (memory) => memory.setPolicy(record),
        obsolete: (memory) => {
          memory.deletePolicy(domain).catch(() => undefined)
        },
      })
      if (outcome.ok) changes.tell(domain)
      return outcome
    },
    async deletePolicy(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      await overflow.inUse()?.deletePolicy(domain)
      const outcome = await access.write((file) => {
        file.policies.removeSync(domain)
        file.used.removeSync(domain)
        replan(file, domain, undefined)
        noteChange(file, domain)
      }, OCTETS.some)
      if (outcome.ok) changes.tell(domain)
      return outcome
    },
    async listDomains(after) {
      const page = await access.read(({ policies }) => {
        const start = after === undefined ? {} : { start: after }
        return [...policies.getKeys({ ...start, limit: PAGE })]
      })
      if (!page.ok) {
        const kept = await overflow.inUse()?.listDomains()
        return kept?.ok === true && kept.value.domains.length > 0 ? kept : page
      }
      const domains = page.value.filter((domain) => domain !== after)
      if (page.value.length === PAGE) return stored({ domains, next: domains.at(-1) })
      const more = await overflow.inUse()?.listDomains()
      return stored({
        domains: more?.ok === true ? [...domains, ...more.value.domains] : domains,
        next: undefined,
      })
    },
  }
}
