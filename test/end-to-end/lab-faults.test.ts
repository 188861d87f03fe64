/** Each fault of the lab's receiver does what its name says, and no more. */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { connect as tlsConnect, type TLSSocket } from 'node:tls'
import { type Fault, Lab, type Receiver } from '../support/lab'

/** Milliseconds without a word after which a peer counts as silent: few where that is expected, else many. */
const silenceIn = (steps: readonly unknown[]) => (steps.includes('silent') ? 300 : 8_000)

/** What the receiver did at each step, up to the first that failed. */
async function walk(address: string, silence: number, goodbye = false): Promise<readonly string[]> {
  const steps: string[] = []
  let socket: Socket = connect(25, address)
  const say = async (line: string | undefined, wanted: RegExp): Promise<boolean> => {
    if (line !== undefined) socket.write(`${line}\r\n`)
    const heard = await hear(socket, silence)
    steps.push(heard)
    return wanted.test(heard)
  }
  try {
    if (!(await say(undefined, /^220 /))) return steps
    if (!(await say('EHLO client.test', /STARTTLS/)) && !(await say('HELO client.test', /^250/))) {
      return steps
    }
    if (!(await say('STARTTLS', /^220[^|]*$/))) return steps
    const handshake = await secure(socket, silence)
    if (typeof handshake === 'string') return [...steps, handshake]
    socket = handshake
    steps.push(handshake.getProtocol() ?? '')
    const transaction = [
      'EHLO client.test',
      'MAIL FROM:<a@client.test>',
      'RCPT TO:<b@good.test>',
      'RCPT TO:<c@good.test>',
      'DATA',
      'Subject: x\r\n\r\nx\r\n.',
    ]
    for (const line of transaction) if (!(await say(line, /^[23]/))) return steps
    // Only where a fault shows here; elsewhere the walk ends with the message.
    if (goodbye) await say('QUIT', /^221/)
    return steps
  } finally {
    socket.destroy()
  }
}

/** One reply, its lines joined by `|`; or `closed`, `reset`, `silent`, `endless`. */
function hear(socket: Socket, silence: number): Promise<string> {
  return new Promise((resolve) => {
    let input = ''
    const done = (heard: string) => {
      clearTimeout(timer)
      for (const event of ['data', 'end', 'error']) socket.removeAllListeners(event)
      socket.on('error', () => undefined)
      resolve(heard)
    }
    const timer = setTimeout(() => {
      done(input === '' ? 'silent' : `unfinished ${input}`)
    }, silence)
    socket.on('data', (bytes: Buffer) => {
      input += bytes.toString()
      if (input.length > 100_000) done('endless')
      else if (/^(?!\d{3}-).*\r\n$/m.test(input)) done(input.trimEnd().replaceAll('\r\n', '|'))
    })
    socket.on('end', () => {
      done('closed')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      done(error.code === 'ECONNRESET' ? 'reset' : error.message)
    })
  })
}

/** The secured socket, or what went wrong with the handshake. */
function secure(socket: Socket, silence: number): Promise<TLSSocket | string> {
  return new Promise((resolve) => {
    const tls = tlsConnect({
      socket,
      servername: 'mx.good.test',
      rejectUnauthorized: false,
      minVersion: 'TLSv1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    })
    const timer = setTimeout(() => {
      resolve('silent')
    }, silence)
    tls.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer)
      resolve(error.code === 'ECONNRESET' ? 'reset' : `handshake: ${error.code ?? error.message}`)
    })
    tls.once('secureConnect', () => {
      clearTimeout(timer)
      resolve(tls)
    })
  })
}

const OFFER = '250-mx|250-STARTTLS|250 8BITMIME'
const IN_TLS = ['220 mx ESMTP', OFFER, '220 2.0.0 go ahead', 'TLSv1.3', '250-mx|250 8BITMIME']
const MAILED = [...IN_TLS, '250 2.1.0 OK']
const ADDRESSED = [...MAILED, '250 2.1.5 OK', '250 2.1.5 OK', '354 go ahead']

const expected: Readonly<Record<Fault, readonly (string | RegExp)[]>> = {
  none: [...ADDRESSED, '250 2.0.0 stored'],
  'drop-on-connect': [/closed|reset/],
  'hang-greeting': ['silent'],
  'greeting-421': ['421 4.3.2 mx shuts down'],
  'greeting-554': ['554 5.3.2 mx takes no mail'],
  'greeting-junk': ['hello there, this is no SMTP'],
  'greeting-endless': ['endless'],
  'helo-only': [
    '220 mx ESMTP',
    '502 5.5.1 EHLO is not for us',
    '250 mx',
    '502 5.5.1 no STARTTLS here',
  ],
  'ehlo-junk': [
    '220 mx ESMTP',
    'this is no reply',
    '250 mx',
    '220 2.0.0 go ahead',
    'TLSv1.3',
    'this is no reply',
  ],
  'ehlo-hang': ['220 mx ESMTP', 'silent', '250 mx', '220 2.0.0 go ahead', 'TLSv1.3', 'silent'],
  'no-starttls': ['220 mx ESMTP', '250-mx|250 8BITMIME', '250 mx', '502 5.5.1 no STARTTLS here'],
  'starttls-454': ['220 mx ESMTP', OFFER, '454 4.7.0 TLS is not available for now'],
  'starttls-554': ['220 mx ESMTP', OFFER, '554 5.7.0 TLS is not available'],
  'starttls-hang': ['220 mx ESMTP', OFFER, 'silent'],
  'starttls-drop': ['220 mx ESMTP', OFFER, 'closed'],
  'drop-after-220': ['220 mx ESMTP', OFFER, '220 2.0.0 go ahead', /reset|handshake/],
  'inject-after-220': [
    '220 mx ESMTP',
    OFFER,
    '220 2.0.0 go ahead|250-injected.example|250 AUTH PLAIN',
  ],
  'garbage-handshake': ['220 mx ESMTP', OFFER, '220 2.0.0 go ahead', /handshake: ERR_SSL/],
  'hang-handshake': ['220 mx ESMTP', OFFER, '220 2.0.0 go ahead', 'silent'],
  'tls11-only': [
    ...['220 mx ESMTP', OFFER, '220 2.0.0 go ahead', 'TLSv1.1', '250-mx|250 8BITMIME'],
    ...ADDRESSED.slice(IN_TLS.length),
    '250 2.0.0 stored',
  ],
  'reset-after-tls': [...IN_TLS.slice(0, 4), 'reset'],
  'starttls-again': [
    ...IN_TLS.slice(0, 4),
    OFFER,
    ...ADDRESSED.slice(IN_TLS.length),
    '250 2.0.0 stored',
  ],
  'mail-450': [...IN_TLS, '450 4.3.0 not now'],
  'mail-550': [...IN_TLS, '550 5.7.1 not from you'],
  'rcpt-450': [...MAILED, '450 4.2.1 mailbox busy'],
  'rcpt-550': [...MAILED, '550 5.1.1 no such user'],
  'rcpt-450-but-one': [...MAILED, '250 2.1.5 OK', '450 4.2.1 mailbox busy'],
  'reset-in-data': [...ADDRESSED, 'reset'],
  'data-451': [...ADDRESSED, '451 4.3.0 could not store it'],
  'hang-after-data': [...ADDRESSED, 'silent'],
  'reset-on-connect': ['reset'],
  'reset-at-mail': [...IN_TLS, 'reset'],
  'data-command-451': [...ADDRESSED.slice(0, -1), '451 4.3.0 no data now'],
  'close-in-data': [...ADDRESSED, 'closed'],
  'refuse-in-data': [...ADDRESSED, '451 4.3.0 that is enough'],
  'garbage-in-data': [...ADDRESSED, /SSL|wrong version/],
  'data-554': [...ADDRESSED, '554 5.6.0 not that'],
  // The reply may or may not outrun the reset.
  'reset-after-stored': [...ADDRESSED, /^250 2\.0\.0 stored$|reset/],
  'reset-at-quit': [...ADDRESSED, '250 2.0.0 stored', 'reset'],
}

describe('a receiver of the lab with the fault', function () {
  this.timeout(240_000)
  const address = '192.0.2.10'
  let lab: Lab
  let receiver: Receiver

  before(async () => {
    lab = await Lab.start()
    receiver = await lab.receiver({
      address,
      name: 'mx',
      certificate: lab.certificate('mx.good.test'),
      extensions: ['8BITMIME'],
    })
  })

  after(async () => {
    await lab.stop()
  })

  for (const [fault, steps] of Object.entries(expected)) {
    it(fault, async () => {
      receiver.fault = fault as Fault
      const messages = receiver.messages.entries.length
      const seen = await walk(address, silenceIn(steps), fault === 'reset-at-quit')
      assert.equal(seen.length, steps.length, seen.join('\n'))
      for (const [i, step] of steps.entries()) {
        if (typeof step === 'string') assert.equal(seen[i], step)
        else assert.match(seen[i] ?? '', step)
      }
      const stored =
        seen.includes('250 2.0.0 stored') || /^(hang-after-data|reset-after-stored)$/.test(fault)
      assert.equal(receiver.messages.entries.length - messages, stored ? 1 : 0)
      assert.doesNotMatch(receiver.cleartext, /MAIL FROM/)
    })
  }

  it('none keeps cleartext and TLS apart', async () => {
    receiver.fault = 'none'
    const from = receiver.sessions.entries.length
    await walk(address, silenceIn([]))
    const session = await receiver.sessions.waitFor('the session', ({ closed }) => closed, { from })
    assert.equal(session.cleartext, 'EHLO client.test\r\nSTARTTLS\r\n')
    assert.match(session.secured, /^EHLO client\.test\r\nMAIL FROM[^]*\r\n\.\r\n$/)
    assert.deepEqual(session.greetings, ['client.test', 'client.test'])
    assert.equal(session.tls?.servername, 'mx.good.test')
  })
})
