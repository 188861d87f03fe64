import assert from 'node:assert/strict'
import fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { offersStartTls, ReplyReader } from '../../../plugins/haraka/reply-reader'
import type { ReadResult } from '../../../plugins/haraka/reply-reader'
import { cpuMilliseconds } from '../../support/cpu'

const harakaVersions = ['3.1.6', '3.2.1', '3.3.4'] as const

/** The code and the keyword as Haraka's own pattern has them, in its own source. */
function asHaraka(version: (typeof harakaVersions)[number], text: string): [number, boolean] {
  const folder = version === '3.3.4' ? 'Haraka' : `haraka-${version}`
  const path = join(__dirname, '../../../node_modules', folder, 'outbound/hmail.js')
  const source = /const smtp_regexp = \/(.*)\/\n/.exec(readFileSync(path, 'utf8'))?.[1]
  assert.ok(source)
  const pattern = new RegExp(source)
  const response: string[] = []
  for (const line of text.match(/[^\n]*\n/g) ?? []) {
    const [, code, separator, , rest = ''] = pattern.exec(line) ?? []
    response.push(rest)
    if (separator === ' ')
      return [Number(code), response.some((one) => one.toUpperCase() === 'STARTTLS')]
  }
  return assert.fail('no reply')
}

function read(...chunks: readonly string[]): ReadResult {
  const reader = new ReplyReader()
  let result: ReadResult = { kind: 'incomplete' }
  for (const chunk of chunks) {
    result = reader.push(Buffer.from(chunk, 'latin1'))
    if (result.kind !== 'incomplete') return result
  }
  return result
}

describe('ReplyReader', () => {
  it('reads one line', () => {
    assert.deepEqual(read('220 mx1.rcpt.test ESMTP\r\n'), {
      kind: 'reply',
      reply: { code: 220, lines: ['mx1.rcpt.test ESMTP'] },
      rest: 0,
    })
  })

  it('reads many lines, however they are cut', () => {
    const whole = '250-mx1\r\n250-SIZE 1\r\n250 STARTTLS\r\n'
    const expected = { code: 250, lines: ['mx1', 'SIZE 1', 'STARTTLS'] }
    for (let cut = 0; cut <= whole.length; cut++) {
      const result = read(whole.slice(0, cut), whole.slice(cut))
      assert.ok(result.kind === 'reply')
      assert.deepEqual(result.reply, expected)
    }
  })

  it('accepts a bare code and a bare line feed', () => {
    const result = read('250\n')
    assert.ok(result.kind === 'reply' && result.reply.code === 250)
  })

  it('STLS-12 sees octets behind a reply', () => {
    const result = read('220 go\r\n250 injected\r\n')
    assert.ok(result.kind === 'reply')
    assert.equal(result.rest, '250 injected\r\n'.length)
  })

  it('STLS-14 leaves a mangled keyword what it is', () => {
    const result = read('250-mx1\r\n250 XXXXXXXX\r\n')
    assert.ok(result.kind === 'reply')
    assert.deepEqual(result.reply.lines, ['mx1', 'XXXXXXXX'])
  })

  const malformed: readonly (readonly [string, string])[] = [
    ['no code', 'hello there\r\n'],
    ['code out of range', '199 x\r\n'],
    ['no separator', '250x\r\n'],
    ['a code behind something', ' 250 x\r\n'],
    ['an endless line', 'x'.repeat(70_000)],
    ['a line too long that ends', `250 ${'x'.repeat(70_000)}\r\n`],
    ['endless lines', '250-x\r\n'.repeat(10_000)],
  ]
  for (const [title, text] of malformed) {
    it(`refuses ${title}`, () => {
      assert.equal(read(text).kind, 'malformed')
    })
  }

  /** As Haraka's hmail.js reads them: the code of the last line counts. */
  const lenient: readonly (readonly [string, string, number, boolean])[] = [
    ['CR CR LF', '250-mx\r\r\n250 STARTTLS\r\r\n', 250, true],
    ['bare line feeds', '250-mx\n250 STARTTLS\n', 250, true],
    ['hundreds of lines', `${'250-X-FEATURE\r\n'.repeat(900)}250 STARTTLS\r\n`, 250, true],
    ['a long line', `250-X ${'x'.repeat(20_000)}\r\n250-STARTTLS\r\n250 HELP\r\n`, 250, true],
    ['codes that differ', '250-mx\r\n251-STARTTLS\r\n252 HELP\r\n', 252, true],
    ['a failure at the end', '250-STARTTLS\r\n550 no\r\n', 550, true],
    ['a status code before the keyword', '250-mx\r\n250 2.0.0 STARTTLS\r\n', 250, true],
    ['a mark before the keyword', '250-mx\r\n250 #STARTTLS\r\n', 250, true],
    ['the keyword in the first line', '250 STARTTLS\r\n', 250, true],
    ['a CR within a line', '250-mx\r\n250 STARTTLS\rx\r\n', 250, true],
    ['small letters', '250-mx\r\n250 starttls\r\n', 250, true],
    ['a keyword with a parameter', '250-mx\r\n250 STARTTLS now\r\n', 250, false],
    ['octets beyond ASCII', '250-b\xfccher\r\n250 STARTTLS\r\n', 250, true],
  ]
  for (const [title, text, code, offered] of lenient) {
    it(`takes ${title}`, () => {
      const result = read(text)
      assert.ok(result.kind === 'reply', JSON.stringify(result))
      assert.deepEqual([result.reply.code, offersStartTls(result.reply)], [code, offered])
    })
    for (const version of harakaVersions) {
      it(`takes ${title} as Haraka ${version} does`, () => {
        assert.deepEqual(asHaraka(version, text), [code, offered])
      })
    }
  }

  it('a reply in single octets takes no longer than its octets', () => {
    const text = Buffer.from(`250-${'x'.repeat(50_000)}\r\n250 STARTTLS\r\n`)
    const reader = new ReplyReader()
    let result: ReadResult = { kind: 'incomplete' }
    const took = cpuMilliseconds(() => {
      for (let at = 0; at < text.length; at++) result = reader.push(text.subarray(at, at + 1))
    })
    assert.equal(result.kind, 'reply')
    assert.ok(took < 500, `${took} ms`)
  })

  it('shows no control characters of the peer', () => {
    const result = read('220 a\x1b[2Jb\x00\r\n')
    assert.ok(result.kind === 'reply')
    assert.deepEqual(result.reply.lines, ['a?[2Jb?'])
  })

  it('never throws and is the same however the octets are cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(400), (octets, cut) => {
        const text = Buffer.from(octets).toString('latin1')
        const whole = read(text)
        const halves = read(text.slice(0, cut), text.slice(cut))
        if (whole.kind === 'reply' && halves.kind === 'reply') {
          assert.deepEqual(halves.reply, whole.reply)
        } else {
          assert.equal(halves.kind, whole.kind)
        }
      }),
    )
  })
})
