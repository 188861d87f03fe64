/**
 * `memory`: what a worker keeps of the domains that it delivers to, ordinary ones and those of a hostile zone (20 MX hosts of 850 TLSA
 * records and more, 3,000 MX, 4,000 TXT), beside the same process before. First in a process of its own, without Haraka and without
 * name servers, which would take hours for 10,000 subdomains; then, for some hundred, in whole Harakas with and without the plugin.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { memoryUnderHostileZone } from './memory-hostile'
import type { Row } from './report'
import type { World } from './world'

export async function benchMemory(world: World): Promise<readonly Row[]> {
  const child = join(__dirname, 'memory-child.ts')
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', child],
    { maxBuffer: 1_048_576 },
  )
  const rows = JSON.parse(stdout) as readonly Omit<Row, 'bench'>[]
  const alive = rows.map((row) => ({ bench: 'memory', ...row }))
  return [...alive, ...(await memoryUnderHostileZone(world))]
}
