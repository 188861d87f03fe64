/**
 * Facts of a next-hop domain, kept no longer than the shortest TTL among the lookups that they rest on (RFC 6698 §8.2) nor than an
 * hour, so that a warm decision needs no I/O; and one gathering for all who ask at the same time. Facts with a failed lookup are
 * not kept: how long a failure lasts is the resolver's to say. The MTA-STS part is not kept: whoever recalls facts asks for it anew.
 *
 * Bounded in octets of memory, whatever a domain publishes: what is kept, and what one gathering may find.
 */
import { boundedMap } from '../bounded/map'
import { ofAscii } from '../bounded/octets'
import { MAX_TTL, octetsOf } from '../dnssec-stub/cache'
import type { Failure, Outcome, RecordType, Resolver } from '../dnssec-stub/types'
import { packFacts, unpackFacts } from './packed'
import type { KeptFacts } from './packed'
import type { Facts } from './types'

export interface FactsMemory {
  /** Facts that still hold; undefined where they must be gathered. */
  known(key: string): KeptFacts | undefined
  /**
   * Gathers, or joins a gathering of the same kind under the same key; what it finds takes the place of what was kept.
   * @param key Everything that the answer depends on.
   * @param work Asks through the resolver that it is given, and through no other.
   * @param anew Whether it looks past caches.
   */
  gather(key: string, work: (resolver: Resolver) => Promise<Facts>, anew: boolean): Promise<Facts>
  clear(): void
  /** Of memory, that what is kept takes now, about. */
  readonly octets: number
}

export interface FactsMemoryOptions {
  readonly resolver: Resolver
  /** Milliseconds of a clock that never steps. */
  readonly now: () => number
}

/** Octets of memory for facts of ordinary size: 20,000 domains with two hosts of their own and TLSA records take 11 MiB. */
const MOST_KEPT = 12_582_912
/** Facts of more octets than this share a room of their own: twenty hosts without TLSA records take less. */
const LARGE = 4096
const MOST_LARGE = 524_288
/** Octets for the facts used last, ready to be used again: reading them out costs more than a decision. */
const MOST_READY = 1_048_576
/**
 * Octets of memory that the answers to one gathering may take; whatever is asked after that has failed. Fifty hosts with four
 * addresses and five TLSA records each take half of it. Without this a zone could make each message cost megabytes.
 */
const MOST_GATHERED = 262_144
/** Of these so many need nobody's leave: an ordinary domain's answers take less. What is beyond them all gatherings under way share. */
const ORDINARY = 16_384
const MOST_BEYOND = 16_777_216

export function createFactsMemory({ resolver, now }: FactsMemoryOptions): FactsMemory {
  const kept = boundedMap<string>({
    mostOctets: MOST_KEPT,
    large: { above: LARGE, mostOctets: MOST_LARGE },
    now,
  })
  const ready = boundedMap<KeptFacts>({ mostOctets: MOST_READY, now })
  const underWay = new Map<string, Promise<Facts>>()
  let era = 0
  let beyond = 0

  /** Takes octets that all gatherings share; false where there are too few. */
  function takeBeyond(octets: number): boolean {
    if (beyond + octets > MOST_BEYOND) return false
    beyond += octets
    return true
  }

  async function gatherAndKeep(
    key: string,
    work: (resolver: Resolver) => Promise<Facts>,
  ): Promise<Facts> {
    const [started, begunIn] = [now(), era]
    const heard = listenTo(resolver, takeBeyond)
    const facts = await work(heard.resolver).finally(() => {
      beyond -= heard.beyond()
    })
    // Lookups may all have gone well, and yet not be believed: such facts have a failed MX lookup, and are not packed.
    if (begunIn === era) keep(key, facts, started + Math.min(heard.leastTtl(), MAX_TTL) * 1000)
    return facts
  }

  function keep(key: string, facts: Facts, expires: number): void {
    ready.delete(key)
    kept.delete(key)
    const packed = expires > now() ? packFacts(facts) : undefined
    if (packed !== undefined) kept.set(key, packed, ofAscii(packed), expires)
  }

  return {
    known(key) {
      const atHand = ready.get(key)
      if (atHand !== undefined) return atHand
      const found = kept.find(key)
      if (found === undefined) return undefined
      const facts = unpackFacts(found.value)
      ready.set(key, facts, octetsUnpacked(found.value), found.expires)
      return facts
    },
    gather(key, work, anew) {
      const flight = anew ? `${key} anew` : key
      const joined = underWay.get(flight)
      if (joined) return joined
      const facts = gatherAndKeep(key, work).finally(() => {
        if (underWay.get(flight) === facts) underWay.delete(flight)
      })
      underWay.set(flight, facts)
      return facts
    },
    clear() {
      era++
      kept.clear()
      ready.clear()
      underWay.clear()
    },
    get octets() {
      return kept.octets + ready.octets
    },
  }
}

/** Measured: an ordinary domain's are six times as long as the text. */
function octetsUnpacked(packed: string): number {
  return 600 + 6 * packed.length
}

/** The same resolver, and the least TTL of all that it says: nothing as soon as one lookup fails. */
function listenTo(
  resolver: Resolver,
  takeBeyond: (octets: number) => boolean,
): {
  readonly resolver: Resolver
  readonly leastTtl: () => number
  /** Octets taken of those that are shared. */
  readonly beyond: () => number
} {
  let least = Number.POSITIVE_INFINITY
  let octets = 0
  let beyond = 0
  const hasRoom = (more: number): boolean => {
    octets += more
    if (octets > MOST_GATHERED) return false
    const wanted = Math.max(0, octets - ORDINARY) - beyond
    if (wanted <= 0) return true
    if (!takeBeyond(wanted)) return false
    beyond += wanted
    return true
  }
  const note = (outcome: Outcome<RecordType>) => {
    least = Math.min(least, outcome.kind === 'failed' ? 0 : outcome.ttl)
  }
  return {
    resolver: {
      async resolve(name, type, options) {
        const said = await resolver.resolve(name, type, options)
        const outcome = hasRoom(octetsOf(type, said)) ? said : tooLarge(name, type)
        note(outcome)
        return outcome
      },
    },
    leastTtl: () => (Number.isFinite(least) ? least : 0),
    beyond: () => beyond,
  }
}

function tooLarge(name: string, type: RecordType): Failure {
  const detail = `${type} ${name}: the hosts of one domain have more records than are looked at`
  return { kind: 'failed', cause: 'too-large', detail }
}
