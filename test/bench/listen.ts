/**
 * `listen`: what it costs to overhear a session that Haraka holds by itself (plugins/haraka/listen.ts). Sessions without a network: the
 * events of one that delivers in cleartext to a host without STARTTLS, and of one that comes to TLS, on an emitter; the same emitter
 * with no listener of ours is what is subtracted in mind.
 */
import { EventEmitter } from 'node:events'
import type * as listenModule from '../../plugins/haraka/listen'
import type { HarakaSocket } from '../../plugins/haraka/types'
import { Rounds, type Row } from './report'
import { compiled } from './world'

const ROUNDS = 7
const SESSIONS = 20_000

const GREETING = Buffer.from('220 mx1.rcpt.test ESMTP\r\n')
const EXTENSIONS = ['SIZE 52428800', '8BITMIME', 'PIPELINING']
const ehlo = (more: readonly string[]) =>
  Buffer.from(
    `250-mx1.rcpt.test\r\n${[...EXTENSIONS, ...more].map((each) => `250-${each}\r\n`).join('')}250 HELP\r\n`,
  )
const PLAIN = ehlo([])
const OFFERED = ehlo(['STARTTLS'])
const READY = Buffer.from('220 go ahead\r\n')
const OK = Buffer.from('250 ok\r\n')

/** As far as listen() touches one. */
class Socket extends EventEmitter {
  readonly targetsocket = { localAddress: '192.0.2.99' }
  readonly cleartext = { getProtocol: () => 'TLSv1.3', getCipher: () => ({ name: 'X' }) }
  write(): boolean {
    return true
  }
}

type Session = (socket: HarakaSocket) => void

const say = (socket: HarakaSocket, command: string, reply: Buffer) => {
  socket.write(`${command}\r\n`)
  socket.emit('data', reply)
}
const mail = (socket: HarakaSocket) => {
  say(socket, 'MAIL FROM:<a@sender.test>', OK)
  say(socket, 'RCPT TO:<b@rcpt.test>', OK)
  say(socket, 'QUIT', OK)
  socket.removeAllListeners()
}
const KINDS: readonly (readonly [string, Session])[] = [
  [
    'no STARTTLS',
    (socket) => {
      socket.emit('data', GREETING)
      say(socket, 'EHLO sender.test', PLAIN)
      mail(socket)
    },
  ],
  [
    'TLS',
    (socket) => {
      socket.emit('data', GREETING)
      say(socket, 'EHLO sender.test', OFFERED)
      say(socket, 'STARTTLS', READY)
      socket.emit('secureConnect')
      say(socket, 'EHLO sender.test', PLAIN)
      mail(socket)
    },
  ],
]

export function benchListen(): Promise<readonly Row[]> {
  const { listen } = compiled('haraka/listen') as typeof listenModule
  const rounds = new Rounds('listen')
  let heard = 0
  const listeners = { onHeard: () => void (heard += 1), onLost: () => undefined }
  const variants = [
    ['alone', () => undefined],
    ['listened to', (socket: HarakaSocket) => { listen(socket, '192.0.2.1', listeners) }],
  ] as const // prettier-ignore
  for (let round = 0; round < ROUNDS; round++) {
    for (const [kind, session] of KINDS) {
      for (const [variant, begin] of variants) {
        const before = process.cpuUsage()
        for (let n = 0; n < SESSIONS; n++) {
          const socket = new Socket() as unknown as HarakaSocket
          // Haraka's own.
          socket.on('data', () => undefined)
          begin(socket)
          session(socket)
        }
        const { user } = process.cpuUsage(before)
        rounds.add(`${kind}, ${variant}`, 'user CPU a session', user / SESSIONS, 'µs')
      }
    }
  }
  if (heard !== ROUNDS * KINDS.length * SESSIONS) throw new Error(`${heard} sessions were heard`)
  return Promise.resolve(rounds.rows())
}
