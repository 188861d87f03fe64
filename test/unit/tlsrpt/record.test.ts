import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  MOST_DESTINATIONS,
  parseReportRecord,
  readAddress,
  reportName,
} from '../../../plugins/tlsrpt/record'
import { cpuMilliseconds } from '../../support/cpu'
import { codePoint } from '../../support/code-point'

function parse(...records: string[]) {
  return parseReportRecord(records.map((record) => Buffer.from(record, 'latin1')))
}

/** What is used of a record, in short. */
function destinations(...records: string[]): readonly string[] {
  const read = parse(...records)
  assert.equal(read.kind, 'record', JSON.stringify(read))
  return read.kind === 'record'
    ? read.destinations.map((one) => (one.kind === 'mailto' ? one.address : one.url))
    : []
}

describe('the TXT record at _smtp._tls (RFC 8460 §3)', () => {
  it('TR-01 is below the policy domain', () => {
    assert.equal(reportName('rcpt.test'), '_smtp._tls.rcpt.test')
  })

  const used: [string, string[], string[]][] = [
    ['TR-01 a plain record', ['v=TLSRPTv1; rua=mailto:r@x.test'], ['r@x.test']],
    [
      'TR-02 records of other kinds are dropped before counting',
      ['v=spf1 -all', 'v=TLSRPTv1;rua=mailto:r@x.test', 'xv=TLSRPTv1; rua=mailto:s@x.test'],
      ['r@x.test'],
    ],
    ['TR-03 strings arrive joined', ['v=TLSRPTv1; rua=mai' + 'lto:r@x.test'], ['r@x.test']],
    ['TR-05 another scheme is skipped', ['v=TLSRPTv1; rua=ftp://x,mailto:r@x.test'], ['r@x.test']],
    ['TR-05 the case of a scheme', ['v=TLSRPTv1; rua=MAILTO:r@x.test'], ['r@x.test']],
    ['TR-05 http only: nowhere to send', ['v=TLSRPTv1; rua=http://x.test/'], []],
    [
      'TR-06 a comma list with white space',
      ['v=TLSRPTv1; rua=mailto:a@x.test , \thttps://y.test/r '],
      ['a@x.test', 'https://y.test/r'],
    ],
    ['TR-06 empty ones between commas', ['v=TLSRPTv1; rua=,mailto:a@x.test,'], ['a@x.test']],
    ['TR-07 a comma of its own', ['v=TLSRPTv1; rua=mailto:a%2Cb@x.test'], ['"a,b"@x.test']],
    ['TR-07 a semicolon and !', ['v=TLSRPTv1; rua=mailto:a%3Bb%21@x.test'], ['"a;b!"@x.test']],
    ['TR-07 a quoted local part', ['v=TLSRPTv1; rua=mailto:%22a%20b%22@x.test'], ['"a b"@x.test']],
    ['TR-08 header fields', ['v=TLSRPTv1; rua=mailto:r@x.test?cc=v@y.test'], ['r@x.test']],
    ['TR-08 an encoded second address', ['v=TLSRPTv1; rua=mailto:r@x.test%2Cv@y.test'], []],
    ['TR-09 unknown fields', ['v=TLSRPTv1; a=1; rua=mailto:r@x.test; ext=1'], ['r@x.test']],
    [
      'TR-10 several rua fields',
      ['v=TLSRPTv1; rua=mailto:a@x.test; rua=mailto:b@x.test'],
      ['a@x.test', 'b@x.test'],
    ],
    ['TR-10 the same twice', ['v=TLSRPTv1; rua=mailto:a@x.test,mailto:a@x.test'], ['a@x.test']],
    ['TR-13 a third domain', ['v=TLSRPTv1; rua=mailto:r@third.test'], ['r@third.test']],
    ['TR-15 white space before ;', ['v=TLSRPTv1 ; rua=mailto:r@x.test'], ['r@x.test']],
    [
      'a port of its own',
      ['v=TLSRPTv1; rua=https://x.test:8443/a?b=c'],
      ['https://x.test:8443/a?b=c'],
    ],
    ['the domain in lower case', ['v=TLSRPTv1; rua=mailto:R@X.Test'], ['R@x.test']],
    ['without mailto:', ['v=TLSRPTv1; rua=r@x.test'], []],
    ['a login in a URL', ['v=TLSRPTv1; rua=https://u:p@x.test/'], []],
    ['no URL', ['v=TLSRPTv1; rua=https://'], []],
    ['a line feed in an address', ['v=TLSRPTv1; rua=mailto:r%0d%0aX:@x.test'], []],
    ['an address of octets above US-ASCII', ['v=TLSRPTv1; rua=mailto:%C3%A4@x.test'], []],
    ['a broken percent encoding', ['v=TLSRPTv1; rua=mailto:%@x.test,mailto:%ff@x.test'], []],
    ['two addresses in one', ['v=TLSRPTv1; rua=mailto:a@x.test>,<b@y.test'], []],
    ['an address without a domain', ['v=TLSRPTv1; rua=mailto:r@,mailto:@x.test,mailto:'], []],
  ]
  for (const [title, records, expected] of used) {
    it(title, () => assert.deepEqual(destinations(...records), expected))
  }

  it('TR-06 takes no more than five', () => {
    const many = Array.from({ length: 20 }, (_, n) => `mailto:r${n}@x.test`).join(',')
    assert.equal(destinations(`v=TLSRPTv1; rua=${many}`).length, MOST_DESTINATIONS)
  })

  it('TR-05 says why the others are not used', () => {
    const read = parse('v=TLSRPTv1; rua=r@x.test,ftp://x,mailto:@,https://u:p@x/,mailto:r@x.test')
    assert.deepEqual(read.kind === 'record' && read.skipped, [
      'without a scheme: "r@x.test"',
      'neither mailto nor https: "ftp://x"',
      'not a mail address: "mailto:@"',
      'with a login: "https://u:p@x/"',
    ])
  })

  const none: [string, string[]][] = [
    ['TR-02 nothing at all', []],
    ['TR-02 a wildcard SPF record', ['v=spf1 -all']],
    ['TR-04 another case of the version', ['v=tlsrptv1; rua=mailto:r@x.test']],
    ['TR-04 the version is not first', ['rua=mailto:r@x.test; v=TLSRPTv1']],
    ['TR-02 a longer version', ['v=TLSRPTv10; rua=mailto:r@x.test']],
    ['TR-02 no delimiter', ['v=TLSRPTv1']],
    ['TR-02 a leading space', [' v=TLSRPTv1; rua=mailto:r@x.test']],
  ]
  for (const [title, records] of none) {
    it(`${title} is no record`, () => assert.deepEqual(parse(...records), { kind: 'none' }))
  }

  const invalid: [string, string[]][] = [
    ['TR-02 two records', ['v=TLSRPTv1; rua=mailto:r@x.test', 'v=TLSRPTv1; rua=mailto:s@x.test']],
    ['TR-02 a good record and a broken one', ['v=TLSRPTv1; rua=mailto:r@x.test', 'v=TLSRPTv1;']],
    ['TR-04 rua is missing', ['v=TLSRPTv1; foo=bar']],
    ['TR-04 nothing after the version', ['v=TLSRPTv1;']],
    ['TR-17 a field without an equals sign', ['v=TLSRPTv1; rua']],
    ['TR-17 an octet above US-ASCII in a name', ['v=TLSRPTv1; r\xfca=x; rua=mailto:r@x.test']],
  ]
  for (const [title, records] of invalid) {
    it(`${title} is invalid`, () => assert.equal(parse(...records).kind, 'invalid'))
  }

  it('TR-17 anything at all gives an outcome, and nothing unprintable', () => {
    const piece = fc.oneof(
      fc.string({ unit: codePoint, maxLength: 20 }),
      fc.constantFrom('v=TLSRPTv1;', 'rua=', 'mailto:', 'https://', ',', ';', '%', '@', '"', '\\'),
    )
    fc.assert(
      fc.property(fc.array(fc.array(piece, { maxLength: 12 }), { maxLength: 3 }), (records) => {
        const read = parse(...records.map((pieces) => pieces.join('')))
        if (read.kind === 'record') {
          for (const one of read.destinations) {
            const text = one.kind === 'mailto' ? one.address : one.url
            assert.match(text, /^[\x20-\x7e]+$/)
            if (one.kind === 'mailto') assert.equal(readAddress(text), text)
          }
          for (const text of read.skipped) assert.doesNotMatch(text, /\p{Cc}/u)
        } else if (read.kind === 'invalid') assert.doesNotMatch(read.detail, /\p{Cc}/u)
      }),
    )
  })

  it('takes time in proportion to the record', () => {
    for (const filling of [' ', ';', ',', '%', '@', '"', 'mailto:a@b,', '\\', '.']) {
      const record = `v=TLSRPTv1; rua=${filling.repeat(65_000 / filling.length)}x`
      assert.ok(cpuMilliseconds(() => void parse(record)) < 200, filling)
    }
  })
})
