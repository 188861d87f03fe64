/** Each file of end-to-end scenes holds the command against its deliveries, so that neither can go its own way. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const FOLDER = join(__dirname, '../end-to-end')

/** Files that deliver without the plugin, to see whether the lab does as it says. */
const OF_THE_LAB: readonly string[] = ['lab.test.ts', 'lab-faults.test.ts']
/** Files that run the command by themselves. */
const OWN_WAY: readonly string[] = ['cli-verdicts.test.ts', 'installation.test.ts']

describe('scenes', () => {
  for (const name of readdirSync(FOLDER).filter((file) => file.endsWith('.test.ts'))) {
    if (OF_THE_LAB.includes(name)) continue
    it(`${name}: check says what the deliveries did`, () => {
      const calls = OWN_WAY.includes(name)
        ? /'check', .*'--connect'| check \$\{domain\} --connect/
        : /await assertCheckSaysTheSame\(/
      assert.match(readFileSync(join(FOLDER, name), 'utf8'), calls)
    })
  }
})
