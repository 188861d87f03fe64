/**
 * Texts that live for a while, as they stand in a file. Pure. Both their end and their lifetime are kept, so that a clock that is set
 * back makes none live longer than it was to.
 */

/** `<until> <ttl> <text>`, in milliseconds. */
export function writeTimed(text: string, ttl: number, now: number): string {
  return `${Math.round(now + ttl)} ${Math.round(ttl)} ${text}`
}

/** @returns the text, or undefined after its time, and for anything but such a line */
export function readTimed(line: string | undefined, now: number): string | undefined {
  const [head, until, ttl] = /^([0-9]{1,15}) ([0-9]{1,15}) /.exec(line ?? '') ?? []
  if (head === undefined || line === undefined) return undefined
  return isAlive({ until: Number(until), ttl: Number(ttl) }, now)
    ? line.slice(head.length)
    : undefined
}

/** Milliseconds since the epoch, and how many it was to live. */
export function isAlive(
  { until, ttl }: { readonly until: number; readonly ttl: number },
  now: number,
): boolean {
  const left = until - now
  return left > 0 && left <= ttl
}
