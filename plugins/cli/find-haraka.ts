/**
 * Which Haraka is here, and is it one that the plugin can lead? Loading Haraka has side effects, so that is done in a child
 * process (look-at-haraka.ts), which is given a time limit.
 */
import { fork } from 'node:child_process'
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, extname, join } from 'node:path'

export type HarakaFound =
  | { readonly kind: 'known'; readonly root: string; readonly version: string }
  /** One sentence: why the plugin would not load. */
  | { readonly kind: 'unknown'; readonly root: string; readonly why: string }
  | { readonly kind: 'missing' }

const PATIENCE_MS = 20_000

/** @param folder Haraka's folder; the program is looked for there, on PATH, and beside this package. */
export async function findHaraka(
  folder: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<HarakaFound> {
  const root = [
    ...['Haraka', 'haraka'].map((name) => join(folder, 'node_modules', name)),
    ...rootsOnPath(env['PATH'] ?? ''),
    ...rootsBeside(),
  ].find(isHaraka)
  return root === undefined ? { kind: 'missing' } : look(root, folder)
}

function rootsOnPath(path: string): readonly string[] {
  return path.split(delimiter).flatMap((folder) => {
    const program = join(folder, 'haraka')
    return existsSync(program) ? [dirname(dirname(realpathSync(program)))] : []
  })
}

function rootsBeside(): readonly string[] {
  const { resolve } = createRequire(__filename)
  return ['Haraka', 'haraka'].flatMap((name) => {
    try {
      return [dirname(resolve(`${name}/package.json`))]
    } catch {
      return []
    }
  })
}

function isHaraka(root: string): boolean {
  try {
    const { name } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      name?: unknown
    }
    return typeof name === 'string' && name.toLowerCase() === 'haraka'
  } catch {
    return false
  }
}

/** What the child says. */
export type Look =
  { readonly ok: true; readonly version: string } | { readonly ok: false; readonly why: string }

async function look(root: string, folder: string): Promise<HarakaFound> {
  // The child is compiled with us, or, in tests, run from source as we are.
  const child = fork(join(__dirname, `look-at-haraka${extname(__filename)}`), [root], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { ...process.env, HARAKA: folder },
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
  })
  const seen = await new Promise<Look>((resolve) => {
    child.once('message', (message) => resolve(message as Look))
    child.once('error', (err) => resolve({ ok: false, why: err.message }))
    child.once('exit', () => resolve({ ok: false, why: 'it ended while it was loaded' }))
  })
  child.kill('SIGKILL')
  return seen.ok
    ? { kind: 'known', root, version: seen.version }
    : { kind: 'unknown', root, why: seen.why }
}
