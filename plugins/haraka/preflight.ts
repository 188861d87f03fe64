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
import { troubleText } from '../x509/trouble'
import { askInside } from './ask-inside'
import type { Inside } from './ask-inside'
import type { HeardInside } from './facade'
import type { SessionOptions } from './operator-tls'
import { offersRequireTls } from './reply-reader'
import { ignore, refused, SocketWatch } from './socket-watch'
import type { HeardSession, Refusal } from './socket-watch'
import { codeOf } from './starttls'
import type { NoTls } from './starttls'
import type { HarakaSocket } from './types'

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
  | Refusal

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

/** As for a peer without one; ours come from presentedChain. */
function noCertificate(): DetailedPeerCertificate {
  return {} as DetailedPeerCertificate
}
