/**
 * One HTTPS GET of a policy, on a verified connection: request, response. Each step may fail, none throws.
 *
 * Promises: what is returned is the whole body, at most `maxBody` octets long. Refuses: any status but 200, any media type but text/plain, any content coding, and a body that is cut: by its length, by its chunks, or, where it
 * ends with the connection, by a connection that does not end as TLS ends (RFC 9112 §6.3).
 */
import type http from 'node:http'
import type tls from 'node:tls'
import type { HttpsTarget } from '../https/open'
import { respond } from '../https/request'
import { oneLine } from './one-line'
import { troubleText } from '../x509/trouble'
import type { StsProblem } from './types'
import type { StsProblemReason } from '../reasons/codes'

/** The policy host, on one of its addresses. */
export interface PolicyTarget extends HttpsTarget {
  /** Octets. */
  readonly maxBody: number
}

export type Fetched =
  | { readonly ok: true; readonly body: Buffer }
  | { readonly ok: false; readonly problem: StsProblem }

const PATH = '/.well-known/mta-sts.txt'

/**
 * The GET, on a socket of https/open.ts; the socket is destroyed at the end, whatever comes.
 * @param signal ends it
 */
export async function getPolicy(
  socket: tls.TLSSocket,
  target: PolicyTarget,
  signal: AbortSignal,
): Promise<Fetched> {
  const stop = (): void => void socket.destroy(new Error('no complete answer in time'))
  signal.addEventListener('abort', stop, { once: true })
  try {
    if (signal.aborted)
      return failure('sts-policy-fetch-error', target, 'no complete answer in time')
    const response = await respond(
      socket,
      {
        method: 'GET',
        host: target.host,
        port: target.port,
        path: PATH,
        headers: { Accept: 'text/plain', 'Accept-Encoding': 'identity' },
      },
      signal,
    )
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

/** What is wrong, said with the host and the address at which it was seen. */
export function failure(
  reason: StsProblemReason,
  { host, address }: HttpsTarget,
  detail: string,
): { readonly ok: false; readonly problem: StsProblem } {
  return { ok: false, problem: { reason, detail: oneLine(`${host} [${address}]: ${detail}`) } }
}
