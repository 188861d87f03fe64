import assert from 'node:assert/strict'
import { timeLimit } from '../../../plugins/dnssec-stub/time-limit'

/** A line that is over after some looks at it, so that no test waits for it. */
function fires(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // The limit's own timer keeps no process alive.
    const alive = setInterval(() => undefined, 1000)
    signal.addEventListener('abort', () => {
      clearInterval(alive)
      resolve()
    })
  })
}

describe('dnssec-stub time limit', () => {
  it('fires after its time where nobody stands in line', async () => {
    await fires(timeLimit(1, () => 0).signal)
  })

  it('XC-13 does not count what was stood in line, also while it waits for that', async () => {
    const stood = [100, 120, 125, 125]
    let looks = 0
    const { signal } = timeLimit(1, () => stood[Math.min(looks++, 3)] ?? 0)
    const started = performance.now()
    await fires(signal)
    assert.equal(looks, 4)
    assert.ok(performance.now() - started >= 25)
  })

  it('is over at last, though the line never is', async () => {
    const { signal } = timeLimit(
      1,
      (() => {
        let stood = -1e9
        return () => (stood += 1e9)
      })(),
      5,
    )
    await fires(signal)
  })

  it('a stopped one never fires', async () => {
    const limit = timeLimit(1, () => 0)
    limit.stop()
    await new Promise((resolve) => setTimeout(resolve, 10))
    assert.equal(limit.signal.aborted, false)
  })
})
