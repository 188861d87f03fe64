/**
 * REQUIRETLS as clients meet it (RFC 8689 §2): offered where the promise can be kept, taken into the notes that the queue keeps, or
 * refused, and never a success that is forgotten. Another plugin may turn a refusal into a success (karma does, by its shipped
 * settings); so a refused tag is noted all the same, and a message that carries it is refused once more before any plugin
 * queues it.
 */
import { deny } from 'haraka-constants'
import { NOTES_KEY, readNotes } from '../requiretls/demand'
import type { MessageNotes } from '../requiretls/demand'
import { mayRelay, offerTo } from '../requiretls/offer'
import type { Offer, OfferFacts } from '../requiretls/offer'
import { answerMail, LOST_ROAD, PARAMETER } from '../requiretls/parameter'
import { errorText } from './attempt'

export interface InboundConnection {
  readonly transaction?: { readonly notes: Record<string, unknown> } | null
  readonly tls?: { readonly enabled?: boolean }
  readonly relaying?: boolean
  readonly local?: { readonly port?: unknown }
  /** Of the latest EHLO reply. */
  readonly capabilities?: unknown[] | null
  readonly loginfo: (...parts: unknown[]) => void
}

export interface InboundOptions {
  readonly setting: () => OfferFacts['setting']
  /** Why the promise could not be kept for any message; undefined: it can. */
  readonly obstacle: () => string | undefined
  /** Why no host of a domain could ever take a tagged message; undefined: one may, or it is not known in time. */
  readonly neverTaken: (domain: string) => Promise<string | undefined>
}

/** Haraka's `next`, with a reply of ours, or with none where the chain of hooks goes on. */
export type Next = (retval?: number, reply?: unknown) => void

export interface Inbound {
  /** Into the EHLO reply. */
  offer(next: Next, connection: InboundConnection): void
  /** @param parameters of MAIL, as Haraka gives them to its `mail` hooks. */
  mail(next: Next, connection: InboundConnection, parameters: unknown): void
  /** A recipient of a client that relays. */
  rcpt(next: Next, connection: InboundConnection, domain: string): void
  /** Before Haraka's own delivery is given the message. */
  queueOutbound(next: Next, connection: InboundConnection): void
  /** Before a plugin is given it. */
  queue(next: Next, connection: InboundConnection): void
}

/** Haraka takes code and text of a reply out of an object whose class has this name, wherever it comes from. */
class DSN {
  constructor(
    readonly code: number,
    readonly reply: string,
  ) {}
}

export function createInbound({ setting, obstacle, neverTaken }: InboundOptions): Inbound {
  function offerFor(connection: InboundConnection): Offer {
    const { relaying, local, capabilities } = connection
    return offerTo({
      setting: setting(),
      obstacle: obstacle(),
      secured: isSecured(connection),
      mayRelay: mayRelay({
        relaying: relaying === true,
        port: local?.port,
        capabilities: capabilities ?? [],
      }),
    })
  }

  return {
    offer(next, connection) {
      // Most sessions say EHLO in cleartext first, and have no need of the rest.
      const isOffered = isSecured(connection) && offerFor(connection).kind === 'offered'
      if (isOffered) connection.capabilities?.push(PARAMETER)
      next()
    },
    mail(next, connection, parameters) {
      const answer = answerMail(parameters, () => offerFor(connection))
      if (answer.kind === 'untagged') {
        next()
        return
      }
      // Ahead of the refusal, which may not be the last word.
      tag(connection, answer.kind === 'refuse')
      if (answer.kind === 'refuse') next(deny, new DSN(answer.code, answer.text))
      else next()
    },
    rcpt(next, connection, domain) {
      if (!notesOf(connection).requiretls || connection.relaying !== true) {
        next()
        return
      }
      neverTaken(domain).then(
        (why) => {
          if (why === undefined) next()
          else next(deny, new DSN(550, `5.7.10 ${why}`))
        },
        (err: unknown) => {
          // The delivery will look anew.
          connection.loginfo(`tls-policy: no word on ${domain} before the queue: ${errorText(err)}`)
          next()
        },
      )
    },
    queueOutbound(next, connection) {
      const { requiretls, refused } = notesOf(connection)
      if (requiretls && (refused || obstacle() !== undefined)) next(deny, new DSN(550, LOST_ROAD))
      else next()
    },
    queue(next, connection) {
      const { requiretls, refused } = notesOf(connection)
      const isVouchedFor = () => setting() === 'all' && obstacle() === undefined
      if (requiretls && (refused || !isVouchedFor())) next(deny, new DSN(550, LOST_ROAD))
      else next()
    },
  }
}

function isSecured({ tls }: InboundConnection): boolean {
  return tls?.enabled === true
}

function notesOf({ transaction }: InboundConnection): MessageNotes {
  return readNotes(transaction?.notes)
}

function tag({ transaction }: InboundConnection, refused: boolean): void {
  if (!transaction) return
  const notes: MessageNotes = { requiretls: true, ...(refused ? { refused: true } : {}) }
  transaction.notes[NOTES_KEY] = notes
}
