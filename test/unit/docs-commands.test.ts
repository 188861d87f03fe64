import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { USAGE } from '../../plugins/cli/arguments'
import { endWithoutHost } from '../../plugins/delivery/host-end'
import { refusedEnd } from '../support/session-ends'
import { logLine } from '../../plugins/telemetry/log-line'
import { REASONS } from '../../plugins/reasons/catalogue'
import { searchPath } from '../run/debian-packages'
import { blocks, docsFolder, pages, readPage } from '../support/docs-pages'

/** Pages that this file answers for. */
const OURS = [
  'install.md',
  'cluster.md',
  'resolver.md',
  'settings.md',
  'security-model.md',
  'troubleshooting.md',
  'migration.md',
  'metrics.md',
  'requiretls.md',
]

/** What Haraka's log holds in the examples. */
const LOG = [
  refusedEnd({
    domain: 'example.com',
    host: 'mx.example.com',
    mode: 'observe',
    detail: 'the certificate matches no record',
  }),
  refusedEnd({
    domain: 'example.net',
    host: 'mx.example.net',
    policy: 'sts',
    verdict: 'verified',
    reason: 'sts-matched',
  }),
  ...(['no-such-domain', 'null-mx', 'bad-domain'] as const).map((reason) =>
    endWithoutHost(
      { mode: 'observe', domain: 'exmaple.com', facts: undefined },
      { reason, detail: 'exmaple.com is no domain' },
    ),
  ),
].map((end) => `2026-01-01T00:00:00.000Z [NOTICE] [-] [tls-policy] tls-policy: ${logLine(end)}\n`)

let folder: string
function run(program: string, args: readonly string[]): string {
  const env = { ...process.env, PATH: searchPath }
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd: folder,
    env,
    encoding: 'utf8',
  })
  if (error) throw error
  assert.equal(status, 0, `${program} ${args.join(' ')}\n${stdout}${stderr}`)
  return stdout
}

const shell = (command: string) => run('bash', ['-euo', 'pipefail', '-c', command])

/** IANA's of 2017; any would do. */
const ROOT_KEY =
  '. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D'

describe('commands in the docs', () => {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tls-policy-docs-'))
    mkdirSync(join(folder, 'config'))
    writeFileSync(join(folder, 'config/plugins'), 'relay\n')
    writeFileSync(join(folder, 'haraka.log'), LOG.join(''))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
  })

  it('install.md: the plugin is added, and refusals are counted', () => {
    const [add = '', count = '', ...more] = blocks('install.md', 'sh run')
    assert.deepEqual(more, [])
    shell(add)
    assert.equal(readFileSync(join(folder, 'config/plugins'), 'utf8'), 'relay\ntls-policy\n')
    assert.match(shell(count), /^ +1 +domain=example\.com\s+reason=dane-no-match\s*$/)
  })

  it('troubleshooting.md: lines of a domain, and refusals by reason', () => {
    const [lines = '', reasons = '', ...more] = blocks('troubleshooting.md', 'sh run')
    assert.deepEqual(more, [])
    assert.equal(shell(lines), LOG[0])
    assert.match(shell(reasons), /^ +1 verdict=refused reason=dane-no-match$/m)
  })

  it('no other page has commands to run that no test runs', () => {
    const withCommands = pages().filter((name) => blocks(name, 'sh run').length > 0)
    assert.deepEqual(withCommands, ['install.md', 'troubleshooting.md'])
  })

  it('resolver.md: Unbound takes its configuration', () => {
    const [text = '', room = '', ...more] = blocks('resolver.md', 'conf unbound-checkconf')
    assert.deepEqual(more, [])
    const key = '/var/lib/unbound/root.key'
    assert.ok(text.includes(key))
    const anchor = join(folder, 'root.key')
    writeFileSync(anchor, `${ROOT_KEY}\n`)
    const file = join(folder, 'unbound.conf')
    // Debian's package makes the key at its first start; and the checker knows no other user than the system's.
    const both = `${text.replaceAll(key, anchor)}${room}`
    writeFileSync(file, `${both}    chroot: ""\n    username: ""\n`)
    assert.match(run('unbound-checkconf', [file]), /no errors/)
  })

  it('each command of haraka-tls-policy is one that there is', () => {
    for (const name of OURS) {
      const commands = [...readPage(name).matchAll(/npx haraka-tls-policy -c \. ([^\n`]+)/g)]
      for (const [, words = ''] of commands) {
        const [verb = '', noun = ''] = words.split(' ')
        const known = verb === 'policies' ? `  ${verb} ${noun}` : `  ${verb}`
        assert.ok(USAGE.includes(known), `${name}: ${words}`)
      }
    }
  })
})

describe('pages for people', () => {
  for (const name of OURS) {
    it(`${name}: its links lead somewhere, and the README leads to it`, () => {
      const text = readPage(name)
      for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        const [file = '', anchor] = target.split('#')
        const path = file === '' ? join(docsFolder, name) : join(docsFolder, file)
        assert.ok(existsSync(path), `${target} exists`)
        if (anchor === undefined) continue
        const headings = [...readFileSync(path, 'utf8').matchAll(/^#+ (.+)$/gm)].map(
          ([, heading = '']) =>
            heading
              .toLowerCase()
              .replace(/[^\w -]/g, '')
              .replace(/ /g, '-'),
        )
        assert.ok(headings.includes(anchor), `${target} is a heading`)
      }
      const readme = readFileSync(join(dirname(docsFolder), 'README.md'), 'utf8')
      assert.ok(readme.includes(`docs/${name}`), 'the README has a link')
    })
  }

  it('every reason that they name is in the catalogue', () => {
    for (const name of OURS) {
      for (const [, code = ''] of readPage(name).matchAll(/reason=([a-z][a-z-]+)/g)) {
        assert.ok(Object.hasOwn(REASONS, code), `${name}: ${code}`)
      }
      for (const [, code = ''] of readPage(name).matchAll(
        /`((?:dane|sts|pkix|tls|starttls|smtp|requiretls)-[a-z-]+)`/g,
      )) {
        if (code === 'dane-only' || code === 'tls-policy') continue
        assert.ok(Object.hasOwn(REASONS, code), `${name}: ${code}`)
      }
    }
  })
})
