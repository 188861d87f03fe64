/**
 * SecureContexts, one for each set of things that a context depends on, shared by all sessions: building one for each
 * connection, as Node does by itself, costs a good part of a handshake. A context holds no policy: requirements are judged on each
 * session anew, and no TLS session is ever resumed (XC-02).
 */
import { createSecureContext } from 'node:tls'
import type { SecureContext, SecureContextOptions, SecureVersion } from 'node:tls'
import type { OutboundTls, TlsSettings, TlsSocketModule } from './types'

export interface ContextSettings {
  readonly minVersion: SecureVersion
  /** PEM roots; undefined: Node's own. */
  readonly ca: string | undefined
}

export interface ContextSource {
  /** The context for a session with this host (an address, as Haraka's mutual_auth_hosts has it). */
  contextFor(host: string): SecureContext
}

/**
 * @param settings Read for each call; contexts are rebuilt when the returned object is another.
 */
export function createContextSource(
  settings: () => ContextSettings,
  outboundTls: OutboundTls,
  tlsSocket: TlsSocketModule,
): ContextSource {
  const none: TlsSettings = {}
  /** Keyed by everything a context depends on: our settings, tls.ini's outbound part, the client certificate of the host. */
  let contexts = new WeakMap<TlsSettings, WeakMap<TlsSettings, SecureContext>>()
  let builtFor: ContextSettings | undefined

  return {
    contextFor(host) {
      const current = settings()
      if (current !== builtFor) {
        contexts = new WeakMap()
        builtFor = current
      }
      const outbound = outboundTls.cfg ?? none
      const client = clientCertificate(host, tlsSocket) ?? none
      const byClient = contexts.get(outbound) ?? new WeakMap<TlsSettings, SecureContext>()
      contexts.set(outbound, byClient)
      const known = byClient.get(client)
      if (known) return known
      const context = createSecureContext(contextOptions(current, outbound, client))
      byClient.set(client, context)
      return context
    },
  }
}

/**
 * Which certificate of ours the operator wants shown to this host (tls.ini mutual_tls, mutual_auth_hosts). Only key and
 * certificate are taken: the rest of such an entry describes a server and would undo the verification.
 */
function clientCertificate(host: string, tlsSocket: TlsSocketModule): TlsSettings | undefined {
  const { tls_valid, cfg, certsByHost } = tlsSocket
  if (!tls_valid || !cfg || !certsByHost) return undefined
  const named = cfg.mutual_auth_hosts?.[host]
  if (named !== undefined) return certsByHost[named] ?? certsByHost['*']
  if (cfg.mutual_auth_hosts_exclude?.[host] !== undefined) return undefined
  if (cfg.main?.mutual_tls) return certsByHost[host] ?? certsByHost['*']
  return undefined
}

function contextOptions(
  settings: ContextSettings,
  outbound: TlsSettings,
  client: TlsSettings,
): SecureContextOptions {
  const identity = keyPair(client) ?? keyPair(outbound) ?? {}
  return {
    minVersion: strictest(settings.minVersion, outbound.minVersion),
    ...(settings.ca === undefined ? {} : { ca: settings.ca }),
    ...(typeof outbound.ciphers === 'string'
      ? { ciphers: `${outbound.ciphers}:!aNULL:!eNULL` }
      : {}),
    ...identity,
  }
}

function keyPair({ key, cert }: TlsSettings): SecureContextOptions | undefined {
  if (!isFilled(key) || !isFilled(cert)) return undefined
  return { key, cert } as SecureContextOptions
}

function isFilled(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 && value.every(Boolean) : Boolean(value)
}

function strictest(ours: SecureVersion, theirs: unknown): SecureVersion {
  return theirs === 'TLSv1.3' ? 'TLSv1.3' : ours
}
