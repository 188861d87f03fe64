/** Which Haraka the command finds: its code is loaded, in a process of its own. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { harakaFinding } from '../../../plugins/cli/doctor'
import { findHaraka } from '../../../plugins/cli/find-haraka'

describe('doctor and Haraka', function () {
  this.timeout(30_000)
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'haraka-'))
    mkdirSync(join(folder, 'config'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  function install(version: string): void {
    const root = join(folder, 'node_modules/Haraka')
    mkdirSync(root, { recursive: true })
    writeFileSync(join(root, 'package.json'), JSON.stringify({ name: 'Haraka', version }))
  }

  it('a real one on PATH is known', async () => {
    const program = resolve(__dirname, '../../../node_modules/.bin/haraka')
    const found = await findHaraka(folder, { PATH: dirname(program) })
    assert.equal(found.kind, 'known')
    assert.equal(harakaFinding(found).level, 'ok')
  })

  it('one in its own folder comes first; a version that was never tried is a problem', async () => {
    install('4.0.0')
    const found = await findHaraka(folder, {})
    assert.ok(found.kind === 'unknown')
    assert.match(found.why, /4\.0\.0/)
    assert.equal(harakaFinding(found).level, 'problem')
  })

  it('one whose code cannot be loaded is a problem', async () => {
    install('3.3.4')
    assert.equal((await findHaraka(folder, {})).kind, 'unknown')
  })

  it('one beside this package is found last', async () => {
    const found = await findHaraka(folder, {})
    assert.ok(found.kind === 'known' && found.version === '3.3.4')
  })
})
