/**
 * Haraka's face of the plugin: reads the settings, looks at Haraka, wires the rooms, starts and stops. Decides nothing.
 * It loads whole or not at all: a mistake in the settings or an unknown Haraka is an exception out of register(), with
 * which Haraka ends; a relay that is up enforces.
 */
import { join } from 'node:path'
import { denysoft, ok } from 'haraka-constants'
import { createAhead } from './delivery/ahead'
import { treatmentOf } from './delivery/planner'
import type { Planner } from './delivery/planner'
import { messageId } from './haraka/attempt'
import { createControl } from './haraka/control'
import { dkimFiles } from './haraka/dkim-files'
import { findHost, type Host } from './haraka/host'
import { createInjector, hasWaitedEnough, reportTo } from './haraka/inject'
import { createInbound } from './haraka/inbound'
import type { Inbound, InboundConnection, Next } from './haraka/inbound'
import { neverTaken } from './haraka/never-taken'
import { queueHandlers } from './haraka/notification'
import { obstacleOf } from './haraka/obstacle'
import { tellRoads } from './haraka/tell-roads'
import { createContextSource } from './haraka/tls-context'
import type { HarakaDomain, HarakaPlugin, HMailItem } from './haraka/types'
import { logLine } from './telemetry/log-line'
import { createMetricsService } from './telemetry/metrics-http'
import type { HttpApp, MetricsService } from './telemetry/metrics-http'
import { tapPlanner } from './telemetry/metrics-taps'
import { load, readRedisIni, reload } from './load'
import { readOwnUser } from './own-user'
import { createReporting } from './reporting'
import { prepareReports, wireReports } from './reports'
import type { Reports } from './reports'
import { storeFolderBeside } from './settings'
import { hopRuleFor } from './requiretls-hops'
import { loggerOf, tellHealth, tellRequireTls, tellStart } from './tell-start'
import { createWaiting } from './waiting/notes'
import { prepareStore, wire } from './wiring'
import type { Wiring } from './wiring'
import { readWorkers } from './workers'

interface Running {
  readonly inbound: Inbound
  readonly metrics: MetricsService
  /** Begins the lookups for a message's domains, so that their deliveries may find them done. */
  readonly lookAhead: (domains: Iterable<string>) => void
  readonly host: Host
  /** A report of ours came back from this address. */
  readonly cameBack: (address: string) => void
  /** Starts once; whatever is asked before waits for it. Rejects with why there is no start. */
  readonly start: () => Promise<void>
  readonly settingsChanged: () => void
  /** Begins nothing any more of which no delivery has need. What deliveries need stays as long as the process. */
  readonly retire: () => void
}

/** Haraka loads a plugin once for each process, and keeps nothing for it. */
let running: Running | undefined

/** The lowest number and the highest that Haraka takes. */
const FIRST = -100
const LAST = 100

/** Added to the settings' own time limits before a decision counts as lost. */
const DECISION_GRACE_SECONDS = 5

export function register(this: HarakaPlugin): void {
  const host = findHost(this)
  const { seam, outbound } = host
  const onChange = () => {
    const before = loaded
    loaded = reload(this, outbound, before, onChange)
    if (loaded === before) return
    prepareReports(loaded.config, log)
    running?.settingsChanged()
  }
  const log = loggerOf(this)
  let loaded = load(this, outbound, onChange)
  const config = () => loaded.config
  const service = createMetricsService({
    httpOn: host.isHttpOn(),
    notice: (sentence) => {
      this.lognotice(this, sentence)
    },
  })
  const { metrics } = service
  let wiring: Promise<Wiring> | undefined
  const owner = readOwnUser(host.smtpMain())
  const storeFolder = storeFolderBeside(host.queueFolder())
  prepareStore(config(), { storeFolder, owner, log })
  prepareReports(config(), log)
  /** The wiring, once it is there. */
  let wired: Wiring | undefined
  let reports: Reports | undefined
  const start = () => {
    wiring ??= wire({
      config,
      log,
      storeFolder,
      owner,
      workers: readWorkers(host.smtpMain()),
      redisIni: readRedisIni(this),
      redisCa: loaded.redisCa,
      ca: () => loaded.contextSettings.ca,
      self: host.self(),
      tlsSwitchedOff: () => !outbound.cfg.enable_tls,
      onHealth: (health) => {
        tellHealth(log, health)
      },
      metrics,
      reports: () => reports?.state(),
    }).then((done) => {
      reports = wireReports({
        ...done,
        resolver: done.resolver.resolver,
        config,
        log,
        ca: () => loaded.contextSettings.ca,
        key: dkimFiles(this),
        send: createInjector(host.sending(), this),
        folder: join(storeFolder, 'tlsrpt-dry-run'),
        metrics,
      })
      return (wired = done)
    })
    return wiring
  }
  const planner: Planner = {
    planForDomain: async (domain, options) =>
      (await start()).planner.planForDomain(domain, options),
    planForRoute: async (route, options) => (await start()).planner.planForRoute(route, options),
  }
  const obstacle = () =>
    obstacleOf({
      mode: config().mode,
      tlsSwitchedOff: !outbound.cfg.enable_tls,
      vouched: config().requiretls.offer === 'all',
      hooks: host.plugins.registered_hooks,
    })
  const reporting = createReporting({
    config,
    store: async () => (await start()).store,
    metrics,
    log,
  })
  const waiting = createWaiting({
    store: async () => (await start()).store,
    clock: Date.now,
    log,
  })
  const control = createControl({
    planner: tapPlanner(planner, metrics, () => performance.now()),
    honourTlsRequiredNo: () => config().tlsRequired.honour,
    requiretlsHop: (hop) => hopRuleFor(config().requiretlsHops, hop),
    treatment: (domain) => treatmentOf(config(), domain, new Date()),
    harakaMx: seam.HarakaMx,
    contexts: createContextSource(() => loaded.contextSettings, host.outboundTls, host.tlsSocket),
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
      reporting.ended(hmail, end)
      waiting.ended(messageId(hmail), end)
    },
  })
  seam.install({ ...control, ...queueHandlers })
  let retired = false
  running = {
    inbound: createInbound({
      setting: () => config().requiretls.offer,
      obstacle,
      neverTaken: (domain) =>
        host.mayBeRouted() ? Promise.resolve(undefined) : neverTaken(domain, planner),
    }),
    metrics: service,
    lookAhead: createAhead(
      async (domain) => {
        if (treatmentOf(config(), domain, new Date()) === 'off') return
        const { planner } = await start()
        await planner.planForDomain(domain)
      },
      () => wired?.resolver.isInLine() === true,
    ),
    cameBack: (address) => reports?.cameBack(address),
    host,
    start: async () => {
      const { sts, store } = await start()
      tellStart(log, config(), store, config().store.path ?? storeFolder)
      tellRequireTls(log, config(), obstacle())
      if (retired) return
      sts.startRefreshing()
      reports?.start()
    },
    settingsChanged: () => {
      wiring?.then((started) => {
        started.settingsChanged()
      }, hasSaidSo)
    },
    retire: () => {
      retired = true
      reports?.stop()
      reporting.retire().catch(hasSaidSo)
      waiting.retire().catch(hasSaidSo)
      wiring?.then(({ sts }) => {
        sts.stopRefreshing()
      }, hasSaidSo)
    },
  }
  // First of all: behind a plugin that takes the sender, a tag would not be seen.
  this.register_hook('mail', 'answer_requiretls', FIRST)
  this.register_hook('rcpt', 'look_at_recipient', FIRST)
  this.register_hook('queue', 'guard_queue', FIRST)
  this.register_hook('queue_outbound', 'guard_queue_outbound', FIRST)
  // After all others: AUTH is among the capabilities by then.
  this.register_hook('capabilities', 'offer_requiretls', LAST)
  this.register_hook('init_master', 'start_tls_policy')
  this.register_hook('init_child', 'start_tls_policy')
  // Before all others: Haraka installs its 404 handler once an init_http hook is slow, and routes added later are not reached.
  this.register_hook('init_http', 'serve_metrics', FIRST)
  // Before other plugins do something about mail of which nobody shall hear.
  this.register_hook('bounce', 'swallow_bounce', FIRST)
  this.register_hook('deferred', 'drop_after_a_day', FIRST)
  // After all others: for mail that another plugin takes or refuses nothing is looked up.
  this.register_hook('queue_outbound', 'look_ahead', LAST)
}

/** A master that only minds its workers delivers nothing: it starts nothing. */
export function start_tls_policy(
  this: HarakaPlugin,
  next: () => void,
  server: { readonly cluster?: { readonly isMaster?: boolean } },
): void {
  // One of the processes is enough: all have the same plugins.
  if (running && (!server.cluster || server.cluster.isMaster)) tellRoads(this, running.host.plugins)
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

export function offer_requiretls(
  this: HarakaPlugin,
  next: Next,
  connection: InboundConnection,
): void {
  if (running) running.inbound.offer(next, connection)
  else next()
}

export function look_at_recipient(
  this: HarakaPlugin,
  next: Next,
  connection: InboundConnection,
  [recipient]: readonly { readonly host?: HarakaDomain | null }[],
): void {
  if (running) running.inbound.rcpt(next, connection, String(recipient?.host ?? ''))
  else next(denysoft)
}

export function guard_queue(this: HarakaPlugin, next: Next, connection: InboundConnection): void {
  if (running) running.inbound.queue(next, connection)
  else next(denysoft)
}

export function guard_queue_outbound(
  this: HarakaPlugin,
  next: Next,
  connection: InboundConnection,
): void {
  if (running) running.inbound.queueOutbound(next, connection)
  else next(denysoft)
}

/** The return of a report is of interest to this plugin alone (RFC 8460 section 3): no bounce is sent. */
export function swallow_bounce(
  this: HarakaPlugin,
  next: (code?: number) => void,
  hmail: HMailItem,
): void {
  const address = reportTo(hmail)
  if (address === undefined) {
    next()
    return
  }
  running?.cameBack(address)
  next(ok)
}

/** A report is of no use after a day (RFC 8460 section 5.5). */
export function drop_after_a_day(
  this: HarakaPlugin,
  next: (code?: number) => void,
  hmail: HMailItem,
  params: { readonly delay?: unknown } | undefined,
): void {
  if (hasWaitedEnough(hmail, params?.delay, Date.now())) next(ok)
  else next()
}

export function look_ahead(
  this: HarakaPlugin,
  next: () => void,
  connection: {
    readonly transaction?: { readonly rcpt_to: readonly { readonly host: HarakaDomain }[] }
  },
): void {
  // With any get_mx hook the next hop may be another domain: do not query the recipient's (RFC 8461 section 3.4).
  if (running && !running.host.mayBeRouted()) {
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

/** For a start that failed: its caller has been told. */
function hasSaidSo(): void {
  // Every delivery hears of it again.
}
