/**
 * The part of an SMTP session that happens before anything may be said: greeting, EHLO, STARTTLS, handshake, and the judgement
 * of who is there. Runs on Haraka's own connected socket. It promises that no command but EHLO, STARTTLS and QUIT ever leaves in
 * cleartext, that it ends within its deadline, and that it either hands over a socket that met the requirement or one that
 * is destroyed. Any failure is the host's failure, never the message's (RFC 7672 §2.2, RFC 8461 §5).
 */
import type { X509Certificate } from 'node:crypto'
import { connect } from 'node:tls'
import type { DetailedPeerCertificate, SecureContext, TLSSocket } from 'node:tls'
import type { SessionEnd } from '../delivery/host-end'
import type { Judge, Judged, SessionEvidence } from '../delivery/judge'
import type { RequireTlsTag, Verdict } from '../delivery/types'
import { presentedChain } from '../x509/presented'
import { troubleCode, troubleText } from '../x509/trouble'
import { askInside } from './ask-inside'
import type { Inside } from './ask-inside'
import type { HeardInside } from './facade'
import type { SessionOptions } from './operator-tls'
import { offersRequireTls } from './reply-reader'
import { codeOf, StartTlsDialogue } from './starttls'
import type { Due, NoTls } from './starttls'
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
      readonly evidence: HandshakeEvidence
      readonly verdict: Exclude<Verdict, { verdict: 'refused' }>
      readonly session: HeardSession & { readonly tls: NonNullable<SessionEnd['tls']> }
      /** The EHLO reply inside TLS, where the message asks for REQUIRETLS. */
      readonly inside?: HeardInside
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
      readonly session: HeardSession
      /** Where TLS was up. */
      readonly evidence?: HandshakeEvidence
    }

/** What the pre-flight knows of the session; addresses are the caller's. */
export type HeardSession = Omit<SessionEnd, 'peer' | 'local' | 'seconds' | 'leftAlone'>

type Refusal = Extract<PreflightResult, { ok: false }>

/** Never rejects. On failure the socket is destroyed when this resolves. */
export async function preflight(
  socket: HarakaSocket,
  options: PreflightOptions,
): Promise<PreflightResult> {
  const watch = new SocketWatch(socket, options.timeoutMs)
  const until = performance.now() + options.timeoutMs
  try {
    const refusal = await startTls(watch, socket, options)
    if (refusal) return leave(watch, socket, refusal, 'QUIT\r\n')
    const secured = await shakeHands(watch, socket, options)
    const result = await withExtension(watch, secured, options, until - performance.now())
    return result.ok ? result : leave(watch, socket, result, '')
  } catch (err: unknown) {
    // Whatever this is, it is a mistake of ours, and the host must not profit from it.
    const session = { stage: 'handshake' } as const
    return leave(watch, socket, refused('tls-handshake-failed', troubleText(err), session), '')
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
  for (;;) {
    const due = await watch.due()
    switch (due) {
      case 'EHLO':
        watch.asked('EHLO')
        socket.write(`EHLO ${options.helo}\r\n`)
        break
      case 'STARTTLS':
        watch.asked('STARTTLS')
        socket.write('STARTTLS\r\n')
        break
      case 'handshake':
        return undefined
      default:
        return due
    }
  }
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
  const { protocol, cipher } = evidence
  const session = watch.secured({ protocol, cipher })
  const verdict = options.judge(requirement, evidence, options.now())
  if (verdict.verdict === 'refused') {
    const { reason, detail, code } = verdict
    const ended = code === undefined ? session : { ...session, code }
    return { ...refused(reason, detail, ended), evidence }
  }
  const lost = watch.trouble()
  if (lost) return lost
  return {
    ok: true,
    tls,
    certificate: evidence.chain[0],
    evidence,
    verdict,
    session,
    release: () => {
      watch.release()
    },
  }
}

/**
 * For a message with REQUIRETLS: the server has to offer it inside TLS. Where it does not, or is not the right one, it is told
 * that nothing will come (RFC 8689 §4.2.1).
 */
async function withExtension(
  watch: SocketWatch,
  result: PreflightResult,
  { requirement, helo }: PreflightOptions,
  remainingMs: number,
): Promise<PreflightResult> {
  if (requirement.requiretls === undefined) return result
  if (!result.ok) {
    if (result.evidence) watch.sayInside('QUIT\r\n')
    return result
  }
  const heard = readOffer(await askInside(result.tls, helo, remainingMs), requirement.requiretls)
  if ('lines' in heard) return watch.trouble() ?? { ...result, inside: heard }
  watch.sayInside('QUIT\r\n')
  const { reason, detail, reply } = heard
  const session = { ...result.session, ...codeOf(heard, undefined) }
  return { ...refused(reason, detail, session, reply), evidence: result.evidence }
}

function readOffer(inside: Inside, wanted: RequireTlsTag): HeardInside | NoTls {
  if (inside.kind !== 'reply') {
    const reason = inside.kind === 'lost' ? 'tls-lost' : 'smtp-malformed-reply'
    return { reason, detail: inside.detail }
  }
  const { code, lines } = inside.reply
  if (code < 200 || code > 299) {
    const detail = `EHLO inside TLS was answered "${code} ${lines.join(' ')}"`.slice(0, 300)
    // 4xx may be otherwise in an hour.
    const reason = code > 499 && wanted === 'must' ? 'requiretls-not-offered' : 'greeting-refused'
    return { reason, detail, reply: code }
  }
  const tagMail = offersRequireTls(inside.reply)
  if (tagMail || wanted === 'may') return { lines, tagMail }
  const offered = lines.slice(1).join(', ').slice(0, 200) || 'no extension'
  return { reason: 'requiretls-not-offered', detail: `EHLO inside TLS offers ${offered}` }
}

function authorizationCode(tls: TLSSocket): string {
  const error: unknown = tls.authorizationError
  if (error instanceof Error) return 'code' in error ? String(error.code) : error.message
  return typeof error === 'string' ? error : 'not authorized'
}

/** One owner of the socket's events until hand-over: whatever goes wrong first is what went wrong. */
class SocketWatch {
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

function refused(
  reason: SessionReason,
  detail: string,
  session: HeardSession,
  code?: number,
): Refusal {
  return { ok: false, reason, detail, session, ...(code === undefined ? {} : { code }) }
}

/** As for a peer without one; ours come from presentedChain. */
function noCertificate(): DetailedPeerCertificate {
  return {} as DetailedPeerCertificate
}

function ignore(): void {
  // Errors of a socket that is being left have no reader, and must not end the process.
}
