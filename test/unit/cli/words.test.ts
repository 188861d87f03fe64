import assert from 'node:assert/strict'
import fc from 'fast-check'
import { COLUMNS, fromNow, printable, styleFor, utc, wrap } from '../../../plugins/cli/words'
import { codePoint } from '../../support/code-point'

describe('words of the command', () => {
  it('wrap: no line is longer than 80 columns, and no character is lost', () => {
    fc.assert(
      fc.property(fc.nat(30), fc.lorem({ maxCount: 60 }), fc.nat(300), (indent, text, long) => {
        const words = `${text} ${'x'.repeat(long)} ${text}`
        const lines = wrap(' '.repeat(indent), words)
        for (const line of lines) assert.ok(line.length <= COLUMNS)
        assert.equal(lines.join('').replace(/ /g, ''), words.replace(/ /g, ''))
      }),
    )
  })

  it('wrap: a label before the first line, as much room before the others', () => {
    const [first, second, ...rest] = wrap('label ', `${'a'.repeat(70)} bbbbb`)
    assert.deepEqual([first, second, rest], [`label ${'a'.repeat(70)}`, '      bbbbb', []])
  })

  it('printable: nothing of what others say can steer a terminal', () => {
    assert.equal(printable('a\x1b[2Jb\nc\u0000é\u202e'), 'a?[2Jb, c???')
    fc.assert(
      fc.property(fc.string({ unit: codePoint }), (text) => {
        assert.match(printable(text, 20), /^[\x20-\x7e]{0,40}$/)
      }),
    )
  })

  const now = Date.parse('2026-11-22T12:00:00Z')
  const spans: readonly (readonly [string, string])[] = [
    ['2026-11-25T12:00:00Z', 'in 3 days'],
    ['2026-11-22T10:59:00Z', '1 hour ago'],
    ['2026-11-22T12:01:01Z', 'in 1 minute'],
    ['2026-11-22T12:00:00Z', 'now'],
  ]
  for (const [at, words] of spans) {
    it(`${at} is ${words}`, () => {
      assert.equal(fromNow(Date.parse(at), now), words)
    })
  }

  it('times are in UTC', () => {
    assert.equal(utc(now), '2026-11-22 12:00:00 UTC')
  })

  it('colour only where it is wanted', () => {
    assert.equal(styleFor(false).paint('x', 'bad'), 'x')
    assert.equal(styleFor(true).paint('x', 'bad'), '\x1b[31mx\x1b[0m')
    assert.equal(styleFor(true).paint('x', 'plain'), 'x')
  })
})
