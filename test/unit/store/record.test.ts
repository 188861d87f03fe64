import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decodeRecord, encodeRecord, isDomain, whyUnstorable } from '../../../plugins/store/record'
import { record } from '../../support/store-contract'

describe('how records are written', () => {
  const line = encodeRecord(record())
  it('a record comes back as it was', () =>
    assert.deepEqual(decodeRecord(line, 'rcpt.test'), record()))
  it('one typical policy takes less than 1 KiB', () => assert.ok(Buffer.byteLength(line) < 1024))

  const refused: [string, unknown, string?][] = [
    ['nothing', undefined],
    ['an empty text', ''],
    ['another type', { domain: 'rcpt.test' }],
    ['another domain', line, 'other.test'],
    ['another version', line.replace(/^1/, '2')],
    ['no line feed', line.replaceAll('\n', ' ')],
    ['a field too many', line.replace(' rcpt', ' x rcpt')],
    ['a bad id', line.replace('20260801', '2026-801')],
    ['a negative time', line.replace(' 18', ' -18')],
    ['a time in hex', line.replace(' 18', ' 0x18')],
    ['a lifetime of centuries', encodeRecord(record({ expiresAt: 9e14 }))],
    ['an end before the beginning', encodeRecord(record({ expiresAt: 1 }))],
    ['two megabytes', line + 'x'.repeat(2_000_000)],
    ['JSON', '{"domain":"rcpt.test","__proto__":{}}\n'],
  ]
  for (const [title, found, domain = 'rcpt.test'] of refused) {
    it(`hostile contents: ${title} is no record`, () =>
      assert.equal(decodeRecord(found, domain), undefined))
  }
  it('never throws; what it accepts it would write the same', () => {
    const near = fc
      .tuple(fc.nat({ max: line.length }), fc.string({ maxLength: 3 }), fc.nat({ max: 3 }))
      .map(([at, put, drop]) => line.slice(0, at) + put + line.slice(at + drop))
    fc.assert(
      fc.property(fc.oneof(near, fc.string()), (found) => {
        const read = decodeRecord(found, 'rcpt.test')
        if (read === undefined) return
        assert.equal(whyUnstorable(read), undefined)
        assert.deepEqual(decodeRecord(encodeRecord(read), 'rcpt.test'), read)
      }),
      { numRuns: 3000 },
    )
  })
  it('domains', () => {
    for (const good of ['a', 'rcpt.test', 'xn--bcher-kva.test', '_x.y'])
      assert.ok(isDomain(good), good)
    for (const bad of [
      '',
      '.',
      'A.test',
      'a..b',
      'a.test.',
      'a b',
      'a{b}',
      'a:b',
      'x'.repeat(64),
      'a\n',
    ]) {
      assert.ok(!isDomain(bad), bad)
    }
  })
})
