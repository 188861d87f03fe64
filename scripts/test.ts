/**
 * `npm test`: everything there is. Installs the Debian packages that real parts need where it may, builds, then runs unit and
 * integration tests under each supported Node, first this one, then all others side by side, and the end-to-end tests under
 * this one, those that mostly wait beside the others. Closes with one line of totals.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { installMissingPackages, searchPath } from './debian-packages'
import { nodesForTests } from './test-tools'
import type { NodeForTests } from './test-tools'

const root = join(__dirname, '..')
const UNIT_AND_INTEGRATION = ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts']
/** Haraka looks at a changed file five seconds later: it costs much time and little of the processor's. */
const MOSTLY_WAITING = 'test/end-to-end/reload.test.ts'
const END_TO_END = ['test/end-to-end/**/*.test.ts', '--ignore', MOSTLY_WAITING]
/** Milliseconds after which one run of mocha counts as hanging; a run takes a few minutes. */
const PATIENCE = 1_200_000
/** And in which it must have said its last word. */
const PATIENCE_AFTER = 5000

interface RunOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly shows?: 'at once' | 'at its end'
}

interface Totals {
  passed: number
  failed: number
}

const scratch = mkdtempSync(join(tmpdir(), 'tls-policy-test-'))

/**
 * @param shows `at once`: what the command says can be read as it comes. `at its end`: in one piece, where several run side by side.
 * @returns its exit status; null where it was ended.
 */
async function run(
  title: string,
  command: string,
  args: readonly string[],
  { env = {}, shows = 'at once' }: RunOptions = {},
): Promise<number | null> {
  if (shows === 'at once') console.log(`\n== ${title}`)
  const child = spawn(command, args, {
    cwd: root,
    stdio: [
      'ignore',
      ...(shows === 'at once' ? (['inherit', 'inherit'] as const) : (['pipe', 'pipe'] as const)),
    ],
    env: { ...process.env, PATH: searchPath, ...env },
    timeout: PATIENCE,
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (said += text))
  }
  const closed = once(child, 'close').catch(() => undefined)
  const [status] = (await once(child, 'exit')) as [number | null]
  // What a run that was ended has left running may hold its end of the pipes for ever.
  await Promise.race([closed, sleep(PATIENCE_AFTER, undefined, { ref: false })])
  child.stdout?.destroy()
  child.stderr?.destroy()
  if (shows === 'at its end') console.log(`\n== ${title}\n${said}`)
  return status
}

async function mocha(
  kind: string,
  node: NodeForTests,
  specs: readonly string[],
  shows: RunOptions['shows'] = 'at once',
): Promise<Totals> {
  const title = `${kind}, ${node.title}`
  const file = join(scratch, `${title.replace(/\W+/g, '-')}.json`)
  const bin = join(root, 'node_modules/mocha/bin/mocha.js')
  const reporter = join(root, 'test/support/count-reporter.cjs')
  const env = { TLS_POLICY_TOTALS: file, TLS_POLICY_GETDNS: node.getdns }
  const args = [bin, '--reporter', reporter, ...specs]
  const status = await run(title, node.program, args, { env, shows })
  // A run that died before its end has failed, whatever it had counted by then.
  if (!existsSync(file)) return { passed: 0, failed: 1 }
  const totals = JSON.parse(readFileSync(file, 'utf8')) as Totals
  return status === 0 || totals.failed > 0 ? totals : { ...totals, failed: 1 }
}

async function main(): Promise<number> {
  installMissingPackages()
  if ((await run('build', 'npm', ['run', '-s', 'build'])) !== 0) return 1
  const [running, ...others] = nodesForTests()
  const kind = 'unit and integration'
  const runs = [
    await mocha(kind, running, UNIT_AND_INTEGRATION),
    ...(await Promise.all([
      ...others.map((node) => mocha(kind, node, UNIT_AND_INTEGRATION, 'at its end')),
      mocha('end to end, what mostly waits', running, [MOSTLY_WAITING], 'at its end'),
    ])),
    await mocha('end to end', running, END_TO_END),
  ]
  const passed = runs.reduce((sum, totals) => sum + totals.passed, 0)
  const failed = runs.reduce((sum, totals) => sum + totals.failed, 0)
  console.log(`\n${passed} passed, ${failed} failed`)
  return failed === 0 && passed > 0 ? 0 : 1
}

void main()
  .catch((err: unknown) => {
    console.error(err instanceof Error ? err.message : err)
    return 1
  })
  .then((code) => {
    rmSync(scratch, { recursive: true, force: true })
    process.exitCode = code
  })
