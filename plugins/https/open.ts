/**
 * One TLS connection to one judged address: connect, TLS, identity. Each step may fail, none throws.
 *
 * Promises: a socket is handed over only when its certificate is trusted and names the host as a DNS-ID (RFC 9525), unless the
 * caller says that it need not; nothing uses a proxy, a pool or a resumed session. Refuses: TLS below 1.2.
 */
import { once } from 'node:events'
import { isIP, type Socket } from 'node:net'
import tls from 'node:tls'
import { matchDnsId, presentedNames } from '../x509/names'
import { troubleText } from '../x509/trouble'
import { orderly } from './orderly-socket'

export interface HttpsTarget {
  /** SNI, Host and the only reference identifier. A-labels, lower case; or an address, which no certificate is held against. */
  readonly host: string
  readonly address: string
  readonly port: number
  /** PEM roots; undefined: Node's own. */
  readonly ca: string | undefined
  readonly trust: TrustIn
  readonly connect: (address: string, port: number) => Socket
  /** Whether the certificate must be trusted and name the host; default: yes. */
  readonly verify?: boolean
}

/** @param ca PEM roots; undefined: Node's own. @throws Error for what is no PEM. */
export type TrustIn = (ca: string | undefined) => tls.SecureContext

export const trustIn: TrustIn = (ca) =>
  tls.createSecureContext({ ...(ca === undefined ? {} : { ca }), minVersion: 'TLSv1.2' })

/** The same, made anew only for other roots: reading a bundle of them takes longer than all the rest of a fetch. */
export function rememberTrust(): TrustIn {
  let last: { readonly ca: string | undefined; readonly trust: tls.SecureContext } | undefined
  return (ca) => {
    if (last?.ca !== ca || last === undefined) last = { ca, trust: trustIn(ca) }
    return last.trust
  }
}

export type Opened =
  | { readonly ok: true; readonly socket: tls.TLSSocket }
  /** This address cannot be used; another one may do. `untrusted`: it is there, with a certificate that will not do. */
  | { readonly ok: false; readonly kind: 'unreachable' | 'untrusted'; readonly detail: string }

/** @param signal ends it; what was opened is destroyed */
export async function openHttps(target: HttpsTarget, signal: AbortSignal): Promise<Opened> {
  let tcp: Socket | undefined
  let secured: tls.TLSSocket | undefined
  try {
    tcp = target.connect(target.address, target.port)
    tcp.on('error', () => undefined)
    await once(tcp, 'connect', { signal })
    secured = tls.connect({
      socket: orderly(tcp),
      ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
      secureContext: target.trust(target.ca),
      ALPNProtocols: ['http/1.1'],
      // Both checks are made below, where the reason can be told: the chain by `authorized`, the name by matchDnsId.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    })
    secured.on('error', () => undefined)
    await once(secured, 'secureConnect', { signal })
    const distrust = target.verify === false ? undefined : whyDistrusted(secured, target.host)
    if (distrust === undefined) return { ok: true, socket: secured }
    secured.destroy()
    return { ok: false, kind: 'untrusted', detail: distrust }
  } catch (error) {
    secured?.destroy()
    tcp?.destroy()
    const detail = signal.aborted ? 'no TLS in time' : troubleText(error)
    return { ok: false, kind: 'unreachable', detail }
  }
}

/** @param ms milliseconds for this connection alone. @param total ends it as well */
export async function openWithin(
  target: HttpsTarget,
  ms: number,
  total: AbortSignal,
): Promise<Opened> {
  const own = new AbortController()
  const abort = (): void => own.abort()
  const timer = setTimeout(abort, ms)
  total.addEventListener('abort', abort, { once: true })
  if (total.aborted) abort()
  try {
    return await openHttps(target, own.signal)
  } finally {
    clearTimeout(timer)
    total.removeEventListener('abort', abort)
  }
}

/** @returns why the peer is not this host, or undefined when it is (RFC 9525) */
function whyDistrusted(socket: tls.TLSSocket, host: string): string | undefined {
  if (!socket.authorized)
    return `certificate not trusted: ${troubleText(socket.authorizationError)}`
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return 'no certificate was presented'
  if (matchDnsId(certificate, [host], { commonName: false }) !== undefined) return undefined
  const presented = presentedNames(certificate).slice(0, 5).join(', ')
  return `certificate does not name ${host}; it names ${presented === '' ? 'no host' : presented}`
}
