/** dnssec-stub as a package of its own: packed, and installed where there is nothing else of this repository. */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { dnsServer } from '../../support/dns-server'
import { run } from '../../support/lab/daemon'

const repository = resolve(__dirname, '../../..')
/** All that it depends on: packed from the copies here, as no registry is asked. */
const dependencies = ['dns-packet', '@leichtgewicht/ip-codec']

const PROGRAM = `
const { createResolver } = require('dnssec-stub')
const dns = createResolver({ backend: 'ad', servers: [process.argv[2]], trustAd: 'loopback' })
dns.resolver.resolve('mx.rcpt.test', 'A').then((outcome) => {
  console.log(JSON.stringify(outcome))
  dns.close()
})
`

describe('the package dnssec-stub', function () {
  this.timeout(60_000)
  let folder: string
  let tarball: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dnssec-stub-'))
    tarball = await pack('./plugins/dnssec-stub')
  })
  after(() => rm(folder, { recursive: true, force: true }))

  const pack = async (source: string, ...options: string[]): Promise<string> => {
    const args = ['pack', source, '--silent', '--pack-destination', folder, ...options]
    const said = await run('npm', args, { cwd: repository })
    return join(folder, said.trim().split('\n').at(-1) ?? '')
  }

  it('is installed by npm without a registry, and resolves a name', async () => {
    const tarballs = [tarball]
    for (const name of dependencies) {
      tarballs.push(await pack(`./node_modules/${name}`, '--ignore-scripts'))
    }
    const project = await mkdtemp(join(folder, 'project-'))
    await writeFile(join(project, 'package.json'), '{ "private": true }')
    await run('npm', ['install', '--offline', '--ignore-scripts', ...tarballs], { cwd: project })
    const installed = await readdir(join(project, 'node_modules'))
    assert.deepEqual(installed.filter((name) => !name.startsWith('.')).sort(), [
      '@leichtgewicht',
      'dns-packet',
      'dnssec-stub',
    ])

    await writeFile(join(project, 'program.js'), PROGRAM)
    const address = { type: 'A', name: 'mx.rcpt.test', ttl: 60, data: '192.0.2.1' } as const
    const server = await dnsServer(({ name }) =>
      name === address.name ? { authenticData: true, answers: [address] } : { rcode: 5 },
    )
    try {
      const said = await run(process.execPath, ['program.js', server.spec], { cwd: project })
      const { kind, security, records } = JSON.parse(said) as Record<string, unknown>
      assert.deepEqual(
        { kind, security, records },
        {
          kind: 'answer',
          security: 'secure',
          records: ['192.0.2.1'],
        },
      )
    } finally {
      await server.close()
    }
  })

  it('is its source to the plugin beside it, also where it has been built: it names no main file', () => {
    const source = join(repository, 'plugins/dnssec-stub/index.ts')
    assert.equal(require.resolve(join(repository, 'plugins/dnssec-stub')), source)
  })

  it('holds nothing else of this repository but bounded', async () => {
    const listed = await run('tar', ['-tf', tarball])
    const rooms = [...listed.matchAll(/^package\/dist\/([^/\n]+)/gm)].map(([, room]) => room)
    assert.deepEqual([...new Set(rooms)].sort(), ['bounded', 'dnssec-stub'])
  })
})
