import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ReplyReader } from '../../../plugins/haraka/reply-reader'
import type { ReadResult } from '../../../plugins/haraka/reply-reader'

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
    ['codes that differ', '250-a\r\n251 b\r\n'],
    ['an endless line', 'x'.repeat(3000)],
    ['a line too long that ends', `250 ${'x'.repeat(3000)}\r\n`],
    ['endless lines', '250-x\r\n'.repeat(200)],
  ]
  for (const [title, text] of malformed) {
    it(`refuses ${title}`, () => {
      assert.equal(read(text).kind, 'malformed')
    })
  }

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
