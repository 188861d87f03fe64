/**
 * Haraka's face of the plugin: reads the settings, looks at Haraka, wires the rooms, starts and stops. Decides nothing.
 * It loads whole or not at all: a mistake in the settings or an unknown Haraka is an exception out of register(), with
 * which Haraka ends; a relay that is up enforces.
 */
import { denysoft } from 'haraka-constants'
import type { Config } from './config'
import type { Health } from './dnssec-stub'
import { createAhead } from './delivery/ahead'
import { treatmentOf } from './delivery/planner'
import { createControl } from './haraka/control'
import { createInbound } from './haraka/inbound'
import type { Inbound, InboundConnection, Next } from './haraka/inbound'
import { findSeam } from './haraka/seam'
import { tellRoads } from './haraka/tell-roads'
import { createContextSource } from './haraka/tls-context'
import type { HarakaDomain, HarakaPlugin, OutboundTls, TlsSocketModule } from './haraka/types'
import { logLine } from './telemetry/log-line'
import { createMetricsService } from './telemetry/metrics-http'
import type { HttpApp, MetricsService } from './telemetry/metrics-http'
import { tapPlanner } from './telemetry/metrics-taps'
import { load, readRedisIni, reload } from './load'
import type { OutboundModule } from './load'
import { readOwnUser } from './own-user'
import type { OwnUser } from './own-user'
import type { Logger, Store } from './store'
import { resolverWords } from './resolver-words'
import { storeFolderBeside } from './settings'
import { prepareStore, wire } from './wiring'
import type { Wiring, WiringOptions } from './wiring'
import { readWorkers } from './workers'

interface Running {
  readonly inbound: Inbound
  readonly metrics: MetricsService
  /** Begins the lookups for a message's domains, so that their deliveries may find them done. */
  readonly lookAhead: (domains: Iterable<string>) => void
  /** Whether some plugin may name a route for mail. */
  readonly mayBeRouted: () => boolean
  /** Starts once; whatever is asked before waits for it. Rejects with why there is no start. */
  readonly start: () => Promise<void>
  readonly settingsChanged: () => void
  /** Begins nothing any more of which no delivery has need. What deliveries need stays as long as the process. */
  readonly retire: () => void
}

/** Haraka loads a plugin once for each process, and keeps nothing for it. */
let running: Running | undefined

/** The lowest number that Haraka takes. */
const FIRST = -100

/** Added to the settings' own time limits before a decision counts as lost. */
const DECISION_GRACE_SECONDS = 5

export function register(this: HarakaPlugin): void {
  const seam = findSeam((module) => this.haraka_require(module))
  const onChange = () => {
    const before = loaded
    loaded = reload(this, outbound, before, onChange)
    if (loaded !== before) running?.settingsChanged()
  }
  // Modules are asked for once: Haraka's way to them costs more than a decision.
  const outbound = this.haraka_require('outbound/config') as OutboundModule
  const plugins = this.haraka_require('plugins') as PluginsModule
  let loaded = load(this, outbound, onChange)
  const config = () => loaded.config
  const service = createMetricsService({
    httpOn: isHttpOn(this),
    notice: (sentence) => {
      this.lognotice(this, sentence)
    },
  })
  const { metrics } = service
  let wiring: Promise<Wiring> | undefined
  const log = loggerOf(this)
  const owner = ownUser(this)
  prepareStore(config(), { storeFolder: storeFolder(this), owner, log })
  /** The wiring, once it is there. */
  let wired: Wiring | undefined
  const start = () => {
    wiring ??= wire({
      config,
      log,
      storeFolder: storeFolder(this),
      owner,
      workers: readWorkers(smtpIni(this)),
      redisIni: readRedisIni(this),
      redisCa: loaded.redisCa,
      ca: () => loaded.contextSettings.ca,
      self: selfOf(this, outbound),
      tlsSwitchedOff: () => !outbound.cfg.enable_tls,
      onHealth: (health) => {
        tellHealth(this, health)
      },
      metrics,
    }).then((done) => (wired = done))
    return wiring
  }
  const control = createControl({
    planner: tapPlanner(
      {
        planForDomain: async (domain, options) =>
          (await start()).planner.planForDomain(domain, options),
        planForRoute: async (route) => (await start()).planner.planForRoute(route),
      },
      metrics,
      () => performance.now(),
    ),
    treatment: (domain) => treatmentOf(config(), domain, new Date()),
    harakaMx: seam.HarakaMx,
    contexts: createContextSource(
      () => loaded.contextSettings,
      this.haraka_require('outbound/tls') as OutboundTls,
      this.haraka_require('tls_socket') as TlsSocketModule,
    ),
    contextSettings: () => loaded.contextSettings,
    now: () => new Date(),
    decisionTimeoutMs: () => {
      const { dns, mtaSts } = config()
      return (dns.deadlineSeconds + mtaSts.fetchTimeoutSeconds + DECISION_GRACE_SECONDS) * 1000
    },
    stoodInLineMs: () => wired?.resolver.stoodInLineMs() ?? 0,
    ended: (hmail, end) => {
      hmail.lognotice(this, `tls-policy: ${logLine(end)}`)
      metrics.ended(end)
    },
  })
  seam.install(control)
  let retired = false
  running = {
    inbound: createInbound({ offer: () => ({ kind: 'not-offered', why: 'it is not built yet' }) }),
    metrics: service,
    lookAhead: createAhead(
      async (domain) => {
        if (treatmentOf(config(), domain, new Date()) === 'off') return
        const { planner } = await start()
        await planner.planForDomain(domain)
      },
      () => wired?.resolver.isInLine() === true,
    ),
    mayBeRouted: () => (plugins.registered_hooks['get_mx']?.length ?? 0) > 0,
    start: async () => {
      const { sts, store } = await start()
      tellStart(this, config(), store)
      if (!retired) sts.startRefreshing()
    },
    settingsChanged: () => {
      wiring?.then((started) => {
        started.settingsChanged()
      }, hasSaidSo)
    },
    retire: () => {
      retired = true
      wiring?.then(({ sts }) => {
        sts.stopRefreshing()
      }, hasSaidSo)
    },
  }
  // First of all: behind a plugin that takes the sender, a tag would not be seen.
  this.register_hook('mail', 'answer_requiretls', FIRST)
  this.register_hook('queue', 'guard_requiretls', FIRST)
  this.register_hook('queue_outbound', 'guard_requiretls', FIRST)
  this.register_hook('init_master', 'start_tls_policy')
  this.register_hook('init_child', 'start_tls_policy')
  // First of all: what comes after a hook that takes its time, Haraka's "not found" answers instead.
  this.register_hook('init_http', 'serve_metrics', FIRST)
  // Last of all: mail that another plugin takes or refuses is looked up by nobody.
  this.register_hook('queue_outbound', 'look_ahead', 100)
}

/** A master that only minds its workers delivers nothing: it starts nothing. */
export function start_tls_policy(
  this: HarakaPlugin,
  next: () => void,
  server: { readonly cluster?: { readonly isMaster?: boolean } },
): void {
  // One of the processes is enough: all have the same plugins.
  if (!server.cluster || server.cluster.isMaster) tellRoads(this)
  if (!running || server.cluster?.isMaster) {
    running?.metrics.relay()
    next()
    return
  }
  running.start().then(
    () => {
      next()
    },
    (err: unknown) => {
      // Every decision will fail as this did, and every mail wait: that is what the operator shall see.
      this.logcrit(this, `tls-policy could not start, so mail will wait: ${String(err)}`)
      next()
    },
  )
}

export function serve_metrics(
  this: HarakaPlugin,
  next: () => void,
  server: { readonly http: { readonly app: HttpApp } },
): void {
  running?.metrics.serve(server.http.app)
  next()
}

export function answer_requiretls(
  this: HarakaPlugin,
  next: Next,
  connection: InboundConnection,
  [, parameters]: readonly unknown[],
): void {
  if (running) running.inbound.mail(next, connection, parameters)
  else next(denysoft)
}

export function guard_requiretls(
  this: HarakaPlugin,
  next: Next,
  connection: InboundConnection,
): void {
  if (running) running.inbound.queue(next, connection)
  else next(denysoft)
}

export function look_ahead(
  this: HarakaPlugin,
  next: () => void,
  connection: {
    readonly transaction?: { readonly rcpt_to: readonly { readonly host: HarakaDomain }[] }
  },
): void {
  // Where a plugin may route mail elsewhere, the recipient's domain may be nobody's business (RFC 8461 section 3.4).
  if (running && !running.mayBeRouted()) {
    running.lookAhead(connection.transaction?.rcpt_to.map(({ host }) => String(host)) ?? [])
  }
  next()
}

/**
 * Haraka calls this long before its end: for up to a minute more it delivers the mail that it has, and takes more over connections
 * that are open. So nothing is taken away here. What is left of us keeps no process alive, and ends with it.
 */
export function shutdown(): void {
  running?.retire()
}

/** For a start that failed: whoever asked for it has been told. */
function hasSaidSo(): void {
  // Every delivery hears of it again.
}

/** What is so, once the store is open. */
function tellStart(plugin: HarakaPlugin, { mode, store }: Config, open: Store): void {
  const inMemory = open.troubles().some(({ kind }) => kind === 'file-closed')
  const kept = {
    lmdb: inMemory
      ? 'in the memory of each worker only, as the file cannot be used'
      : `in a file shared by this machine's workers (${store.path ?? storeFolder(plugin)})`,
    redis: `in Redis, with a copy ${inMemory ? 'in the memory of each worker' : 'on this machine'}`,
    memory: 'in the memory of each worker only, and lost at the end',
  }[store.backend]
  const does = {
    enforce: "mode enforce: mail goes out as the receivers' policies demand, or waits",
    observe:
      'mode OBSERVE: mail goes out as without the plugin; the log says what enforce would do',
  }[mode]
  plugin.lognotice(plugin, `${does}; MTA-STS policies are kept ${kept}`)
}

/** In plain words: is DANE on, and if not, what that means and how to get it. */
function tellHealth(plugin: HarakaPlugin, health: Health): void {
  const { says, cure } = resolverWords(health)
  if (cure === undefined) plugin.lognotice(plugin, says)
  else plugin.logwarn(plugin, `${says}. Do: ${cure}`)
}

/** Haraka's `plugins`. */
interface PluginsModule {
  readonly registered_hooks: Readonly<Record<string, readonly unknown[] | undefined>>
}

/** Haraka's HTTP listener, where metrics are served (http.ini). */
function isHttpOn(plugin: HarakaPlugin): boolean {
  const { main } = plugin.config.get('http.ini') as {
    readonly main?: { readonly listen?: unknown }
  }
  return Boolean(main?.listen)
}

/** Who Haraka becomes as soon as it listens. */
function ownUser(plugin: HarakaPlugin): OwnUser {
  return readOwnUser(smtpIni(plugin))
}

function smtpIni(plugin: HarakaPlugin): Readonly<Record<string, unknown>> | undefined {
  const { main } = plugin.config.get('smtp.ini') as {
    readonly main?: Readonly<Record<string, unknown>>
  }
  return main
}

function storeFolder(plugin: HarakaPlugin): string {
  const { queue_dir } = plugin.haraka_require('outbound/queue') as { readonly queue_dir: string }
  return storeFolderBeside(queue_dir)
}

/** This server as Haraka itself knows it (its is_local_host). */
function selfOf(plugin: HarakaPlugin, outbound: OutboundModule): WiringOptions['self'] {
  const { net_utils } = plugin.haraka_require('outbound') as {
    readonly net_utils: {
      get_public_ip(): Promise<unknown>
      get_primary_host_name(): unknown
    }
  }
  return {
    localMxOk: () => outbound.cfg.local_mx_ok,
    name: () => String(net_utils.get_primary_host_name()),
    publicIp: async () => {
      const address = await net_utils.get_public_ip()
      return typeof address === 'string' ? address : undefined
    },
  }
}

function loggerOf(plugin: HarakaPlugin): Logger {
  return {
    info: (text) => {
      plugin.loginfo(plugin, text)
    },
    notice: (text) => {
      plugin.lognotice(plugin, text)
    },
    warn: (text) => {
      plugin.logwarn(plugin, text)
    },
    error: (text) => {
      plugin.logerror(plugin, text)
    },
  }
}
