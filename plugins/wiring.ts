/**
 * Puts the rooms together: resolver, store, MTA-STS policies and the planner on top of them. The plugin and the command are
 * both wired here, so that what the command says of a delivery is what a delivery does.
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { isAbsolute, join } from 'node:path'
import type { Config } from './config'
import { endedDestinations } from './destinations'
import { createPlanner } from './delivery/planner'
import type { Planner } from './delivery/planner'
import { createSelf } from './delivery/self'
import type { SelfOptions } from './delivery/self'
import { createResolver, MOST_UNDER_WAY } from './dnssec-stub'
import type { Health, ManagedResolver } from './dnssec-stub'
import { fetchPolicy } from './mta-sts/fetch'
import { rememberTrust } from './https/open'
import { isInUse } from './mta-sts/in-use'
import { createStsPolicies } from './mta-sts/policies'
import type { ManagedStsPolicies, StsPoliciesOptions } from './mta-sts/policies'
import { NO_METRICS } from './telemetry/metrics'
import type { MeasuredSources, Metrics } from './telemetry/metrics'
import { createCensus } from './telemetry/metrics-census'
import type { CommonCount } from './telemetry/metrics-census'
import { createStsTap } from './telemetry/metrics-taps'
import { idsOf, installCommand } from './own-user'
import type { OwnUser } from './own-user'
import { createStore, loadBackend } from './store'
import { prepareFolder } from './store/folder'
import type { Prepared } from './store/folder'
import { NO_DOMAIN } from './store/record'
import { settingText } from './store/redis/settings'
import type { Logger, Store } from './store'
import { talliesIn } from './tlsrpt/tallies'
import type { Tallies } from './tlsrpt/types'
import { errorText } from './x509/trouble'

export interface WiringOptions {
  /** Read anew for each decision; what is bound at start says so in tls-policy.ini. */
  readonly config: () => Config
  readonly log: Logger
  /** Folder for the LMDB file where the settings name none. */
  readonly storeFolder: string
  /** redis.ini's [server]. */
  readonly redisIni: Readonly<Record<string, string | number | boolean>>
  /** PEM roots for Redis; undefined: Node's. */
  readonly redisCa: string | undefined
  /** The user that Haraka becomes. */
  readonly owner: OwnUser
  /** Processes of this Haraka that deliver: they have one resolver. Default 1. */
  readonly workers?: number
  readonly ca: () => string | undefined
  /** What Haraka's settings say of this server itself. */
  readonly self: Pick<SelfOptions, 'localMxOk' | 'name' | 'publicIp'>
  readonly tlsSwitchedOff: () => boolean
  /** Told of the resolver's first self-test and of each change. */
  readonly onHealth: (health: Health, before: Health | undefined) => void
  /** Told of each published policy that cannot be had; left out: a warning in the log. */
  readonly missed?: StsPoliciesOptions['missed']
  /** Default: nothing is counted. */
  readonly metrics?: Metrics
  /** How far the sending of reports is; left out: none are sent. */
  readonly reports?: MeasuredSources['reports']
}

export interface Wiring {
  readonly planner: Planner
  readonly resolver: ManagedResolver
  readonly store: Store
  readonly sts: ManagedStsPolicies
  /** What all workers have counted for reports. */
  readonly tallies: Tallies
  /** To be told when `config` says something else: what goes by the clock goes by the new settings from then on. */
  settingsChanged(): void
  /** Ends lookups, refreshes and connections. */
  close(): Promise<void>
}

/**
 * Octets of memory for DNS outcomes in each worker. What deliveries need again they have in their facts (delivery/memory.ts);
 * this is for what several domains share: hosts, and what is asked for a policy.
 */
const CACHED_OUTCOMES = 3_145_728

/** @throws Error with a sentence for the operator, where what the settings ask for cannot be had. */
export async function wire(options: WiringOptions): Promise<Wiring> {
  const { config, log, metrics = NO_METRICS } = options
  const atStart = config()
  const resolver = wireResolver(options)
  const store = await wireStore(atStart, options)
  const ticks = () => performance.now()
  const trust = rememberTrust()
  const tap = createStsTap(metrics, ticks)
  const sts = createStsPolicies({
    resolver: resolver.resolver,
    store,
    fetch: tap.fetch((domain, signal, inBackground) => {
      const { mtaSts } = config()
      return fetchPolicy({
        domain,
        signal,
        inBackground,
        stoodInLineMs: resolver.stoodInLineMs,
        resolver: resolver.resolver,
        ca: options.ca(),
        trust,
        timeoutMs: mtaSts.fetchTimeoutSeconds * 1000,
        maxBody: mtaSts.maxBody,
        allowPrivate: mtaSts.fetchPrivate,
      })
    }),
    clock: Date.now,
    random: Math.random,
    log,
    stoodInLineMs: resolver.stoodInLineMs,
    ...(options.missed === undefined ? {} : { missed: options.missed }),
    settings: {
      get txtTimeoutMs() {
        return config().dns.timeoutSeconds * 1000 + SECOND_TRY
      },
      get unknownForMs() {
        return config().mtaSts.txtFailure === 'defer' ? MINUTE : 5 * MINUTE
      },
      get fetchTimeoutMs() {
        return config().mtaSts.fetchTimeoutSeconds * 1000
      },
      get refreshIntervalMs() {
        return config().mtaSts.refreshIntervalSeconds * 1000
      },
    },
  })
  const self = createSelf({
    ...options.self,
    interfaces: () =>
      Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address)),
    resolver: resolver.resolver,
    deadlineMs: () => config().dns.deadlineSeconds * 1000,
    now: ticks,
  })
  const planner = createPlanner({
    resolver: resolver.resolver,
    sts: tap.policies(sts),
    self,
    config,
    tlsSwitchedOff: options.tlsSwitchedOff,
    isCrowded: resolver.isCrowded,
    stoodInLineMs: resolver.stoodInLineMs,
    selfTest: resolver,
    now: () => new Date(),
    ticks,
    random: Math.random,
  })
  const version = OWN_VERSION
  metrics.measure({
    about: () => ({
      version,
      mode: config().mode,
      store: atStart.store.backend,
      resolver: resolver.backend() ?? 'none',
    }),
    endedExceptions: () => endedDestinations(config(), new Date()).length,
    resolverState: () => resolver.health().state,
    ...(options.reports === undefined ? {} : { reports: options.reports }),
    storeTroubles: () => store.troubles().map(({ kind }) => kind),
    policies: createCensus({
      each: () => sts.each(),
      isInUse: (domain) => isInUse(store, domain, Date.now()),
      clock: Date.now,
      common: commonCount(store),
    }),
  })
  return {
    planner,
    resolver,
    store,
    sts,
    tallies: talliesIn(store),
    settingsChanged() {
      resolver.check().catch(() => undefined)
      sts.settingsChanged()
    },
    close: async () => {
      resolver.close()
      await sts.close()
      await store.close()
    },
  }
}

const MINUTE = 60_000
/** Milliseconds for the answer to the second datagram, where the first one was lost. */
const SECOND_TRY = 1000

function commonCount(store: Store): CommonCount {
  const owner = randomUUID()
  return {
    recall: async () => {
      const note = await store.getNote(NO_DOMAIN, 'policies')
      return note.ok ? note.value : undefined
    },
    leave: async (numbers, ms) => void (await store.setNote(NO_DOMAIN, 'policies', numbers, ms)),
    claim: async (ms) => {
      const claimed = await store.acquire('census', owner, ms)
      return claimed.ok && claimed.value
    },
    giveBack: async () => void (await store.release('census', owner)),
  }
}

/** Read at once: the user that Haraka or the command becomes may have no right to. */
const { version: OWN_VERSION } = JSON.parse(
  readFileSync(join(__dirname, '..', 'package.json'), 'utf8'),
) as { readonly version: string }

/** To be called while there is still the right to give a folder away and to read our code: Haraka drops it as soon as it listens. */
export function prepareStore(
  { store }: Config,
  { storeFolder, owner, log }: Pick<WiringOptions, 'storeFolder' | 'owner' | 'log'>,
): void {
  loadBackend(store.backend)
  if (store.backend === 'memory') return
  const folder = store.path ?? storeFolder
  const { notice, warning } = prepareFor(folder, owner)
  if (notice !== undefined) log.notice(notice)
  if (warning !== undefined) log.warn(`${warning}. Do: ${installCommand(folder, owner)}`)
}

function prepareFor(folder: string, owner: OwnUser): Prepared {
  try {
    return prepareFolder(folder, idsOf(owner))
  } catch (err: unknown) {
    return { warning: `the folder ${folder} is not given to Haraka's user: ${String(err)}` }
  }
}

function wireStore(config: Config, options: WiringOptions): Promise<Store> {
  const { store, redis } = config
  const folder = store.path ?? options.storeFolder
  // The store itself says once that there is no folder, and goes on in memory.
  if (store.backend !== 'memory') prepareFolder(folder)
  return createStore(
    {
      backend: store.backend,
      path: join(folder, 'policies.mdb'),
      fileCure: `See that the disk is not full, and that Haraka's user may write there: ${installCommand(folder, options.owner)}`,
      prefix: store.prefix,
      redis: { ...options.redisIni, ...redis },
      ...(options.redisCa === undefined ? {} : { redisCa: options.redisCa }),
    },
    {
      log: options.log,
      now: Date.now,
      count: (kind) => {
        options.metrics?.storeFailed(kind)
      },
    },
  )
}

/** Questions of one worker: with fewer it could not look up the hosts of a large domain together. */
const LEAST_UNDER_WAY = 96

/** @throws Error with a sentence for the operator, where the backend cannot be had. */
export function wireResolver({
  config,
  onHealth,
  workers = 1,
}: Pick<WiringOptions, 'config' | 'onHealth' | 'workers'>): ManagedResolver {
  const { dns } = config()
  return createResolver({
    backend: dns.backend,
    servers: dns.servers,
    trustAd: dns.trustAd,
    ...(dns.trustAnchor === undefined ? {} : { trustAnchor: dns.trustAnchor }),
    timeoutMs: dns.timeoutSeconds * 1000,
    deadlineMs: dns.deadlineSeconds * 1000,
    selfTest: { signedName: dns.selfTest },
    cacheOctets: CACHED_OUTCOMES,
    concurrency: Math.max(LEAST_UNDER_WAY, Math.floor(MOST_UNDER_WAY / workers)),
    onHealth,
  })
}

/**
 * The PEM roots that `mta_sts.ca_file` names; a relative name is meant from Haraka's config folder.
 * @returns undefined where none is named.
 * @throws Error with a sentence for the operator.
 */
export function readCaFile(config: Config, harakaFolder: string): string | undefined {
  const { caFile } = config.mtaSts
  return caFile === undefined ? undefined : readPem('mta_sts.ca_file', caFile, harakaFolder)
}

/** The same for `redis.ca_file`, where Redis is used. */
export function readRedisCa(
  { store, redis }: Config,
  redisIni: WiringOptions['redisIni'],
  harakaFolder: string,
): string | undefined {
  const file = settingText({ ...redisIni, ...redis }, 'ca_file')
  if (store.backend !== 'redis' || file === undefined) return undefined
  return readPem('redis.ca_file', file, harakaFolder)
}

function readPem(key: string, file: string, harakaFolder: string): string {
  const path = isAbsolute(file) ? file : join(harakaFolder, 'config', file)
  const pem = readText(path, (why) => {
    const allowed = 'a readable PEM file is allowed here'
    return `tls-policy.ini: ${key}=${file}: ${allowed} (${why})`
  })
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new Error(`tls-policy.ini: ${key}=${file}: the file holds no PEM certificate`)
  }
  return pem
}

function readText(path: string, sentence: (why: string) => string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause: unknown) {
    throw new Error(sentence(errorText(cause)), { cause })
  }
}
