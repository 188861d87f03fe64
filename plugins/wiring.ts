/**
 * Puts the rooms together: resolver, store, MTA-STS policies and the planner on top of them. The plugin and the command are
 * both wired here, so that what the command says of a delivery is what a delivery does.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { isAbsolute, join } from 'node:path'
import type { Config } from './config'
import { createPlanner } from './delivery/planner'
import type { Planner } from './delivery/planner'
import { createSelf } from './delivery/self'
import type { SelfOptions } from './delivery/self'
import { createResolver } from './dnssec-stub'
import type { Health, ManagedResolver } from './dnssec-stub'
import { fetchPolicy } from './mta-sts/fetch'
import { rememberTrust } from './mta-sts/https-get'
import { createStsPolicies } from './mta-sts/policies'
import type { ManagedStsPolicies } from './mta-sts/policies'
import { NO_METRICS } from './observe/metrics'
import type { Metrics } from './observe/metrics'
import { createCensus } from './observe/metrics-census'
import type { CommonCount } from './observe/metrics-census'
import { createStsTap } from './observe/metrics-taps'
import { createStore } from './store'
import type { Logger, Store } from './store'

export interface WiringOptions {
  /** Read anew for each decision; what is bound at start says so in tls-policy.ini. */
  readonly config: () => Config
  readonly log: Logger
  /** Folder for the LMDB file where the settings name none. */
  readonly storeFolder: string
  /** redis.ini's [server]. */
  readonly redisIni: Readonly<Record<string, string | number | boolean>>
  readonly ca: () => string | undefined
  /** What Haraka's settings say of this server itself. */
  readonly self: Pick<SelfOptions, 'localMxOk' | 'name' | 'publicIp'>
  readonly tlsSwitchedOff: () => boolean
  /** Told of the resolver's first self-test and of each change. */
  readonly onHealth: (health: Health, before: Health | undefined) => void
  /** Default: nothing is counted. */
  readonly metrics?: Metrics
}

export interface Wiring {
  readonly planner: Planner
  readonly resolver: ManagedResolver
  readonly store: Store
  readonly sts: ManagedStsPolicies
  /** To be told when `config` says something else: what goes by the clock goes by the new settings from then on. */
  settingsChanged(): void
  /** Ends lookups, refreshes and connections. */
  close(): Promise<void>
}

/** DNS outcomes kept in each worker; a delivery needs about five. */
const CACHED_OUTCOMES = 20_000

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
    fetch: tap.fetch((domain, signal) => {
      const { mtaSts } = config()
      return fetchPolicy({
        domain,
        signal,
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
    settings: {
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
    selfTest: resolver,
    now: () => new Date(),
    ticks,
    random: Math.random,
  })
  metrics.measure({
    resolverState: () => resolver.health().state,
    storeTroubles: () => store.troubles().map(({ kind }) => kind),
    policies: createCensus({
      each: () => sts.each(),
      isInUse: (domain) => isInUse(store, domain),
      clock: Date.now,
      common: commonCount(store),
    }),
  })
  return {
    planner,
    resolver,
    store,
    sts,
    settingsChanged() {
      void resolver.check()
      sts.settingsChanged()
    },
    close: async () => {
      resolver.close()
      await sts.close()
      await store.close()
    },
  }
}

/** Days without mail after which a domain counts as given up: as long as its policy is refreshed. */
const UNUSED = 180
const DAY = 86_400_000
const MINUTE = 60_000
const HOUR = 60 * MINUTE

/** Where the store cannot say, it may well be. */
async function isInUse(store: Store, domain: string): Promise<boolean> {
  const last = await store.lastUsed(domain)
  return !last.ok || last.value === undefined || Date.now() / DAY - last.value <= UNUSED
}

/** No mail goes to a domain of this name (RFC 2606), so its notes are free. */
const NOBODY = 'census.invalid'

function commonCount(store: Store): CommonCount {
  const owner = randomUUID()
  return {
    recall: async () => {
      const note = await store.getNote(NOBODY, 'policies')
      return note.ok ? note.value : undefined
    },
    leave: async (numbers, ms) => void (await store.setNote(NOBODY, 'policies', numbers, ms)),
    claim: async (ms) => {
      const claimed = await store.acquire('census', owner, ms)
      return claimed.ok && claimed.value
    },
    giveBack: async () => void (await store.release('census', owner)),
  }
}

function wireStore({ store, redis }: Config, options: WiringOptions): Promise<Store> {
  const folder = store.path ?? options.storeFolder
  try {
    if (store.backend !== 'memory') mkdirSync(folder, { recursive: true })
  } catch (err: unknown) {
    // The store says itself, once, that it cannot write there, and goes on in memory.
    options.log.warn(`the folder ${folder} cannot be made: ${String(err)}`)
  }
  return createStore(
    {
      backend: store.backend,
      path: join(folder, 'policies.mdb'),
      prefix: store.prefix,
      redis: { ...options.redisIni, ...redis },
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

/** @throws Error with a sentence for the operator, where the backend cannot be had. */
export function wireResolver({
  config,
  onHealth,
}: Pick<WiringOptions, 'config' | 'onHealth'>): ManagedResolver {
  const { dns } = config()
  return createResolver({
    backend: dns.backend,
    servers: dns.servers,
    trustAd: dns.trustAd,
    ...(dns.trustAnchor === undefined ? {} : { trustAnchor: dns.trustAnchor }),
    timeoutMs: dns.timeoutSeconds * 1000,
    deadlineMs: dns.deadlineSeconds * 1000,
    selfTest: { signedName: dns.selfTest },
    // Who would rather wait than go without DANE wants to know soon.
    selfTestIntervalMs: () => (config().dane.blindResolver === 'defer' ? MINUTE : HOUR),
    cacheEntries: CACHED_OUTCOMES,
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
  if (caFile === undefined) return undefined
  const path = isAbsolute(caFile) ? caFile : join(harakaFolder, 'config', caFile)
  const pem = readText(path, (why) => {
    const allowed = 'a readable PEM file is allowed here'
    return `tls-policy.ini: mta_sts.ca_file=${caFile}: ${allowed} (${why})`
  })
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new Error(`tls-policy.ini: mta_sts.ca_file=${caFile}: the file holds no PEM certificate`)
  }
  return pem
}

function readText(path: string, sentence: (why: string) => string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause: unknown) {
    throw new Error(sentence(cause instanceof Error ? cause.message : String(cause)), { cause })
  }
}
