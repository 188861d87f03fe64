/** Waiting: for a change in the store, and no longer than a signal allows. */
import { onAbort } from '../dnssec-stub/abort'
import type { Store } from '../store/types'

/** Changes in the store: one listener for all, and a way to wait for the change of one domain. */
export function listenTo(store: Store, heard: (domain: string | undefined) => void) {
  const waiting = new Map<string, Set<() => void>>()
  const stop = store.onChange((domain) => {
    heard(domain)
    const woken = domain === undefined ? [...waiting.values()] : [waiting.get(domain)]
    for (const wakers of woken) for (const wake of wakers ?? []) wake()
  })
  const wait = (domain: string, ms: number): Promise<void> =>
    new Promise((resolve) => {
      const wakers = waiting.get(domain) ?? new Set()
      const done = (): void => {
        clearTimeout(timer)
        wakers.delete(done)
        if (wakers.size === 0) waiting.delete(domain)
        resolve()
      }
      const timer = setTimeout(done, ms)
      wakers.add(done)
      waiting.set(domain, wakers)
    })
  return { wait, stop }
}

/** @returns the outcome, or `otherwise` as soon as the signal fires */
export function beforeAbort<T>(
  outcome: Promise<T>,
  signal: AbortSignal | undefined,
  otherwise: () => T,
): Promise<T> {
  if (signal === undefined) return outcome
  if (signal.aborted) return Promise.resolve(otherwise())
  return new Promise((resolve, reject) => {
    const leave = onAbort(signal, () => resolve(otherwise()))
    outcome.then(resolve, reject).finally(leave)
  })
}
