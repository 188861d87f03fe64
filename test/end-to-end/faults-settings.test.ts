/** The rows of docs/faults.md on tls-policy.ini: no worker begins with less than the operator has set. */
import assert from 'node:assert/strict'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fault, literally, wordsOf } from '../support/faults-page'
import { type Haraka, Lab } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { type Domain, makeDomain } from '../support/lab/world'

const LOADED = /the settings were loaded anew/
const KEPT = /the settings stay as they were/

describe('end to end: the settings file of a cluster', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let stripped: Domain
  const RULE = '[destinations]\nstripped.test=encrypt\n'
  const path = () => join(haraka.folder, 'config/tls-policy.ini')

  before(async () => {
    lab = await Lab.start()
    stripped = await makeDomain(lab, 'stripped.test', {
      security: 'unsigned',
      hosts: [{ fault: 'no-starttls' }],
    })
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      nodes: 1,
      config: { 'tls-policy.ini': RULE },
    })
  })
  after(() => lab.stop())

  /** Ends the only worker; its master starts another at once. */
  async function killWorker(): Promise<void> {
    const { pid = 0 } = haraka
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
    for (const child of children.trim().split(' ')) process.kill(Number(child), 'SIGKILL')
  }

  const ROW = fault('tls-policy.ini is emptied or taken away')
  const ways: readonly (readonly [string, () => Promise<void>, RegExp])[] = [
    ['emptied', () => writeFile(path(), ''), /is there and empty/],
    ['comments alone', () => writeFile(path(), '; later\n'), /has no setting in it any more/],
    ['taken away', () => rm(path()), /is not there any more/],
  ]
  for (const [what, how, why] of ways) {
    it(`${ROW}: a worker that is started then (${what})`, async () => {
      const from = haraka.log().length
      await how()
      await haraka.waitForLine('the old settings to stay', KEPT, { from, timeout: 30_000 })
      await killWorker()
      await haraka.waitForLine('why no worker starts', new RegExp(`CRIT.*${why.source}`), {
        from,
        timeout: 30_000,
      })
      for (const words of wordsOf(ROW))
        await haraka.waitForLine(words, literally(words), { from, timeout: 30_000 })
      const ready = haraka.log().length
      await writeFile(path(), RULE)
      await haraka.waitForLine('a worker', /LAB \{"kind":"ready"/, { from: ready, timeout: 60_000 })
      assert.equal((await haraka.deliverApart(stripped.recipient)).kind, 'deferred')
    })
  }

  it(fault('tls-policy.ini is empty when Haraka is started'), async () => {
    await writeFile(path(), '')
    await assert.rejects(haraka.restart())
    const [words = ''] = wordsOf('tls-policy.ini is empty when Haraka is started')
    assert.ok(haraka.log().some((line) => line.includes(words)))
    await writeFile(path(), RULE)
    await haraka.restart()
  })

  it('starts with the defaults where they were asked for by the one line [main]', async () => {
    const from = haraka.log().length
    await writeFile(path(), '[main]\n')
    await haraka.waitForLine('the reload', LOADED, { from, timeout: 30_000 })
    await killWorker()
    await haraka.waitForLine('a worker', /LAB \{"kind":"ready"/, { from, timeout: 60_000 })
    assert.equal((await haraka.deliverApart(stripped.recipient)).kind, 'delivered')
    assert.equal(await assertCheckSaysTheSame(haraka, { only: ['stripped.test'], anew: false }), 1)
  })
})
