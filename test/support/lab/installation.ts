/** Puts the plugin under test into a Haraka folder the way an operator does: as a built npm package. */
import { mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { run } from './daemon'

const repository = resolve(__dirname, '../../..')
/** Not all of them get loaded: that is for config/plugins to say. */
const labPlugins = ['haraka-plugin-lab', 'haraka-plugin-lab-meddler']
const packageName = 'haraka-plugin-tls-policy'

/** `linked`: a symbolic link to this repository. `packed`: unpacked from what `npm pack` would publish. */
export type Installation = 'linked' | 'packed'

/** @param folder Haraka's; gets `node_modules`. */
export async function installPlugins(
  folder: string,
  tlsPolicy: Installation | undefined,
): Promise<void> {
  const modules = join(folder, 'node_modules')
  await mkdir(modules)
  for (const name of labPlugins) await symlink(join(__dirname, name), join(modules, name))
  if (tlsPolicy === undefined) return
  await build()
  if (tlsPolicy === 'linked') await symlink(repository, join(modules, packageName))
  else await unpack(modules)
}

/** Compiles when a source is younger than the result: no test may pass on yesterday's code. */
async function build(): Promise<void> {
  const sources = await youngest(join(repository, 'plugins'), '.ts')
  const compiled = await youngest(join(repository, 'dist'), '.js')
  if (sources > compiled) await run('npm', ['run', '--silent', 'build'], { cwd: repository })
}

/** Modification time in milliseconds of the youngest such file; 0 when there is none. */
async function youngest(folder: string, extension: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true }).catch(() => [])
  const files = entries.filter((entry) => entry.endsWith(extension) && !entry.endsWith('.d.ts'))
  const times = await Promise.all(
    files.map(async (file) => (await stat(join(folder, file))).mtimeMs),
  )
  return Math.max(0, ...times)
}

async function unpack(modules: string): Promise<void> {
  const args = ['pack', '--ignore-scripts', '--silent', '--pack-destination', modules]
  const tarball = (await run('npm', args, { cwd: repository })).trim()
  const home = join(modules, packageName)
  await mkdir(home)
  await run('tar', ['-xf', join(modules, tarball), '--strip-components=1', '-C', home])
  // In place of `npm install`, which would want the registry.
  const text = await readFile(join(home, 'package.json'), 'utf8')
  const { dependencies = {} } = JSON.parse(text) as { dependencies?: Record<string, string> }
  for (const name of Object.keys(dependencies)) {
    await symlink(join(repository, 'node_modules', name), join(modules, name))
  }
}
