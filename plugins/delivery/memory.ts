/**
 * Facts of a next-hop domain, kept no longer than the shortest TTL among the lookups that they rest on (RFC 6698 §8.2), so that a
 * warm decision needs no I/O; and one gathering for all who ask at the same time. Facts with a failed lookup are not kept: how
 * long a failure lasts is the resolver's to say. The MTA-STS part is not for keeping: whoever recalls facts asks for it anew.
 */
import type { Outcome, RecordType, Resolver } from '../dnssec-stub/types'
import type { Facts } from './types'

export interface FactsMemory {
  /** Facts that still hold; undefined where they must be gathered. */
  known(key: string): Facts | undefined
  /**
   * Gathers, or joins a gathering under the same key.
   * @param key Everything that the answer depends on.
   * @param work Asks through the resolver that it is given, and through no other.
   */
  gather(key: string, work: (resolver: Resolver) => Promise<Facts>): Promise<Facts>
  clear(): void
}

export interface FactsMemoryOptions {
  readonly resolver: Resolver
  /** Milliseconds of a clock that never steps. */
  readonly now: () => number
  /** The oldest goes first. */
  readonly maxEntries: number
}

interface Entry {
  readonly facts: Facts
  readonly expires: number
}

export function createFactsMemory({ resolver, now, maxEntries }: FactsMemoryOptions): FactsMemory {
  const entries = new Map<string, Entry>()
  const underWay = new Map<string, Promise<Facts>>()
  let era = 0

  function keep(key: string, entry: Entry): void {
    entries.delete(key)
    if (entry.expires > now()) entries.set(key, entry)
    for (const oldest of entries.keys()) {
      if (entries.size <= maxEntries) break
      entries.delete(oldest)
    }
  }

  async function gatherAndKeep(
    key: string,
    work: (resolver: Resolver) => Promise<Facts>,
  ): Promise<Facts> {
    const [started, begunIn] = [now(), era]
    const heard = listenTo(resolver)
    const facts = await work(heard.resolver)
    // Lookups may all have gone well, and yet not be believed.
    if (begunIn === era && facts.mx.kind !== 'failed')
      keep(key, { facts, expires: started + heard.leastTtl() * 1000 })
    return facts
  }

  return {
    known(key) {
      const entry = entries.get(key)
      return entry && now() < entry.expires ? entry.facts : undefined
    },
    gather(key, work) {
      const joined = underWay.get(key)
      if (joined) return joined
      const facts = gatherAndKeep(key, work).finally(() => {
        if (underWay.get(key) === facts) underWay.delete(key)
      })
      underWay.set(key, facts)
      return facts
    },
    clear() {
      era++
      entries.clear()
      underWay.clear()
    },
  }
}

/** The same resolver, and the least TTL of all that it says: nothing as soon as one lookup fails. */
function listenTo(resolver: Resolver): {
  readonly resolver: Resolver
  readonly leastTtl: () => number
} {
  let least = Number.POSITIVE_INFINITY
  const note = (outcome: Outcome<RecordType>) => {
    least = Math.min(least, outcome.kind === 'failed' ? 0 : outcome.ttl)
  }
  return {
    resolver: {
      async resolve(name, type, options) {
        const outcome = await resolver.resolve(name, type, options)
        note(outcome)
        return outcome
      },
    },
    leastTtl: () => (Number.isFinite(least) ? least : 0),
  }
}
