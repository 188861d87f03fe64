import assert from 'node:assert/strict'
import { memoryStore } from '../../../plugins/store/memory'
import { MAX_RECORD } from '../../../plugins/store/record'
import { octetsAlive } from '../../support/heap'
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

  it('the largest record that can be stored is kept', async () => {
    const store = memoryStore(makeClock(NOW))
    const large = { ...record(), text: 'x'.repeat(MAX_RECORD - 200) }
    await value(store.setPolicy(large))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), large)
  })
})
