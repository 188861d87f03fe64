import assert from 'node:assert/strict'
import fc from 'fast-check'
import { demandOf, headerSaysNo, NOTES_KEY, readNotes } from '../../../plugins/requiretls/demand'

describe('TLS-Required: No in a header', () => {
  // As Haraka's header gives them: folds and line ends left in.
  const honoured: readonly (readonly [string, readonly string[]])[] = [
    ['NO-01 plain', ['No\n']],
    ['NO-01 lower case, CRLF', ['no\r\n']],
    ['NO-01 upper case', ['NO\n']],
    ['NO-01 folded', ['\n No\n']],
    ['NO-01 a fold behind it', ['No\n \n']],
    ['NO-01 blanks and tabs around it', [' \t No \t\n']],
    ['NO-03 two that say the same', ['No\n', 'no\n']],
  ]
  for (const [title, values] of honoured) {
    it(`${title}: honoured`, () => assert.equal(headerSaysNo(values), true))
  }

  const passedOver: readonly (readonly [string, readonly string[]])[] = [
    ['NO-02 Yes', ['Yes\n']],
    ['NO-02 nothing', ['\n']],
    ['NO-02 more words', ['No way\n']],
    ['NO-02 a comment', ['No (really)\n']],
    ['NO-02 a quoted string', ['"No"\n']],
    ['NO-02 an encoded word', ['=?utf-8?Q?No?=\n']],
    ['NO-02 letters that only look like it', ['\u039d\u03bf\n']],
    ['NO-02 a zero-width blank', ['No\u200b\n']],
    ['NO-03 No and Yes', ['No\n', 'Yes\n']],
    ['NO-03 No and nothing', ['No\n', '\n']],
    ['no such field', []],
  ]
  for (const [title, values] of passedOver) {
    it(`${title}: the policies hold`, () => assert.equal(headerSaysNo(values), false))
  }

  it('NO-02 NO-03 nothing but the word, with white space around it, in all of them', () => {
    const piece = fc.constantFrom('n', 'o', 'N', 'O', ' ', '\t', '\r', '\n', '\u00a0', 'x', ';', '')
    const value = fc.oneof(
      fc.constantFrom('No', ' no\n', 'Yes'),
      fc.string(),
      fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join('')),
    )
    const means = (text: string) => text.replace(/[ \t\r\n]/g, '').toLowerCase() === 'no'
    fc.assert(
      fc.property(fc.array(value, { maxLength: 4 }), (values) => {
        // Two halves with a blank between are no word.
        const isWhole = values.every((text) => !/n[ \t\r\n]+o/i.test(text))
        const expected = values.length > 0 && values.every(means) && isWhole
        assert.equal(headerSaysNo(values), expected)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('what a message asks, in its notes', () => {
  const notes = (own: unknown) => ({ skip_plugins: [], [NOTES_KEY]: own })

  it('RQ-16 a tag; of a notification, one that must not lose it', () => {
    assert.equal(demandOf(notes({ requiretls: true }), false), 'requiretls')
    assert.equal(demandOf(notes({ requiretls: true }), true), 'requiretls-if-possible')
  })

  it('RQ-13 NO-10 REQUIRETLS is the stronger of the two', () => {
    const both = notes({ requiretls: true, tlsRequiredNo: true })
    assert.equal(demandOf(both, false), 'requiretls')
    assert.equal(demandOf(notes({ tlsRequiredNo: true }), false), 'tls-required-no')
  })

  it('RQ-19 whatever another plugin writes for a tag is one, and only true takes protection away', () => {
    for (const value of [true, 1, 0, 'yes', 'false', '', {}, []]) {
      assert.equal(
        demandOf(notes({ requiretls: value }), false),
        'requiretls',
        JSON.stringify(value),
      )
    }
    for (const value of [undefined, null, false]) {
      assert.equal(demandOf(notes({ requiretls: value }), false), undefined)
    }
    for (const value of ['true', 1, {}, [], null]) {
      assert.equal(demandOf(notes({ tlsRequiredNo: value }), false), undefined)
    }
  })

  it('RQ-19 notes of any form are read, and stay so through the JSON of the queue', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.anything(), fc.anything().map(notes)),
        fc.boolean(),
        (any, isNotification) => {
          const demand = demandOf(any, isNotification)
          assert.ok(
            [undefined, 'requiretls', 'requiretls-if-possible', 'tls-required-no'].includes(demand),
          )
          const kept: unknown = JSON.parse(JSON.stringify({ [NOTES_KEY]: readNotes(any) }))
          assert.equal(demandOf(kept, isNotification), demand)
        },
      ),
    )
  })
})
