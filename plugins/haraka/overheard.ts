/**
 * What a session that Haraka holds by itself came to before TLS, by the server's words alone: the reason that the pre-flight
 * would have given for the same words. Reads; never writes, never throws.
 */
import { offersStartTls, ReplyReader } from './reply-reader'
import type { Reply } from './reply-reader'
import type { SessionReason } from '../reasons/codes'

export interface Overheard {
  readonly reason: SessionReason
  readonly detail: string
}

type Stage = 'the greeting' | 'the EHLO reply' | 'the STARTTLS reply' | 'the TLS handshake' | 'over'

export class Eavesdropper {
  readonly #reader = new ReplyReader()
  #stage: Stage = 'the greeting'
  #found: Overheard | undefined
  #leftAlone = false

  /** True where STARTTLS was offered and Haraka did not ask for it: its own settings keep it from TLS with this host. */
  get tlsLeftAlone(): boolean {
    return this.#leftAlone
  }

  /** Octets from the server, before TLS. */
  hear(chunk: Buffer | string): void {
    if (this.#stage === 'over' || this.#stage === 'the TLS handshake') return
    const read = this.#reader.push(typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk)
    if (read.kind === 'malformed') this.#end('smtp-malformed-reply', read.detail)
    if (read.kind === 'reply') this.#reply(read.reply, read.rest)
  }

  /** Why there was no TLS, when the session has ended. */
  ended(why: string, timedOut: boolean): Overheard {
    const detail = `${why} during ${this.#stage}`
    return (
      this.#found ??
      (timedOut
        ? { reason: 'smtp-timeout', detail: `no answer during ${this.#stage}` }
        : this.#stage === 'the TLS handshake'
          ? { reason: 'tls-handshake-failed', detail }
          : { reason: 'smtp-closed', detail })
    )
  }

  #reply(reply: Reply, rest: number): void {
    const positive = reply.code >= 200 && reply.code < 300
    const words = `"${reply.code} ${reply.lines.join(' ')}"`.slice(0, 300)
    switch (this.#stage) {
      case 'the greeting':
        if (!positive) this.#end('greeting-refused', `greeting was ${words}`)
        else if (rest > 0)
          this.#end('smtp-malformed-reply', 'unasked-for octets behind the greeting')
        else this.#stage = 'the EHLO reply'
        return
      case 'the EHLO reply':
        if (!positive) this.#end('starttls-not-offered', `EHLO was answered ${words}`)
        else if (offersStartTls(reply)) {
          this.#stage = 'the STARTTLS reply'
        } else {
          const offered = reply.lines.slice(1).join(', ').slice(0, 200)
          this.#end('starttls-not-offered', `EHLO offers ${offered || 'no extension'}`)
        }
        return
      case 'the STARTTLS reply':
        if (reply.code === 220 && rest > 0) {
          this.#end('starttls-injection', `${rest} octets of cleartext behind ${words}`)
        } else if (reply.code === 220) {
          this.#stage = 'the TLS handshake'
        } else if (positive) {
          // It answers MAIL FROM: nobody said STARTTLS.
          this.#leftAlone = true
          this.#stage = 'over'
        } else {
          this.#end('starttls-refused', `STARTTLS was answered ${words}`)
        }
        return
      case 'the TLS handshake':
      case 'over':
    }
  }

  #end(reason: SessionReason, detail: string): void {
    this.#found = { reason, detail }
    this.#stage = 'over'
  }
}
