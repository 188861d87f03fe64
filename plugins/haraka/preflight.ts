/**
 * The part of an SMTP session that happens before anything may be said: greeting, EHLO, STARTTLS, handshake, and the judgement
 * of who is there. Runs on Haraka's own connected socket. It promises that no command but EHLO, STARTTLS and QUIT ever leaves in
 * cleartext, that it ends within its deadline, and that it either hands over a socket that met the requirement or one that
 * is destroyed. Any failure is the host's failure, never the message's (RFC 7672 §2.2, RFC 8461 §5).
 */
import type { X509Certificate } from 'node:crypto'
import { connect } from 'node:tls'
import type { DetailedPeerCertificate, SecureContext, TLSSocket } from 'node:tls'
import type { Judge, Judged, SessionEvidence } from '../delivery/judge'
import type { Verdict } from '../delivery/types'
import { presentedChain } from '../x509/presented'
import { troubleText } from '../x509/trouble'
import type { SessionOptions } from './operator-tls'
import { offersStartTls, ReplyReader } from './reply-reader'
import type { Reply } from './reply-reader'
import type { HarakaSocket } from './types'
import type { SessionReason } from '../reasons/codes'

export interface PreflightOptions {
  readonly requirement: Judged
  /** Of the attempt (delivery/judgements.ts). */
  readonly judge: Judge
  /** What EHLO says. */
  readonly helo: string
  readonly context: SecureContext
  /** What the operator asks of a session beside its context. */
  readonly session?: SessionOptions
  /** For the whole of it, in milliseconds. */
  readonly timeoutMs: number
  readonly now: () => Date
  /** Told what the handshake brought, before it is judged; the socket itself can be asked for its certificates only once. */
  readonly onEvidence?: (evidence: HandshakeEvidence) => void
}

export interface HandshakeEvidence extends SessionEvidence {
  readonly protocol: string
  readonly cipher: string
}

export type PreflightResult =
  | {
      readonly ok: true
      readonly tls: TLSSocket
      /** Of the leaf; undefined where the server presented none. */
      readonly certificate: X509Certificate | undefined
      readonly verdict: Exclude<Verdict, { verdict: 'refused' }>
      readonly protocol: string
      readonly cipher: string
      /**
       * Takes our listeners off. Call it in the same tick in which the next owner puts his on: between the two, nobody
       * would hear the socket fail.
       */
      readonly release: () => void
    }
  | {
      readonly ok: false
      readonly reason: SessionReason
      readonly detail: string
      /** The code of the reply with which the server refused. */
      readonly code?: number
      /** Protocol and cipher, where TLS was up. */
      readonly tls?: string
    }

type Refusal = Extract<PreflightResult, { ok: false }>

/** Never rejects. On failure the socket is destroyed when this resolves. */
export async function preflight(
  socket: HarakaSocket,
  options: PreflightOptions,
): Promise<PreflightResult> {
  const watch = new SocketWatch(socket, options.timeoutMs)
  try {
    const refusal = await startTls(watch, socket, options)
    if (refusal) return leave(watch, socket, refusal, 'QUIT\r\n')
    const result = await shakeHands(watch, socket, options)
    return result.ok ? result : leave(watch, socket, result, '')
  } catch (err: unknown) {
    // Whatever this is, it is a mistake of ours, and the host must not profit from it.
    return leave(watch, socket, refused('tls-handshake-failed', troubleText(err)), '')
  }
}

function leave(
  watch: SocketWatch,
  socket: HarakaSocket,
  refusal: Refusal,
  lastWords: string,
): Refusal {
  watch.release()
  const { targetsocket } = socket
  socket.removeAllListeners()
  socket.on('error', ignore)
  if (typeof targetsocket.destroySoon === 'function') {
    targetsocket.on('error', ignore)
    if (targetsocket.writable) targetsocket.end(lastWords)
    targetsocket.destroySoon()
  }
  watch.destroyRaw()
  return refusal
}

async function startTls(
  watch: SocketWatch,
  socket: HarakaSocket,
  options: PreflightOptions,
): Promise<Refusal | undefined> {
  const greeting = await watch.reply('the greeting')
  if ('ok' in greeting) return greeting
  if (!isPositive(greeting)) {
    return refused('greeting-refused', `greeting was ${asText(greeting)}`, greeting.code)
  }
  socket.write(`EHLO ${options.helo}\r\n`)
  const ehlo = await watch.reply('the EHLO reply')
  if ('ok' in ehlo) return ehlo
  if (!isPositive(ehlo)) {
    return refused('starttls-not-offered', `EHLO was answered ${asText(ehlo)}`, ehlo.code)
  }
  if (!offersStartTls(ehlo)) {
    const offered = ehlo.lines.slice(1).join(', ').slice(0, 200)
    return refused('starttls-not-offered', `EHLO offers ${offered || 'no extension'}`)
  }
  socket.write('STARTTLS\r\n')
  const ready = await watch.reply('the STARTTLS reply')
  if ('ok' in ready) return ready
  // 220 by the book (RFC 3207 §4); Haraka, like Postfix, takes any success.
  if (!isPositive(ready)) {
    return refused('starttls-refused', `STARTTLS was answered ${asText(ready)}`, ready.code)
  }
  return undefined
}

async function shakeHands(
  watch: SocketWatch,
  socket: HarakaSocket,
  options: PreflightOptions,
): Promise<PreflightResult> {
  const { requirement } = options
  const raw = socket.targetsocket
  watch.pause()
  socket.clean()
  raw.on('error', ignore)
  const tls = connect({
    ...options.session,
    socket: raw,
    secureContext: options.context,
    ...(requirement.sni === undefined ? {} : { servername: requirement.sni }),
    // Both are judged below, by the policy's rules instead of the browser's, before anything is said.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  })
  // Node would make every certificate of a trusted chain into its older form, for checkServerIdentity, which looks at none.
  tls.getPeerCertificate = noCertificate
  tls.on('error', ignore)
  watch.owns(tls)
  const failure = await watch.handshake(tls)
  Reflect.deleteProperty(tls, 'getPeerCertificate')
  if (failure) return failure
  const evidence: HandshakeEvidence = {
    chain: presentedChain(tls),
    pkix: tls.authorized ? { ok: true } : { ok: false, code: authorizationCode(tls) },
    protocol: tls.getProtocol() ?? 'unknown',
    cipher: tls.getCipher().name,
  }
  options.onEvidence?.(evidence)
  const verdict = options.judge(requirement, evidence, options.now())
  if (verdict.verdict === 'refused') {
    const tls = `${evidence.protocol} ${evidence.cipher}`
    return { ...refused(verdict.reason, verdict.detail), tls }
  }
  const lost = watch.trouble()
  if (lost) return lost
  return {
    ok: true,
    tls,
    certificate: evidence.chain[0],
    verdict,
    protocol: evidence.protocol,
    cipher: evidence.cipher,
    release: () => {
      watch.release()
    },
  }
}

function authorizationCode(tls: TLSSocket): string {
  const error: unknown = tls.authorizationError
  if (error instanceof Error) return 'code' in error ? String(error.code) : error.message
  return typeof error === 'string' ? error : 'not authorized'
}

type Trouble = { readonly reason: SessionReason; readonly detail: string }

/** One owner of the socket's events until hand-over: whatever goes wrong first is what went wrong. */
class SocketWatch {
  readonly #socket: HarakaSocket
  readonly #raw: HarakaSocket['targetsocket']
  readonly #reader = new ReplyReader()
  readonly #timer: NodeJS.Timeout
  #tls: TLSSocket | undefined
  #stage = 'the greeting'
  #trouble: Trouble | undefined
  #wake: (() => void) | undefined
  #arrived: Reply | undefined
  #rest = 0

  readonly #onData = (chunk: Buffer | string) => {
    const octets = typeof chunk === 'string' ? Buffer.from(chunk, 'latin1') : chunk
    if (this.#arrived) {
      this.#rest += octets.length
      return
    }
    const result = this.#reader.push(octets)
    if (result.kind === 'malformed') this.#fail('smtp-malformed-reply', result.detail)
    if (result.kind === 'reply') {
      this.#arrived = result.reply
      this.#rest = result.rest
      this.#wake?.()
    }
  }
  readonly #onError = (err: unknown) => {
    const reason = this.#tls ? 'tls-handshake-failed' : 'smtp-closed'
    this.#fail(reason, `${troubleText(err)} during ${this.#stage}`)
  }
  readonly #onClose = () => {
    const reason = this.#tls ? 'tls-handshake-failed' : 'smtp-closed'
    this.#fail(reason, `the server closed the connection during ${this.#stage}`)
  }
  readonly #onTimeout = () => {
    this.#fail('smtp-timeout', `no answer during ${this.#stage}`)
  }

  constructor(socket: HarakaSocket, timeoutMs: number) {
    this.#socket = socket
    this.#raw = socket.targetsocket
    this.#timer = setTimeout(this.#onTimeout, timeoutMs)
    socket.on('data', this.#onData)
    this.#listen(socket)
  }

  /** The next reply; bytes behind it are trouble: nobody has asked for them. */
  async reply(stage: string): Promise<Reply | Refusal> {
    this.#stage = stage
    await this.#until(() => this.#arrived !== undefined)
    const reply = this.#arrived
    this.#arrived = undefined
    if (this.#trouble || !reply) return this.#refusal()
    if (this.#rest > 0) {
      return stage === 'the STARTTLS reply'
        ? refused('starttls-injection', `${this.#rest} octets of cleartext behind ${asText(reply)}`)
        : refused('smtp-malformed-reply', `unasked-for octets behind ${stage}`)
    }
    return reply
  }

  /** Between the reply to STARTTLS and the first octet of TLS nothing is to be read by us. */
  pause(): void {
    this.#stage = 'the TLS handshake'
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
    return this.trouble()
  }

  trouble(): Refusal | undefined {
    return this.#trouble ? this.#refusal() : undefined
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
    while (!this.#trouble && !done()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    this.#wake = undefined
  }

  #fail(reason: SessionReason, detail: string): void {
    this.#trouble ??= { reason, detail }
    this.#wake?.()
  }

  #refusal(): Refusal {
    const { reason, detail } = this.#trouble ?? { reason: 'smtp-closed', detail: 'no reply' }
    return refused(reason, detail)
  }
}

function refused(reason: SessionReason, detail: string, code?: number): Refusal {
  return { ok: false, reason, detail, ...(code === undefined ? {} : { code }) }
}

function isPositive({ code }: Reply): boolean {
  return code >= 200 && code < 300
}

function asText({ code, lines }: Reply): string {
  return `"${code} ${lines.join(' ')}"`.slice(0, 300)
}

/** As for a peer without one; ours come from presentedChain. */
function noCertificate(): DetailedPeerCertificate {
  return {} as DetailedPeerCertificate
}

function ignore(): void {
  // Errors of a socket that is being left have no reader, and must not end the process.
}
