import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { createAhead, MOST_OF_ONE_MESSAGE, MOST_UNDER_WAY } from '../../../plugins/delivery/ahead'

const names = (count: number, prefix = 'd') =>
  Array.from({ length: count }, (_, number) => `${prefix}${number}.test`)

/** A planner whose plans end when they are told to. */
function slowPlanner() {
  const asked: string[] = []
  const ends: (() => void)[] = []
  const ahead = createAhead((domain) => {
    asked.push(domain)
    return new Promise<void>((resolve) => ends.push(resolve))
  })
  const endAll = async () => {
    for (const end of ends.splice(0)) end()
    await setImmediate()
  }
  return { asked, ahead, endAll }
}

describe('lookups ahead of the delivery', () => {
  it('each domain of a message is looked up once, however many recipients it has', () => {
    const { asked, ahead } = slowPlanner()
    ahead(['a.test', 'b.test', 'a.test'])
    assert.deepEqual(asked, ['a.test', 'b.test'])
  })

  it('a domain under way is not begun again by the next message', async () => {
    const { asked, ahead, endAll } = slowPlanner()
    ahead(['a.test'])
    ahead(['a.test'])
    assert.deepEqual(asked, ['a.test'])
    await endAll()
    ahead(['a.test'])
    assert.deepEqual(asked, ['a.test', 'a.test'])
  })

  it(`of one message, at most ${MOST_OF_ONE_MESSAGE} domains`, () => {
    const { asked, ahead } = slowPlanner()
    ahead(names(MOST_OF_ONE_MESSAGE + 1))
    assert.deepEqual(asked, names(MOST_OF_ONE_MESSAGE))
  })

  it(`of all messages, at most ${MOST_UNDER_WAY} domains at a time`, async () => {
    const { asked, ahead, endAll } = slowPlanner()
    const messages = ['a', 'b', 'c'].map((prefix) => names(MOST_OF_ONE_MESSAGE, prefix))
    for (const message of messages) ahead(message)
    assert.equal(asked.length, MOST_UNDER_WAY)
    await endAll()
    ahead(['later.test'])
    assert.equal(asked.at(-1), 'later.test')
  })

  it('a lookup that fails takes nobody down, and leaves its place to others', async () => {
    let failures = 0
    const ahead = createAhead(() => {
      failures++
      return Promise.reject(new Error('no'))
    })
    for (let message = 0; message < 2 * MOST_UNDER_WAY; message++) {
      ahead(names(MOST_OF_ONE_MESSAGE, `m${message}-`))
      await setImmediate()
    }
    assert.equal(failures, 2 * MOST_UNDER_WAY * MOST_OF_ONE_MESSAGE)
  })
})
