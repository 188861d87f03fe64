/**
 * A report over HTTPS (RFC 8460 §5.4): one POST to a URL that the receiver has published.
 *
 * Promises: the address comes from our resolver, is judged, and is the one connected to; the certificate is verified first, and
 * only where it will not do the report goes to the same address without (§3 allows it); one deadline over all of it. Never rejects.
 * Refuses: any scheme but https, logins, the ports of other services, addresses that are not public, redirects. Of the answer
 * nothing but the status is read.
 */
import net, { isIP } from 'node:net'
import type { Resolver } from '../dnssec-stub/types'
import { isPublicAddress } from '../https/address'
import { addressesOf, type Addresses } from '../https/addresses'
import { type HttpsTarget, openWithin, type TrustIn } from '../https/open'
import { respond } from '../https/request'
import { troubleText } from '../x509/trouble'

export interface PostOptions {
  readonly url: string
  readonly body: Buffer
  readonly mediaType: 'application/tlsrpt+gzip' | 'application/tlsrpt+json'
  readonly resolver: Resolver
  /** Also connect to private, loopback and documentation addresses. */
  readonly allowPrivate: boolean
  /** PEM roots; undefined: Node's own. */
  readonly ca: string | undefined
  readonly trust: TrustIn
  /** Milliseconds for everything. */
  readonly timeoutMs: number
  readonly connect?: HttpsTarget['connect']
}

export type Posted =
  | { readonly kind: 'taken'; readonly verified: boolean }
  /** May be tried again. */
  | { readonly kind: 'failed'; readonly detail: string }
  /** Trying again would give the same. */
  | { readonly kind: 'refused'; readonly detail: string }

/** Addresses that are tried. */
const MOST_ADDRESSES = 4
const MOST_URL = 2000

export async function postReport(options: PostOptions): Promise<Posted> {
  const target = readUrl(options.url)
  if (typeof target === 'string') return { kind: 'refused', detail: target }
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), options.timeoutMs)
  try {
    const found = await addressesFor(target, options, deadline.signal)
    if (!found.ok) return { kind: 'failed', detail: found.detail }
    const addresses = found.addresses.slice(0, MOST_ADDRESSES)
    return await postToAny(target, addresses, options, deadline.signal)
  } catch (error: unknown) {
    return { kind: 'failed', detail: troubleText(error) }
  } finally {
    clearTimeout(timer)
    deadline.abort()
  }
}

interface Target {
  /** A name in A-labels, or an address without brackets. */
  readonly host: string
  readonly port: number
  readonly path: string
}

/** @returns where to, or why not */
export function readUrl(text: string): Target | string {
  if (text.length > MOST_URL || !URL.canParse(text)) return 'the URL is none'
  const url = new URL(text)
  if (url.protocol !== 'https:') return 'the URL is not of https'
  if (url.username !== '' || url.password !== '') return 'the URL has a login'
  const port = url.port === '' ? 443 : Number(url.port)
  // What listens below is no receiver of reports, and must not be spoken to at the word of a stranger.
  if (port !== 443 && port < 1024) return `the URL has port ${port}`
  const host = url.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  if (host === '') return 'the URL has no host'
  return { host, port, path: url.pathname + url.search }
}

async function addressesFor(
  { host }: Target,
  { resolver, allowPrivate }: PostOptions,
  signal: AbortSignal,
): Promise<Addresses> {
  if (isIP(host) === 0) {
    return addressesOf(host, { resolver, allowPrivate, inBackground: true }, signal)
  }
  return allowPrivate || isPublicAddress(host)
    ? { ok: true, addresses: [host] }
    : { ok: false, detail: `${host} is not public` }
}

/** Each address with its certificate verified; then those whose certificate would not do. */
async function postToAny(
  target: Target,
  addresses: readonly string[],
  options: PostOptions,
  signal: AbortSignal,
): Promise<Posted> {
  const untrusted: string[] = []
  let trouble = 'no time left'
  for (const [verify, list] of [
    [true, addresses],
    [false, untrusted],
  ] as const) {
    for (const address of list) {
      const opened = await openWithin(
        {
          host: target.host,
          address,
          port: target.port,
          ca: options.ca,
          trust: options.trust,
          connect: options.connect ?? ((to, port) => net.connect({ host: to, port })),
          verify,
        },
        options.timeoutMs / (addresses.length + 1),
        signal,
      )
      if (opened.ok) return post(opened.socket, target, options, verify, signal)
      trouble = `[${address}] ${opened.detail}`
      if (opened.kind === 'untrusted') untrusted.push(address)
    }
  }
  return { kind: 'failed', detail: trouble }
}

async function post(
  socket: Parameters<typeof respond>[0],
  { host, port, path }: Target,
  { body, mediaType }: PostOptions,
  verified: boolean,
  signal: AbortSignal,
): Promise<Posted> {
  try {
    const response = await respond(
      socket,
      {
        method: 'POST',
        host: isIP(host) === 6 ? `[${host}]` : host,
        port,
        path,
        // No Content-Encoding: the media type says that it is compressed (RFC 8460 §6.4).
        headers: { 'Content-Type': mediaType, 'Content-Length': body.length, Connection: 'close' },
        body,
      },
      signal,
    )
    response.on('error', () => undefined)
    response.destroy()
    return judge(response.statusCode ?? 0, verified)
  } catch (error: unknown) {
    const detail = signal.aborted ? 'no answer in time' : troubleText(error)
    return { kind: 'failed', detail }
  } finally {
    socket.destroy()
  }
}

function judge(status: number, verified: boolean): Posted {
  if (status >= 200 && status < 300) return { kind: 'taken', verified }
  const detail = `HTTP status ${status}`
  const mayChange = status >= 500 || status === 408 || status === 425 || status === 429
  return { kind: mayChange ? 'failed' : 'refused', detail }
}
