/**
 * EHLO once more, inside TLS: what was offered before may have been written by anybody on the path (RFC 3207 §4.2, RFC 8689 §2). Leaves
 * the socket as it was, whatever comes; its listeners are gone by then.
 */
import type { TLSSocket } from 'node:tls'
import { troubleText } from '../x509/trouble'
import { ReplyReader } from './reply-reader'
import type { Reply } from './reply-reader'

/** What came of it. */
export type Inside =
  | { readonly kind: 'reply'; readonly reply: Reply }
  | { readonly kind: 'lost' | 'malformed'; readonly detail: string }

/** @param timeoutMs for the whole reply */
export function askInside(tls: TLSSocket, helo: string, timeoutMs: number): Promise<Inside> {
  return new Promise<Inside>((resolve) => {
    const reader = new ReplyReader()
    const end = (inside: Inside) => {
      clearTimeout(timer)
      tls.off('data', onData).off('error', onError).off('close', onClose).off('end', onClose)
      resolve(inside)
    }
    const lost = (why: string) => {
      end({ kind: 'lost', detail: `${why} after the handshake` })
    }
    const onError = (err: Error) => {
      lost(troubleText(err))
    }
    const onClose = () => {
      lost('the server closed the connection')
    }
    const onData = (chunk: Buffer) => {
      const read = reader.push(chunk)
      if (read.kind === 'malformed') end({ kind: 'malformed', detail: read.detail })
      if (read.kind !== 'reply') return
      // Nothing is owed behind the reply; what comes all the same must not pass for a reply to what Haraka says next.
      if (read.rest === 0) end({ kind: 'reply', reply: read.reply })
      else end({ kind: 'malformed', detail: 'unasked-for octets behind the EHLO reply inside TLS' })
    }
    const timer = setTimeout(() => {
      lost('no answer to EHLO')
    }, timeoutMs)
    tls.on('data', onData).on('error', onError).on('close', onClose).on('end', onClose)
    tls.write(`EHLO ${helo}\r\n`)
  })
}
