/**
 * `npm test`: everything there is. Installs the Debian packages that real parts need where it may, builds, then runs unit and
 * integration tests under each supported Node, one after the other, and beside them each file of end-to-end tests under this one: all
 * together as many at a time as the machine has processors. Each end-to-end file has a network of its own. Closes with one line of
 * totals.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { installMissingPackages, searchPath } from './debian-packages'
import { nodesForTests } from './test-tools'
import type { NodeForTests } from './test-tools'

const root = join(__dirname, '../..')
const UNIT_AND_INTEGRATION = ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts']
const END_TO_END = 'test/end-to-end'
/** Rooms' imports and types are the same under each Node. */
const OF_NO_NODE = ['test/integration/arrows.test.ts']
/** Haraka looks at a changed file five seconds later: it costs much time and little of the processor's. */
const MOSTLY_WAITING: readonly string[] = ['reload.test.ts']
/** Milliseconds after which one run of mocha counts as hanging; a run takes a few minutes. */
const PATIENCE = 1_200_000
/** And in which it must have said its last word. */
const PATIENCE_AFTER = 5000

interface Totals {
  passed: number
  failed: number
  /** Each test that failed, with its error. */
  wrong: readonly string[]
}

/** One run of mocha. */
interface Job {
  readonly title: string
  readonly node: NodeForTests
  readonly specs: readonly string[]
  readonly ignored?: readonly string[]
}

const scratch = mkdtempSync(join(tmpdir(), 'tls-policy-test-'))

/**
 * What it says is shown at its end, in one piece: others run beside it.
 * @returns its exit status; null where it was ended.
 */
async function run(
  title: string,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<number | null> {
  const began = performance.now()
  const child = spawn(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: searchPath, ...env },
    timeout: PATIENCE,
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (said += text))
  }
  const closed = once(child, 'close').catch(() => undefined)
  const [status] = (await once(child, 'exit')) as [number | null]
  // What a run that was ended has left running may hold its end of the pipes for ever.
  await Promise.race([closed, sleep(PATIENCE_AFTER, undefined, { ref: false })])
  child.stdout.destroy()
  child.stderr.destroy()
  const seconds = Math.round((performance.now() - began) / 1000)
  console.log(`\n== ${title} (${seconds} s)\n${said}`)
  return status
}

async function mocha({ title, node, specs, ignored = [] }: Job): Promise<Totals> {
  const file = join(scratch, `${title.replace(/\W+/g, '-')}.json`)
  const bin = join(root, 'node_modules/mocha/bin/mocha.js')
  const reporter = join(root, 'test/support/count-reporter.cjs')
  const env = { TLS_POLICY_TOTALS: file, TLS_POLICY_GETDNS: node.getdns }
  const without = ignored.flatMap((file) => ['--ignore', file])
  const args = [bin, '--reporter', reporter, ...without, ...specs]
  const status = await run(title, node.program, args, env)
  // A run that died before its end has failed, whatever it had counted by then.
  if (!existsSync(file)) return { passed: 0, failed: 1, wrong: [`${title}: it died`] }
  const totals = JSON.parse(readFileSync(file, 'utf8')) as Totals
  if (status === 0) return totals
  const wrong = totals.wrong.map((one) => `${title}: ${one}`)
  if (totals.failed > 0) return { ...totals, wrong }
  return { ...totals, failed: 1, wrong: [`${title}: it ended with ${String(status)}`] }
}

/** The largest file first: it takes the longest, as a rule, and must not be begun when all others are done. */
function endToEndFiles(): readonly string[] {
  const folder = join(root, END_TO_END)
  const size = (name: string) => statSync(join(folder, name)).size
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .sort((a, b) => size(b) - size(a))
}

/** Takes one job after the other, of the first kind as long as there are any. */
async function lane(...kinds: readonly Job[][]): Promise<readonly Totals[]> {
  const done: Totals[] = []
  const next = () => kinds.find((jobs) => jobs.length > 0)?.shift()
  for (let job = next(); job !== undefined; job = next()) done.push(await mocha(job))
  return done
}

async function main(): Promise<number> {
  installMissingPackages()
  if ((await run('build', 'npm', ['run', '-s', 'build'])) !== 0) return 1
  const [running, ...others] = nodesForTests()
  const units: Job[] = [running, ...others].map((node) => ({
    title: `unit and integration, ${node.title}`,
    node,
    specs: UNIT_AND_INTEGRATION,
    ignored: node === running ? [] : OF_NO_NODE,
  }))
  const endToEnd = (names: readonly string[]): Job[] =>
    names.map((name) => ({
      title: `end to end, ${basename(name, '.test.ts')}`,
      node: running,
      specs: [join(END_TO_END, name)],
    }))
  const files = endToEndFiles()
  const busy = endToEnd(files.filter((name) => !MOSTLY_WAITING.includes(name)))
  const runs = (
    await Promise.all([
      lane(units, busy),
      ...Array.from({ length: Math.max(1, availableParallelism() - 1) }, () => lane(busy, units)),
      lane(endToEnd(files.filter((name) => MOSTLY_WAITING.includes(name)))),
    ])
  ).flat()
  const passed = runs.reduce((sum, totals) => sum + totals.passed, 0)
  const failed = runs.reduce((sum, totals) => sum + totals.failed, 0)
  // At the end once more: of a long output the last lines are read.
  for (const one of runs.flatMap(({ wrong }) => wrong)) console.log(`\nFAILED ${one}`)
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
