import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const read = (name: string) => readFileSync(join(__dirname, '../..', name), 'utf8')

describe('docs/architecture.md', () => {
  it('gives a reason for each package that is needed at run time, and for no other', () => {
    const { dependencies } = JSON.parse(read('package.json')) as {
      dependencies: Readonly<Record<string, string>>
    }
    const [, table = ''] = /At run time:\n\n([^]*?)\n\n/.exec(read('docs/architecture.md')) ?? []
    const named = [...table.matchAll(/^\| `([^`]+)` +\| +[^\s|]/gm)].map(([, name]) => name)
    assert.deepEqual(named.sort(), Object.keys(dependencies).sort())
  })
})
