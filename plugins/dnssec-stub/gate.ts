/**
 * How many lookups are under way, and whose turn it is. Three bounds, each for a harm of its own:
 * - so many abreast, so that a burst overflows no server's socket. A lookup without an answer after some milliseconds has been
 *   read by the server and steps aside: names whose servers are dead keep none of these places.
 * - so many in all, and so many of one zone, so that neither memory nor the resolver's own queue is filled by dead zones;
 * - in the background (nobody's mail waits for it) so few, and only while nobody else stands in line.
 * Promises: zones take turns; time in line is told to the clock that everybody's time limits go by (time-limit.ts).
 */
import { line, type Line } from './line'
import type { LineClock } from './time-limit'

export interface GateLimits {
  /** Lookups that have just begun. */
  readonly abreast: number
  /** After so many milliseconds a lookup steps aside. */
  readonly asideMs: number
  /** All lookups under way. */
  readonly most: number
  readonly mostOfZone: number
  readonly mostInBackground: number
}

/** @param most All lookups under way; a quarter of them may be of one zone. */
export function limits(
  most: number,
  few: { readonly abreast: number; readonly asideMs: number; readonly background: number },
): GateLimits {
  const quarter = Math.ceil(most / 4)
  return {
    abreast: Math.min(few.abreast, most),
    asideMs: few.asideMs,
    most,
    mostOfZone: quarter,
    mostInBackground: Math.min(few.background, quarter),
  }
}

/** Called once, it lets the next one in. */
export type Leave = () => void

export interface Gate {
  /** @returns undefined where the signal fired first */
  enter(zone: string, signal: AbortSignal, inBackground?: boolean): Promise<Leave | undefined>
}

/** @param now Milliseconds of a clock that never steps. */
export function gate(limits: GateLimits, clock: LineClock, now: () => number): Gate {
  const front = line<() => void>()
  const back = line<() => void>()
  /** Those abreast, in order of entry, each with its time. */
  const abreast = new Map<symbol, number>()
  const ofZone = new Map<string, number>()
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
  const zoneHasRoom = (zone: string): boolean => (ofZone.get(zone) ?? 0) < limits.mostOfZone
  const backHasRoom = (): boolean => front.length === 0 && inBack < limits.mostInBackground

  const goIn = (zone: string, inBackground: boolean): Leave => {
    const place = Symbol()
    abreast.set(place, now())
    inside++
    if (inBackground) inBack++
    ofZone.set(zone, (ofZone.get(zone) ?? 0) + 1)
    return () => {
      abreast.delete(place)
      inside--
      if (inBackground) inBack--
      const left = (ofZone.get(zone) ?? 1) - 1
      if (left === 0) ofZone.delete(zone)
      else ofZone.set(zone, left)
      letIn()
    }
  }

  /** All whose turn it is; the next ones when somebody leaves or steps aside. */
  const letIn = (): void => {
    stepAside()
    while (hasRoom()) {
      const next = front.next(zoneHasRoom) ?? (backHasRoom() ? back.next(zoneHasRoom) : undefined)
      if (next === undefined) break
      next.one()
    }
    clock.stands(front.length > 0)
    clearTimeout(timer)
    timer = undefined
    const [eldest] = abreast.values()
    if (front.length + back.length === 0 || eldest === undefined) return
    timer = setTimeout(letIn, Math.max(1, eldest + limits.asideMs - now()))
    // Whoever stands in line may keep a process alive; the line does not.
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
      return standIn(inBackground ? back : front, zone, signal, inBackground)
    },
  }
}
