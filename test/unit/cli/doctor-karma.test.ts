import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { karmaFindings } from '../../../plugins/cli/doctor-karma'
import { parseIni } from '../../../plugins/ini'

describe('doctor: karma, and refusals of REQUIRETLS', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tls-policy-karma-'))
    mkdirSync(join(folder, 'config'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  function found(ini?: string, plugins: readonly string[] = ['redis', 'karma', 'tls-policy']) {
    if (ini !== undefined) writeFileSync(join(folder, 'config/karma.ini'), ini)
    return karmaFindings({ plugins, folder })
  }

  it('RQ-01 as shipped: a note, and the whole line that mends it', () => {
    const [finding, ...more] = found()
    assert.deepEqual([more, finding?.check, finding?.level], [[], 'plugins', 'note'])
    assert.match(finding?.text ?? '', /karma .* refuses on mail: /)
    const line = /plugins=.*$/.exec(finding?.cure ?? '')?.[0] ?? ''
    assert.match(line, /\btls, tls-policy$/)
    assert.deepEqual(found(`[deny_excludes]\n${line}\n`), [])
  })

  for (const [title, ini] of [
    ['tls-policy is named', 'plugins=access,tls-policy'],
    ['with blanks and semicolons', 'plugins=access; tls-policy  headers'],
    ['mail and all other hooks are', 'hooks=mail rcpt,queue, queue_outbound'],
  ] as const) {
    it(`RQ-01 ${title}: nothing to say`, () => {
      assert.deepEqual(found(`[deny_excludes]\n${ini}\n`), [])
    })
  }

  it('RQ-01 without the hooks of the queue no refusal is left: a problem', () => {
    const [finding] = found('[deny_excludes]\nhooks=rcpt\n')
    assert.equal(finding?.level, 'problem')
    assert.match(finding.text, /refuses on mail, queue, queue_outbound: .*no refusal at all/)
  })

  it('RQ-01 an empty list is the shipped one, as for karma', () => {
    assert.equal(found('[deny_excludes]\nhooks=\nplugins=\n')[0]?.level, 'note')
  })

  it('without karma there is nothing to say; by its package name it is karma', () => {
    assert.deepEqual(found(undefined, ['tls-policy', 'karmann']), [])
    assert.equal(found(undefined, ['haraka-plugin-karma']).length, 1)
  })

  it('what is taken for the shipped list is what karma ships', () => {
    const packageFile = createRequire(require.resolve('Haraka')).resolve('haraka-plugin-karma')
    const shipped = readFileSync(join(dirname(packageFile), 'config/karma.ini'), 'utf8')
    const { plugins, hooks } = parseIni(shipped)['deny_excludes'] ?? {}
    const [asShipped] = found(
      `[deny_excludes]\nplugins=${String(plugins)}\nhooks=${String(hooks)}\n`,
    )
    rmSync(join(folder, 'config/karma.ini'))
    assert.deepEqual(found(), [asShipped])
  })
})
