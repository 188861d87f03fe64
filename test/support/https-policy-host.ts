/**
 * A real HTTPS server on a loopback port that serves MTA-STS policies, good or planted with faults. It has its own CA,
 * notes every request, and lets a test answer by hand, down to raw octets on the socket.
 */
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket, TlsOptions } from 'node:tls'
import { type CertificateRequest, makeCertificate, type TestCertificate } from './certificates'

export interface SeenRequest {
  readonly method: string
  readonly url: string
  /** The Host header. */
  readonly host: string
  readonly headers: IncomingHttpHeaders
  /** Server name indication. */
  readonly sni: string | false
}

export type Respond = (request: IncomingMessage, response: ServerResponse) => void

export interface PolicyHost {
  readonly port: number
  /** PEM of the root that signed the server's certificate. */
  readonly ca: string
  /** All requests, in order. */
  readonly requests: readonly SeenRequest[]
  /** TCP connections so far. */
  readonly connections: number
  /** Answers for this host from now on: a policy text, or a handler. */
  serve(host: string, answer: string | Respond): void
  /** Resolves when this many requests have come in. */
  reached(requests: number): Promise<void>
  close(): Promise<void>
}

export interface PolicyHostOptions {
  /** The names of the certificate, which are also the hosts served; default mta-sts.rcpt.test. */
  readonly hosts?: readonly string[]
  /** Changes the certificate. */
  readonly certificate?: CertificateRequest
  /** The CA to sign with; default a new one. */
  readonly root?: TestCertificate
  readonly tls?: TlsOptions
  /** What every host answers until told otherwise. */
  readonly answer?: string | Respond
  /** Default 127.0.0.1. */
  readonly address?: string
  /** Default: an ephemeral one. */
  readonly port?: number
}

/** A policy text. */
export function policyText({
  mode = 'enforce',
  mx = ['mx1.rcpt.test', '*.mx.rcpt.test'],
  maxAge = 604_800,
}: { mode?: string; mx?: readonly string[]; maxAge?: number } = {}): string {
  const lines = ['version: STSv1', `mode: ${mode}`, ...mx.map((name) => `mx: ${name}`)]
  return [...lines, `max_age: ${maxAge}`, ''].join('\r\n')
}

/** Writes these octets instead of an HTTP response, and ends the connection. */
export function raw(...parts: (string | Buffer)[]): Respond {
  return (_request, response) => {
    const socket = response.socket
    for (const part of parts) socket?.write(part)
    socket?.end()
  }
}

/** A plain response with the policy media type unless told otherwise. */
export function plain(
  status: number,
  body: string | Buffer,
  headers: Record<string, string | readonly string[]> = {},
): Respond {
  return (_request, response) => {
    response.writeHead(status, { 'Content-Type': 'text/plain', ...headers })
    response.end(body)
  }
}

export function makeRoot(): TestCertificate {
  return makeCertificate({ subject: 'Policy host test root', ca: true })
}

export async function startPolicyHost(options: PolicyHostOptions = {}): Promise<PolicyHost> {
  const root = options.root ?? makeRoot()
  const hosts = options.hosts ?? ['mta-sts.rcpt.test']
  const leaf = makeCertificate({
    subject: 'policy host',
    san: hosts,
    issuer: root,
    ...options.certificate,
  })
  const answers = new Map<string, string | Respond>()
  const requests: SeenRequest[] = []
  const waiting = new Set<() => void>()
  const sockets = new Set<Socket>()
  let connections = 0

  const server = https.createServer({ cert: leaf.pem, key: leaf.keyPem, ...options.tls })
  server.on('connection', (socket: Socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('secureConnection', (socket: TLSSocket) => socket.on('error', () => undefined))
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const host = (request.headers.host ?? '').replace(/:\d+$/, '')
    requests.push({
      method: request.method ?? '',
      url: request.url ?? '',
      host: request.headers.host ?? '',
      headers: request.headers,
      sni: (request.socket as TLSSocket & { servername?: string | false }).servername ?? false,
    })
    for (const wake of waiting) wake()
    const answer = answers.get(host) ?? options.answer ?? policyText()
    if (typeof answer === 'string') plain(200, answer)(request, response)
    else answer(request, response)
  })
  server.listen(options.port ?? 0, options.address ?? '127.0.0.1')
  await once(server, 'listening')

  return {
    port: (server.address() as AddressInfo).port,
    ca: root.pem,
    requests,
    get connections() {
      return connections
    },
    serve: (host, answer) => void answers.set(host, answer),
    reached: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (requests.length < count) return
          waiting.delete(look)
          resolve()
        }
        waiting.add(look)
        look()
      }),
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}
