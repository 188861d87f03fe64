/** What a message that waits in Haraka's queue keeps in memory. */
import assert from 'node:assert/strict'
import { controlOver, deferredOnce, planOf } from '../../support/controlled'
import { octetsAlive } from '../../support/heap'

describe('control: a message that waits', function () {
  this.timeout(60_000)

  for (const err of ['Tried all MXs', 'Upstream error: 450 later']) {
    it(`XC-13 keeps nothing of the attempt in memory (${err})`, async () => {
      let count = 0
      const control = controlOver(() => {
        const plan = planOf(count++)
        return Promise.resolve({ ...plan, facts: { ...plan.facts, ballast: Buffer.alloc(50_000) } })
      })
      const before = await octetsAlive()
      const waiting: unknown[] = []
      for (let n = 0; n < 200; n++) waiting.push(await deferredOnce(control, err))
      const taken = (await octetsAlive()) - before
      assert.equal(waiting.length, 200)
      assert.ok(taken < 2_000_000, `${taken} taken`)
    })
  }
})
