/** Replies out of a stream, and the memory that those under way may take together. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { room } from '../../../plugins/dnssec-stub/room'
import { tcpReplies } from '../../../plugins/dnssec-stub/tcp-reply'

const framed = (octets: Uint8Array) => {
  const prefix = Buffer.alloc(2)
  prefix.writeUInt16BE(octets.length)
  return Buffer.concat([prefix, octets])
}

/** A stream into a reader, and how it stands. */
function reader(shared: ReturnType<typeof room>) {
  const got: string[] = []
  let paused = false
  const stream = { pause: () => (paused = true), resume: () => (paused = false) }
  const replies = tcpReplies(shared, stream, (octets) => got.push(octets.toString('hex')))
  return { ...replies, got, isPaused: () => paused }
}

describe('dnssec-stub replies over TCP', () => {
  it('are the same however the stream is cut, though its octets are used again', () => {
    const message = fc.uint8Array({ maxLength: 40 })
    const cut = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 })
    fc.assert(
      fc.property(fc.array(message), cut, (messages, cuts) => {
        const whole = Buffer.concat(messages.map(framed))
        const { push, got } = reader(room(65_535))
        for (let at = 0, n = 0; at < whole.length; n++) {
          const chunk = Buffer.from(whole.subarray(at, (at += cuts[n % cuts.length] ?? 1)))
          push(chunk)
          chunk.fill(0xee)
        }
        assert.deepEqual(
          got,
          messages.map((octets) => Buffer.from(octets).toString('hex')),
        )
      }),
    )
  })

  it('a stream of nothing but lengths of zero is read to its end', () => {
    const { push, got } = reader(room(65_535))
    push(Buffer.alloc(65_536))
    assert.equal(got.length, 32_768)
  })

  it('XC-13 no more octets are held than there is room for; the next is read when there is again', () => {
    const shared = room(100_000)
    const [first, second, third] = [reader(shared), reader(shared), reader(shared)]
    const large = framed(Buffer.alloc(60_000, 1))
    first.push(large.subarray(0, 30_000))
    second.push(large.subarray(0, 5000))
    assert.deepEqual([first.isPaused(), second.isPaused()], [false, true])
    // Who came later stands behind it, small as it may be.
    third.push(framed(Buffer.alloc(10, 2)))
    assert.deepEqual([third.isPaused(), third.got.length], [true, 0])
    first.push(large.subarray(30_000))
    assert.deepEqual([first.got.length, second.isPaused(), third.isPaused()], [1, false, false])
    assert.equal(third.got.length, 1)
    second.push(large.subarray(5000))
    assert.equal(second.got[0], large.subarray(2).toString('hex'))
  })

  it('XC-13 a connection that ends gives its octets back, in line or not', () => {
    const shared = room(100)
    const [first, second, third] = [reader(shared), reader(shared), reader(shared)]
    for (const each of [first, second, third]) each.push(framed(Buffer.alloc(90)).subarray(0, 10))
    second.end()
    assert.equal(third.isPaused(), true)
    first.end()
    assert.equal(third.isPaused(), false)
    third.end()
    let began = 0
    shared.take(100, () => began++)
    assert.equal(began, 1)
  })
})
