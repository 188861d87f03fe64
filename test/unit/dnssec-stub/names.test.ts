import assert from 'node:assert/strict'
import { encode } from 'dns-packet'
import fc from 'fast-check'
import {
  canonicalName,
  isWithin,
  labelText,
  printable,
  wireName,
} from '../../../plugins/dnssec-stub/names'
import { readName } from '../../../plugins/dnssec-stub/octets'

describe('dnssec-stub names', () => {
  const long = (length: number): string => 'a'.repeat(length)
  const cases: [what: string, input: string, canonical: string | undefined][] = [
    ['lower case stays', 'mx1.rcpt.test', 'mx1.rcpt.test'],
    ['DNS-32 upper case and the trailing dot go', 'MX1.Rcpt.TEST.', 'mx1.rcpt.test'],
    ['the root is a name', '.', ''],
    ['DNS-31 a U-label becomes an A-label', 'bücher.test', 'xn--bcher-kva.test'],
    [
      'DNS-31 so does one below service labels',
      '_mta-sts.BÜCHER.test.',
      '_mta-sts.xn--bcher-kva.test',
    ],
    ['an A-label stays', 'xn--bcher-kva.test', 'xn--bcher-kva.test'],
    ['a single label is not completed', 'mx1', 'mx1'],
    ['service labels are names', '_25._tcp.mx1.test', '_25._tcp.mx1.test'],
    ['a wildcard can be asked for', '*.test', '*.test'],
    ['a label of 63', `${long(63)}.test`, `${long(63)}.test`],
    ['a label of 64', `${long(64)}.test`, undefined],
    ['a name of 253', `${'abc.'.repeat(63)}a`, `${'abc.'.repeat(63)}a`],
    ['a name of 254', `${'abc.'.repeat(63)}ab`, undefined],
    ['nothing', '', undefined],
    ['an empty label', 'a..test', undefined],
    ['a leading dot', '.test', undefined],
    ['two trailing dots', 'test..', undefined],
    ['a space', 'a b.test', undefined],
    ['a control character', 'a\u0000.test', undefined],
    ['an escape, as labels from the wire have it', 'a\\046b.test', 'a\\046b.test'],
    ['an escape that none is needed for', '\\065\\098.test', 'ab.test'],
    ['an escape beyond an octet', 'a\\256.test', undefined],
    ['half an escape', 'a\\04', undefined],
    ['a label of 63 escaped octets', `${'\\000'.repeat(63)}.test`, `${'\\000'.repeat(63)}.test`],
    ['a label of 64 escaped octets', `${'\\000'.repeat(64)}.test`, undefined],
    ['a label that is a URL’s', 'a/b#c.test', 'a/b#c.test'],
    ['a percent sign hides no dot', 'a%2eb.test', 'a%2eb.test'],
    ['what looks like an A-label', 'xn--abc.test', 'xn--abc.test'],
    ['... beside a U-label', 'xn--abc.bücher.test', 'xn--abc.xn--bcher-kva.test'],
    ['what looks like an address', '0x7f.1', '0x7f.1'],
    ['a last label of digits', 'foo.123', 'foo.123'],
    ['an ideographic full stop', 'bücher\u3002test', 'xn--bcher-kva.test'],
    ['digits of full width are no address', '\uff11.\uff12', undefined],
    ['a URL’s characters beside a U-label', 'bücher/.test', undefined],
    ['what is no IDN', '\u00ad.test', undefined],
  ]
  for (const [what, input, canonical] of cases) {
    it(what, () => assert.equal(canonicalName(input), canonical))
  }

  it('what comes out goes in again unchanged, and fits the wire', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'grapheme' }), fc.domain(), fc.string()), (input) => {
        const name = canonicalName(input)
        if (name === undefined || name === '') return
        assert.equal(canonicalName(name), name)
        assert.match(name, /^[!-~]{1,1003}$/)
        assert.ok(wireName(name).length <= 255)
      }),
    )
  })

  it('a name goes on the wire octet for octet as it came from there, and as dns-packet writes it where that can', () => {
    const octets = fc.uint8Array({ minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(fc.array(octets, { minLength: 1, maxLength: 10 }), (labels) => {
        const text = labels.map(labelText).join('.')
        assert.equal(canonicalName(text), text)
        assert.deepEqual(readName(Buffer.concat([Buffer.alloc(12), wireName(text)]), 12).name, text)
        if (text.includes('\\')) return
        const query = encode({ type: 'query', questions: [{ name: text, type: 'A' }] })
        assert.ok(wireName(text).equals(query.subarray(12, -4)))
      }),
    )
  })

  it('a name is within itself, its ancestors and the root, not within a name that it merely ends like', () => {
    assert.equal(isWithin('a.test', 'a.test'), true)
    assert.equal(isWithin('b.a.test', 'a.test'), true)
    assert.equal(isWithin('a.test', ''), true)
    assert.equal(isWithin('ba.test', 'a.test'), false)
    assert.equal(isWithin('test', 'a.test'), false)
  })

  it('labels from the wire are told apart by their octets, letters apart from case', () => {
    assert.equal(labelText(Buffer.from('Ab_-9')), 'ab_-9')
    assert.equal(labelText(Buffer.from('a.b\\ \u007f\u00e4')), 'a\\046b\\092\\032\\127\\195\\164')
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 63 }),
        fc.uint8Array({ maxLength: 63 }),
        (one, other) => {
          const lower = (octets: Uint8Array) =>
            Buffer.from(octets.map((o) => (o >= 65 && o <= 90 ? o + 32 : o)))
          assert.equal(labelText(one) === labelText(other), lower(one).equals(lower(other)))
        },
      ),
    )
  })

  it('texts for humans carry no control characters and are bounded', () => {
    assert.equal(printable('a\r\nb\u0085\u2028\u202ec'), 'a??b???c')
    assert.equal(printable('abcdef', 3), 'abc…')
  })
})
