import assert from 'node:assert/strict'
import { gate } from '../../../plugins/dnssec-stub/gate'

describe('dnssec-stub gate', () => {
  const never = new AbortController().signal

  it('lets so many in, the next when one leaves, in the order in which they came', async () => {
    const entrance = gate(2)
    const inside: string[] = []
    const [leave] = await Promise.all([entrance.enter(never), entrance.enter(never)])
    const third = entrance.enter(never).then((leaveToo) => {
      inside.push('third')
      return leaveToo
    })
    const fourth = entrance.enter(never).then(() => inside.push('fourth'))
    await Promise.resolve()
    assert.deepEqual(inside, [])
    leave?.()
    const leaveToo = await third
    assert.deepEqual(inside, ['third'])
    leaveToo?.()
    await fourth
    assert.deepEqual(inside, ['third', 'fourth'])
  })

  it('one who gives up while waiting is not let in, and takes nobody’s place', async () => {
    const entrance = gate(1)
    const leave = await entrance.enter(never)
    const abort = new AbortController()
    const leaver = entrance.enter(abort.signal)
    const stayer = entrance.enter(never)
    abort.abort()
    assert.equal(await leaver, undefined)
    leave?.()
    assert.notEqual(await stayer, undefined)
    assert.equal(await entrance.enter(abort.signal), undefined)
  })
})
