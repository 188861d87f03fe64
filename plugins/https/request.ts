/**
 * One HTTP request on a socket of open.ts, up to the headers of its final response. Promises: nothing follows a redirect or uses a
 * cache; headers, interim responses and time are bounded; a switch of protocols is a failure.
 */
import http from 'node:http'
import type tls from 'node:tls'

/** Octets of all response headers; a policy host needs a few hundred. */
const MAX_HEADERS = 16_384
/** Interim (1xx) responses before the real one; each may be as long as the headers, and there is no use for any. */
const MAX_INTERIM = 8

export interface HttpsRequest {
  readonly method: 'GET' | 'POST'
  readonly host: string
  readonly port: number
  readonly path: string
  readonly headers: Readonly<Record<string, string | number>>
  readonly body?: Buffer
}

/** Sends the request and waits for the headers of the final response; rejects on any trouble. */
export function respond(
  socket: tls.TLSSocket,
  { method, host, port, path, headers, body }: HttpsRequest,
  signal: AbortSignal,
): Promise<http.IncomingMessage> {
  const request = http.request({
    createConnection: () => socket,
    method,
    path,
    setHost: false,
    headers: {
      Host: port === 443 ? host : `${host}:${port}`,
      'User-Agent': 'haraka-plugin-tls-policy',
      ...headers,
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
    request.end(body)
  })
}
