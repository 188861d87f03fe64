/** What `policies` tells of a kept policy beside its text: whether it can be refreshed, and whether anybody needs it. */
import assert from 'node:assert/strict'
import { policies, policiesText } from '../../../plugins/cli/policies'
import { DAY, stsWorld } from '../../support/sts-world'

const SECONDS_A_DAY = 86_400

async function list(world: ReturnType<typeof stsWorld>) {
  const report = await policies({ kind: 'list' }, world.policies, SECONDS_A_DAY)
  const [entry] = report.policies
  assert.ok(entry)
  return { entry, text: policiesText(report, world.now()).join('\n') }
}

describe('policies list', () => {
  it('a policy that is refreshed and used has no trouble', async () => {
    const world = stsWorld()
    await world.policies.lookup('rcpt.test')
    const { entry, text } = await list(world)
    assert.deepEqual([entry.refreshProblem, entry.givenUp], [null, false])
    assert.match(entry.lastUsed ?? '', /^\d{4}-\d{2}-\d{2}$/)
    assert.doesNotMatch(text, /failed|no mail/)
    await world.policies.close()
  })

  it('the last refresh failed: says why', async () => {
    const world = stsWorld()
    await world.policies.lookup('rcpt.test')
    world.advance(DAY)
    world.serve({ problem: 'sts-policy-fetch-error' })
    await world.policies.refreshDue()
    const { entry, text } = await list(world)
    assert.equal(entry.refreshProblem?.reason, 'sts-policy-fetch-error')
    assert.match(text, /the last refresh failed: sts-policy-fetch-error/)
    await world.policies.close()
  })

  it('no mail for half a year: says since when', async () => {
    const world = stsWorld()
    await world.policies.lookup('rcpt.test')
    await world.store.markUsed('rcpt.test', Math.floor(world.now() / DAY) - 181)
    const { entry, text } = await list(world)
    assert.equal(entry.givenUp, true)
    assert.match(text, /no mail since \d{4}-\d{2}-\d{2}: not refreshed any more/)
    await world.policies.close()
  })
})
