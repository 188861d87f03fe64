/** What of Haraka's words leaves for a host whose TLS has been verified, and in what form. */
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { putUpFacade } from '../../../plugins/haraka/facade'
import type { HeardInside } from '../../../plugins/haraka/facade'
import type { HarakaSocket } from '../../../plugins/haraka/types'

const tick = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A facade up to where TLS is handed over, as Haraka goes through it. */
async function secured(inside: HeardInside | undefined) {
  const wire: string[] = []
  const lines: string[] = []
  const blocked: string[] = []
  let isDestroyed = false
  const socket = Object.assign(new EventEmitter(), {
    _timeout: 1000,
    attach: () => undefined,
    write: (data: unknown) => {
      wire.push(String(data))
      return true
    },
    destroy: () => {
      isDestroyed = true
    },
  }) as unknown as HarakaSocket
  const tls = {
    destroyed: false,
    setTimeout: () => undefined,
    getCipher: () => ({ name: 'x' }),
    getProtocol: () => 'TLSv1.3',
  } as unknown as TLSSocket
  socket.on('line', (line: string) => lines.push(line.trimEnd()))
  putUpFacade(socket, tls, {
    host: 'mx.test',
    certificate: undefined,
    inside,
    onBlocked: (what) => blocked.push(what),
  })
  await tick()
  socket.write('EHLO us.test\r\n')
  await tick()
  socket.write('STARTTLS\r\n')
  await tick()
  await new Promise<void>((resolve) => {
    socket.upgrade({}, () => {
      resolve()
    })
  })
  lines.length = 0
  return { socket, wire, lines, blocked, destroyed: () => isDestroyed }
}

const tagged: HeardInside = { lines: ['mx.test', 'SMTPUTF8', 'REQUIRETLS'], tagMail: true }

describe('the facade and REQUIRETLS', () => {
  it('RQ-05 plays the reply to EHLO inside TLS back, and asks no second time', async () => {
    const { socket, wire, lines } = await secured(tagged)
    assert.equal(socket.isSecure(), true)
    socket.write('EHLO us.test\r\n')
    await tick()
    assert.deepEqual(lines, ['250-mx.test', '250-SMTPUTF8', '250 REQUIRETLS'])
    assert.deepEqual(wire, [])
  })

  const mails: readonly (readonly [string, string])[] = [
    ['MAIL FROM:<a@b.test>', 'MAIL FROM:<a@b.test> REQUIRETLS'],
    ['MAIL FROM:<>', 'MAIL FROM:<> REQUIRETLS'],
    ['MAIL FROM:<grå@b.test> SMTPUTF8', 'MAIL FROM:<grå@b.test> SMTPUTF8 REQUIRETLS'],
    ['MAIL FROM:<"a REQUIRETLS"@b.test>', 'MAIL FROM:<"a REQUIRETLS"@b.test> REQUIRETLS'],
    ['MAIL FROM:<"a> REQUIRETLS"@b.test>', 'MAIL FROM:<"a> REQUIRETLS"@b.test> REQUIRETLS'],
    ['MAIL FROM:<a@b.test> REQUIRETLS', 'MAIL FROM:<a@b.test> REQUIRETLS'],
    ['MAIL FROM:<a@b.test> REQUIRETLS SIZE=1', 'MAIL FROM:<a@b.test> REQUIRETLS SIZE=1'],
    ['MAIL FROM:<a@b.test> XREQUIRETLS', 'MAIL FROM:<a@b.test> XREQUIRETLS REQUIRETLS'],
  ]
  for (const [said, sent] of mails) {
    it(`RQ-01 ${said} leaves as ${sent}`, async () => {
      const { socket, wire, blocked } = await secured(tagged)
      socket.write('EHLO us.test\r\n')
      socket.write('AUTH PLAIN AGEAYg==\r\n')
      socket.write(`${said}\r\n`)
      const text = 'MAIL FROM:<in@the.text>\r\n'
      socket.write(text)
      assert.deepEqual(wire, ['AUTH PLAIN AGEAYg==\r\n', `${sent}\r\n`, text])
      assert.deepEqual(blocked, [])
    })
  }

  for (const said of ['RCPT TO:<u@b.test>\r\n', 'DATA\r\n', 'MAIL\r\n', 'mail from: <a@b>\r\n']) {
    it(`RQ-01 ${said.trim()} out of turn ends the session`, async () => {
      const { socket, wire, blocked, destroyed } = await secured(tagged)
      socket.write('EHLO us.test\r\n')
      socket.write(said)
      assert.deepEqual(wire, [])
      assert.equal(blocked.length, 1)
      assert.ok(destroyed())
    })
  }

  it('RQ-01 whatever is said, no recipient and no sender leaves before a MAIL that is tagged', async () => {
    const word = fc.oneof(
      fc.constantFrom(
        'MAIL FROM:<a@b>\r\n',
        'RCPT TO:<u@c>\r\n',
        'DATA\r\n',
        'RSET\r\n',
        'QUIT\r\n',
      ),
      fc.constantFrom(
        'MAIL FROM:<a@b>\r\nRCPT TO:<u@c>\r\n',
        'MAIL FROM:<a@b>\n',
        'AUTH LOGIN\r\n',
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 5 }), async (words) => {
        const { socket, wire } = await secured(tagged)
        socket.write('EHLO us.test\r\n')
        for (const said of words) socket.write(said)
        const first = wire.find((sent) => /MAIL|RCPT|DATA/.test(sent))
        assert.match(first ?? 'MAIL FROM:<> REQUIRETLS', /^MAIL FROM:<.*> REQUIRETLS(\r\n)?$/)
      }),
    )
  })

  it('RQ-17 without the tag MAIL leaves as it is', async () => {
    for (const inside of [undefined, { ...tagged, tagMail: false }]) {
      const { socket, wire } = await secured(inside)
      socket.write('EHLO us.test\r\n')
      socket.write('MAIL FROM:<a@b.test>\r\n')
      assert.equal(wire.at(-1), 'MAIL FROM:<a@b.test>\r\n')
      assert.equal(wire.length, inside ? 1 : 2)
    }
  })
})
