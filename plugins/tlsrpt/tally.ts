/**
 * This worker's counts on their way to the store: kept in memory, bounded, and given over every ten seconds.
 *
 * Promises: counting never waits and never throws; what is given over counts once, also where the store's answer was lost on the
 * way; while the store fails, counts wait, and get coarser before any is lost; each loss is told. A process that is killed loses its
 * last ten seconds.
 */
import { OBJECT, ofAscii, ofText } from '../bounded/octets'
import type { Stored, TallyAdd, TallyBatch, TallyStore, TallyWay } from '../store'
import { groupOf, KEPT_DAYS, MOST_ADDS, partOf } from '../store/tally'
import { toAdds } from './lines'
import { dayOf } from './names'
import type { Addition } from './types'

export interface TallyTools {
  /** Rejects, or fails, where there is none; then counts wait. */
  readonly store: () => Promise<Pick<TallyStore, 'addToTally'>>
  /** Letters and digits that no other worker has, nor this one in an earlier life. */
  readonly worker: string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** `bound`: more than there is room for. `store`: it took none for days. */
  readonly lost: (why: 'bound' | 'store', count: number) => void
  readonly log: { warn(text: string): void; notice(text: string): void }
}

export interface Tally {
  /** @param domain the next-hop domain, in whose report it goes */
  add(domain: string, additions: readonly Addition[]): void
  /** Gives over what is there. Never rejects. */
  flush(): Promise<void>
  /** The worker is about to end, and may still deliver for a minute: gives over at once, and every second from then on. */
  retire(): Promise<void>
}

/** Milliseconds between two times of giving over; the first count after a rest waits no longer than the shorter one. */
export const EVERY = 10_000
const SOON = 1_000
/** Lines that say most of what was counted; beyond them only coarse ones, as many again. */
export const MOST_LINES = 20_000
/** Octets of memory for the texts of all lines. */
const MOST_OCTETS = 8_388_608
/** Parts that are given over side by side. */
const AT_ONCE = 16

interface Line {
  by: number
  readonly ways: readonly TallyWay[]
  readonly octets: number
}

/** What waits for one part of a day. */
interface Part {
  readonly day: number
  readonly part: number
  readonly lines: Map<string, Line>
  /** Names of a bounded kind that wait, by domain and kind. */
  readonly groups: Map<string, Set<string>>
  /** Was given over, and not answered for: it goes once more, as it was. */
  under?: { readonly batch: TallyBatch; readonly lines: readonly Line[] }
}

export function createTally({ store, worker, clock, lost, log }: TallyTools): Tally {
  const parts = new Map<string, Part>()
  let lines = 0
  let octets = 0
  let sequence = 0
  let every = EVERY
  let flushed = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let flushing: Promise<void> | undefined
  let failing = false

  const partFor = (day: number, number: number): Part => {
    const key = `${day} ${number}`
    const found = parts.get(key) ?? {
      day,
      part: number,
      lines: new Map<string, Line>(),
      groups: new Map<string, Set<string>>(),
    }
    parts.set(key, found)
    return found
  }

  const addOne = (part: Part, add: TallyAdd): void => {
    const ways = add.ways.filter((way) => fits(part, add.domain, way))
    const fine = ways[0]
    const coarse = ways.at(-1)
    if (fine === undefined || coarse === undefined) return lost('bound', add.by)
    const known = part.lines.get(`${add.domain} ${fine.counter}`)
    if (known !== undefined) {
      known.by += add.by
      return
    }
    const isFull = lines >= MOST_LINES || octets >= MOST_OCTETS
    const kept = isFull ? [coarse] : ways
    const counter = `${add.domain} ${isFull ? coarse.counter : fine.counter}`
    const other = part.lines.get(counter)
    if (other !== undefined) {
      other.by += add.by
      return
    }
    if (lines >= 2 * MOST_LINES || octets >= 2 * MOST_OCTETS) return lost('bound', add.by)
    const size = octetsOf(add.domain, kept)
    part.lines.set(counter, { by: add.by, ways: kept, octets: size })
    if (!isFull) note(part, add.domain, fine)
    lines += 1
    octets += size
  }

  /** Takes up to a batch's worth of lines, or what was under way before. */
  const nextBatch = (part: Part): NonNullable<Part['under']> | undefined => {
    if (part.under !== undefined) return part.under
    if (part.lines.size === 0) return undefined
    const taken = [...part.lines].slice(0, MOST_ADDS)
    for (const [key] of taken) part.lines.delete(key)
    if (part.lines.size === 0) part.groups.clear()
    sequence += 1
    const adds = taken.map(([key, { by, ways }]) => ({
      domain: key.slice(0, key.indexOf(' ')),
      by,
      ways,
    }))
    part.under = {
      batch: { day: part.day, part: part.part, worker, sequence, adds },
      lines: taken.map(([, line]) => line),
    }
    return part.under
  }

  const done = (part: Part): void => {
    for (const line of part.under?.lines ?? []) {
      lines -= 1
      octets -= line.octets
    }
    delete part.under
  }

  /** @returns why the store did not take it */
  const giveOver = async (part: Part, to: Pick<TallyStore, 'addToTally'>) => {
    for (let under = nextBatch(part); under !== undefined; under = nextBatch(part)) {
      const added = await to.addToTally(under.batch)
      if (!added.ok) return added.detail
      done(part)
      if (added.value > 0) lost('bound', added.value)
    }
    return undefined
  }

  const forgetOldDays = (): void => {
    const first = dayOf(clock()) - KEPT_DAYS + 1
    for (const [key, part] of parts) {
      if (part.day >= first) continue
      let sum = 0
      for (const line of [...part.lines.values(), ...(part.under?.lines ?? [])]) {
        sum += line.by
        lines -= 1
        octets -= line.octets
      }
      parts.delete(key)
      lost('store', sum)
    }
  }

  const flushAll = async (): Promise<void> => {
    flushed = clock()
    forgetOldDays()
    const waiting = [...parts]
    const to = await opened(store)
    let trouble = to.ok ? undefined : to.detail
    for (let from = 0; from < waiting.length && trouble === undefined && to.ok; from += AT_ONCE) {
      const some = waiting.slice(from, from + AT_ONCE)
      const troubles = await Promise.all(some.map(([, part]) => giveOver(part, to.value)))
      trouble = troubles.find((one) => one !== undefined)
      for (const [key, part] of some) {
        if (part.under === undefined && part.lines.size === 0) parts.delete(key)
      }
    }
    if (trouble !== undefined && !failing) {
      log.warn(`counts for TLSRPT reports wait in memory, the store does not take them: ${trouble}`)
    } else if (trouble === undefined && failing) {
      log.notice('the store takes counts for TLSRPT reports again')
    }
    failing = trouble !== undefined
    if (parts.size > 0) plan()
  }

  const flush = (): Promise<void> => {
    flushing ??= flushAll().finally(() => (flushing = undefined))
    return flushing
  }

  const plan = (): void => {
    if (timer !== undefined) return
    const rest = failing ? every : Math.max(SOON, every - (clock() - flushed))
    timer = setTimeout(
      () => {
        timer = undefined
        // What was not written stays, and is written at the next round.
        flush().catch(() => undefined)
      },
      Math.min(rest, every),
    ).unref()
  }

  return {
    add(domain, additions) {
      const part = partFor(dayOf(clock()), partOf(domain))
      for (const addition of additions) {
        for (const add of toAdds(domain, addition)) addOne(part, add)
      }
      plan()
    },
    flush,
    async retire() {
      every = SOON
      clearTimeout(timer)
      timer = undefined
      await flush()
    },
  }
}

async function opened(store: TallyTools['store']): Promise<Stored<Pick<TallyStore, 'addToTally'>>> {
  try {
    return { ok: true, value: await store() }
  } catch (error) {
    return { ok: false, detail: error instanceof Error ? error.message : String(error) }
  }
}

/** The store's own bounds, for what waits here: one domain must not take the room of all others. */
function fits({ groups }: Part, domain: string, way: TallyWay): boolean {
  return namesOf(way).every((name) => {
    const limit = groupOf(name)
    if (limit === undefined) return true
    const names = groups.get(`${domain} ${limit.group}`)
    return names === undefined || names.has(name) || names.size < limit.most
  })
}

function note({ groups }: Part, domain: string, way: TallyWay): void {
  for (const name of namesOf(way)) {
    const limit = groupOf(name)
    if (limit === undefined) continue
    const key = `${domain} ${limit.group}`
    const names = groups.get(key) ?? new Set()
    groups.set(key, names.add(name))
  }
}

function namesOf({ counter, texts = [] }: TallyWay): readonly string[] {
  return [counter, ...texts.map(([name]) => name)]
}

function octetsOf(domain: string, ways: readonly TallyWay[]): number {
  let sum = OBJECT + ofAscii(domain)
  for (const { counter, texts = [] } of ways) {
    sum += OBJECT + ofAscii(counter)
    for (const [name, text] of texts) sum += OBJECT + ofAscii(name) + ofText(text)
  }
  return sum
}
