import assert from 'node:assert/strict'
import fc from 'fast-check'
import { MAX_AGE_LIMIT, parsePolicy } from '../../../plugins/mta-sts/policy'

const parse = (text: string) => parsePolicy(Buffer.from(text, 'utf8'))
const lines = (...all: string[]) => all.map((line) => `${line}\r\n`).join('')
const V = 'version: STSv1'
const E = 'mode: enforce'
const M = 'mx: mx.rcpt.test'
const A = 'max_age: 604800'

function good(text: string) {
  const outcome = parse(text)
  assert.ok(outcome.ok, outcome.ok ? '' : outcome.detail)
  return outcome.policy
}
function bad(text: string | Buffer) {
  const outcome = parsePolicy(Buffer.from(text))
  assert.ok(!outcome.ok, 'was accepted')
  assert.doesNotMatch(outcome.detail, /\p{Cc}/u)
  return outcome.detail
}

describe('MTA-STS policy file (RFC 8461 §3.2)', () => {
  it('reads the policy of the RFC', () => {
    const text = lines(
      V,
      E,
      'mx: mail.example.com',
      'mx: *.example.net',
      'mx: backupmx.example.com',
      A,
    )
    assert.deepEqual(good(text), {
      mode: 'enforce',
      mx: ['mail.example.com', '*.example.net', 'backupmx.example.com'],
      maxAge: 604800,
      lines: [V, E, 'mx: mail.example.com', 'mx: *.example.net', 'mx: backupmx.example.com', A],
    })
  })

  const accepted: [string, string][] = [
    ['SP-01 LF', [V, E, M, A, ''].join('\n')],
    ['SP-01 CRLF', lines(V, E, M, A)],
    ['SP-01 mixed', `${V}\r\n${E}\n${M}\r\n${A}\n`],
    ['SP-01 no terminator at the end', [V, E, M, A].join('\r\n')],
    [
      'SP-02 no white space after the colon',
      lines('version:STSv1', 'mode:enforce', 'mx:mx.rcpt.test', 'max_age:1'),
    ],
    [
      'SP-02 any white space around the value',
      lines(V, 'mode: \tenforce  ', 'mx:\tmx.rcpt.test \t', A),
    ],
    ['SP-04 the version is last', lines(A, M, E, V)],
    ['SP-05 mode testing', lines(V, 'mode: testing', M, A)],
    ['SP-09 mode none without mx', lines(V, 'mode: none', A)],
    ['SP-11 an A-label', lines(V, E, 'mx: xn--bcher-kva.test', A)],
    ['SP-13 an unknown key with UTF-8', lines(V, E, 'foo: bär baz', M, A)],
    ['SP-16 a known key in another case is unknown', lines('Mode: bogus', 'MX: *', V, E, M, A)],
    ['SP-17 blank lines at the end', lines(V, E, M, A) + '\r\n\n'],
    ['SP-17 a blank line at the start', lines('', V, E, M, A)],
    ['SP-17 a blank line inside', lines(V, '', E, M, A)],
    ['SP-17 blanks and tabs alone on a line', lines(' \t', V, E, '  ', M, A)],
    ['SP-19 an extension name of 32 characters', lines(V, E, M, A, `x${'_'.repeat(31)}: 1`)],
    ['SP-19 an extension name with all kinds', lines(V, E, M, A, '0a-b_c.d: 1')],
  ]
  for (const [title, text] of accepted) it(`${title} is accepted`, () => void good(text))

  const refused: [string, string][] = [
    ['SP-02 white space before the key', lines(V, ' mode: enforce', M, A)],
    ['SP-02 white space before the colon', lines(V, 'mode : enforce', M, A)],
    ['SP-03 no version', lines(E, M, A)],
    ['SP-03 version STSv2', lines('version: STSv2', E, M, A)],
    ['SP-03 version stsv1', lines('version: stsv1', E, M, A)],
    ['SP-05 mode Enforce', lines(V, 'mode: Enforce', M, A)],
    ['SP-05 mode report', lines(V, 'mode: report', M, A)],
    ['SP-05 no mode', lines(V, M, A)],
    ['SP-06 no max_age', lines(V, E, M)],
    ['SP-06 max_age -1', lines(V, E, M, 'max_age: -1')],
    ['SP-06 max_age 1e6', lines(V, E, M, 'max_age: 1e6')],
    ['SP-06 max_age 86400s', lines(V, E, M, 'max_age: 86400s')],
    ['SP-06 max_age 604 800', lines(V, E, M, 'max_age: 604 800')],
    ['SP-06 max_age of 11 digits', lines(V, E, M, 'max_age: 10000000000')],
    ['SP-06 an empty max_age', lines(V, E, M, 'max_age:')],
    ['SP-06 max_age in other digits', lines(V, E, M, 'max_age: ٣')],
    ['SP-09 enforce without mx', lines(V, E, A)],
    ['SP-09 testing without mx', lines(V, 'mode: testing', A)],
    ['SP-12 one malformed mx among good ones', lines(V, E, M, 'mx: 192.0.2.1', A)],
    ['SP-12 a malformed mx in mode none', lines(V, 'mode: none', 'mx: *', A)],
    ['SP-15 two mx on one line', lines(V, E, 'mx: a.test, b.test', A)],
    ['SP-16 a required key in another case', lines(V, 'Mode: enforce', M, A)],
    ['SP-17 blank lines and no other', '\n\r\n \n'],
    ['SP-17 a line of one carriage return too many', [V, '\r', E, M, A].join('\r\n')],
    ['SP-18 a line without a colon', lines(V, E, M, A, 'nonsense')],
    ['SP-18 CR as terminator', [V, E, M, A].join('\r')],
    ['SP-18 a CR inside a value', lines(V, E, M, A, 'x: a\rb')],
    ['SP-18 a CR after the last line', lines(V, E, M) + `${A}\r`],
    ['SP-18 an HTML page', '<!doctype html>\n<html><body>404: not found</body></html>\n'],
    ['SP-18 an empty body', ''],
    ['SP-19 an extension name that starts with an underscore', lines(V, E, M, A, '_x: 1')],
    ['SP-19 an extension name of 33 characters', lines(V, E, M, A, `${'x'.repeat(33)}: 1`)],
    ['SP-19 an extension name in UTF-8', lines(V, E, M, A, 'ü: 1')],
    ['SP-19 a control character in an extension value', lines(V, E, M, A, 'x: a\u0007b')],
    ['SP-19 a NUL in an extension value', lines(V, E, M, A, 'x: \u0000')],
    ['SP-19 an empty extension value', lines(V, E, M, A, 'x:')],
    ['SP-20 a byte order mark', `\ufeff${lines(V, E, M, A)}`],
  ]
  for (const [title, text] of refused) it(`${title} is refused`, () => void bad(text))

  const mxRefused = [
    '', '*', '*.', '*mx.x.test', 'mx.*.test', '*.*.test', '.x.test', '192.0.2.1', '*.0.2.1', 'x.test.', 'a b', 'a..b',
    '-a.test', 'a-.test', 'my_mx.test', '[192.0.2.1]', '2001:db8::1', 'mx.test:25', 'bücher.test', 'mx.test\u212a',
    '\u212a.test', `${'a'.repeat(64)}.test`, Array(64).fill('abc').join('.'),
  ] // prettier-ignore
  for (const mx of mxRefused) {
    it(`SP-10 SP-11 mx ${JSON.stringify(mx.slice(0, 24))} is refused`, () =>
      void bad(lines(V, E, `mx: ${mx}`, A)))
  }
  for (const mx of [
    'localhost',
    '*.test',
    '3com.test',
    '0.x',
    'a--b.test',
    `${'a'.repeat(63)}.test`,
  ]) {
    it(`SP-10 mx ${mx.slice(0, 20)} is accepted`, () =>
      assert.deepEqual(good(lines(V, E, `mx: ${mx}`, A)).mx, [mx]))
  }

  it('SP-07 max_age is clamped to the bound of the RFC', () => {
    assert.equal(good(lines(V, E, M, 'max_age: 9999999999')).maxAge, MAX_AGE_LIMIT)
    assert.equal(good(lines(V, E, M, 'max_age: 31557600')).maxAge, 31557600)
  })
  it('SP-08 max_age 0 is legal', () => assert.equal(good(lines(V, E, M, 'max_age: 0')).maxAge, 0))
  it('SA-10 RL-07 mx is kept in lower case', () => {
    assert.deepEqual(good(lines(V, E, 'mx: *.MAIL.Rcpt.Test', A)).mx, ['*.mail.rcpt.test'])
  })
  it('SP-14 of a repeated key the first counts, and the later ones are not validated', () => {
    const text = lines(
      V,
      'mode: testing',
      M,
      A,
      'mode: bogus',
      'version: STSv9',
      'max_age: -',
      'x: 1',
      'x:',
    )
    assert.equal(good(text).mode, 'testing')
  })
  it('SP-14 a bad first one is not saved by a good second one', () =>
    void bad(lines(V, 'mode: x', E, M, A)))
  it('SP-15 all mx lines are kept, in order', () => {
    assert.deepEqual(good(lines(V, E, 'mx: b.test', A, 'mx: a.test', 'mx: *.c.test')).mx, [
      'b.test',
      'a.test',
      '*.c.test',
    ])
  })
  it('SP-21 UTF-16 is refused', () => void bad(Buffer.from(lines(V, E, M, A), 'utf16le')))
  it('SP-21 ill-formed UTF-8 is refused', () => {
    void bad(Buffer.concat([Buffer.from(lines(V, E, M, A) + 'x: '), Buffer.from([0xc3, 0x28])]))
  })
  it('SP-24 the raw lines are kept, unknown keys included', () => {
    const text = `${V}\r\nfoo:  bär \n${E}\n${M}\n${A}\n\n`
    assert.deepEqual(good(text).lines, [V, 'foo:  bär ', E, M, A])
  })

  it('never throws, and what it accepts parses again from its lines with the same result', () => {
    const word = fc.constantFrom('version: STSv1', 'mode: enforce', 'mode: none', 'mx: a.test', 'mx: *.b.test', 'max_age: 5', 'x: y', '', ' ', '\r', '\u0000', 'é: é', 'mx:') // prettier-ignore
    const end = fc.constantFrom('\n', '\r\n', '\r', '')
    const text = fc
      .array(fc.tuple(fc.oneof({ arbitrary: word, weight: 9 }, fc.string()), end), { maxLength: 8 })
      .map((parts) => Buffer.from(parts.flat().join('')))
    const body = fc.oneof(
      text,
      fc.uint8Array({ maxLength: 200 }).map((octets) => Buffer.from(octets)),
    )
    fc.assert(
      fc.property(body, (octets) => {
        const outcome = parsePolicy(octets)
        if (!outcome.ok) return assert.doesNotMatch(outcome.detail, /\p{Cc}/u)
        const again = parsePolicy(Buffer.from(outcome.policy.lines.join('\n')))
        assert.deepEqual(again, outcome)
      }),
      { numRuns: 5000 },
    )
  })
})
