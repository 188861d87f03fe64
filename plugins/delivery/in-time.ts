/** The last guard: a decision that never comes must not keep its mail for ever. */
import { timeLimit } from '../dnssec-stub'

/**
 * @param stoodInLineMs Milliseconds, in all, in which lookups stood in line: they are not counted (timeLimit).
 * @throws Error where the decision has not come in time, or rejected.
 */
export async function inTime<T>(
  decision: Promise<T>,
  milliseconds: number,
  stoodInLineMs: () => number,
): Promise<T> {
  const { signal, stop } = timeLimit(milliseconds, stoodInLineMs)
  const late = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(new Error(`no decision within ${milliseconds / 1000} seconds`))
    })
  })
  try {
    return await Promise.race([decision, late])
  } finally {
    stop()
  }
}
