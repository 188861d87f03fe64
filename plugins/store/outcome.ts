/** Small tools for calls that must end in time and never throw. */
import { troubleText } from '../x509/trouble'
import type { Stored } from './types'

export const DONE: Stored<void> = { ok: true, value: undefined }

export function stored<T>(value: T): Stored<T> {
  return { ok: true, value }
}

export function failed(detail: string): { readonly ok: false; readonly detail: string } {
  return {
    ok: false,
    detail: detail.replace(/[\p{Cc}\p{Cs}\p{Cf}\p{Zl}\p{Zp}]/gu, '?').slice(0, 300),
  }
}

export function inWords(error: unknown): string {
  return troubleText(error)
}

/** One of two places has it: that is enough to go on, and the other is brought up to date when it is next asked. */
export function either([remote, own]: readonly [Stored<unknown>, Stored<void>]): Stored<void> {
  return remote.ok || own.ok ? DONE : own
}

/** Into how many slices a deadline is cut. */
const SLICES = 5

/**
 * Waits for a call no longer than `ms`, as far as this process has had the time to hear an answer: while it is busy with
 * other work, which a hundred handshakes at once are, the lateness is its own. A late rejection is swallowed.
 * @returns the value; rejects with the call's own error, or when the time is over
 */
export async function within<T>(ms: number, call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  let settled = false
  const late = new Promise<never>((_resolve, reject) => {
    const wait = (slices: number): void => {
      // A slice that ends late counts as one, and an answer that has come meanwhile is read before the next begins.
      timer = setTimeout(() => {
        setImmediate(() => {
          if (settled) return
          if (slices > 1) wait(slices - 1)
          else reject(new Error(`no answer within ${ms} ms`))
        })
      }, ms / SLICES)
    }
    wait(SLICES)
  })
  try {
    return await Promise.race([call, late])
  } finally {
    settled = true
    clearTimeout(timer)
    call.catch(() => undefined)
  }
}

/** Tells each listener; one that throws harms only itself. */
export function tell(
  listeners: Iterable<(domain: string | undefined) => void>,
  domain: string | undefined,
): void {
  for (const listener of [...listeners]) {
    try {
      listener(domain)
    } catch {
      // A listener's fault is its own; the others must still hear of the change.
    }
  }
}
