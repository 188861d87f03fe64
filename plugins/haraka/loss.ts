/** Hears of a session that breaks after TLS was up and before it had served its purpose. */
import { SHOW_A_CERTIFICATE } from '../x509/trouble'
import { errorText } from './attempt'
import type { HarakaSocket } from './types'

export interface Loss {
  /** Call it once Haraka has put its own listeners on. */
  readonly begin: () => void
  /** Haraka ends the session itself: whatever happens from now on is no loss. */
  readonly ignore: () => void
}

/**
 * Haraka goes on to the next host when a session breaks; a deferral shall name this one as well. Once Haraka has said QUIT, the
 * session has served its purpose.
 */
export function listenForLoss(
  socket: HarakaSocket,
  protocol: string,
  lost: (detail: string) => void,
): Loss {
  let isOver = false
  let heard = false
  const note = (detail: string) => {
    if (isOver) return
    isOver = true
    lost(detail)
  }
  const ended = (text: string) => {
    note(heard || protocol !== 'TLSv1.3' ? text : withCure(text))
  }
  return {
    begin() {
      socket.once('data', () => {
        heard = true
      })
      // Ahead of Haraka's own listeners: those may end the attempt at once. Of a host that is silent, Haraka says so in plain text.
      socket.prependListener('error', (err: unknown) => {
        if (err instanceof Error) ended(errorText(err))
        else note(errorText(err))
      })
      socket.prependListener('close', () => {
        ended('the connection was closed')
      })
    },
    ignore() {
      isOver = true
    },
  }
}

/**
 * In TLS 1.3 the handshake is over for us before the server has looked for our certificate (RFC 8446 §4.4.2): its refusal comes
 * in place of its first words, and a closed connection may be all that is left of it.
 */
function withCure(text: string): string {
  return text.includes(SHOW_A_CERTIFICATE)
    ? text
    : `${text}, before a word inside TLS; perhaps ${SHOW_A_CERTIFICATE}`
}
