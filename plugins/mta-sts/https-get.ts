/**
 * One HTTPS GET of a policy, from one address: connect, TLS, identity, request, response. Each step may fail, none throws.
 *
 * Promises: not a byte of the request is sent before the certificate is verified; nothing follows a redirect, uses a
 * proxy, a pool, a cache or a resumed session; what is returned is the whole body, at most `maxBody` octets long.
 * Refuses: TLS below 1.2, a certificate that does not name the policy host as a DNS-ID (RFC 8461 §3.3), any status but
 * 200, any media type but text/plain, any content coding, and a body that is cut: by its length, by its chunks, or, where it
 * ends with the connection, by a connection that does not end as TLS ends (RFC 9112 §6.3).
 */
import { once } from 'node:events'
import http from 'node:http'
import type net from 'node:net'
import tls from 'node:tls'
import { oneLine } from './one-line'
import { orderly } from './orderly-socket'
import { matchDnsId, presentedNames } from '../x509/names'
import { troubleText } from '../x509/trouble'
import type { StsProblem } from './types'
import type { StsProblemReason } from '../reasons/codes'

export interface HttpsTarget {
  /** The policy host: SNI, Host and the only reference identifier. A-labels, lower case. */
  readonly host: string
  readonly address: string
  readonly port: number
  /** PEM roots; undefined: Node's own. */
  readonly ca: string | undefined
  readonly trust: TrustIn
  /** Octets. */
  readonly maxBody: number
  readonly connect: (address: string, port: number) => net.Socket
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
  | { readonly ok: false; readonly problem: StsProblem }

export type Fetched =
  | { readonly ok: true; readonly body: Buffer }
  | { readonly ok: false; readonly problem: StsProblem }

const PATH = '/.well-known/mta-sts.txt'
/** Octets of all response headers; a policy host needs a few hundred. */
const MAX_HEADERS = 16_384
/** Interim (1xx) responses before the real one; each may be as long as the headers, and there is no use for any. */
const MAX_INTERIM = 8

/**
 * TCP and TLS to the policy host, and its certificate verified.
 * @param signal ends it; what was opened is destroyed
 * @returns a problem when this address cannot be used; another one may do
 */
export async function openHttps(target: HttpsTarget, signal: AbortSignal): Promise<Opened> {
  let tcp: net.Socket | undefined
  let secured: tls.TLSSocket | undefined
  try {
    tcp = target.connect(target.address, target.port)
    tcp.on('error', () => undefined)
    await once(tcp, 'connect', { signal })
    secured = tls.connect({
      socket: orderly(tcp),
      servername: target.host,
      secureContext: target.trust(target.ca),
      ALPNProtocols: ['http/1.1'],
      // Both checks are made below, where the reason can be told: the chain by `authorized`, the name by matchDnsId.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
    })
    secured.on('error', () => undefined)
    await once(secured, 'secureConnect', { signal })
    const distrust = whyDistrusted(secured, target.host)
    if (distrust === undefined) return { ok: true, socket: secured }
    secured.destroy()
    return failure('sts-webpki-invalid', target, distrust)
  } catch (error) {
    secured?.destroy()
    tcp?.destroy()
    return failure(
      'sts-policy-fetch-error',
      target,
      signal.aborted ? 'no TLS in time' : troubleText(error),
    )
  }
}

/** @returns why the peer is not the policy host, or undefined when it is (RFC 8461 §3.3, RFC 9525) */
function whyDistrusted(socket: tls.TLSSocket, host: string): string | undefined {
  if (!socket.authorized)
    return `certificate not trusted: ${troubleText(socket.authorizationError)}`
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return 'no certificate was presented'
  if (matchDnsId(certificate, [host], { commonName: false }) !== undefined) return undefined
  const presented = presentedNames(certificate).slice(0, 5).join(', ')
  return `certificate does not name ${host}; it names ${presented === '' ? 'no host' : presented}`
}

/**
 * The GET, on a socket that openHttps gave; the socket is destroyed at the end, whatever comes.
 * @param signal ends it
 */
export async function getPolicy(
  socket: tls.TLSSocket,
  target: HttpsTarget,
  signal: AbortSignal,
): Promise<Fetched> {
  const stop = (): void => void socket.destroy(new Error('no complete answer in time'))
  signal.addEventListener('abort', stop, { once: true })
  try {
    if (signal.aborted)
      return failure('sts-policy-fetch-error', target, 'no complete answer in time')
    const response = await respond(socket, target, signal)
    const refusal = whyRefused(response, target.maxBody)
    if (refusal !== undefined) return failure(refusal.reason, target, refusal.detail)
    const body = await readBody(response, target.maxBody)
    // Node takes such a body for complete however the connection came to its end.
    return endsWithConnection(response) && !socket.readableEnded
      ? failure('sts-policy-fetch-error', target, 'the body was cut short')
      : { ok: true, body }
  } catch (error) {
    const detail = signal.aborted ? 'no complete answer in time' : troubleText(error)
    return failure('sts-policy-fetch-error', target, detail)
  } finally {
    signal.removeEventListener('abort', stop)
    socket.destroy()
  }
}

/** Sends the request and waits for the headers of the final response; rejects on any trouble. */
function respond(
  socket: tls.TLSSocket,
  target: HttpsTarget,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const request = http.request({
    createConnection: () => socket,
    method: 'GET',
    path: PATH,
    setHost: false,
    headers: {
      Host: target.port === 443 ? target.host : `${target.host}:${target.port}`,
      'User-Agent': 'haraka-plugin-tls-policy',
      Accept: 'text/plain',
      'Accept-Encoding': 'identity',
    },
    maxHeaderSize: MAX_HEADERS,
    insecureHTTPParser: false,
  })
  return new Promise((resolve, reject) => {
    let interim = 0
    request.on('response', resolve)
    request.on('error', reject)
    request.on('close', () => reject(new Error('closed without a response')))
    // A switch of protocols takes the socket away from the request: no error and no close would follow.
    request.on('upgrade', () => reject(new Error('HTTP status 101')))
    request.on('information', () => {
      interim += 1
      if (interim > MAX_INTERIM) reject(new Error('too many interim responses'))
    })
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true })
    request.end()
  })
}

/** @returns why a response cannot hold a policy, judged by its headers (RFC 8461 §3.2, §3.3) */
function whyRefused(response: http.IncomingMessage, maxBody: number): StsProblem | undefined {
  const headers = response.headers
  const refuse = (reason: StsProblemReason, detail: string): StsProblem => ({ reason, detail })
  if (response.statusCode !== 200) {
    return refuse('sts-policy-fetch-error', `HTTP status ${response.statusCode ?? 'missing'}`)
  }
  const type = mediaType(response.headersDistinct['content-type'] ?? [])
  if (type !== 'text/plain') {
    return refuse('sts-policy-invalid', `media type is not text/plain but "${type}"`)
  }
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? 'identity'
  if (coding !== 'identity') return refuse('sts-policy-fetch-error', `content coding "${coding}"`)
  const transfer = headers['transfer-encoding']?.trim().toLowerCase()
  if (transfer !== undefined && transfer !== 'chunked') {
    return refuse('sts-policy-fetch-error', `transfer coding "${transfer}"`)
  }
  const length = headers['content-length']
  if (Number(length ?? 0) > maxBody) return refuse('sts-policy-fetch-error', tooLong(maxBody))
  return undefined
}

const MEDIA_TYPE = /^[!#$%&'*+.^_`|~\w-]+\/[!#$%&'*+.^_`|~\w-]+$/

/** Of several, in one field or in many, the last that is one (RFC 9110 §8.3); else the first, as it was sent. */
function mediaType(fields: readonly string[]): string {
  const types = fields
    .flatMap((field) => field.replace(/"(?:[^"\\]|\\.)*"/g, '').split(','))
    .map((field) => (field.split(';', 1)[0] ?? '').trim().toLowerCase())
  return types.findLast((type) => MEDIA_TYPE.test(type)) ?? types[0] ?? ''
}

/** No length, no chunks (RFC 9112 §6.3). */
function endsWithConnection({ headers }: http.IncomingMessage): boolean {
  return headers['content-length'] === undefined && headers['transfer-encoding'] === undefined
}

async function readBody(response: http.IncomingMessage, maxBody: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBody) throw new Error(tooLong(maxBody))
    chunks.push(chunk)
  }
  if (!response.complete) throw new Error('the body was cut short')
  return Buffer.concat(chunks, size)
}

function tooLong(maxBody: number): string {
  return `the body is longer than ${maxBody} octets`
}

function failure(
  reason: StsProblemReason,
  { host, address }: HttpsTarget,
  detail: string,
): { readonly ok: false; readonly problem: StsProblem } {
  return { ok: false, problem: { reason, detail: oneLine(`${host} [${address}]: ${detail}`) } }
}
