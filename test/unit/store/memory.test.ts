import assert from 'node:assert/strict'
import { memoryStore } from '../../../plugins/store/memory'
import { makeClock, NOW, record, storeContract, value } from '../../integration/store/contract'

describe('store in memory', () => {
  storeContract(() => ({
    open: (clock) => Promise.resolve(memoryStore(clock)),
    shared: false,
    movableClock: true,
  }))

  it('SC-13 a flood of notes evicts no policy, and is itself bounded', async () => {
    const store = memoryStore(makeClock(NOW))
    await value(store.setPolicy(record()))
    for (let n = 0; n < 25_000; n++) await store.setNote(`d${n}.test`, 'failed', 'x', 1000)
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
    assert.equal(await value(store.getNote('d0.test', 'failed')), undefined)
    assert.equal(await value(store.getNote('d24999.test', 'failed')), 'x')
  })
})
