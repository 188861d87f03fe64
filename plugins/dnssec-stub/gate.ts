/**
 * How many lookups are under way, and whose turn it is. Four bounds, each for a harm of its own:
 * - so many abreast, so that a burst overflows no server's socket. A lookup without an answer after some milliseconds has been
 *   read by the server and steps aside: names whose servers are dead keep none of these places.
 * - so many in all, and so many of one zone: resolvers take a bounded number of questions of a client, and drop what comes after
 *   them, whoever's it is. A question without an answer is still with the resolver when nobody here waits for it any more, so
 *   its place is held for as long as resolvers try;
 * - the last third of all places is for those who came last, one after the other: behind hundreds of names whose servers are
 *   dead, a fresh one waits for none of them. An answer gives the turn back at once;
 * - in the background (no mail waits for it) so few, and only while no other lookup stands in line.
 * What waits is bounded as well: each takes memory here. Beyond so many, those of the zones that have most in line are turned away.
 * Promises: zones take turns; time in line is told to the clock that everybody's time limits go by (time-limit.ts).
 */
import { line, type Line } from './line'
import type { LineClock } from './time-limit'

export interface GateLimits {
  /** Lookups that have just begun. */
  readonly abreast: number
  /** After so many milliseconds a lookup steps aside. */
  readonly asideMs: number
  /** All places. */
  readonly most: number
  /** Places that are given in the order of the line; beyond them the newest goes first, one in so many milliseconds. */
  readonly inOrder: number
  readonly paceMs: number
  /** A question that was not answered holds its place for so many milliseconds, whether or not anybody waits for it. */
  readonly heldMs: number
  readonly mostOfZone: number
  readonly mostInBackground: number
  /** Octets of memory for what stands in line. */
  readonly mostInLine: number
}

interface Few {
  readonly abreast: number
  readonly asideMs: number
  readonly background: number
  /** Default: nothing is held, as where what is given up is taken back. */
  readonly heldMs?: number
}

/** Octets; 16,384 lookups. */
const MOST_IN_LINE = 50_331_648
/** Octets of a lookup that waits: its promises, signals and names; measured with some to spare. */
export const WAITING = 3072

/** @param most All places; a quarter of them may be of one zone. */
export function limits(most: number, few: Few): GateLimits {
  const quarter = Math.ceil(most / 4)
  const heldMs = few.heldMs ?? 0
  const inOrder = heldMs === 0 ? most : Math.ceil((2 * most) / 3)
  return {
    abreast: Math.min(few.abreast, most),
    asideMs: few.asideMs,
    most,
    inOrder,
    // By the time that the last place is given, the first is free again.
    paceMs: heldMs / Math.max(1, most - inOrder),
    heldMs,
    mostOfZone: quarter,
    mostInBackground: Math.min(few.background, quarter),
    mostInLine: MOST_IN_LINE,
  }
}

/** Called once, it lets the next one in. @param isAnswered false: the question is still with the resolver */
export type Leave = (isAnswered?: boolean) => void

export interface Gate {
  /** @returns undefined where the signal fired first; `full` where no more can wait */
  enter(
    zone: string,
    signal: AbortSignal,
    inBackground?: boolean,
  ): Promise<Leave | 'full' | undefined>
  /** Milliseconds, from now, for which a question that is not answered shall not be put again. */
  restMs(zone: string, askedAt: number): number
}

/** Of those who came last, so many of one zone: a host's addresses and TLSA records are asked for together. */
const LAST_OF_ZONE = 8
/** So many turns of those who came last may be saved up. */
const SAVED_TURNS = 8
/** With fewer places taken, a question that was lost is put again without regard to others. */
const FEW = 32
/** A zone that has answered within this time (milliseconds) has servers that live; of the latest so many zones. */
const LIVES_MS = 60_000
const MOST_LIVE = 512

/** @param now Milliseconds of a clock that never steps. */
export function gate(limits: GateLimits, clock: LineClock, now: () => number): Gate {
  const front = line<() => void>()
  const back = line<() => void>()
  /** Those abreast, in order of entry, each with its time. */
  const abreast = new Map<symbol, number>()
  const ofZone = new Map<string, number>()
  /** When zones last answered, the latest last. */
  const live = new Map<string, number>()
  const turns = savedTurns(limits.paceMs, now)
  let inside = 0
  let inBack = 0
  let timer: NodeJS.Timeout | undefined

  const stepAside = (): void => {
    const latest = now() - limits.asideMs
    for (const [place, since] of abreast) {
      if (since > latest) break
      abreast.delete(place)
    }
  }

  const hasRoom = (): boolean => inside < limits.most && abreast.size < limits.abreast
  const isInOrder = (): boolean => inside < limits.inOrder
  const zoneHasRoom = (zone: string): boolean => (ofZone.get(zone) ?? 0) < limits.mostOfZone
  const mayBeLast = (zone: string): boolean => (ofZone.get(zone) ?? 0) < LAST_OF_ZONE
  const backHasRoom = (): boolean => front.length === 0 && inBack < limits.mostInBackground

  /** Half of the line is for all; in the other half no zone has more than a sixteenth of what stands there. */
  const isFull = (zone: string): boolean => {
    const most = limits.mostInLine / WAITING
    const all = front.length + back.length
    if (all < most / 2) return false
    return all >= most || front.of(zone) + back.of(zone) >= all / 16
  }

  const heard = (zone: string): void => {
    live.delete(zone)
    live.set(zone, now())
    const [eldest] = live.keys()
    if (live.size > MOST_LIVE && eldest !== undefined) live.delete(eldest)
  }

  const goIn = (zone: string, inBackground: boolean): Leave => {
    const place = Symbol()
    const since = now()
    const tookTurn = !isInOrder()
    if (tookTurn) turns.take()
    abreast.set(place, since)
    inside++
    if (inBackground) inBack++
    ofZone.set(zone, (ofZone.get(zone) ?? 0) + 1)
    const free = (): void => {
      inside--
      if (inBackground) inBack--
      const left = (ofZone.get(zone) ?? 1) - 1
      if (left === 0) ofZone.delete(zone)
      else ofZone.set(zone, left)
      letIn()
    }
    return (isAnswered = true) => {
      abreast.delete(place)
      const left = isAnswered ? 0 : since + limits.heldMs - now()
      if (isAnswered) heard(zone)
      if (isAnswered && tookTurn) turns.giveBack()
      if (left <= 0) return free()
      setTimeout(free, left).unref()
      letIn()
    }
  }

  const nextOne = () => {
    if (isInOrder()) {
      return front.next(zoneHasRoom) ?? (backHasRoom() ? back.next(zoneHasRoom) : undefined)
    }
    return turns.untilNext() > 0 ? undefined : front.last(mayBeLast)
  }

  /** All whose turn it is; the next ones when somebody leaves or steps aside. */
  const letIn = (): void => {
    stepAside()
    while (hasRoom()) {
      const next = nextOne()
      if (next === undefined) break
      next.one()
    }
    clock.stands(front.length > 0)
    clearTimeout(timer)
    timer = undefined
    if (front.length + back.length === 0) return
    const [eldest] = abreast.values()
    const aside = eldest === undefined ? Infinity : eldest + limits.asideMs - now()
    const turn = isInOrder() ? Infinity : turns.untilNext()
    const wait = Math.min(aside, turn > 0 ? turn : Infinity)
    if (wait === Infinity) return
    timer = setTimeout(letIn, Math.max(1, wait))
    // A caller in line may keep a process alive; the line does not.
    timer.unref()
  }

  const standIn = (
    { add }: Line<() => void>,
    zone: string,
    signal: AbortSignal,
    inBackground: boolean,
  ): Promise<Leave | undefined> =>
    new Promise((resolve) => {
      const takeOut = add(zone, () => {
        signal.removeEventListener('abort', giveUp)
        resolve(goIn(zone, inBackground))
      })
      const giveUp = (): void => {
        takeOut()
        resolve(undefined)
        letIn()
      }
      signal.addEventListener('abort', giveUp, { once: true })
      letIn()
    })

  return {
    enter(zone, signal, inBackground = false) {
      if (signal.aborted) return Promise.resolve(undefined)
      if (isFull(zone)) return Promise.resolve('full')
      return standIn(inBackground ? back : front, zone, signal, inBackground)
    },
    restMs(zone, askedAt) {
      const isLive = now() - (live.get(zone) ?? -Infinity) < LIVES_MS
      return isLive || inside < FEW ? 0 : Math.max(0, askedAt + limits.heldMs - now())
    },
  }
}

interface Turns {
  take(): void
  giveBack(): void
  /** Milliseconds; 0: now. */
  untilNext(): number
}

/** One turn in so many milliseconds; those that nobody took are saved up, to a bound. */
function savedTurns(paceMs: number, now: () => number): Turns {
  let saved = SAVED_TURNS
  let asOf = now()
  const count = (): number => {
    const time = now()
    saved = Math.min(SAVED_TURNS, saved + (time - asOf) / paceMs)
    asOf = time
    return saved
  }
  return {
    take: () => void (saved = count() - 1),
    giveBack: () => void (saved = Math.min(SAVED_TURNS, count() + 1)),
    untilNext: () => Math.max(0, (1 - count()) * paceMs),
  }
}
