/**
 * `npm run conformance [-- --json]`: which rows of docs/conformance.md the tests show. A row is shown by a test whose title names
 * its id; titles are taken from mocha itself, so that a table of cases counts as what it generates and a comment does not.
 * `npm run conformance -- AUTH-13 …`: those rows, the tests that show them, and the lines of code that cite the row or its RFC
 * sections, each as file:line.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

interface Row {
  readonly id: string
  /** As the page cites them: `7672 2.1.1; 5321 5.1`. */
  readonly sections: string
  readonly level: string
  readonly requirement: string
  readonly notApplicable: string | undefined
}

const root = join(__dirname, '../..')
const ID =
  /\b(?:DNS|TLSA|USE|AUTH|SNI|STLS|VER|MAND|SD|SF|SP|SC|SA|RL|TR|TT|TJ|TD|RQ|NO|XC)-\d{2}\b/g

function readRows(): readonly Row[] {
  const text = readFileSync(join(root, 'docs/conformance.md'), 'utf8')
  return text.split('\n').flatMap((line) => {
    const cells = line.split(/(?<!\\)\|/).map((cell) => cell.trim())
    const id = /^[A-Z]{2,5}-\d{2}$/.exec(cells[1] ?? '')?.[0]
    if (id === undefined) return []
    const note = cells.at(-2) ?? ''
    const [, , sections = '', level = '', requirement = ''] = cells
    return [{ id, sections, level, requirement, notApplicable: note === '' ? undefined : note }]
  })
}

interface Test {
  readonly file: string
  readonly fullTitle: string
}

function allTests(): readonly Test[] {
  const mocha = join(root, 'node_modules/mocha/bin/mocha.js')
  const args = ['--dry-run', '--reporter', 'json', 'test/**/*.test.ts']
  const output = execFileSync(process.execPath, [mocha, ...args], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  })
  const { tests } = JSON.parse(output.slice(output.indexOf('{'))) as { tests: readonly Test[] }
  return tests
}

/** `file:line` and the line, for each line that the pattern matches. */
function linesWith(file: string, pattern: RegExp): readonly string[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line, index) =>
      pattern.test(line) ? [`${relative(root, file)}:${index + 1}  ${line.trim()}`] : [],
    )
}

/** What cites a row in code: its id, or one of its sections, as `RFC 7672 §2.1.1` or `RFC 7672 section 2.1.1`. */
function citation({ id, sections }: Row): RegExp {
  const cited = sections.split(';').flatMap((part) => {
    const [rfc, ...places] = part.trim().split(/[\s,]+/)
    return places
      .filter((place) => /^[\dA-Z][\d.]*$/.test(place))
      .map((place) => `RFC ${rfc}\\D{0,12}${place.replaceAll('.', '\\.')}(?![\\d.]*\\d)`)
  })
  return new RegExp([id, ...cited].join('|'))
}

function explain(row: Row): void {
  const { id, sections, level, requirement, notApplicable: reason } = row
  console.log(`${id}  RFC ${sections}  ${level}\n  ${requirement}`)
  if (reason !== undefined) console.log(`\nNot applicable: ${reason}`)
  // A title that a table generates stands in no file, but its id does.
  const files = new Set(
    tests.flatMap(({ file, fullTitle }) => (fullTitle.includes(id) ? [file] : [])),
  )
  const shown = [...files].flatMap((file) => {
    const lines = linesWith(file, new RegExp(`\\b${id}\\b`))
    return lines.length > 0 ? lines : [`${relative(root, file)}  (the id is put together there)`]
  })
  console.log(`\nTests:\n${list(shown)}`)
  const sources = readdirSync(join(root, 'plugins'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((name) => join(root, 'plugins', name))
  console.log(`\nCode:\n${list(sources.flatMap((file) => linesWith(file, citation(row))))}\n`)
}

function list(lines: readonly string[]): string {
  return lines.length === 0 ? '  none' : lines.map((line) => `  ${line}`).join('\n')
}

const rows = readRows()
const tests = allTests()
const inTitles = new Set(tests.flatMap(({ fullTitle }) => fullTitle.match(ID) ?? []))
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

const asked = process.argv.slice(2).filter((word) => !word.startsWith('--'))
for (const id of asked) {
  const row = rows.find((each) => each.id === id)
  if (row) explain(row)
  else {
    console.error(`docs/conformance.md has no row ${id}`)
    process.exitCode = 1
  }
}
if (asked.length > 0) process.exit()
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
