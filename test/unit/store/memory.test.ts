import assert from 'node:assert/strict'
import { memoryStore } from '../../../plugins/store/memory'
import { MAX_RECORD } from '../../../plugins/store/record'
import { makeClock, NOW, record, storeContract, value } from '../../support/store-contract'

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

  it('the largest record that can be stored is kept', async () => {
    const store = memoryStore(makeClock(NOW))
    const large = { ...record(), text: 'x'.repeat(MAX_RECORD - 200) }
    await value(store.setPolicy(large))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), large)
  })
})
