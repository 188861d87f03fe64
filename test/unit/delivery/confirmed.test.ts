import assert from 'node:assert/strict'
import { confirmed } from '../../../plugins/delivery/confirmed'
import type { Facts } from '../../../plugins/delivery/types'
import type { Failure, Resolver } from '../../../plugins/dnssec-stub/types'
import { facts } from '../../support/facts'
import { failed, insecure, nodata, scriptedResolver, secure } from '../../support/scripted-resolver'

const resolver = scriptedResolver({
  'signed.test': { A: secure('192.0.2.1') },
  'unsigned.test': { A: insecure('192.0.2.2') },
  'nothing.test': { A: nodata('insecure') },
  'down.test': { A: failed('timeout') },
})
const found: Facts = facts()

/** Looks these names up, a while apart. */
async function run(
  names: readonly string[],
  { apart = 0, says = undefined as Failure | undefined } = {},
) {
  let [time, tests] = [0, 0]
  const confirm = () => {
    tests++
    return Promise.resolve(says)
  }
  const work = async (heard: Resolver) => {
    for (const name of names) {
      await heard.resolve(name, 'A')
      time += apart
    }
    return found
  }
  const result = await confirmed({ resolver, confirm, ticks: () => time }, work)
  return { result, tests }
}

describe('XC-12 what a resolver says insecurely', () => {
  const rows: [what: string, names: string[], apart: number, tests: number][] = [
    ['secure answers need no test', ['signed.test', 'signed.test'], 0, 0],
    ['nor do failures, on which nothing rests', ['down.test'], 0, 0],
    ['an insecure answer needs one', ['unsigned.test'], 0, 1],
    ['an insecure denial as well', ['nothing.test'], 0, 1],
    ['those that come soon after share it', ['unsigned.test', 'nothing.test'], 999, 1],
    ['one that comes a second later needs another', ['unsigned.test', 'nothing.test'], 1000, 2],
    ['the first one counts, not the first answer', ['signed.test', 'unsigned.test'], 5000, 1],
  ]
  for (const [what, names, apart, tests] of rows) {
    it(what, async () => {
      const ran = await run(names, { apart })
      assert.equal(ran.tests, tests)
      assert.equal(ran.result, found)
    })
  }

  it('is not believed where the test comes to nothing: mail waits', async () => {
    const says: Failure = { kind: 'failed', cause: 'timeout', detail: 'no reply in time' }
    const { result } = await run(['unsigned.test'], { says })
    assert.deepEqual(result.mx, { kind: 'failed', failure: says })
    assert.deepEqual(result.hosts, [])
    assert.equal((await run(['signed.test'], { says })).result, found)
  })
})
