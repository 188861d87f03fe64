/**
 * `npm run conformance [-- --json]`: which rows of docs/conformance.md the tests show. A row is shown by a test whose title names
 * its id; titles are taken from mocha itself, so that a table of cases counts as what it generates and a comment does not.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Row {
  readonly id: string
  readonly notApplicable: string | undefined
}

const root = join(__dirname, '..')
const ID =
  /\b(?:DNS|TLSA|USE|AUTH|SNI|STLS|VER|MAND|SD|SF|SP|SC|SA|RL|TR|TT|TJ|TD|RQ|NO|XC)-\d{2}\b/g

function readRows(): readonly Row[] {
  const text = readFileSync(join(root, 'docs/conformance.md'), 'utf8')
  return text.split('\n').flatMap((line) => {
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim())
    const id = /^[A-Z]{2,5}-\d{2}$/.exec(cells[1] ?? '')?.[0]
    if (id === undefined) return []
    const note = cells.at(-2) ?? ''
    return [{ id, notApplicable: note === '' ? undefined : note }]
  })
}

function idsInTitles(): ReadonlySet<string> {
  const mocha = join(root, 'node_modules/mocha/bin/mocha.js')
  const args = ['--dry-run', '--reporter', 'json', 'test/**/*.test.ts']
  const output = execFileSync(process.execPath, [mocha, ...args], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  })
  const { tests } = JSON.parse(output.slice(output.indexOf('{'))) as {
    tests: readonly { fullTitle: string }[]
  }
  return new Set(tests.flatMap(({ fullTitle }) => fullTitle.match(ID) ?? []))
}

const rows = readRows()
const inTitles = idsInTitles()
const shown = rows.filter(({ id }) => inTitles.has(id)).map(({ id }) => id)
const notApplicable = Object.fromEntries(
  rows.flatMap(({ id, notApplicable: reason }) =>
    reason !== undefined && !inTitles.has(id) ? [[id, reason]] : [],
  ),
)
const missing = rows
  .filter(({ id }) => !inTitles.has(id) && !(id in notApplicable))
  .map(({ id }) => id)
const unknown = [...inTitles].filter((id) => !rows.some((row) => row.id === id))

if (process.argv.includes('--json')) {
  console.log(JSON.stringify({ shown, missing, notApplicable }))
} else {
  console.log(`Shown by tests (${shown.length}):\n  ${shown.join(' ')}`)
  console.log(`\nNot shown (${missing.length}):\n  ${missing.join(' ')}`)
  console.log(`\nNot applicable (${Object.keys(notApplicable).length}):`)
  for (const [id, reason] of Object.entries(notApplicable)) console.log(`  ${id}: ${reason}`)
}
if (unknown.length > 0) {
  console.error(`\nNamed in tests, but no rows: ${unknown.join(' ')}`)
  process.exitCode = 1
}
