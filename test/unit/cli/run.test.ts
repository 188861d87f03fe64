import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '../../../plugins/cli/run'

describe('the command on a terminal and elsewhere', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tls-policy-run-'))
    mkdirSync(join(folder, 'config'))
    writeFileSync(join(folder, 'config/tls-policy.ini'), '[main]\nmode=maybe\n')
  })
  after(() => {
    rmSync(folder, { recursive: true })
  })

  async function doctor(terminal: boolean, env: NodeJS.ProcessEnv, ...more: readonly string[]) {
    let said = ''
    const code = await run(['-c', folder, 'doctor', ...more], {
      out: (text) => {
        said += text
      },
      err: (text) => {
        said += text
      },
      env,
      cwd: folder,
      terminal,
      now: () => new Date(),
    })
    assert.equal(code, 1)
    return said
  }
  // eslint-disable-next-line no-control-regex -- what is looked for
  const COLOUR = /\x1b\[/

  it('has colours on a terminal', async () => {
    assert.match(await doctor(true, {}), COLOUR)
  })

  it('has none where NO_COLOR is set, into a pipe, or for programs', async () => {
    assert.doesNotMatch(await doctor(true, { NO_COLOR: '1' }), COLOUR)
    assert.doesNotMatch(await doctor(false, {}), COLOUR)
    assert.doesNotMatch(await doctor(true, {}, '--json'), COLOUR)
  })
})
