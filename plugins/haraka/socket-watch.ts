/**
 * The events of a session during its pre-flight: what the server says is read, and the first thing that goes wrong is kept. Writes
 * nothing before TLS; preflight.ts says the commands and judges.
 */
import type { TLSSocket } from 'node:tls'
import type { SessionEnd } from '../delivery/host-end'
import type { SessionReason } from '../reasons/codes'
import { troubleCode, troubleText } from '../x509/trouble'
import type { HandshakeEvidence } from './preflight'
import { codeOf, StartTlsDialogue } from './starttls'
import type { Due, NoTls } from './starttls'
import type { HarakaSocket } from './types'

/** What the pre-flight knows of the session; addresses are the caller's. */
export type HeardSession = Omit<SessionEnd, 'peer' | 'local' | 'seconds' | 'leftAlone'>

/** The host is refused. */
export interface Refusal {
  readonly ok: false
  readonly reason: SessionReason
  readonly detail: string
  /** The code of the reply with which the server refused. */
  readonly code?: number
  readonly session: HeardSession
  /** Where TLS was up. */
  readonly evidence?: HandshakeEvidence
}

/** One owner of the socket's events until hand-over: whatever goes wrong first is what went wrong. */
export class SocketWatch {
  readonly #socket: HarakaSocket
  readonly #raw: HarakaSocket['targetsocket']
  readonly #dialogue = new StartTlsDialogue()
  readonly #timer: NodeJS.Timeout
  #tls: TLSSocket | undefined
  #due: Exclude<Due, NoTls> | undefined
  #refusal: Refusal | undefined
  #wake: (() => void) | undefined

  readonly #onData = (chunk: Buffer | string) => {
    const due = this.#dialogue.hear(
      typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk,
    )
    if (typeof due === 'object') this.#fail(due)
    else if (due !== undefined) {
      this.#due = due
      this.#wake?.()
    }
  }
  readonly #onError = (err: unknown) => {
    this.#fail(this.#dialogue.failed('closed', troubleText(err)), troubleCode(err))
  }
  readonly #onClose = () => {
    this.#fail(this.#dialogue.failed('closed', 'the server closed the connection'))
  }
  readonly #onTimeout = () => {
    this.#fail(this.#dialogue.failed('timeout', ''))
  }

  constructor(socket: HarakaSocket, timeoutMs: number) {
    this.#socket = socket
    this.#raw = socket.targetsocket
    this.#timer = setTimeout(this.#onTimeout, timeoutMs)
    socket.on('data', this.#onData)
    this.#listen(socket)
  }

  /** What is due next: a command, the handshake, or the end. */
  async due(): Promise<Exclude<Due, NoTls> | Refusal> {
    await this.#until(() => this.#due !== undefined)
    const due = this.#due
    this.#due = undefined
    // Octets may have come behind the reply: then nothing is due any more.
    return this.#refusal ?? due ?? refused('smtp-closed', 'no reply', this.#heard())
  }

  /** Call it before the command is written. */
  asked(command: 'EHLO' | 'STARTTLS'): void {
    this.#dialogue.asked(command)
  }

  /** Between the reply to STARTTLS and the first octet of TLS nothing is to be read by us. */
  pause(): void {
    this.#socket.removeListener('data', this.#onData)
  }

  owns(tls: TLSSocket): void {
    this.#tls = tls
    this.#listen(tls)
  }

  async handshake(tls: TLSSocket): Promise<Refusal | undefined> {
    let secured = false
    tls.once('secureConnect', () => {
      secured = true
      this.#wake?.()
    })
    await this.#until(() => secured)
    return this.#refusal
  }

  trouble(): Refusal | undefined {
    return this.#refusal
  }

  /** What is known of the session, TLS being up. */
  secured(tls: NonNullable<SessionEnd['tls']>): HeardSession & { readonly tls: typeof tls } {
    return { ...this.#heard(), stage: 'tls', tls }
  }

  sayInside(words: string): void {
    if (this.#tls?.writable) this.#tls.write(words)
  }

  release(): void {
    clearTimeout(this.#timer)
    this.#socket.removeListener('data', this.#onData)
    this.#unlisten(this.#socket)
    if (this.#tls) this.#unlisten(this.#tls)
  }

  /** What the TLS layer was put on is destroyed with it; the peer gets no second chance on it. */
  destroyRaw(): void {
    this.#tls?.destroySoon()
    if (this.#tls) this.#raw.destroy()
  }

  #listen(emitter: NodeJS.EventEmitter): void {
    emitter.on('error', this.#onError)
    emitter.on('close', this.#onClose)
    emitter.on('end', this.#onClose)
    emitter.on('timeout', this.#onTimeout)
  }

  #unlisten(emitter: NodeJS.EventEmitter): void {
    emitter.removeListener('error', this.#onError)
    emitter.removeListener('close', this.#onClose)
    emitter.removeListener('end', this.#onClose)
    emitter.removeListener('timeout', this.#onTimeout)
  }

  async #until(done: () => boolean): Promise<void> {
    while (!this.#refusal && !done()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#wake = undefined
  }

  #heard(): HeardSession {
    const { stage, name } = this.#dialogue
    return { stage, ...(name === undefined ? {} : { helo: name }) }
  }

  #fail(why: NoTls, code?: string): void {
    const { reason, detail, reply } = why
    const session = { ...this.#heard(), ...codeOf(why, code) }
    this.#refusal ??= refused(reason, detail, session, reply)
    this.#wake?.()
  }
}

export function refused(
  reason: SessionReason,
  detail: string,
  session: HeardSession,
  code?: number,
): Refusal {
  return { ok: false, reason, detail, session, ...(code === undefined ? {} : { code }) }
}

export function ignore(): void {
  // Errors of a socket that is being left have no reader, and must not end the process.
}
