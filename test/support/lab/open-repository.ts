/**
 * Makes this repository reachable for every user, inside the mount namespace of the lab alone: Haraka itself reads files of its own
 * after it has become another user, and a clone may lie in a folder that is closed to that one.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const repository = resolve(__dirname, '../../..')
const SEARCHABLE = 0o001

/** In the place of the outermost closed folder there is an open one, with nothing in it but the way to the repository. */
export async function openRepository(): Promise<void> {
  const closed = await closedFolder()
  if (closed === undefined) return
  const aside = await mkdtemp(join(tmpdir(), 'tls-policy-repository-'))
  await run('mount', ['--bind', repository, aside])
  await run('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', closed])
  const again = join(closed, relative(closed, repository))
  await mkdir(again, { recursive: true })
  await run('mount', ['--bind', aside, again])
}

async function closedFolder(): Promise<string | undefined> {
  const folders: string[] = []
  for (let at = dirname(repository); at !== dirname(at); at = dirname(at)) folders.unshift(at)
  for (const folder of folders) {
    if (((await stat(folder)).mode & SEARCHABLE) === 0) return folder
  }
  return undefined
}
