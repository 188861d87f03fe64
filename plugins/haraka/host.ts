/**
 * The running Haraka: its own modules and settings, as far as the plugin uses them. No other file asks for a module of Haraka's
 * (`house/host` in eslint.config.mjs). Each is asked for once: Haraka's way to them costs more than a decision.
 */
import { findSeam, type Seam } from './seam'
import type { OutboundModule as SendingModule } from './inject'
import type { Hook } from './roads'
import type { HarakaPlugin, OutboundTls, TlsSocketModule } from './types'

export interface Host {
  readonly seam: Seam
  readonly outbound: OutboundModule
  readonly plugins: PluginsModule
  readonly outboundTls: OutboundTls
  readonly tlsSocket: TlsSocketModule
  /** Whether some plugin may name a route for mail. */
  mayBeRouted(): boolean
  /** The folder of the outbound queue. */
  queueFolder(): string
  /** What puts messages into the outbound queue. */
  sending(): SendingModule
  /** This server as Haraka itself knows it (its is_local_host). */
  self(): Self
  /** Whether Haraka has its HTTP listener on (http.ini). */
  isHttpOn(): boolean
  /** [main] of smtp.ini. */
  smtpMain(): Readonly<Record<string, unknown>> | undefined
}

export interface Self {
  readonly localMxOk: () => boolean
  readonly name: () => string
  readonly publicIp: () => Promise<string | undefined>
}

/** Haraka's `outbound/config`; `cfg` is replaced as a whole when outbound.ini is loaded anew. */
export interface OutboundModule {
  readonly cfg: {
    readonly enable_tls: boolean
    readonly local_mx_ok: boolean
  }
}

/** Haraka's `plugins`; complete when the first of the init hooks runs. */
export interface PluginsModule {
  readonly registered_hooks: Readonly<Record<string, readonly Hook[] | undefined>>
  readonly registered_plugins: Readonly<Record<string, unknown>>
}

interface NetUtils {
  get_public_ip(): Promise<unknown>
  get_primary_host_name(): unknown
}

/** @throws Error with a sentence for the operator, where Haraka is not as known. */
export function findHost(plugin: HarakaPlugin): Host {
  const seam = findSeam((module) => plugin.haraka_require(module))
  const outbound = plugin.haraka_require('outbound/config') as OutboundModule
  const plugins = plugin.haraka_require('plugins') as PluginsModule
  const main = (file: string) => {
    const ini = plugin.config.get(file) as { readonly main?: Readonly<Record<string, unknown>> }
    return ini.main
  }
  return {
    seam,
    outbound,
    plugins,
    outboundTls: plugin.haraka_require('outbound/tls') as OutboundTls,
    tlsSocket: plugin.haraka_require('tls_socket') as TlsSocketModule,
    mayBeRouted: () => (plugins.registered_hooks['get_mx']?.length ?? 0) > 0,
    queueFolder() {
      const { queue_dir } = plugin.haraka_require('outbound/queue') as {
        readonly queue_dir: string
      }
      return queue_dir
    },
    sending: () => plugin.haraka_require('outbound') as SendingModule,
    self() {
      const { net_utils } = plugin.haraka_require('outbound') as { readonly net_utils: NetUtils }
      return {
        localMxOk: () => outbound.cfg.local_mx_ok,
        name: () => String(net_utils.get_primary_host_name()),
        publicIp: async () => {
          const address = await net_utils.get_public_ip()
          return typeof address === 'string' ? address : undefined
        },
      }
    },
    isHttpOn: () => Boolean(main('http.ini')?.['listen']),
    smtpMain: () => main('smtp.ini'),
  }
}
