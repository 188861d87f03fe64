import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { within } from '../../../plugins/store/outcome'

describe('calls that must end in time', () => {
  it('what never answers is given up', async () => {
    await assert.rejects(within(20, new Promise(() => undefined)), /no answer within 20 ms/)
  })

  it('what answered while this process was busy is no failure', async () => {
    // Several turns of the event loop, as a command to Redis takes.
    const answer = within(500, readFile(__filename))
    const busyUntil = performance.now() + 700
    while (performance.now() < busyUntil);
    assert.ok((await answer).length > 0)
  })
})
