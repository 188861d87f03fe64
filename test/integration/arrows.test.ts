/** The guard of the arrows between the rooms (eslint.config.mjs): each way past it is tried once. */
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Linter } from 'eslint'
import { parser } from 'typescript-eslint'

/** It has no types of its own. */
const CONFIG: string = '../../eslint.config.mjs'

interface House {
  readonly house: {
    readonly rules: NonNullable<NonNullable<Linter.Config['plugins']>[string]['rules']>
  }
}

/** What the house's own rules say of such a file. */
async function complaints(file: string, text: string): Promise<readonly string[]> {
  const { house } = (await import(CONFIG)) as House
  const config: Linter.Config = {
    files: ['**/*.ts'],
    languageOptions: { parser },
    linterOptions: { reportUnusedDisableDirectives: 'off' },
    plugins: { house },
    rules: { 'house/arrows': 'error', 'house/host': 'error', 'house/purity': 'error' },
  }
  const messages = new Linter({ configType: 'flat' }).verify(text, config, file)
  assert.deepEqual(
    messages.filter(({ fatal }) => fatal),
    [],
  )
  return messages.map(({ message }) => message)
}

const PURE_HEADER = '/** Pure. */\n'

const forbidden: readonly (readonly [string, string, string, RegExp])[] = [
  [
    'a room above',
    'plugins/store/x.ts',
    "import '../mta-sts/fetch'",
    /store may not import from mta-sts/,
  ],
  [
    'a file beside the rooms',
    'plugins/store/x.ts',
    "import '../wiring'",
    /store may not import from wiring/,
  ],
  [
    'another one, by its extension',
    'plugins/store/x.ts',
    "import '../settings.js'",
    /from settings/,
  ],
  [
    'types alone',
    'plugins/x509/x.ts',
    "import type { A } from '../dane/types'",
    /x509 may not import from dane/,
  ],
  [
    'a type in passing',
    'plugins/x509/x.ts',
    "let a: import('../dane/types').A",
    /x509 may not import from dane/,
  ],
  [
    'export from',
    'plugins/x509/x.ts',
    "export * from '../store'",
    /x509 may not import from store/,
  ],
  [
    'export of names',
    'plugins/x509/x.ts',
    "export { a } from '../store'",
    /x509 may not import from store/,
  ],
  ['import()', 'plugins/dnssec-stub/x.ts', "await import('../store/lmdb.js')", /from store/],
  [
    'import() of what cannot be seen',
    'plugins/dnssec-stub/x.ts',
    'await import(name)',
    /Name the module/,
  ],
  ['require', 'plugins/dnssec-stub/x.ts', "require('../store/lmdb/store')", /from store/],
  ['import = require', 'plugins/dnssec-stub/x.ts', "import a = require('../store')", /from store/],
  ['a folder below', 'plugins/store/lmdb/x.ts', "import '../../mta-sts/fetch'", /from mta-sts/],
  [
    'a room that nobody listed',
    'plugins/new/x.ts',
    "import '../store'",
    /new may not import from store/,
  ],
  ['out of plugins/', 'plugins/store/x.ts', "import '../../test/support/cpu'", /store may not/],
  [
    "a module of Haraka's",
    'plugins/haraka/x.ts',
    "plugin.haraka_require('outbound')",
    /Only haraka\/host/,
  ],
  [
    'by destructuring',
    'plugins/x.ts',
    'const { haraka_require: ask } = plugin',
    /Only haraka\/host/,
  ],
  ['by its name as a text', 'plugins/x.ts', "plugin['haraka_require']", /Only haraka\/host/],
  [
    'I/O in a pure file',
    'plugins/mta-sts/match.ts',
    `${PURE_HEADER}import net from 'node:net'`,
    /no node:net/,
  ],
  [
    'without node:',
    'plugins/mta-sts/match.ts',
    `${PURE_HEADER}import net from 'net'`,
    /no node:net/,
  ],
  [
    'a part of it',
    'plugins/mta-sts/match.ts',
    `${PURE_HEADER}import a from 'fs/promises'`,
    /no node:fs/,
  ],
  [
    'by import()',
    'plugins/mta-sts/match.ts',
    `${PURE_HEADER}await import('node:tls')`,
    /no node:tls/,
  ],
  ['by require', 'plugins/mta-sts/match.ts', `${PURE_HEADER}require('dns')`, /no node:dns/],
  [
    'for its effect',
    'plugins/mta-sts/match.ts',
    `${PURE_HEADER}import 'node:http'`,
    /no node:http/,
  ],
  [
    'a connection beside isIP',
    'plugins/mta-sts/match.ts',
    `${PURE_HEADER}import { isIP, connect } from 'net'`,
    /no node:net/,
  ],
  ['pure, but not listed', 'plugins/mta-sts/x.ts', `${PURE_HEADER}export {}`, /put it into PURE/],
  [
    'listed, but not called pure',
    'plugins/mta-sts/match.ts',
    '/** Text. */\nexport {}',
    /must say "Pure"/,
  ],
]

const allowed: readonly (readonly [string, string, string])[] = [
  ['the own room', 'plugins/store/x.ts', "import './record'; import('./redis.js')"],
  [
    'a folder of the own room',
    'plugins/store/redis/x.ts',
    "import '../record'; import '../../x509/der'",
  ],
  ['a room below', 'plugins/mta-sts/x.ts', "import '../store'; export * from '../x509/names'"],
  ['packages', 'plugins/store/x.ts', "import 'lmdb'; import fs from 'node:fs'"],
  ['wiring', 'plugins/wiring.ts', "import './store'; import './cli/main'"],
  [
    'types of I/O in a pure file',
    'plugins/mta-sts/match.ts',
    `${PURE_HEADER}import type { Socket } from 'net'`,
  ],
  [
    'isIP in a pure file',
    'plugins/mta-sts/match.ts',
    `${PURE_HEADER}import { isIP, type Socket } from 'net'`,
  ],
]

describe('the guard of the arrows', () => {
  for (const [what, file, text, complaint] of forbidden) {
    it(`forbids: ${what}`, async () => {
      const said = await complaints(file, text)
      assert.equal(said.length, 1, said.join('\n'))
      assert.match(said[0] ?? '', complaint)
    })
  }
  for (const [what, file, text] of allowed) {
    it(`allows: ${what}`, async () => {
      assert.deepEqual(await complaints(file, text), [])
    })
  }

  it('has nothing against the files as they are', async function () {
    this.timeout(60_000)
    const files = await readdir('plugins', { recursive: true })
    for (const file of files.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))) {
      const path = join('plugins', file)
      assert.deepEqual(await complaints(path, await readFile(path, 'utf8')), [], path)
    }
  })
})
