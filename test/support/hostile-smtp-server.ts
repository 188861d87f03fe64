/**
 * A hostile SMTP server on loopback: for each connection a script of octets to say, where it goes wrong, and which certificate it
 * shows. It hears everything and keeps it: what was said in cleartext, and whether a TLS handshake came to its end.
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { TLSSocket, type SecureContext } from 'node:tls'

/** What happens to octets of TLS on their way to the client. */
export interface Meddling {
  /** Counted from the first octet of TLS. */
  readonly at: number
  readonly how: 'flip' | 'drop' | 'insert' | 'close' | 'stall'
  readonly octet: number
}

export interface Script {
  /** Said at once, and then after each line that the client says; in the pieces given, each by itself. */
  readonly says: readonly (readonly Buffer[])[]
  /** After all has been said: TLS, silence, the end, one octet now and then, or octets without end. */
  readonly then: 'tls' | 'silence' | 'close' | 'reset' | 'drip' | 'flood'
  /** That waits until the client has spoken again; or it comes at once. */
  readonly isPatient: boolean
  readonly context: SecureContext
  readonly meddling: Meddling | undefined
}

export interface Heard {
  /** Everything that came before the first octet of TLS. */
  readonly cleartext: Buffer
  /** The server's side of the handshake is done. */
  readonly secured: boolean
  /** What came inside TLS. */
  readonly inside: Buffer
}

export interface HostileServer {
  readonly port: number
  /** For the next connection. */
  play(script: Script): void
  /** Until then the server keeps its side of the connection open, whatever the client does. */
  letGo(): void
  /** Of the last connection; settles when it has ended. */
  heard(): Promise<Heard>
  close(): Promise<void>
}

/** Begins a TLS record with a handshake message. */
const TLS_HANDSHAKE = 0x16

export async function hostileServer(): Promise<HostileServer> {
  let script: Script | undefined
  let last: Promise<Heard> | undefined
  let release = (): void => undefined
  let released = Promise.resolve()
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    last = script === undefined ? undefined : serve(socket, script, released)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    play: (next) => {
      script = next
      last = undefined
      released = new Promise((resolve) => {
        release = resolve
      })
    },
    letGo: () => release(),
    async heard() {
      while (last === undefined) await once(server, 'connection')
      return last
    },
    async close() {
      server.close()
      await once(server, 'close')
    },
  }
}

async function serve(socket: Socket, script: Script, released: Promise<void>): Promise<Heard> {
  const { says, then, isPatient, context, meddling } = script
  const cleartext: Buffer[] = []
  const inside: Buffer[] = []
  const turns = [...says]
  let tls: { readonly wire: Duplex; readonly secured: TLSSocket } | undefined
  let isSecured = false
  let hasSaidAll = false

  const say = (): void => {
    const isOver = turns.length === 0
    const turn = turns.shift()
    for (const piece of turn ?? []) if (socket.writable) socket.write(piece)
    if (isPatient ? !isOver : turns.length > 0) return
    hasSaidAll = true
    if (then === 'close') socket.end()
    if (then === 'reset') socket.resetAndDestroy()
    if (then === 'drip' || then === 'flood') goOn(socket, then)
  }
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.on('error', () => undefined)
  socket.on('data', (chunk: Buffer) => {
    if (tls === undefined && chunk[0] === TLS_HANDSHAKE && then === 'tls') {
      const wire = meddled(socket, meddling)
      const secured = new TLSSocket(wire, { isServer: true, secureContext: context })
      secured.on('error', () => socket.destroy())
      secured.on('secure', () => {
        isSecured = true
      })
      secured.on('data', (said: Buffer) => inside.push(said))
      tls = { wire, secured }
    }
    if (tls !== undefined) {
      tls.wire.push(chunk)
      return
    }
    cleartext.push(chunk)
    const isNext = turns.length > 0 ? chunk.includes('\n') : isPatient
    if (isNext && !hasSaidAll) say()
  })
  socket.on('end', () => {
    tls?.wire.push(null)
    void released.then(() => socket.end())
  })
  say()
  await closed
  tls?.secured.destroy()
  return { cleartext: Buffer.concat(cleartext), secured: isSecured, inside: Buffer.concat(inside) }
}

const LINE = Buffer.from('220-and so on\r\n')
const BLOCK = Buffer.concat(Array<Buffer>(1000).fill(LINE))
const DRIP_MS = 5

/** Says more and more of a reply that has no end, for as long as somebody is there. */
function goOn(socket: Socket, how: 'drip' | 'flood'): void {
  let said = 0
  const more = (): void => {
    if (!socket.writable) clearInterval(timer)
    else if (how === 'flood') socket.write(BLOCK)
    else socket.write(LINE.subarray(said % LINE.length, (said++ % LINE.length) + 1))
  }
  const timer = setInterval(more, DRIP_MS)
  socket.on('close', () => clearInterval(timer))
}

/** The wire under the server's TLS, with what happens to its octets. */
function meddled(socket: Socket, meddling: Meddling | undefined): Duplex {
  let sent = 0
  let isStalled = false
  return new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      const start = sent
      sent += chunk.length
      const at = meddling === undefined ? -1 : meddling.at - start
      if (meddling === undefined || at < 0 || at >= chunk.length) {
        if (!isStalled && socket.writable) socket.write(chunk)
        return done()
      }
      const [before, behind] = [chunk.subarray(0, at), chunk.subarray(at)]
      const octet = Buffer.from([meddling.octet])
      const [first = 0] = behind
      const flipped = Buffer.from([first ^ (meddling.octet === 0 ? 1 : meddling.octet)])
      const altered = {
        flip: [flipped, behind.subarray(1)],
        drop: [behind.subarray(1)],
        insert: [octet, behind],
        close: [],
        stall: [],
      }
      isStalled = meddling.how === 'stall'
      if (socket.writable) socket.write(Buffer.concat([before, ...altered[meddling.how]]))
      if (meddling.how === 'close') socket.end()
      done()
    },
    final: (done) => {
      if (socket.writable) socket.end()
      done()
    },
  })
}
