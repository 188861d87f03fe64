/** What all workers together have counted, as reports are made of it. */
import type { TallyStore } from '../store'
import { partOf } from '../store/tally'
import { readDomainDays } from './read'
import type { Tallies } from './types'

export function talliesIn(store: TallyStore): Tallies {
  return {
    close: (day, part) => store.sealTally(day, part),
    async readPart(day, part) {
      const read = await store.readTally(day, part)
      return read.ok ? { ok: true, value: readDomainDays(day, read.value) } : read
    },
    async readDomain(day, domain) {
      const read = await store.readTally(day, partOf(domain))
      if (!read.ok) return read
      const entries = read.value.filter((entry) => entry.domain === domain)
      return { ok: true, value: readDomainDays(day, entries)[0] }
    },
    drop: ({ day, domain, names }) => store.dropTally(day, domain, names),
    cluster: () => store.clusterName(),
  }
}
