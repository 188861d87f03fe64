import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { readLines } from '../../plugins/ini'
import { findLineMistakes } from '../../plugins/ini-mistakes'
import { readTlsPolicyIni, saysNothing, settingsGone, withoutEffect } from '../../plugins/settings'
import { codePoint } from '../support/code-point'

interface HarakasReader {
  parseIni(name: string, options: object, text: string): Readonly<Record<string, unknown>>
  logger: (text: string) => void
}

const harakas = createRequire(__filename)('haraka-config/lib/readers/ini') as HarakasReader

/** As Haraka reads it; each line that it passes over is one on its standard output. */
function harakaReads(text: string) {
  let passedOver = 0
  const before = harakas.logger
  harakas.logger = () => void passedOver++
  const ini = harakas.parseIni('x.ini', {}, text)
  harakas.logger = before
  return { ini, passedOver }
}

const told = (text: string) =>
  findLineMistakes(readLines(text)).map(({ at, sentence }) => `${at}: ${sentence}`)

describe('lines of an ini file that say something else than was meant', () => {
  const cases: readonly (readonly [string, string, readonly RegExp[]])[] = [
    ['none', '; a\n# b\n\n[main]\nmode=observe\n \t\n[dns]\nservers=\n', []],
    ['a colon', 'mode: observe', [/^1: a setting is key=value: write mode=observe$/]],
    ['a colon, and no blank', 'mode:observe', [/^1: .* write mode=observe$/]],
    ['a blank', '[main]\nmode observe', [/^2: .* write mode=observe$/]],
    ['quotes', "'mode' = observe", [/^1: .* write mode=observe$/]],
    ['a bare key', 'mode', [/^1: there is no "=" after mode: write mode=VALUE$/]],
    ['prose', 'not now!', [/^1: .* write not=now!$/]],
    ['a stray sign', '=observe', [/^1: this is no \[section\], no key=value and no comment/]],
    ['a comment of another language', '// mode', [/^1: this is no \[section\]/]],
    [
      'an open section',
      '[main\nmode=observe',
      [/^1: a section is one line, \[main\], with nothing/],
    ],
    ['a section twice closed', '[main]]', [/^1: a section is one line, \[main\]/]],
    ['a section with a comment', '[dane] # x', [/^1: a section is one line, \[dane\]/]],
    ['a section with a setting', '[dane] enabled=false', [/^1: a section is one line, \[dane\]/]],
    ['a section with a setting, close', '[dane]x=1', [/^1: a section is one line, \[dane\]/]],
    ['an empty section line', '[', [/^1: a section is one line, \[name\]/]],
    ['a section twice', '[dane]\n[dns]\n[ dane ]', [/^3: \[dane\] stands on line 1 already/]],
    ['a key twice', 'a=1\n[main]\na=1', [/^3: main\.a stands on line 1 already: leave one/]],
    ['a key in two sections', '[dane]\nenabled=1\n[mta_sts]\nenabled=1', []],
    ['a list', 'a[]=1\na[]=2', []],
    ['a name that is unsafe', 'constructor=1', [/^1: Haraka passes over names such as/]],
    ['an unsafe section', '[__proto__]\na=1', [/^1: Haraka passes over/, /^2: Haraka passes over/]],
    ['a backslash at the end', 'a=1,\\\n', [/^1: it ends with "\\"/]],
    ['a backslash before a section', 'a=1,\\\n[dns]\nb=2', [/^1: it ends with "\\"/]],
    ['a backslash before more', 'a=1,\\\n2\nb=3', []],
    ['a control character', 'mode=observe\x07', [/^1: there is an invisible character, U\+0007/]],
    ['a blank of no width', 'mode=\u200bobserve', [/^1: .* U\+200B: write the line anew/]],
    ['a line separator', 'mode=a\u2028b', [/^1: .* U\+2028/]],
    ['a joiner in a name', '[destinations]\nنامه\u200cای.example=off', [/^2: this is no/]],
    ['the same in a comment', '; \x07\u200b\ufffd', []],
    ['a byte order mark', '\ufeff[main]\nmode=observe', []],
    ['a byte order mark further on', 'a=1\n\ufeffb=1', [/^2: .* U\+FEFF/]],
    ['octets of another encoding', 'a=\ufffd', [/^1: the file is in another encoding than UTF-8/]],
    ['UTF-16', '\ufffd\ufffd[\0m\0\n\0a\0=\0\n\0b\0', [/^1: the file is in another encoding/]],
    ['Mac line ends', '[main]\rmode=observe\rmode=observe', [/^3: main\.mode stands on line 2/]],
    ['a password under no header', 'sentinel_password: secret', [/_password=\.\.\.$/]],
    ['a password', '[redis]\npassword: secret', [/^2: .* write password=\.\.\.$/]],
  ]
  for (const [title, text, expected] of cases) {
    it(`${title}: ${expected.length === 0 ? 'nothing to tell' : 'told'}`, () => {
      const all = told(text)
      assert.equal(all.length, expected.length, all.join('\n'))
      for (const [index, pattern] of expected.entries()) assert.match(all[index] ?? '', pattern)
    })
  }

  it('property: what Haraka passes over is told, or is a destination to us; and nothing throws', function () {
    this.timeout(60_000)
    const piece = fc.oneof(
      fc.constantFrom('mode', '*.a.b', 'bü.c', '[destinations]', '[s]', '__proto__', '=', ' = '),
      fc.constantFrom('\n', '\r\n', '\\\n', ' ', ';', '#', '[', ']', ':', '"', 'off', '\ufeff'),
      fc.string({ maxLength: 3, unit: codePoint }),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const text = pieces.join('')
        const { ini, passedOver } = harakaReads(text)
        const read = readTlsPolicyIni(ini, text)
        const ours = read.ok ? read.config.destinations.size : 0
        if (passedOver > ours) assert.ok(!read.ok, JSON.stringify(text))
      }),
      { numRuns: 200 },
    )
  })
})

describe('a file that says less than before', () => {
  for (const text of ['', '\n \n', '; a\n# b\n', '\ufeff'] as const) {
    it(`${JSON.stringify(text)} says nothing`, () => {
      assert.equal(saysNothing(text), true)
    })
  }
  for (const text of ['[main]', 'mode=observe', 'mode: observe', '[', '__proto__=1'] as const) {
    it(`${JSON.stringify(text)} says something`, () => {
      assert.equal(saysNothing(text), false)
    })
  }

  const cases: readonly (readonly [string, string, string])[] = [
    ['mode=observe', '', 'main.mode=observe'],
    ['mode=observe', '[main]\nmode=enforce', ''],
    ['[destinations]\n*.a.test=off', '[destinations]\n.A.test=encrypt', ''],
    ['[destinations]\nbücher.test=off', '[destinations]\nxn--bcher-kva.test=off', ''],
    [
      '[dns]\nservers=::1\n[destinations]\na.test = off until 2030-01-01\nb.test=dane',
      '[destinations]\nb.test=dane',
      'dns.servers=::1, destinations.a.test=off until 2030-01-01',
    ],
    ['[redis]\npassword=secret', '', 'redis.password'],
  ]
  for (const [before, after, gone] of cases) {
    it(`${JSON.stringify(before)}, then ${JSON.stringify(after)}: ${gone || 'nothing is gone'}`, () => {
      assert.equal(settingsGone(before, after), gone)
    })
  }

  it('names twenty, and counts the others', () => {
    const many = Array.from({ length: 25 }, (_, index) => `d${index}.test=off`).join('\n')
    assert.match(settingsGone(`[destinations]\n${many}`, ''), /d19\.test=off, and 5 more$/)
  })
})

describe('settings without effect beside others', () => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['', []],
    ['[redis]\nhost=\n', []],
    ['[redis]\nhost=a', ['[redis] has no effect: [store] says backend=lmdb']],
    ['[store]\nbackend=redis\n[redis]\nhost=a', []],
    ['[store]\nbackend=memory\npath=/x', ['store.path has no effect: [store] says backend=memory']],
    [
      '[dns]\nbackend=ad\ntrust_anchor=/x',
      ['dns.trust_anchor has no effect: [dns] says backend=ad'],
    ],
    [
      '[dane]\nenabled=false\n[destinations]\na.test=dane\nb.test=dane-only\nc.test=sts',
      ['destinations.a.test=dane has no effect: [dane] says enabled=false'],
    ],
    [
      '[mta_sts]\nenabled=false\n[destinations]\na.test=dane\n.c.test=sts',
      ['destinations..c.test=sts has no effect: [mta_sts] says enabled=false'],
    ],
  ]
  for (const [text, expected] of cases) {
    it(`${JSON.stringify(text)}: ${expected.length}`, () => {
      const read = readTlsPolicyIni(harakaReads(text).ini, text)
      assert.ok(read.ok)
      assert.deepEqual(withoutEffect(read.config), expected)
    })
  }
})
