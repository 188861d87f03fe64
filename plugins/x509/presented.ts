/**
 * The certificates that a peer sent in the handshake, as it sent them.
 *
 * Promises: all of them, up to 32, leaf first, unrelated, duplicate and disordered ones included; not the chain that OpenSSL or
 * Node builds from them. None, for a resumed session that carries none, or a socket already closed: the verifier must then refuse.
 */
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'

/** OpenSSL bounds the message to 100 KiB; no honest server sends more than a handful. */
export const MOST_PRESENTED = 32

/**
 * Takes the certificates from the socket. Call it once, after `secureConnect`, and keep the result: on the client side
 * getPeerX509Certificate() empties OpenSSL's list as it reads, so that afterwards neither it nor getPeerCertificate() knows
 * any certificate; where it is needed in the older form, X509Certificate.toLegacyObject() makes it.
 */
export function presentedChain(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = []
  let next = socket.getPeerX509Certificate()
  while (next !== undefined && chain.length < MOST_PRESENTED) {
    chain.push(next)
    next = next.issuerCertificate
  }
  return chain
}
