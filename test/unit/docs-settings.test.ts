import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../../plugins/config'
import type { Config, ConfigResult, IniFile } from '../../plugins/config'
import { DESTINATION_RULES } from '../../plugins/destinations'
import { HOP_RULES } from '../../plugins/requiretls-hops'
import { parseServer } from '../../plugins/dnssec-stub'
import { readTlsPolicyIni } from '../../plugins/settings'
import { blocks, docsFolder, pages, plainText, tableRows } from '../support/docs-pages'

/** Haraka's own reader of ini files: what it makes of a file is what the plugin gets. */
const harakaConfig = createRequire(require.resolve('Haraka'))('haraka-config') as {
  get(file: string, options: { readonly no_watch: boolean }): IniFile
}

function readIni(text: string): IniFile {
  const folder = mkdtempSync(join(tmpdir(), 'tls-policy-docs-'))
  try {
    const file = join(folder, 'tls-policy.ini')
    writeFileSync(file, text)
    return harakaConfig.get(file, { no_watch: true })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function read(ini: IniFile): ConfigResult {
  return readConfig({ main: {}, ...ini }, (server) => {
    try {
      parseServer(server)
      return undefined
    } catch (err: unknown) {
      return String(err)
    }
  })
}

function accepted(ini: IniFile): Config {
  const result = read(ini)
  assert.ok(result.ok, result.ok ? '' : result.mistakes.join('\n'))
  return result.config
}

function mistakes(ini: IniFile): string {
  const result = read(ini)
  assert.ok(!result.ok, 'this must be a mistake')
  return result.mistakes.join('\n')
}

interface Setting {
  readonly section: string
  readonly key: string
  readonly value: string
  readonly allowed: string
  readonly effect: string
}

const page = readFileSync(join(docsFolder, 'settings.md'), 'utf8')
const shipped = readFileSync(join(docsFolder, '../config/tls-policy.ini'), 'utf8')

const documented: readonly Setting[] = page
  .split(/^## /m)
  .slice(1)
  .flatMap((text) => {
    const section = /^\[(\w+)\]/.exec(text)?.[1] ?? ''
    return tableRows(text)
      .filter((row) => row.length === 5)
      .map(([key = '', value = '', allowed = '', effect = '']) => ({
        section,
        key: plainText(key),
        value: plainText(value),
        allowed,
        effect,
      }))
  })
const sections = [...new Set(documented.map(({ section }) => section))]
const nameOf = ({ section, key }: Setting) => `${section}.${key}`

/** The keys of a section as the code tells them to one who misspells. */
function keysInCode(section: string): readonly string[] {
  const said = mistakes({ [section]: { 'no-such-key': '1' } })
  const list = /has (.+)$/m.exec(said)?.[1]
  assert.ok(list !== undefined, said)
  return list.split(', ').map((key) => `${section}.${key}`)
}

describe('docs/settings.md', () => {
  it('has every setting of the code, and no other', () => {
    assert.ok(sections.length > 4)
    const inCode = sections.flatMap(keysInCode).sort()
    assert.deepEqual(documented.map(nameOf).sort(), inCode)
  })

  it('has every section of the code', () => {
    const said = mistakes({ 'no-such-section': {} })
    const inCode = (/there are (.+)$/m.exec(said)?.[1] ?? '').split(', ')
    const headings = [...page.matchAll(/^## \[(\w+)\]$/gm)].map(([, name]) => name)
    assert.deepEqual([...headings].sort(), [...inCode].sort())
  })

  it('has the settings of the shipped file with its values, and the file has all of them', () => {
    assert.ok(readTlsPolicyIni(readIni(shipped), shipped).ok)
    const ini = readIni(shipped)
    for (const section of sections) {
      const values = ini[section] as Readonly<Record<string, string | number | null>>
      const there = documented.filter((setting) => setting.section === section)
      assert.deepEqual(Object.keys(values).sort(), there.map(({ key }) => key).sort())
      for (const setting of there) {
        const value = values[setting.key]
        assert.equal(String(value ?? ''), setting.value, nameOf(setting))
      }
    }
  })

  it('the defaults are those of the code', () => {
    const ini: Record<string, Record<string, string>> = {}
    for (const { section, key, value } of documented) {
      ini[section] = { ...ini[section], [key]: value }
    }
    assert.deepEqual(accepted(ini), accepted({}))
  })

  for (const setting of documented) {
    const { section, key, allowed, effect } = setting
    it(`${nameOf(setting)}: what is allowed is what the code allows`, () => {
      const to = (value: string) => ({ [section]: { [key]: value } })
      const range = /^(\d+) to (\d+)$/.exec(allowed)
      const words = [...allowed.matchAll(/`([^`]+)`/g)].map(([, word]) => word ?? '')
      if (range) {
        const [least, most] = [Number(range[1]), Number(range[2])]
        const said = mistakes(to(String(least - 1)))
        assert.match(said, new RegExp(`from ${least} to ${most} `))
        assert.match(mistakes(to(String(most + 1))), new RegExp(`from ${least} to ${most} `))
      } else if (/^`\w[\w.]*`(?:, `\w[\w.]*`)*(?:; commas)?$/.test(allowed) && key !== 'servers') {
        for (const word of words) if (word !== 'listed') accepted(to(word))
        const said = mistakes(to('no-such-word'))
        for (const word of words) assert.ok(said.includes(word), `${said} names ${word}`)
        const more = /one of (.+) is allowed/.exec(said)?.[1]?.split(', ')
        if (more) assert.deepEqual([...more].sort(), [...words].sort())
      } else {
        assert.ok(
          [
            ...['servers', 'trust_anchor', 'self_test', 'ca_file', 'path', 'prefix'],
            ...['from', 'organization', 'bcc', 'never'],
          ].includes(key),
          `"${allowed}" is understood`,
        )
      }
      assert.match(effect, /^(?:at once|restart)$/)
    })
  }

  const rulesOf = (section: string) =>
    tableRows((page.split(`## [${section}]`)[1] ?? '').split('\n## ')[0] ?? '').map(([rule = '']) =>
      plainText(rule),
    )

  it('has every rule of [destinations], and no other', () => {
    assert.deepEqual([...rulesOf('destinations')].sort(), [...DESTINATION_RULES].sort())
  })

  it('RQ-23 has every rule of [requiretls_hops], and no other', () => {
    assert.deepEqual([...rulesOf('requiretls_hops')].sort(), [...HOP_RULES].sort())
  })
})

describe('settings files in the docs', () => {
  for (const name of pages()) {
    const files = blocks(name, 'ini tls-policy.ini')
    if (files.length === 0) continue
    it(`${name}: each is taken as it stands`, () => {
      for (const text of files) {
        const ini = readIni(text)
        assert.notDeepEqual(ini, readIni(''), text)
        const result = readTlsPolicyIni(ini, text)
        assert.ok(result.ok, result.ok ? '' : result.mistakes.join('\n'))
      }
    })
  }
})
