/**
 * Listens to a session that Haraka holds by itself, until TLS is up or the session is over. Changes nothing: no octet, no order of
 * events, no verdict of Haraka's. Costs a few microseconds a session.
 */
import type { TLSSocket } from 'node:tls'
import type { SessionEnd } from '../delivery/host-end'
import { troubleCode, troubleText } from '../x509/trouble'
import { listenForLoss } from './loss'
import type { Loss } from './loss'
import { codeOf, StartTlsDialogue } from './starttls'
import type { NoTls } from './starttls'
import type { HarakaSocket } from './types'

export type Heard =
  /** The handshake has just ended; the socket can be asked for its certificates once. */
  | { readonly kind: 'tls'; readonly session: SessionEnd; readonly tls: TLSSocket }
  | { readonly kind: 'no-tls'; readonly session: SessionEnd; readonly why: NoTls }
  /** TLS was to be had, and Haraka's own settings kept it from it. */
  | { readonly kind: 'left-alone'; readonly session: SessionEnd }

export interface Listeners {
  /** Called once. */
  readonly onHeard: (heard: Heard) => void
  /** A session that had come to TLS broke; at most once. */
  readonly onLost: (detail: string) => void
}

/**
 * Call it as soon as Haraka has its socket: the listeners go ahead of Haraka's, which may end the session at once.
 * @param peer The address that was dialled.
 */
export function listen(socket: HarakaSocket, peer: string, listeners: Listeners): void {
  const dialogue = new StartTlsDialogue()
  const local = socket.targetsocket.localAddress
  let isOver = false
  let loss: Loss | undefined

  const session = (more: Partial<SessionEnd> = {}): SessionEnd => ({
    stage: dialogue.stage,
    peer,
    ...(local === undefined ? {} : { local }),
    ...(dialogue.name === undefined ? {} : { helo: dialogue.name }),
    ...more,
  })
  const end = (heard: Heard) => {
    if (isOver) return
    isOver = true
    listeners.onHeard(heard)
  }
  const withoutTls = (how: 'timeout' | 'closed', why: string, code?: string) => {
    if (isOver) return
    const noTls = dialogue.failed(how, why)
    end({ kind: 'no-tls', session: session(codeOf(noTls, code)), why: noTls })
  }

  overhearCommands(socket, (command) => {
    if (command === 'QUIT') loss?.ignore()
    else if (isOver) return
    else if (command !== 'other') dialogue.asked(command)
    else if (!dialogue.offersStartTls) withoutTls('closed', 'Haraka went on without TLS')
    else end({ kind: 'left-alone', session: session({ leftAlone: true }) })
  })
  socket.prependListener('data', (chunk: Buffer | string) => {
    if (isOver || dialogue.stage === 'handshake') return
    dialogue.hear(typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk)
  })
  socket.once('secureConnect', () => {
    if (isOver) return
    try {
      const tls = socket.cleartext as TLSSocket
      const protocol = tls.getProtocol() ?? 'unknown'
      const cipher = tls.getCipher().name
      end({ kind: 'tls', session: session({ stage: 'tls', tls: { protocol, cipher } }), tls })
      loss = listenForLoss(socket, protocol, listeners.onLost)
      loss.begin()
    } catch (err: unknown) {
      // A socket that is gone in the very moment has nothing to read; that must not end the process.
      withoutTls('closed', troubleText(err))
    }
  })
  socket.prependOnceListener('close', () => {
    withoutTls('closed', 'the server closed the connection')
  })
  socket.prependOnceListener('timeout', () => {
    withoutTls('timeout', '')
  })
  socket.prependOnceListener('error', (err: unknown) => {
    withoutTls('closed', troubleText(err), troubleCode(err))
  })
  const removeAllListeners = socket.removeAllListeners.bind(socket)
  // Haraka ends every session with this; the listeners above would never hear of it.
  socket.removeAllListeners = (...names) => {
    withoutTls('closed', 'the session ended')
    return removeAllListeners(...names)
  }
}

type Command = 'EHLO' | 'STARTTLS' | 'QUIT' | 'other'

/** What Haraka says: until the end inside TLS, else until it is past the point where it would ask for TLS. */
function overhearCommands(socket: HarakaSocket, hear: (command: Command) => void): void {
  const { write } = socket as { write: (...args: Parameters<HarakaSocket['write']>) => boolean }
  let secured = false
  socket.write = (...args) => {
    const [data] = args
    const command = typeof data === 'string' ? commandIn(data) : undefined
    if (command !== undefined) hear(command)
    if (command === 'STARTTLS') secured = true
    if (command === 'other' && !secured) socket.write = write
    return write.apply(socket, args)
  }
}

function commandIn(line: string): Command | undefined {
  if (/^[EL]HLO /i.test(line)) return 'EHLO'
  if (/^STARTTLS\r\n/i.test(line)) return 'STARTTLS'
  if (/^QUIT\r\n/i.test(line)) return 'QUIT'
  // The reply to HELO says nothing of extensions.
  return /^HELO /i.test(line) ? undefined : 'other'
}
