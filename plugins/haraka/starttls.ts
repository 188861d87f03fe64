/**
 * What a server says before TLS, and what it means: greeting, EHLO reply, STARTTLS reply (RFC 3207). One grammar with two users: the
 * pre-flight, which says the commands itself, and the listener, which overhears a session that Haraka holds. Reads; writes nothing
 * and never throws.
 */
import type { SessionStage } from '../delivery/host-end'
import type { SessionReason } from '../reasons/codes'
import { offersStartTls, ReplyReader } from './reply-reader'
import type { Reply } from './reply-reader'

/** Why there is no TLS. */
export interface NoTls {
  readonly reason: SessionReason
  readonly detail: string
  /** Of the reply with which the server refused. */
  readonly reply?: number
}

/** What is due now: a command, the handshake, or the end of it. */
export type Due = 'EHLO' | 'STARTTLS' | 'handshake' | NoTls

export type DialogueStage = Exclude<SessionStage, 'connect' | 'tls'>

/** For humans, after "during". */
const IN_WORDS: Readonly<Record<DialogueStage, string>> = {
  greeting: 'the greeting',
  ehlo: 'the EHLO reply',
  starttls: 'the STARTTLS reply',
  handshake: 'the TLS handshake',
}

export class StartTlsDialogue {
  readonly #reader = new ReplyReader()
  #stage: DialogueStage = 'greeting'
  /** Whether a reply is owed: octets that nobody asked for are an attack, or nonsense. */
  #awaitsReply = true
  #ended: NoTls | undefined
  #name: string | undefined
  #offered = false

  /** The stage that the session has come to. */
  get stage(): DialogueStage {
    return this.#stage
  }

  /** The name with which the server introduced itself. */
  get name(): string | undefined {
    return this.#name
  }

  get offersStartTls(): boolean {
    return this.#offered
  }

  /** The command has been sent. */
  asked(command: 'EHLO' | 'STARTTLS'): void {
    this.#stage = command === 'EHLO' ? 'ehlo' : 'starttls'
    this.#awaitsReply = true
  }

  /** Octets from the server. @returns undefined while a reply is not complete, and once the dialogue has ended */
  hear(octets: Buffer): Due | undefined {
    if (this.#ended) return undefined
    if (!this.#awaitsReply) return this.#unasked(octets.length)
    const read = this.#reader.push(octets)
    switch (read.kind) {
      case 'incomplete':
        return undefined
      case 'malformed':
        return this.#end('smtp-malformed-reply', read.detail)
      case 'reply': {
        this.#awaitsReply = false
        const due = this.#reply(read.reply)
        return typeof due !== 'string' || read.rest === 0 ? due : this.#unasked(read.rest)
      }
    }
  }

  /** The session is over, by other means than a reply. The first reason stands. */
  failed(how: 'timeout' | 'closed', why: string): NoTls {
    const during = IN_WORDS[this.#stage]
    if (this.#ended) return this.#ended
    if (how === 'timeout') return this.#end('smtp-timeout', `no answer during ${during}`)
    const reason = this.#stage === 'handshake' ? 'tls-handshake-failed' : 'smtp-closed'
    return this.#end(reason, `${why} during ${during}`)
  }

  #reply(reply: Reply): Due {
    const isPositive = reply.code >= 200 && reply.code < 300
    const words = `"${reply.code} ${reply.lines.join(' ')}"`.slice(0, 300)
    switch (this.#stage) {
      case 'greeting':
        if (!isPositive) return this.#end('greeting-refused', `greeting was ${words}`, reply.code)
        this.#name = nameIn(reply)
        return 'EHLO'
      case 'ehlo':
        if (!isPositive) {
          return this.#end('starttls-not-offered', `EHLO was answered ${words}`, reply.code)
        }
        this.#name = nameIn(reply) ?? this.#name
        this.#offered = offersStartTls(reply)
        if (this.#offered) return 'STARTTLS'
        return this.#end('starttls-not-offered', `EHLO offers ${extensionsOf(reply)}`)
      case 'starttls':
        // 220 by the book (RFC 3207 §4); Haraka, like Postfix, takes any success.
        if (!isPositive) {
          return this.#end('starttls-refused', `STARTTLS was answered ${words}`, reply.code)
        }
        this.#stage = 'handshake'
        return 'handshake'
      case 'handshake':
        return this.#unasked(0)
    }
  }

  #unasked(octets: number): NoTls {
    if (this.#stage === 'handshake') {
      return this.#end(
        'starttls-injection',
        `${octets} octets of cleartext behind the STARTTLS reply`,
      )
    }
    const detail = `unasked-for octets behind ${IN_WORDS[this.#stage]}`
    return this.#end('smtp-malformed-reply', detail)
  }

  #end(reason: SessionReason, detail: string, reply?: number): NoTls {
    this.#ended = { reason, detail, ...(reply === undefined ? {} : { reply }) }
    return this.#ended
  }
}

/** The first word of the reply: a domain or an address literal (RFC 5321 §4.2). */
function nameIn({ lines }: Reply): string | undefined {
  const [word] = (lines[0] ?? '').split(' ')
  return word === undefined || word === '' ? undefined : word.slice(0, 255)
}

function extensionsOf({ lines }: Reply): string {
  return lines.slice(1).join(', ').slice(0, 200) || 'no extension'
}

/** How the failure is called in a report: by the server's reply, or by Node's or OpenSSL's code. */
export function codeOf(
  { reason, reply }: NoTls,
  code: string | undefined,
): { readonly code?: string } {
  if (reply !== undefined) return { code: `smtp-${reply}` }
  return reason === 'tls-handshake-failed' && code !== undefined ? { code } : {}
}
