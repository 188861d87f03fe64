import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createLeases } from '../../../plugins/store/leases'
import { memoryStore } from '../../../plugins/store/memory'
import type { Store } from '../../../plugins/store'

const LEASE = 90

/** A store whose leases can be taken away from their owners, or not be asked for at all. */
function world() {
  const now = () => Date.now()
  const store = memoryStore({ now })
  let away = false
  let anothers = false
  let asked = 0
  const fragile: Store = {
    ...store,
    acquire: (name, owner, ttl, options) => {
      asked += 1
      if (anothers) return Promise.resolve({ ok: true, value: false })
      return away
        ? Promise.resolve({ ok: false, detail: 'away' })
        : store.acquire(name, owner, ttl, options)
    },
  }
  return {
    leases: createLeases(fragile, LEASE),
    asked: () => asked,
    set away(is: boolean) {
      away = is
    },
    takeAway() {
      anothers = true
    },
  }
}

describe('leases of the whole cluster', () => {
  it('TD-27 a store that cannot be asked: a task that may be done twice is done, one that may not is not', async () => {
    const { leases } = world()
    const lone = world()
    lone.away = true
    assert.equal(await lone.leases.under('x', () => Promise.resolve('done')), 'done')
    const once = lone.leases.under('x', () => Promise.resolve('done'), { everywhere: true })
    assert.equal(await once, undefined)
    assert.equal(
      await leases.under('x', () => Promise.resolve('done'), { everywhere: true }),
      'done',
    )
  })
  it('TD-27 the holder is told when he cannot prolong his lease, before anybody else can have it', async () => {
    const it = world()
    const began = performance.now()
    const ended = await it.leases.under(
      'x',
      async (signal) => {
        it.away = true
        await once(signal, 'abort')
        return performance.now() - began
      },
      { everywhere: true },
    )
    assert.ok(ended !== undefined && ended >= LEASE - 2, `after ${ended}`)
  })
  it('TD-27 the holder is told when another has it', async () => {
    const it = world()
    const ended = await it.leases.under(
      'x',
      async (signal) => {
        it.takeAway()
        await once(signal, 'abort')
        return 'told'
      },
      { everywhere: true },
    )
    assert.equal(ended, 'told')
  })
  it('a lease that is prolonged is not lost, however long the task takes', async () => {
    const it = world()
    const kept = await it.leases.under(
      'x',
      async (signal) => {
        while (it.asked() < 8) await new Promise(setImmediate)
        return !signal.aborted
      },
      { everywhere: true },
    )
    assert.equal(kept, true)
  })
})
