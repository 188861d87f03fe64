/** The last guard: a decision that never comes must not keep its mail for ever. */
import { whenOver } from '../dnssec-stub'

/**
 * @param stoodInLineMs Milliseconds, in all, in which lookups stood in line: they are not counted (whenOver).
 * @throws Error where the decision has not come in time, or rejected.
 */
export function inTime<T>(
  decision: Promise<T>,
  milliseconds: number,
  stoodInLineMs: () => number,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = whenOver(milliseconds, stoodInLineMs, () => {
      reject(new Error(`no decision within ${milliseconds / 1000} seconds`))
    })
    decision.finally(stop).then(resolve, reject)
  })
}
