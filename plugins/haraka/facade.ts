/**
 * Hands a verified socket to Haraka's own delivery code. That code insists on seeing greeting, EHLO and STARTTLS itself; all of
 * that has happened, so it is played back, and from its `upgrade` on every octet goes through the TLS that was verified.
 * Until then nothing that Haraka writes reaches the wire: an unexpected word ends the session.
 */
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { HarakaSocket } from './types'

type Phase = 'ehlo' | 'starttls' | 'upgrade' | 'live'

export interface FacadeOptions {
  /** The host's name, for the played-back lines. */
  readonly host: string
  /** The leaf; the socket itself has been asked for its certificates already, and gives them only once. */
  readonly certificate: X509Certificate | undefined
  /** Told when Haraka said something out of turn and was cut off; a sentence. */
  readonly onBlocked: (what: string) => void
  /** Told when Haraka ends the session. */
  readonly onQuit?: () => void
}

/**
 * Puts the facade on. Haraka's code must be handed the socket in the same tick; the greeting is played in the next.
 * @param tls Verified and secure, not yet attached.
 */
export function putUpFacade(socket: HarakaSocket, tls: TLSSocket, options: FacadeOptions): void {
  const { host } = options
  let phase: Phase = 'ehlo'

  // Haraka notes the command it waits on only after write() has returned: no answer may come before the next tick.
  const play = (...lines: readonly string[]) => {
    process.nextTick(() => {
      for (const line of lines) socket.emit('line', `${line}\r\n`)
    })
  }

  socket.attach(tls)
  socket.cleartext = tls
  socket.writable = true
  tls.setTimeout(socket._timeout)

  const realWrite = socket.write.bind(socket)
  socket.write = (data, encoding, callback) => {
    const text = String(data)
    if (phase === 'ehlo' && /^(EHLO|HELO) /i.test(text)) {
      phase = 'starttls'
      play(`250-${host}`, '250 STARTTLS')
    } else if (phase === 'starttls' && /^STARTTLS\r\n$/i.test(text)) {
      phase = 'upgrade'
      play('220 2.0.0 ready')
    } else if (phase === 'live' || /^QUIT\r\n$/i.test(text)) {
      return realWrite(data, encoding, callback)
    } else {
      options.onBlocked(`a write before TLS was handed over (${phase})`)
      socket.destroy()
      return false
    }
    if (typeof callback === 'function') process.nextTick(callback)
    return true
  }

  socket.isSecure = () => phase === 'live' && !tls.destroyed

  socket.upgrade = (_options, callback) => {
    if (phase !== 'upgrade') {
      options.onBlocked(`an upgrade out of turn (${phase})`)
      socket.destroy()
      return
    }
    const cipher = { ...tls.getCipher(), version: tls.getProtocol() }
    const certificate = options.certificate && forHarakasLog(options.certificate)
    process.nextTick(() => {
      phase = 'live'
      socket.write = (data, ...more) => {
        if (data === 'QUIT\r\n') options.onQuit?.()
        return realWrite(data, ...more)
      }
      callback?.(true, undefined, certificate, cipher)
      socket.emit('secure')
    })
  }

  play(`220 ${host} ESMTP`)
}

/**
 * Of a certificate's older form (X509Certificate.toLegacyObject), what Haraka puts into its log: the rest of it costs several times
 * as much, at each delivery.
 */
export function forHarakasLog(certificate: X509Certificate): LoggedCertificate {
  return {
    subject: attributes(certificate.subject),
    issuer: attributes(certificate.issuer),
    valid_to: certificate.validTo,
    fingerprint: certificate.fingerprint,
  }
}

export interface LoggedCertificate {
  readonly subject: { readonly CN?: string; readonly O?: string }
  readonly issuer: { readonly CN?: string; readonly O?: string }
  readonly valid_to: string
  readonly fingerprint: string
}

/** @param name An attribute a line, the peer's words; Node gives undefined for an empty name. */
function attributes(name: string | undefined): LoggedCertificate['subject'] {
  const found: Record<string, string> = {}
  for (const line of (name ?? '').split('\n')) {
    const [, key, value] = /^(CN|O)=(.*)$/.exec(line) ?? []
    if (key !== undefined && value !== undefined) found[key] = value
  }
  return found
}

/**
 * Haraka takes all listeners off a socket that it is done with; an error that comes later would then end the process.
 * For every outbound socket, with a policy or without.
 * @param keepsNoTlsMemory False: errors do not carry the mark that makes Haraka remember the host as one without TLS.
 */
export function guardLateErrors(socket: HarakaSocket, keepsNoTlsMemory: boolean): void {
  const realEmit = socket.emit.bind(socket)
  socket.emit = (name: string | symbol, ...args: unknown[]): boolean => {
    if (name === 'error') {
      if (socket.listenerCount('error') === 0) return false
      if (!keepsNoTlsMemory) unmark(args[0])
    }
    return realEmit(name, ...args)
  }
}

function unmark(err: unknown): void {
  if (typeof err === 'object' && err !== null && 'source' in err) delete err.source
}
