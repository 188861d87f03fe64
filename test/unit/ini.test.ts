import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import fc from 'fast-check'
import { mergeIni, parseIni, parseList, type Ini } from '../../plugins/ini'

interface HarakasReader {
  parseIni(name: string, options: object, text: string): Ini
  logger: (text: string) => void
}

const harakas = createRequire(__filename)('haraka-config/lib/readers/ini') as HarakasReader
harakas.logger = () => undefined

describe('ini files', () => {
  const cases: readonly (readonly [string, string, unknown])[] = [
    [
      'sections, numbers, text',
      'a=1\n[s]\nb = -2.5 \nc= x y ',
      { main: { a: 1 }, s: { b: -2.5, c: 'x y' } },
    ],
    ['comments on their own lines only', '; a=1\n# b=2\nc=5 ; x', { main: { c: '5 ; x' } }],
    ['a line that goes on', 'a=1,\\\n 2', { main: { a: '1, 2' } }],
    ['lists', 'a[]=1\na[]=x', { main: { a: [1, 'x'] } }],
    ['the last one counts', 'a=1\na=2', { main: { a: 2 } }],
    ['no prototypes', '[__proto__]\na=1\n[main]\nconstructor=1', { main: {} }],
    ['CRLF', '[s]\r\na=1\r\n', { main: {}, s: { a: 1 } }],
  ]
  for (const [title, text, expected] of cases) {
    it(title, () => {
      assert.deepEqual(plain(parseIni(text)), expected)
    })
  }

  it('are read as haraka-config reads them', () => {
    const word = fc.constantFrom(
      'a',
      'b.c',
      '.d',
      'e[]',
      '__proto__',
      '1',
      '-2.5',
      'x y',
      '',
      '[s]',
      '[ t ]',
    )
    const glue = fc.constantFrom('=', ' = ', '\n', '\r\n', '\\\n', ' ', ';', '#', '[', ']', ',')
    const text = fc.array(fc.oneof(word, glue, fc.string({ maxLength: 4 })), { maxLength: 40 })
    fc.assert(
      fc.property(text, (parts) => {
        const ini = parts.join('')
        assert.deepEqual(plain(parseIni(ini)), plain(harakas.parseIni('x.ini', {}, ini)))
      }),
      { numRuns: 2000 },
    )
  })

  it('merge by key; arrays are replaced as a whole', () => {
    const merged = mergeIni(
      parseIni('[a]\nx=1\ny[]=1\ny[]=2\n[b]\nz=1'),
      parseIni('[a]\nx=2\ny[]=3'),
    )
    assert.deepEqual(plain(merged), { main: {}, a: { x: 2, y: [3] }, b: { z: 1 } })
  })

  it('lists leave comments and empty lines out', () => {
    assert.deepEqual(parseList('; no\n tls-policy \r\n\n# no\nrelay'), ['tls-policy', 'relay'])
  })
})

/** With ordinary prototypes, and without what has no value. */
function plain(ini: Ini): unknown {
  return JSON.parse(JSON.stringify(ini))
}
