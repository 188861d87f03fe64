import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { faults } from '../support/faults-page'

const FOLDER = join(__dirname, '../end-to-end')

describe('docs/faults.md', () => {
  it('each row is shown by a test with a real Haraka, once', () => {
    const texts = readdirSync(FOLDER)
      .filter((name) => name.startsWith('faults-'))
      .map((name) => readFileSync(join(FOLDER, name), 'utf8'))
    const shown = texts.flatMap((text) =>
      [...text.matchAll(/fault\('([^']+)'\)/g)].map(([, row = '']) => row),
    )
    assert.deepEqual([...shown].sort(), [...faults()].sort())
  })
})
