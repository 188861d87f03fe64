/** Small tools for calls that must end in time and never throw. */
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
  return error instanceof Error ? error.message : String(error)
}

const SLICES = 5

/**
 * Waits for a call no longer than `ms`; a late rejection is swallowed. While this process is busy with other things, the other
 * side may have answered long since: such a pause counts for one slice of the time, however long it was.
 * @returns the value; rejects with the call's own error, or when the time is over
 */
export async function within<T>(ms: number, call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    let left = SLICES
    const slice = () => {
      if (left-- > 0) timer = setTimeout(slice, ms / SLICES)
      else reject(new Error(`no answer within ${ms} ms`))
    }
    slice()
  })
  try {
    return await Promise.race([call, late])
  } finally {
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
