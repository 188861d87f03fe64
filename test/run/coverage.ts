/**
 * `npm run coverage [-- FILE …]`: which lines of plugins/ the unit and integration tests pass through, or the files named. The
 * end-to-end tests are left out: there the plugin runs compiled, in processes of Haraka's. A page for each file in coverage/.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { runningNode } from './test-tools'

const root = join(__dirname, '../..')
const [, , ...named] = process.argv
const files = named.length > 0 ? named : ['test/unit/**/*.test.ts', 'test/integration/**/*.test.ts']
const { status } = spawnSync('npx', ['c8', 'mocha', '--reporter', 'dot', ...files], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, TLS_POLICY_GETDNS: runningNode().getdns },
})
process.exitCode = status ?? 1
