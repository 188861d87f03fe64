/**
 * `npm test`: everything there is. Installs the Debian packages that real parts need where it may, builds, then runs unit and
 * integration tests under each supported Node and the end-to-end tests under this one. Closes with one line of totals.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installMissingPackages, searchPath } from './debian-packages'
import { nodesForTests } from './test-tools'
import type { NodeForTests } from './test-tools'

const root = join(__dirname, '..')
const UNIT_AND_INTEGRATION = ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts']
const END_TO_END = ['test/end-to-end/**/*.test.ts']
/** Milliseconds after which one run of mocha counts as hanging; a run takes a few minutes. */
const PATIENCE = 1_200_000

interface Totals {
  passed: number
  failed: number
}

const scratch = mkdtempSync(join(tmpdir(), 'tls-policy-test-'))

function run(title: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  console.log(`\n== ${title}`)
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, PATH: searchPath, ...env },
    timeout: PATIENCE,
  })
  if (error) throw error
  return status
}

function mocha(kind: string, node: NodeForTests, specs: readonly string[]): Totals {
  const title = `${kind}, ${node.title}`
  const file = join(scratch, `${title.replace(/\W+/g, '-')}.json`)
  const bin = join(root, 'node_modules/mocha/bin/mocha.js')
  const reporter = join(root, 'test/support/count-reporter.cjs')
  const status = run(title, node.program, [bin, '--reporter', reporter, ...specs], {
    TLS_POLICY_TOTALS: file,
    TLS_POLICY_GETDNS: node.getdns,
  })
  // A run that died before its end has failed, whatever it had counted by then.
  if (!existsSync(file)) return { passed: 0, failed: 1 }
  const totals = JSON.parse(readFileSync(file, 'utf8')) as Totals
  return status === 0 || totals.failed > 0 ? totals : { ...totals, failed: 1 }
}

function main(): number {
  installMissingPackages()
  if (run('build', 'npm', ['run', '-s', 'build']) !== 0) return 1
  const nodes = nodesForTests()
  const runs = nodes.map((node) => mocha('unit and integration', node, UNIT_AND_INTEGRATION))
  const [running] = nodes
  if (running) runs.push(mocha('end to end', running, END_TO_END))
  const passed = runs.reduce((sum, totals) => sum + totals.passed, 0)
  const failed = runs.reduce((sum, totals) => sum + totals.failed, 0)
  console.log(`\n${passed} passed, ${failed} failed`)
  return failed === 0 && passed > 0 ? 0 : 1
}

try {
  process.exitCode = main()
} catch (err: unknown) {
  console.error(err instanceof Error ? err.message : err)
  process.exitCode = 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
