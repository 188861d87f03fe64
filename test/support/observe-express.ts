/**
 * Where tests find express, which Haraka needs for its HTTP listener and does not bring: beside the project, or in a folder of
 * its own under .cache/, into which it is installed once. Import this ahead of the lab: inside, no registry can be reached.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(__dirname, '..', '..')
const VERSION = '5.3.0'

function findExpress(): string {
  const beside = join(root, 'node_modules')
  if (existsSync(join(beside, 'express'))) return beside
  const folder = join(root, '.cache', `express-${VERSION}`)
  const modules = join(folder, 'node_modules')
  if (existsSync(join(modules, 'express'))) return modules
  mkdirSync(folder, { recursive: true })
  const manifest = { private: true, dependencies: { express: VERSION } }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest))
  const { status } = spawnSync('npm', ['install', '--no-package-lock'], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error(`npm could not install express@${VERSION}`)
  return modules
}

/** A folder for NODE_PATH. */
export const expressModules = findExpress()
