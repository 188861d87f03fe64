/**
 * Puts a resolver together: which servers, which backend, a cache, and a self-test that goes on for as long as the
 * resolver lives. Refuses settings that it cannot read, with a sentence for the operator, and `getdns` where that
 * package is not installed.
 */
import { randomInt } from 'node:crypto'
import { getServers } from 'node:dns'
import { adResolver, serversAsked } from './ad'
import { cached, type CachedResolver } from './cache'
import { bestOf, only, type Backend, type Choice, type ValidatingBackend } from './choice'
import { findGetdns, getdnsResolver, isReadable } from './getdns'
import { monitor, selfTest, systemTimers, type SelfTestNames, type Timers } from './self-test'
import { parseServer, serverText, withTrust, type TrustAd, type TrustedServer } from './servers'
import type { Health } from './types'

export interface ResolverOptions {
  /**
   * `ad`: believe validating resolvers. `getdns`: validate here (optional package). `auto`: `ad` where every server is
   * trusted and validates, else `getdns` where installed, else nothing is ever secure and health() says so.
   */
  readonly backend: 'auto' | 'ad' | 'getdns'
  /** `ip`, `ip:port` or `[ip6]:port`; empty: the system's. */
  readonly servers: readonly string[]
  readonly trustAd: TrustAd
  /** For getdns: a file with the root's DNSKEY or DS records; absent: the system's. */
  readonly trustAnchor?: string
  /** For one try at one server, milliseconds; default 5000. */
  readonly timeoutMs?: number
  /** For a whole lookup, milliseconds; default 20000. */
  readonly deadlineMs?: number
  /** Default: the root alone. */
  readonly selfTest?: SelfTestNames
  /** Between two self-tests while all is well, milliseconds, or what says so after each of them; default an hour. */
  readonly selfTestIntervalMs?: number | (() => number)
  /** Told of the first self-test's result and of each change of state. */
  readonly onHealth?: (health: Health, before: Health | undefined) => void
  /** Default 5000. */
  readonly cacheEntries?: number
  /** How many lookups may be under way at a time; default 128. */
  readonly concurrency?: number
  /** The folder of the getdns package, where `require` does not find it. */
  readonly getdnsModule?: string
  /** Milliseconds of a clock that never steps. */
  readonly now?: () => number
  /** A fresh unpredictable number from 0 to 65535. */
  readonly randomId?: () => number
  readonly timers?: Timers
  /** The servers that the system is set up to ask. */
  readonly systemServers?: () => readonly string[]
}

export interface ManagedResolver {
  readonly resolver: CachedResolver
  /** The latest self-test's result. */
  health(): Health
  /** Tests now, chooses the backend anew under `auto`, and says what came of it. Never rejects. */
  check(): Promise<Health>
  /** One line: backend, servers, whose AD bit is believed. */
  describe(): string
  /** Ends pending lookups, the self-test and the getdns process. */
  close(): void
}

const ADVICE =
  'run a validating resolver on this host and name it in servers, or trust the listed ones (trust_ad=listed), or install getdns'

interface Settings {
  readonly servers: readonly TrustedServer[]
  readonly trustAd: TrustAd
  readonly timeoutMs: number
  readonly deadlineMs: number
  readonly concurrency: number
  readonly names: SelfTestNames
  readonly now: () => number
  readonly randomId: () => number
}

/**
 * @throws Error with a sentence for the operator when a server or the trust anchor file cannot be read, or when
 *   `backend` is `getdns` and that package is not installed
 */
export function createResolver(options: ResolverOptions): ManagedResolver {
  const { trustAd, onHealth, timers = systemTimers, systemServers = getServers } = options
  const isListed = options.servers.length > 0
  const specs = isListed ? options.servers : systemServers()
  const settings: Settings = {
    servers: withTrust(specs.map(parseServer), trustAd, isListed),
    trustAd,
    timeoutMs: options.timeoutMs ?? 5000,
    deadlineMs: options.deadlineMs ?? 20_000,
    concurrency: options.concurrency ?? 128,
    names: options.selfTest ?? { signedName: '.' },
    now: options.now ?? (() => performance.now()),
    randomId: options.randomId ?? (() => randomInt(65536)),
  }

  const choice = choose(options, settings)
  const cache = cached(choice, { now: settings.now, maxEntries: options.cacheEntries ?? 5000 })
  let state: Health['state'] | undefined
  const test = async (): Promise<Health> => {
    const { health, hasChanged } = await choice.make()
    // What a blind resolver called insecure, a sound one may call secure.
    if (hasChanged || (state !== undefined && state !== health.state)) cache.clear()
    state = health.state
    return health
  }
  const { selfTestIntervalMs: intervalMs } = options
  const watch = monitor(test, {
    timers,
    ...(intervalMs === undefined ? {} : { intervalMs }),
    ...(onHealth === undefined ? {} : { onChange: onHealth }),
  })

  return {
    resolver: cache,
    health: () => watch.health() ?? { state: 'unreachable', detail: 'not tested yet' },
    check: () => watch.check(),
    describe() {
      const backend = choice.current()?.name
      const auto = options.backend === 'auto' ? ' (auto)' : ''
      const servers =
        backend === 'getdns'
          ? `${settings.servers.map(serverText).join(', ')} (no trust needed)`
          : serversText(settings)
      return `backend ${backend ?? 'not chosen yet'}${auto}; servers ${servers}`
    },
    close() {
      watch.stop()
      choice.close()
    },
  }
}

function choose(options: ResolverOptions, settings: Settings): Choice {
  const { servers } = settings
  if (options.backend === 'ad') return only(adBackend(settings))
  const validating = getdnsBackend(options, settings)
  if (options.backend === 'getdns') {
    if (validating !== undefined) return only(validating)
    throw new Error(
      'backend getdns needs the npm package getdns and the library libgetdns; the package is not installed',
    )
  }
  const isAllTrusted = servers.every(({ trusted }) => trusted)
  const unbelieved = servers.map((server) => ({ ...server, trusted: false }))
  return bestOf({
    ...(isAllTrusted ? { trusting: adBackend(settings) } : {}),
    ...(validating === undefined ? {} : { validating }),
    blind: adBackend({ ...settings, servers: unbelieved }),
  })
}

function adBackend(settings: Settings): Backend {
  return {
    name: 'ad',
    resolver: adResolver(settings),
    test: () => testServers(settings),
  }
}

function getdnsBackend(
  { trustAnchor, getdnsModule }: ResolverOptions,
  settings: Settings,
): ValidatingBackend | undefined {
  const modulePath = findGetdns(getdnsModule)
  if (modulePath === undefined) return undefined
  if (trustAnchor !== undefined && !isReadable(trustAnchor)) {
    throw new Error(`the trust anchor file "${trustAnchor}" cannot be read`)
  }
  const resolver = getdnsResolver({
    ...settings,
    modulePath,
    ...(trustAnchor === undefined ? {} : { trustAnchor }),
  })
  return {
    name: 'getdns',
    resolver,
    test: () => selfTest(resolver, settings.names),
    usable: () => resolver.usable(),
  }
}

/** Each server by itself: one blind server among validating ones would do its harm on a day when the others are down. */
async function testServers(settings: Settings): Promise<Health> {
  const asked = serversAsked(settings.servers)
  if (!asked.some(({ trusted }) => trusted)) {
    const detail = `no DNS server's word on security is believed (${serversText(settings)}); ${ADVICE}`
    return { state: 'blind', detail }
  }
  const results = await Promise.all(
    asked.map(async (server) => {
      const resolver = adResolver({ ...settings, servers: [server] })
      const { state, detail } = await selfTest(resolver, settings.names)
      return { state, detail: `${serverText(server)}: ${detail}` }
    }),
  )
  const state = (['blind', 'validating'] as const).find((one) =>
    results.some((result) => result.state === one),
  )
  return {
    state: state ?? 'unreachable',
    detail: results.map(({ detail }) => detail).join('; '),
  }
}

function serversText({ servers, trustAd }: Settings): string {
  const list = servers.map(
    (server) => `${serverText(server)} ${server.trusted ? 'trusted' : 'not trusted'}`,
  )
  return `${list.join(', ')} (trust_ad=${trustAd})`
}
