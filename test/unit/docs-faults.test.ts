import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { faults } from '../support/faults-page'

const FOLDER = join(__dirname, '../end-to-end')
/** Rows on reports, of which the page says that they are tried without a Haraka. */
const REPORTS = ['tlsrpt/rounds.test.ts', 'tlsrpt/left-alone.test.ts']

describe('docs/faults.md', () => {
  it('each row is shown by a test, once: with a real Haraka, or of reports with the code that sends them', () => {
    const files = readdirSync(FOLDER)
      .filter((name) => name.startsWith('faults-'))
      .map((name) => join(FOLDER, name))
    const texts = [...files, ...REPORTS.map((name) => join(__dirname, name))].map((name) =>
      readFileSync(name, 'utf8'),
    )
    const shown = texts.flatMap((text) =>
      [...text.matchAll(/fault\('([^']+)'\)/g)].map(([, row = '']) => row),
    )
    assert.deepEqual([...shown].sort(), [...faults()].sort())
  })
})
