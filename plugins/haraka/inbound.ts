/**
 * REQUIRETLS as clients meet it (RFC 8689 §2): taken into the notes that the queue keeps, or refused, and never a success that is
 * forgotten. Another plugin may turn a refusal into a success (karma does, by its shipped settings); so a refused tag is noted
 * all the same, and a message that carries it is refused once more before anybody queues it.
 */
import { deny } from 'haraka-constants'
import { NOTES_KEY, readNotes } from '../requiretls/demand'
import type { MessageNotes } from '../requiretls/demand'
import { answerMail, LOST_ROAD } from '../requiretls/parameter'
import type { Offer } from '../requiretls/offer'

export interface InboundConnection {
  readonly transaction?: { readonly notes: Record<string, unknown> } | null
}

export interface InboundOptions {
  readonly offer: (connection: InboundConnection) => Offer
}

/** Haraka's `next`, with a reply of ours, or with none where the chain of hooks goes on. */
export type Next = (retval?: number, reply?: unknown) => void

export interface Inbound {
  /** @param parameters of MAIL, as Haraka gives them to its `mail` hooks. */
  mail(next: Next, connection: InboundConnection, parameters: unknown): void
  /** Before the message is queued by any plugin. */
  queue(next: Next, connection: InboundConnection): void
}

/** Haraka takes code and text of a reply out of an object whose class has this name, wherever it comes from. */
class DSN {
  constructor(
    readonly code: number,
    readonly reply: string,
  ) {}
}

export function createInbound({ offer }: InboundOptions): Inbound {
  return {
    mail(next, connection, parameters) {
      const answer = answerMail(parameters, () => offer(connection))
      if (answer.kind === 'untagged') {
        next()
        return
      }
      // Ahead of the refusal, which may not be the last word.
      tag(connection, answer.kind === 'refuse')
      if (answer.kind === 'refuse') next(deny, new DSN(answer.code, answer.text))
      else next()
    },
    queue(next, connection) {
      if (readNotes(connection.transaction?.notes).requiretls) next(deny, new DSN(550, LOST_ROAD))
      else next()
    },
  }
}

function tag({ transaction }: InboundConnection, refused: boolean): void {
  if (!transaction) return
  const notes: MessageNotes = { requiretls: true, ...(refused ? { refused: true } : {}) }
  transaction.notes[NOTES_KEY] = notes
}
