/**
 * Hands a verified socket to Haraka's own delivery code. That code insists on seeing greeting, EHLO and STARTTLS itself; all of
 * that has happened, so it is played back, and from its `upgrade` on every octet goes through the TLS that was verified.
 * Until then nothing that Haraka writes reaches the wire: an unexpected word ends the session. Where the pre-flight has said
 * EHLO inside TLS as well, that is played back too; and of a message with REQUIRETLS no recipient leaves before MAIL has it.
 */
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { HarakaSocket } from './types'

type Phase = 'ehlo' | 'starttls' | 'upgrade' | 'ehlo-inside' | 'mail' | 'live'

/** What the pre-flight has heard inside TLS. */
export interface HeardInside {
  /** Of the reply to EHLO, without the code. */
  readonly lines: readonly string[]
  /** Whether MAIL gets the REQUIRETLS parameter (RFC 8689 §2). */
  readonly tagMail: boolean
}

export interface FacadeOptions {
  /** The host's name, for the played-back lines. */
  readonly host: string
  /** The leaf; the socket itself has been asked for its certificates already, and gives them only once. */
  readonly certificate: X509Certificate | undefined
  readonly inside?: HeardInside | undefined
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
  const { host, inside } = options
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
  const goLive = () => {
    phase = 'live'
    socket.write = (data, ...more) => {
      if (data === 'QUIT\r\n') options.onQuit?.()
      return realWrite(data, ...more)
    }
  }
  /** What goes onto the wire; undefined: nothing does. */
  const passing = (text: string): string | undefined => {
    if (/^QUIT\r\n$/i.test(text)) return text
    if (phase !== 'mail') return undefined
    if (/^MAIL/i.test(text)) return taggedMail(text)
    // AUTH and what belongs to it may come before MAIL; a recipient or a text may not.
    return /^(RCPT|DATA|BDAT)\b/i.test(text) ? undefined : text
  }
  socket.write = (data, encoding, callback) => {
    const text = String(data)
    if (phase === 'ehlo' && /^(EHLO|HELO) /i.test(text)) {
      phase = 'starttls'
      play(`250-${host}`, '250 STARTTLS')
    } else if (phase === 'starttls' && /^STARTTLS\r\n$/i.test(text)) {
      phase = 'upgrade'
      play('220 2.0.0 ready')
    } else if (phase === 'ehlo-inside' && inside && /^EHLO /i.test(text)) {
      if (inside.tagMail) phase = 'mail'
      else goLive()
      play(...asReply(inside.lines))
    } else {
      const passed = passing(text)
      if (passed === undefined) {
        options.onBlocked(`out of turn (${phase})`)
        socket.destroy()
        return false
      }
      if (/^MAIL/i.test(text)) goLive()
      return realWrite(passed, encoding, callback)
    }
    if (typeof callback === 'function') process.nextTick(callback)
    return true
  }

  socket.isSecure = () =>
    (phase === 'ehlo-inside' || phase === 'mail' || phase === 'live') && !tls.destroyed

  socket.upgrade = (_options, callback) => {
    if (phase !== 'upgrade') {
      options.onBlocked(`an upgrade out of turn (${phase})`)
      socket.destroy()
      return
    }
    const cipher = { ...tls.getCipher(), version: tls.getProtocol() }
    const certificate = options.certificate && forHarakasLog(options.certificate)
    process.nextTick(() => {
      if (inside) phase = 'ehlo-inside'
      else goLive()
      callback?.(true, undefined, certificate, cipher)
      socket.emit('secure')
    })
  }

  play(`220 ${host} ESMTP`)
}

/** @returns The command with the parameter; undefined for one of which it is not plain where that would go. */
function taggedMail(text: string): string | undefined {
  const [, command] = /^(MAIL FROM:<[^\r\n]*)\r\n$/i.exec(text) ?? []
  if (command === undefined) return undefined
  const parameters = command.slice(command.lastIndexOf('>') + 1)
  // A Haraka that comes to know the extension says it itself.
  if (/ REQUIRETLS(?= |$)/i.test(parameters)) return text
  return `${command} REQUIRETLS\r\n`
}

function asReply(lines: readonly string[]): readonly string[] {
  return lines.map((line, index) => `250${index === lines.length - 1 ? ' ' : '-'}${line}`)
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
  // A listener of ours that stays costs nothing; to look at each event, of which a session has dozens, would.
  const hear = (err: unknown): void => {
    if (!keepsNoTlsMemory) unmark(err)
  }
  socket.prependListener('error', hear)
  const removeAll = socket.removeAllListeners.bind(socket)
  socket.removeAllListeners = (...names) => {
    removeAll(...names)
    if (!socket.listeners('error').includes(hear)) socket.prependListener('error', hear)
    return socket
  }
}

function unmark(err: unknown): void {
  if (typeof err === 'object' && err !== null && 'source' in err) delete err.source
}
