/**
 * One question to one server: a datagram with a random id from a random port (udp-sockets.ts), and the same over TCP
 * where the reply was truncated (RFC 7766). Promises: settles within the time given, closes its sockets, never rejects.
 * Datagrams that do not carry the id are not replies and are ignored; a reply that does but makes no sense is malformed.
 */
import { connect } from 'node:net'
import type { Room } from './room'
import type { Server } from './servers'
import { LENGTH_PREFIX, tcpReplies } from './tcp-reply'
import type { UdpSockets } from './udp-sockets'
import {
  answersQuestion,
  decodeHead,
  decodeMessage,
  encodeQuery,
  type Dialect,
  type Message,
  type Question,
} from './wire'

export type Exchanged =
  | { readonly kind: 'reply'; readonly message: Message }
  | {
      readonly kind: 'failed'
      readonly cause: 'timeout' | 'network' | 'malformed' | 'aborted'
      readonly why: string
    }

/** Octets that are read from a connection at a time, into the same block: Node's own would be 64 KiB, a new one for each. */
const CHUNK = 8192

/** For one transport, with the truncated reply still to be told apart. */
type Transported = Exchanged | { readonly kind: 'truncated' }

export interface ExchangeOptions {
  /** For each of the two transports, milliseconds. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** A fresh unpredictable number from 0 to 65535. */
  readonly randomId: () => number
  /** Default `edns`. */
  readonly dialect?: Dialect
  /** Ask over TCP at once. */
  readonly tcpOnly?: boolean
  readonly sockets: UdpSockets
  /** For replies over TCP that are being received. */
  readonly room: Room
}

/** Asks over UDP, and over TCP where that was not enough. */
export async function exchange(
  server: Server,
  question: Question,
  options: ExchangeOptions,
): Promise<Exchanged> {
  if (options.tcpOnly !== true) {
    const overUdp = await transport(server, question, options, askOverUdp(options.sockets))
    if (overUdp.kind !== 'truncated') return overUdp
  }
  const overTcp = await transport(server, question, options, askOverTcp)
  return overTcp.kind === 'truncated' ? malformed('truncated over TCP') : overTcp
}

interface Conversation {
  readonly server: Server
  readonly query: Buffer
  readonly room: Room
  /** Takes a reply's octets. */
  readonly received: (octets: Buffer) => void
  readonly failed: (error: Error) => void
}

/** Starts a conversation; what it returns ends it and is called exactly once. */
type Transport = (conversation: Conversation) => () => void

function transport(
  server: Server,
  question: Question,
  { timeoutMs, signal, randomId, dialect = 'edns', room }: ExchangeOptions,
  start: Transport,
): Promise<Transported> {
  const id = randomId()
  return new Promise((resolve) => {
    let stop: (() => void) | undefined
    let settled = false
    const settle = (outcome: Transported): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      stop?.()
      resolve(outcome)
    }
    const abort = (): void => settle({ kind: 'failed', cause: 'aborted', why: 'aborted' })
    const failed = (error: Error): void =>
      settle({ kind: 'failed', cause: 'network', why: error.message })
    const timer = setTimeout(
      () => settle({ kind: 'failed', cause: 'timeout', why: 'no reply in time' }),
      timeoutMs,
    )
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    try {
      stop = start({
        server,
        query: encodeQuery(id, question, dialect),
        room,
        received: (octets) => {
          const outcome = judge(octets, id, question, dialect)
          if (outcome !== undefined) settle(outcome)
        },
        failed,
      })
      if (settled) stop()
    } catch (error: unknown) {
      failed(error instanceof Error ? error : new Error('cannot ask'))
    }
  })
}

/** undefined: not a reply to this query at all. */
function judge(
  octets: Buffer,
  id: number,
  question: Question,
  dialect: Dialect,
): Transported | undefined {
  const head = decodeHead(octets)
  if (head === undefined || head.id !== id || !head.isResponse) return undefined
  // A truncated message may end anywhere; nothing in it is read.
  if (head.truncated) return { kind: 'truncated' }
  const decoded = decodeMessage(octets, dialect === 'plain' ? 'counted' : 'malformed')
  if (!decoded.ok) return malformed(decoded.why)
  const { message } = decoded
  // Servers that cannot read a query may send its header alone (RFC 1035 §4.1.1, FORMERR).
  const isBareError = message.questions.length === 0 && message.rcode !== 0 && message.rcode !== 3
  if (!isBareError && !answersQuestion(message, question))
    return malformed('answers another question')
  return head.opcode === 0 ? { kind: 'reply', message } : malformed('not a reply to a query')
}

function malformed(why: string): Exchanged {
  return { kind: 'failed', cause: 'malformed', why }
}

const askOverUdp =
  (sockets: UdpSockets): Transport =>
  ({ server, query, received, failed }) =>
    sockets.ask(server, query, { received, failed })

const askOverTcp: Transport = ({ server, query, room, received, failed }) => {
  const buffer = Buffer.allocUnsafeSlow(CHUNK)
  const callback = (length: number): boolean => {
    replies.push(buffer.subarray(0, length))
    return true
  }
  const socket = connect({
    host: server.address,
    port: server.port,
    onread: { buffer, callback },
  })
  const replies = tcpReplies(
    room,
    { pause: () => socket.pause(), resume: () => socket.resume() },
    received,
  )
  socket.on('error', failed)
  socket.on('close', () => failed(new Error('closed the connection without a reply')))
  socket.on('connect', () => {
    const prefix = Buffer.alloc(LENGTH_PREFIX)
    prefix.writeUInt16BE(query.length)
    socket.write(Buffer.concat([prefix, query]))
  })
  return () => {
    replies.end()
    socket.destroy()
  }
}
