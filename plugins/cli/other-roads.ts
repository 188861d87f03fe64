/**
 * What the doctor says of other roads for outgoing mail. Haraka does not run here, so its files speak: config/plugins, the
 * switches of those that are known to take mail, and the source of those that are not known.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { isTaker, otherRoads, pluginName, TAKERS } from '../haraka/roads'
import type { OtherRoad } from '../haraka/roads'
import { isTrue, parseIni } from '../ini'

/**
 * @param plugins config/plugins, as it stands there
 * @param folder Haraka's
 * @param program where Haraka itself lies, where that was found
 */
export function findOtherRoads(
  plugins: readonly string[],
  folder: string,
  program: string | undefined,
): readonly OtherRoad[] {
  const hooks = plugins
    .map(pluginName)
    .filter((name) =>
      isTaker(name) ? isSwitchedOn(name, folder) : isHooked(name, folder, program),
    )
    .map((plugin) => ({ plugin, method: '' }))
  return otherRoads(hooks)
}

function isSwitchedOn(name: keyof typeof TAKERS, folder: string): boolean {
  const { file, onByDefault } = TAKERS[name]
  const text = readIfThere(join(folder, 'config', file))
  const value = parseIni(text ?? '')['main']?.['enable_outbound']
  return value === undefined ? onByDefault : isTrue(value)
}

function isHooked(name: string, folder: string, program: string | undefined): boolean {
  return sourceOf(name, folder, program)?.includes('queue_outbound') ?? false
}

/** Where Haraka looks for a plugin, in its order. */
function sourceOf(name: string, folder: string, program: string | undefined): string | undefined {
  const [own = [], ...more] = [folder, ...(program === undefined ? [] : [program])].map((root) => [
    join(root, 'plugins', `${name}.js`),
    join(root, 'node_modules', `haraka-plugin-${name}`, 'package.json'),
    join(root, '..', `haraka-plugin-${name}`, 'package.json'),
    join(root, 'plugins', name, 'package.json'),
    join(root, 'node_modules', name, 'package.json'),
  ])
  const found = [...own, ...more.flat()].find((path) => existsSync(path))
  if (found === undefined) return undefined
  return readIfThere(found.endsWith('.js') ? found : mainOf(found))
}

function mainOf(packageFile: string): string {
  const folder = dirname(packageFile)
  try {
    const { main } = JSON.parse(readIfThere(packageFile) ?? '') as { main?: unknown }
    return resolve(folder, typeof main === 'string' ? main : 'index.js')
  } catch {
    return join(folder, 'index.js')
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
