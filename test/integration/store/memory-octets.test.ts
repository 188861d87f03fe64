/** What the store in memory takes of the heap, whatever domains publish. */
import assert from 'node:assert/strict'
import { memoryStore } from '../../../plugins/store/memory'
import { octetsAlive } from '../../support/heap'
import { makeClock, NOW, record, value } from '../../support/store-contract'

describe('store in memory', function () {
  this.timeout(60_000)

  it('XC-13 large policies of one zone push out large ones only, and all of it is bounded', async () => {
    const store = memoryStore(makeClock(NOW))
    const before = await octetsAlive()
    for (let n = 0; n < 1000; n++) {
      const domain = `d${n}.test`
      await value(store.setPolicy({ ...record(), domain }))
      await value(store.markUsed(domain, 1))
    }
    const text = (n: number) => `${record().text}${'x'.repeat(60_000)}${n}`
    for (let n = 0; n < 500; n++) {
      const domain = `d${n}.evil.test`
      await value(store.setPolicy({ ...record(), domain, text: text(n) }))
      await store.setNote(domain, 'failed', text(n), 1000)
    }
    const taken = (await octetsAlive()) - before
    assert.ok(taken < 10 * 2 ** 20, `${taken} taken`)
    for (let n = 0; n < 1000; n++) {
      assert.ok(await value(store.getPolicy(`d${n}.test`)), `domain ${n}`)
    }
    assert.ok(await value(store.getPolicy('d499.evil.test')))
  })
})
