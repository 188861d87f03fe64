/**
 * A web server for MTA-STS policies (RFC 8461 §3.3), honest or not. It answers by the name that the client asked for in
 * SNI, and keeps what was asked.
 */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import { createSecureContext, type SecureContext, type TLSSocket } from 'node:tls'
import { closed } from './daemon'
import { Journal } from './journal'
import { type Presented, pemOf } from './receiver'

/** A policy's text, served as it should be; or how to do otherwise. */
export type PolicyAnswer =
  | string
  | {
      readonly status?: number
      readonly headers?: Readonly<Record<string, string | readonly string[]>>
      readonly body?: string | Buffer
    }
  /** These octets in place of an HTTP response, and the end of the connection: of TLS (close_notify), or of TCP alone. */
  | { readonly octets: string; readonly ends: 'TLS' | 'TCP' }
  /** Never answers; closes without an answer; sends a byte a second; never stops sending. */
  | { readonly fault: 'hang' | 'drop' | 'drip' | 'endless' }

export interface HostedPolicy {
  readonly answer: PolicyAnswer
  readonly certificate: Presented
}

export interface PolicyHostSettings {
  readonly address: string
  /** Default 443. */
  readonly port?: number
  /** By host name: `mta-sts.good.test`. */
  readonly hosts: Readonly<Record<string, HostedPolicy>>
}

export interface PolicyRequest {
  readonly host: string
  readonly path: string
}

/** A policy's text. @param maxAge seconds. */
export function policyText(mode: string, mx: readonly string[], maxAge = 604_800): string {
  const patterns = mx.map((pattern) => `mx: ${pattern}`)
  return ['version: STSv1', `mode: ${mode}`, ...patterns, `max_age: ${maxAge}`, ''].join('\r\n')
}

export class PolicyHost {
  readonly requests: Journal<PolicyRequest>
  readonly #hosts: Map<string, HostedPolicy>

  private constructor(
    settings: PolicyHostSettings,
    private readonly server: Server,
  ) {
    this.#hosts = new Map(Object.entries(settings.hosts))
    this.requests = new Journal(`requests at ${settings.address}`, (request) =>
      JSON.stringify(request),
    )
  }

  static async start(settings: PolicyHostSettings): Promise<PolicyHost> {
    const server = createServer({
      SNICallback: (name, done) => {
        done(null, host.#context(name))
      },
    })
    const host = new PolicyHost(settings, server)
    server.on('request', (request, response) => {
      host.#answer(request, response)
    })
    server.on('tlsClientError', (error) => {
      host.requests.add({ host: `(no handshake: ${error.message})`, path: '' })
    })
    server.listen(settings.port ?? 443, settings.address)
    await once(server, 'listening')
    return host
  }

  /** Adds or changes what one host serves. */
  set(host: string, policy: HostedPolicy): void {
    this.#hosts.set(host, policy)
  }

  async stop(): Promise<void> {
    if (!this.server.listening) return
    const done = closed(this.server)
    this.server.closeAllConnections()
    await done
  }

  #context(name: string): SecureContext | undefined {
    const hosted = this.#hosts.get(name.toLowerCase())
    return hosted === undefined ? undefined : createSecureContext(pemOf(hosted.certificate))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { servername } = request.socket as TLSSocket & { servername?: string | false }
    const host = typeof servername === 'string' ? servername : ''
    this.requests.add({ host, path: request.url ?? '' })
    response.on('error', () => undefined)
    const answer = this.#hosts.get(host.toLowerCase())?.answer
    if (answer === undefined || request.url !== '/.well-known/mta-sts.txt')
      response.writeHead(404).end()
    else if (typeof answer === 'string') send(response, { body: answer })
    else if ('fault' in answer) misbehave(response, answer.fault)
    else if ('octets' in answer) sendOctets(response, answer)
    else send(response, answer)
  }
}

function send(
  response: ServerResponse,
  { status = 200, headers, body = '' }: Exclude<PolicyAnswer, string | Octets | { fault: string }>,
): void {
  response.statusCode = status
  response.setHeader('content-type', 'text/plain')
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value)
  response.end(body)
}

type Octets = Extract<PolicyAnswer, { readonly octets: string }>

function sendOctets({ socket }: ServerResponse, { octets, ends }: Octets): void {
  if (ends === 'TLS') socket?.end(octets)
  // Behind what was written goes the end of TCP; nothing says that TLS ends.
  else socket?.write(octets, () => socket.destroy())
}

function misbehave(response: ServerResponse, fault: 'hang' | 'drop' | 'drip' | 'endless'): void {
  switch (fault) {
    case 'hang':
      return
    case 'drop':
      response.destroy()
      return
    case 'drip': {
      response.writeHead(200, { 'content-type': 'text/plain' })
      const timer = setInterval(() => response.write('v'), 1000)
      response.once('close', () => {
        clearInterval(timer)
      })
      return
    }
    case 'endless': {
      response.writeHead(200, { 'content-type': 'text/plain' })
      const more = () => {
        while (!response.destroyed && response.write('mx: mx.example\r\n'.repeat(1000)));
      }
      response.on('drain', more)
      more()
    }
  }
}
