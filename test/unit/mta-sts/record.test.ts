import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseRecords } from '../../../plugins/mta-sts/record'

function parse(...records: string[]) {
  return parseRecords(records.map((record) => Buffer.from(record, 'latin1')))
}
const id = (text: string) => ({ kind: 'record', id: text })

describe('MTA-STS TXT record (RFC 8461 §3.1)', () => {
  const taken: [string, string[], string][] = [
    ['SD-01 a plain record', ['v=STSv1; id=20160831085700Z;'], '20160831085700Z'],
    [
      'SD-02 records of other kinds are dropped before counting',
      ['v=spf1 -all', 'google-site-verification=x', 'v=STSv1; id=1;', 'xv=STSv1; id=2'],
      '1',
    ],
    [
      'SD-06 character-strings arrive joined without a space',
      ['v=STSv1; i' + 'd=20160831;'],
      '20160831',
    ],
    ['SD-08 an id of 32 characters', [`v=STSv1; id=${'a'.repeat(32)}`], 'a'.repeat(32)],
    ['SD-09 the first id counts', ['v=STSv1; id=1; id=2;'], '1'],
    ['SD-10 unknown fields before the id', ['v=STSv1; foo=bar; id=1'], '1'],
    ['SD-10 unknown fields after the id', ['v=STSv1; id=1; foo=b:a/r; x.y_z-0=~'], '1'],
    ['SD-11 no white space', ['v=STSv1;id=1'], '1'],
    ['SD-11 tabs, and white space before the last delimiter', ['v=STSv1;\tid=1 ;'], '1'],
    ['SD-11 white space after the last delimiter', ['v=STSv1; id=1; \t'], '1'],
    ['SD-12 white space before the first delimiter', ['v=STSv1 ;id=1'], '1'],
    ['SD-23 the case of an id is kept', ['v=STSv1; id=aA'], 'aA'],
  ]
  for (const [title, records, expected] of taken) {
    it(title, () => assert.deepEqual(parse(...records), id(expected)))
  }

  const none: [string, string[]][] = [
    ['SD-24 a wildcard SPF record alone', ['v=spf1 -all']],
    ['SD-24 nothing at all', []],
    ['SD-07 another case of the version: V=', ['V=STSv1; id=1;']],
    ['SD-07 another case of the version: stsv1', ['v=stsv1; id=1;']],
    ['SD-07 a leading space', [' v=STSv1; id=1;']],
    ['SD-07 the version is not first', ['id=1; v=STSv1;']],
    ['SD-02 a longer version', ['v=STSv10; id=1;']],
    ['SD-02 no delimiter after the version', ['v=STSv1']],
    ['SD-14 a byte above US-ASCII in the version', ['v=STSv1\xa0; id=1']],
  ]
  for (const [title, records] of none) {
    it(`${title} is no record`, () => assert.deepEqual(parse(...records), { kind: 'none' }))
  }

  const invalid: [string, string[]][] = [
    ['SD-03 two good records', ['v=STSv1; id=1;', 'v=STSv1; id=2;']],
    ['SD-04 a good record and a broken one', ['v=STSv1; id=a;', 'v=STSv1; junk']],
    ['SD-04 two where one counts by SD-12 only', ['v=STSv1; id=a;', 'v=STSv1 ; id=b']],
    ['SD-05 a hyphen in the id', ['v=STSv1; id=has-hyphen;']],
    ['SD-08 no id', ['v=STSv1; foo=bar']],
    ['SD-08 nothing after the version', ['v=STSv1;']],
    ['SD-08 an empty id', ['v=STSv1; id=;']],
    ['SD-08 an id of 33 characters', [`v=STSv1; id=${'a'.repeat(33)}`]],
    ['SD-08 an underscore in the id', ['v=STSv1; id=a_b']],
    ['SD-08 the key in upper case', ['v=STSv1; ID=1']],
    ['SD-11 white space at the end of the record', ['v=STSv1; id=1 ']],
    ['SD-11 white space around the equals sign', ['v=STSv1; id = 1;']],
    ['SD-11 an empty field', ['v=STSv1;; id=1']],
    ['SD-13 an equals sign in a value', ['v=STSv1; id=1; x=a=b;']],
    ['SD-13 a space in a value', ['v=STSv1; id=1; x=a b;']],
    ['SD-13 a control character in a value', ['v=STSv1; id=1; x=a\x07;']],
    ['SD-13 an empty value', ['v=STSv1; id=1; x=;']],
    ['SD-13 a name of 33 characters', [`v=STSv1; id=1; ${'x'.repeat(33)}=1;`]],
    ['SD-13 a name that starts with an underscore', ['v=STSv1; id=1; _x=1;']],
    ['SD-13 a field without an equals sign', ['v=STSv1; id=1; x']],
    ['SD-09 a second id that is no field', ['v=STSv1; id=1; id=']],
    ['SD-14 UTF-8 in a value', [`v=STSv1; id=1; x=${Buffer.from('ü').toString('latin1')}`]],
    ['SD-05 a line feed at the end', ['v=STSv1; id=1;\n']],
  ]
  for (const [title, records] of invalid) {
    it(`${title} makes it invalid`, () => assert.equal(parse(...records).kind, 'invalid'))
  }

  it('its details hold no control characters', () => {
    const outcome = parse('v=STSv1; id=\x1b[2J\x00;')
    assert.ok(outcome.kind === 'invalid')
    assert.doesNotMatch(outcome.detail, /\p{Cc}/u)
  })

  it('never throws, whatever the octets', () => {
    const prefixed = fc
      .uint8Array({ maxLength: 300 })
      .map((octets) => Buffer.concat([Buffer.from('v=STSv1;'), octets]))
    const record = fc.oneof(
      prefixed,
      fc.uint8Array({ maxLength: 300 }).map((o) => Buffer.from(o)),
    )
    fc.assert(
      fc.property(fc.array(record, { maxLength: 4 }), (records) => {
        const outcome = parseRecords(records)
        if (outcome.kind === 'record') assert.match(outcome.id, /^[A-Za-z0-9]{1,32}$/)
        if (outcome.kind === 'invalid') assert.doesNotMatch(outcome.detail, /\p{Cc}/u)
      }),
      { numRuns: 2000 },
    )
  })
})
