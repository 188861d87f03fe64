/**
 * A TCP connection as TLS is put on it where its end must be told from a cut: what is above sees an end only when the peer said so
 * inside TLS (close_notify, RFC 8446 §6.1). Node makes no difference between that and a mere end of TCP, which anybody on the
 * path can bring about; a body that ends with the connection (RFC 9112 §6.3) would then look whole wherever it was cut.
 */
import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'

/** What has arrived before TCP ended is read by then, and with it the close_notify if there is one. */
const LAST_WORDS_MS = 1000

/** @param tcp connected; it is destroyed with the result, and with it alone */
export function orderly(tcp: Socket): Duplex {
  let ending: NodeJS.Timeout | undefined
  const duplex = new Duplex({
    read: () => void tcp.resume(),
    write: (chunk: Buffer, _encoding, done) => void tcp.write(chunk, done),
    final: (done) => void tcp.end(done),
    destroy: (error, done) => {
      clearTimeout(ending)
      tcp.destroy()
      done(error)
    },
  })
  const cut = () => {
    ending ??= setTimeout(() => {
      duplex.destroy(new Error('the connection was cut: TCP ended, TLS did not'))
    }, LAST_WORDS_MS)
  }
  tcp.on('data', (chunk: Buffer) => {
    if (!duplex.push(chunk)) tcp.pause()
  })
  tcp.on('error', (error) => duplex.destroy(error))
  tcp.on('end', cut)
  tcp.on('close', cut)
  return duplex
}
