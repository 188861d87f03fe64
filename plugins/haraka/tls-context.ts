/**
 * SecureContexts, one for each set of things that a context depends on, shared by all sessions: building one for each
 * connection, as Node does by itself, costs a good part of a handshake. A context holds no policy: requirements are judged on each
 * session anew, and no TLS session is ever resumed (XC-02).
 */
import { createSecureContext } from 'node:tls'
import type { SecureContext, SecureVersion } from 'node:tls'
import { contextOptions, sessionOptions } from './operator-tls'
import type { SessionOptions } from './operator-tls'
import type { OutboundTls, TlsSettings, TlsSocketModule } from './types'

export interface ContextSettings {
  readonly minVersion: SecureVersion
  /** PEM roots; undefined: Node's own. */
  readonly ca: string | undefined
}

export interface ContextSource {
  /** The context for a session with this host (an address, as Haraka's mutual_auth_hosts has it). */
  contextFor(host: string): SecureContext
  /** What such a session is asked for beside its context. */
  sessionOptions(): SessionOptions
  /**
   * For sessions that Haraka holds by itself: the same options with the context that they ask for, made once for all sessions
   * that ask for the same. What is sent and what is accepted stay as they are.
   * @param options As Haraka gives them to `tls.connect`.
   * @returns The very options where sharing could change anything.
   */
  withSharedContext(options: unknown): unknown
}

/** Contexts for Haraka's own sessions: it has one set of options, and one more where force_tls_hosts are met. */
const MOST_OF_HARAKAS = 4
/** What differs from session to session and is no part of a context. */
const OF_THE_SESSION = 'servername'

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
  const harakas: { readonly options: object; readonly context: SecureContext }[] = []

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
      const context = createSecureContext({
        ...contextOptions(outbound, client, current.minVersion),
        ...(current.ca === undefined ? {} : { ca: current.ca }),
      })
      byClient.set(client, context)
      return context
    },
    sessionOptions() {
      return sessionOptions(outboundTls.cfg ?? none)
    },
    withSharedContext(options) {
      // Client certificates Haraka adds later, and a context that is there already would keep it from that.
      if (typeof options !== 'object' || options === null || 'secureContext' in options)
        return options
      if (mayShowCertificates(tlsSocket)) return options
      const kept = harakas.find((each) => areAlike(each.options, options))
      if (kept) return { ...options, secureContext: kept.context }
      try {
        const context = createSecureContext(options)
        if (harakas.length >= MOST_OF_HARAKAS) harakas.shift()
        harakas.push({ options: { ...options }, context })
        return { ...options, secureContext: context }
      } catch {
        // Settings that OpenSSL does not take fail as they do without us.
        return options
      }
    },
  }
}

/** Also where Haraka has yet to read its settings. */
function mayShowCertificates({ tls_valid, cfg }: TlsSocketModule): boolean {
  if (!tls_valid) return false
  if (!cfg) return true
  return Boolean(cfg.main?.mutual_tls) || Object.keys(cfg.mutual_auth_hosts ?? {}).length > 0
}

/** Each option the very same value; those that are made anew for each session count as different. */
function areAlike(one: object, other: object): boolean {
  const keys = Object.keys(one).filter((key) => key !== OF_THE_SESSION)
  const others = Object.keys(other).filter((key) => key !== OF_THE_SESSION)
  return (
    keys.length === others.length &&
    keys.every((key) => key in other && Reflect.get(one, key) === Reflect.get(other, key))
  )
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
