/**
 * An SMTP server to deliver to, honest or with one planted fault. It keeps every byte that a client sends, those in
 * cleartext apart from those in TLS: what tests assert about secrecy, they assert on these.
 */
import { createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import {
  createSecureContext,
  type SecureContextOptions,
  TLSSocket,
  type TLSSocketOptions,
} from 'node:tls'
import type { TestCertificate } from '../certificates'
import { closed } from './daemon'
import { Dialogue } from './dialogue'
import type { Fault } from './faults'
import { Journal, type WaitOptions } from './journal'

/** Leaf first, without the root or with it: sent as given. */
export type Presented = TestCertificate | readonly TestCertificate[]

export interface ReceiverSettings {
  readonly address: string
  /** Default 25. */
  readonly port?: number
  /** A Unix socket to listen on, in place of address and port. */
  readonly path?: string
  /** The name in its greeting; default the address. */
  readonly name?: string
  /** What it presents; left out, it offers no TLS. */
  readonly certificate?: Presented
  /** What it presents to clients that ask for a name in SNI, by that name. */
  readonly certificates?: Readonly<Record<string, Presented>>
  /** Versions, ciphers and the like. */
  readonly tls?: SecureContextOptions
  readonly fault?: Fault
  /** EHLO keywords beside STARTTLS; default `8BITMIME`, `SMTPUTF8`. */
  readonly extensions?: readonly string[]
  /** EHLO keywords inside TLS; default those of `extensions`. */
  readonly securedExtensions?: readonly string[]
  /** Asks clients for a certificate, and takes any or none. */
  readonly requestCert?: boolean
  /** Demands one: without it there is no session (RFC 8446 §4.4.2.4). */
  readonly demandCert?: boolean
  /** Lines of the greeting before its last. */
  readonly banner?: readonly string[]
  /** Puts what it says before TLS into other words, as a server would that does not quite speak SMTP; default: as it is. */
  readonly wording?: (said: string) => string
  /** Addresses that it answers 550. */
  readonly unknownRecipients?: readonly string[]
}

/** One connection. Fields fill up while it lasts. */
export interface Session {
  readonly from: string
  /** Everything that the client sent before TLS, or without it; latin1. */
  cleartext: string
  /** Everything that it sent inside TLS; latin1. */
  secured: string
  /** Of the handshake, once done. */
  tls?: {
    readonly servername: string | undefined
    readonly protocol: string
    readonly cipher: string
    /** SHA-256 fingerprint of the client's certificate, where it was asked for one and showed one. */
    readonly clientFingerprint: string | undefined
  }
  /** Arguments of EHLO and HELO, in order. */
  readonly greetings: string[]
  closed: boolean
}

export interface ReceivedMessage {
  /** As in MAIL FROM, without the brackets. */
  readonly from: string
  /** What followed the reverse-path: `SIZE=…`, `REQUIRETLS`. */
  readonly parameters: string
  readonly to: readonly string[]
  /** Header and body as transmitted, dots unstuffed, lines ending in CRLF. */
  readonly text: string
  /** Came it in TLS? */
  readonly tls: boolean
  readonly session: Session
}

export class Receiver {
  /** Those that listen. */
  static readonly running = new Set<Receiver>()
  readonly sessions: Journal<Session>
  readonly messages: Journal<ReceivedMessage>
  /** May be changed at any time; holds for what happens next. */
  fault: Fault
  /** May be changed at any time; holds for the next handshake. */
  certificate: Presented | undefined
  readonly #sockets = new Set<Socket>()
  #taken = 0

  private constructor(
    private readonly settings: ReceiverSettings,
    private readonly server: Server,
  ) {
    const { address, port = 25 } = settings
    this.fault = settings.fault ?? 'none'
    this.certificate = settings.certificate
    this.sessions = new Journal(`sessions at ${address}:${port}`, (session) =>
      JSON.stringify(session),
    )
    this.messages = new Journal(`messages at ${address}:${port}`, (message) =>
      JSON.stringify(message),
    )
  }

  static async start(settings: ReceiverSettings): Promise<Receiver> {
    const server = createServer()
    const receiver = new Receiver(settings, server)
    server.on('connection', (socket) => {
      receiver.#serve(socket)
    })
    if (settings.path === undefined) server.listen(settings.port ?? 25, settings.address)
    else server.listen(settings.path)
    await once(server, 'listening')
    Receiver.running.add(receiver)
    return receiver
  }

  /** The next message that no earlier call has returned. */
  async nextMessage(options: WaitOptions = {}): Promise<ReceivedMessage> {
    const from = this.#taken++
    return this.messages.waitFor(`message ${from + 1} at ${this.settings.address}`, () => true, {
      ...options,
      from,
    })
  }

  get address(): string {
    return this.settings.address
  }

  /** Everything that clients sent in cleartext, all sessions together. */
  get cleartext(): string {
    return this.sessions.entries.map((session) => session.cleartext).join('')
  }

  async stop(): Promise<void> {
    Receiver.running.delete(this)
    for (const socket of this.#sockets) socket.destroy()
    if (this.server.listening) await closed(this.server)
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    const session: Session = {
      from: socket.remoteAddress ?? '',
      cleartext: '',
      secured: '',
      greetings: [],
      closed: false,
    }
    this.sessions.add(session)
    socket.on('error', () => undefined)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      session.closed = true
      this.sessions.touch()
    })
    const name = this.settings.name ?? this.settings.address
    const extensions = this.settings.extensions ?? ['8BITMIME', 'SMTPUTF8']
    const dialogue = new Dialogue({
      name,
      extensions,
      securedExtensions: this.settings.securedExtensions ?? extensions,
      banner: this.settings.banner ?? [],
      wording: this.settings.wording ?? ((said) => said),
      unknownRecipients: this.settings.unknownRecipients ?? [],
      socket,
      fault: () => this.fault,
      offersTls: () => this.certificate !== undefined,
      startTls: (then) => {
        this.#secure(socket, session, dialogue, then)
      },
      greeted: (as) => session.greetings.push(as),
      received: (message) => {
        this.messages.add({ ...message, tls: session.tls !== undefined, session })
      },
    })
    socket.on('data', (bytes: Buffer) => {
      session.cleartext += bytes.toString('latin1')
      this.sessions.touch()
      dialogue.take(bytes)
    })
    dialogue.greet()
  }

  #secure(
    socket: Socket,
    session: Session,
    dialogue: Dialogue,
    then: (tls: TLSSocket) => void,
  ): void {
    if (this.certificate === undefined)
      throw new Error('A receiver without certificate offers no TLS')
    socket.removeAllListeners('data')
    const tls = new TLSSocket(socket, { isServer: true, ...this.#tlsOptions(this.certificate) })
    tls.on('error', () => undefined)
    // On a server's socket, 'secure' is what tells that the handshake is done.
    tls.once('secure', () => {
      const named = (tls as TLSSocket & { servername?: string | false }).servername
      session.tls = {
        servername: typeof named === 'string' ? named : undefined,
        protocol: tls.getProtocol() ?? '',
        cipher: tls.getCipher().name,
        clientFingerprint: this.settings.requestCert
          ? tls.getPeerX509Certificate()?.fingerprint256
          : undefined,
      }
      this.sessions.touch()
      then(tls)
    })
    tls.on('data', (bytes: Buffer) => {
      session.secured += bytes.toString('latin1')
      this.sessions.touch()
      dialogue.take(bytes)
    })
  }

  #tlsOptions(certificate: Presented): TLSSocketOptions {
    const old = {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    } as const
    const shape = this.fault === 'tls11-only' ? old : this.settings.tls
    const contextFor = (presented: Presented) =>
      createSecureContext({ ...pemOf(presented), ...shape })
    const { certificates: named = {}, demandCert = false } = this.settings
    return {
      requestCert: (this.settings.requestCert ?? false) || demandCert,
      // Of a bare TLSSocket it means: one must be shown. Nobody judges it.
      rejectUnauthorized: demandCert,
      secureContext: contextFor(certificate),
      SNICallback: (servername, done) => {
        const presented = named[servername.toLowerCase()]
        done(null, presented === undefined ? undefined : contextFor(presented))
      },
    }
  }
}

/** Key and chain in the form that node:tls takes. */
export function pemOf(presented: Presented): { readonly key: string; readonly cert: string } {
  const chain: readonly TestCertificate[] = 'pem' in presented ? [presented] : presented
  const [leaf] = chain
  if (leaf === undefined) throw new Error('A chain has at least one certificate')
  return { key: leaf.keyPem, cert: chain.map((certificate) => certificate.pem).join('') }
}
