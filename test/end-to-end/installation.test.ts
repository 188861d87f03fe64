/** The package as an operator takes it: `npm install` into what `haraka --install` made, and one line in config/plugins. */
import assert from 'node:assert/strict'
import { appendFile, cp, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Lab, submit } from '../support/lab'
import { Daemon, run } from '../support/lab/daemon'
import { Registry } from '../support/lab/registry'
import { assertNothingLeaked, makeDomain } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const
const NAME = 'haraka-plugin-tls-policy'
const repository = resolve('.')
const programs = {
  '3.3.4': resolve('node_modules/Haraka/bin/haraka'),
  '3.1.6': resolve('node_modules/haraka-3.1.6/bin/haraka'),
} as const
type Version = keyof typeof programs
const versions: readonly Version[] = ['3.3.4', '3.1.6']

describe('the package, installed', function () {
  this.timeout(240_000)
  let lab: Lab
  let registry: Registry
  let tarball: string

  before(async () => {
    lab = await Lab.start()
    registry = await Registry.start()
    const args = ['pack', '--silent', '--pack-destination', lab.folder]
    // Packing builds: in a copy, so that nothing changes under a Haraka that another run is just starting.
    const said = await run('npm', args, { cwd: await copyOfTheRepository() })
    tarball = join(lab.folder, said.trim().split('\n').at(-1) ?? '')
    for (const version of versions) await install(version)
  })
  after(async () => {
    await registry.stop()
    await lab.stop()
  })

  it('holds what is wanted and nothing else', async () => {
    const files = (await run('tar', ['-tzf', tarball])).trim().split('\n')
    const tops = new Set(files.map((file) => file.split('/').slice(0, 2).join('/')))
    const wanted = [
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'config',
      'dist',
      'docs',
      'plugins',
      'SECURITY.md',
      'package.json',
    ]
    assert.deepEqual([...tops].sort(), wanted.map((name) => `package/${name}`).sort())
    assert.deepEqual(
      files.filter((file) => /^package\/(config|plugins)\//.test(file)).sort(),
      // The README leads to the page of the resolver, whose licence npm packs with it.
      [
        'package/config/tls-policy.ini',
        'package/plugins/dnssec-stub/LICENSE',
        'package/plugins/dnssec-stub/README.md',
      ],
    )
    const stray = files.filter(
      (file) => file.startsWith('package/dist/') && !/\.(js|d\.ts|js\.map|d\.ts\.map)$/.test(file),
    )
    assert.deepEqual(stray, [])
  })

  /** What git knows of it, as it lies here. */
  async function copyOfTheRepository(): Promise<string> {
    const copy = join(lab.folder, 'repository')
    const listed = await run('git', ['ls-files', '-z'], { cwd: repository })
    for (const file of listed.split('\0').filter((name) => name !== '')) {
      await cp(join(repository, file), join(copy, file))
    }
    await symlink(join(repository, 'node_modules'), join(copy, 'node_modules'))
    return copy
  }

  const folderOf = (version: Version) => join(lab.folder, `installed-${version}`)

  async function install(version: Version): Promise<void> {
    const folder = folderOf(version)
    await run(process.execPath, [programs[version], '-i', folder])
    await run(
      'npm',
      [
        ...['install', tarball, `--registry=${registry.url}`, '--no-audit', '--no-fund'],
        ...['--cache', join(lab.folder, 'npm-cache')],
      ],
      { cwd: folder },
    )
  }

  for (const version of versions) {
    it(`Haraka ${version}: one line in config/plugins, no settings, and it delivers under DANE`, async () => {
      const folder = folderOf(version)
      // Who may send, and where to listen, is the operator's as ever; the plugin itself gets its one line.
      await writeFile(join(folder, 'config/plugins'), 'relay\n')
      await writeFile(join(folder, 'config/relay.ini'), '[relay]\nacl=true\n')
      await writeFile(join(folder, 'config/relay_acl_allow'), '127.0.0.0/8\n')
      await writeFile(
        join(folder, 'config/smtp.ini'),
        'listen=127.0.0.1:2525\npublic_ip=127.0.0.1\n',
      )
      await appendFile(join(folder, 'config/plugins'), 'tls-policy\n')
      assert.ok(!(await readdir(join(folder, 'config'))).includes('tls-policy.ini'))

      const haraka = new Daemon({
        name: `Haraka ${version}`,
        program: process.execPath,
        args: [programs[version], '-c', folder],
        cwd: folder,
      })
      try {
        await haraka.waitForLine('the plugin to be ready', /DNSSEC is validated, DANE is on/)
        const suffix = version.replaceAll('.', '-')
        const good = await makeDomain(lab, `good-${suffix}.test`, { hosts: [{ tlsa: [DANE_EE] }] })
        const bad = await makeDomain(lab, `bad-${suffix}.test`, {
          hosts: [{ fault: 'no-starttls', tlsa: [DANE_EE] }],
        })
        for (const { recipient } of [good, bad]) {
          await submit(
            { from: 'a@sender.test', to: [recipient] },
            { host: '127.0.0.1', port: 2525 },
          )
        }
        assert.equal((await good.hosts[0]?.nextMessage())?.tls, true)
        await haraka.waitForLine('the good verdict', /domain=good-\S+ .*verdict=verified/)
        await haraka.waitForLine('the bad verdict', /domain=bad-\S+ .*reason=starttls-not-offered/)
        assertNothingLeaked(...good.hosts, ...bad.hosts)
        assert.match(await checkWithItsCommand(folder, good.name), /delivered, verified$/m)
        assert.match(await checkWithItsCommand(folder, bad.name), /^Would be deferred$/m)
        assertNothingLeaked(...good.hosts, ...bad.hosts)
      } finally {
        await haraka.stop('SIGINT')
      }
    })
  }

  it('brings no Haraka along', async () => {
    const folder = folderOf('3.3.4')
    const lock = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { optional?: boolean }>
    }
    const names = Object.entries(lock.packages)
      .filter(([path, { optional }]) => path !== '' && !optional)
      .map(([path]) => path.split('node_modules/').at(-1) ?? '')
    assert.deepEqual(names.filter((name) => /haraka/i.test(name)).sort(), [
      'haraka-constants',
      NAME,
    ])
  })

  it('opens what package.json exports, with types, and nothing else', async () => {
    const folder = folderOf('3.3.4')
    const script = `
      const stub = require('${NAME}/dnssec-stub')
      const plugin = require('${NAME}')
      const { version } = require('${NAME}/package.json')
      let inside = 'open'
      try { require('${NAME}/dist/config.js') } catch (err) { inside = err.code }
      console.log(JSON.stringify([typeof stub.createResolver, typeof plugin.register, version, inside]))`
    const own = JSON.parse(await readFile('package.json', 'utf8')) as { version: string }
    assert.deepEqual(JSON.parse(await run(process.execPath, ['-e', script], { cwd: folder })), [
      'function',
      'function',
      own.version,
      'ERR_PACKAGE_PATH_NOT_EXPORTED',
    ])

    await writeFile(
      join(folder, 'use.ts'),
      `import { createResolver } from '${NAME}/dnssec-stub'\n` +
        'export const wrong: number = createResolver\n',
    )
    const compile = run(
      process.execPath,
      [
        ...[join(repository, 'node_modules/typescript/bin/tsc'), '--noEmit', '--strict'],
        ...['--module', 'nodenext', '--typeRoots', join(repository, 'node_modules/@types')],
        ...['--types', 'node', 'use.ts'],
      ],
      { cwd: folder },
    )
    // The one complaint is the one that only somebody who knows the type can have.
    await assert.rejects(compile, (err: Error) => {
      const complaints = err.message.match(/error TS\d+/g)
      assert.deepEqual(complaints, ['error TS2322'], err.message)
      return true
    })
  })

  /** The command that the package brings, whatever its exit code. */
  async function checkWithItsCommand(folder: string, domain: string): Promise<string> {
    const command = join(folder, 'node_modules/.bin/haraka-tls-policy')
    const line = `"${command}" -c . check ${domain} --connect; true`
    return run('sh', ['-c', line], { cwd: folder })
  }

  it('does not let Haraka start with mistakes in the settings, and names each in a line of its own', async () => {
    const start = lab.haraka({
      plugins: ['tls-policy'],
      config: {
        'tls-policy.ini': [
          ...['[main]', 'mode=strict', '[dns]', 'timeout=soon', 'servers=127.0.0.1,nowhere'],
          ...['[dane]', 'digests=md5', '[mta_sts]', 'enabled=maybe', '[tls]', 'min_version=SSLv3'],
          ...['[destinations]', 'example.com=sometimes', '[stroe]', 'path=/tmp'],
        ].join('\n'),
      },
    })
    await assert.rejects(start, (err: Error) => {
      assert.match(err.message, /Haraka ended \(code [1-9]/)
      const lines = err.message.split('\n').filter((line) => line.includes('[core]'))
      for (const [mistake, allowed] of [
        ['main.mode=strict', /enforce.*observe/],
        ['dns.timeout=soon', /number|seconds/],
        ['dns.servers=', /nowhere/],
        ['dane.digests=md5', /sha512.*sha256/],
        ['mta_sts.enabled=maybe', /true.*false/],
        ['tls.min_version=SSLv3', /TLSv1\.2.*TLSv1\.3/],
        ['destinations.example.com=sometimes', /dane-only/],
        ['stroe', /section/],
      ] as const) {
        const said = lines.filter((line) => line.includes(mistake))
        assert.equal(said.length, 1, `${mistake}: ${err.message}`)
        assert.match(said[0] ?? '', allowed)
      }
      return true
    })
  })
})
