/**
 * Modules of ours for processes that a test starts, as JavaScript: with the compiler's loader such a process takes a second of the
 * processor's time to begin, and the tests start a hundred of them under each Node.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { buildSync } from 'esbuild'

const root = join(__dirname, '../..')
let folder: string | undefined

/**
 * @param module its path in the repository: `plugins/store/lmdb/store.ts`
 * @returns the file to run or to require. It goes when this process ends.
 */
export function compiled(module: string): string {
  folder ??= compileAll()
  return join(folder, module.replace(/\.ts$/, '.js'))
}

/** @returns a folder with plugins/ and test/support/, inside the repository so that packages are found from there */
function compileAll(): string {
  const cache = join(root, '.cache')
  mkdirSync(cache, { recursive: true })
  const outdir = mkdtempSync(join(cache, 'compiled-'))
  process.once('exit', () => rmSync(outdir, { recursive: true, force: true }))
  copyFileSync(join(root, 'package.json'), join(outdir, 'package.json'))
  buildSync({
    absWorkingDir: root,
    entryPoints: sources('plugins').concat(sources('test/support')),
    outdir,
    outbase: root,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    logLevel: 'warning',
  })
  return outdir
}

function sources(under: string): string[] {
  return readdirSync(join(root, under), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !/(^|\/)(node_modules|dist)\//.test(name))
    .map((name) => join(under, name))
}
