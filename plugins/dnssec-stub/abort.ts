/**
 * Hearing the end of a time. One signal is heard by every lookup of a delivery, and that is no leak: Node would write a warning of
 * one to the operator's stderr as soon as there are more than ten.
 */
import { setMaxListeners } from 'node:events'

/** @returns ends it; not needed once the signal has fired */
export function onAbort(signal: AbortSignal, heard: () => void): () => void {
  setMaxListeners(0, signal)
  signal.addEventListener('abort', heard, { once: true })
  return () => signal.removeEventListener('abort', heard)
}
