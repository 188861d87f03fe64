/**
 * Puts a resolver together: which servers, which backend, a cache, and a self-test that goes on for as long as the
 * resolver lives. Refuses settings that it cannot read, with a sentence for the operator, and `getdns` where that
 * package is not installed.
 */
import { randomInt } from 'node:crypto'
import { choose, serversText, type BackendOptions, type Settings } from './backends'
import { cached, type CachedResolver } from './cache'
import { failure } from './lookup'
import { watchResolvConf, type SystemServers, type SystemServersWatch } from './resolv-conf'
import { monitor, systemTimers, type SelfTestNames, type Timers } from './self-test'
import { parseServer, serverText, withTrust, type TrustAd } from './servers'
import { steady } from './steady'
import { lineClock } from './time-limit'
import type { Failure, Health, Resolver } from './types'

export interface ResolverOptions extends BackendOptions {
  /** `ip`, `ip:port` or `[ip6]:port`; empty: the system's, with the options that stand beside them. */
  readonly servers: readonly string[]
  readonly trustAd: TrustAd
  /** For one try at one server, milliseconds; default 5000. */
  readonly timeoutMs?: number
  /** For a whole lookup, milliseconds; default 20000. */
  readonly deadlineMs?: number
  /** Default: the root alone. */
  readonly selfTest?: SelfTestNames
  /** Between two self-tests, milliseconds; default 40 seconds, so that what they find is known within a minute. */
  readonly selfTestIntervalMs?: number
  /** Told of the first self-test's result and of each change of state. */
  readonly onHealth?: (health: Health, before: Health | undefined) => void
  /** Of memory, for what was answered; default 2 MiB, some 7,000 answers. */
  readonly cacheOctets?: number
  /** How many questions a resolver may have of us at a time; default 960. */
  readonly concurrency?: number
  /** Milliseconds of a clock that never steps. */
  readonly now?: () => number
  /** A fresh unpredictable number from 0 to 65535. */
  readonly randomId?: () => number
  readonly timers?: Timers
  /** The servers that the system is set up to ask; default: /etc/resolv.conf, watched. */
  readonly systemServers?: () => SystemServers
  /** Whether `systemServers` may say something else since this was last asked; default: never. */
  readonly systemChanged?: () => boolean
}

export interface ManagedResolver {
  readonly resolver: CachedResolver
  /** The latest self-test's result. */
  health(): Health
  /** The latest result where its test began no more than a minute ago; otherwise a new one's. Never rejects. */
  recent(): Health | Promise<Health>
  /** Tests now, or joins the test under way, chooses the backend anew under `auto`, and says what came of it. Never rejects. */
  check(): Promise<Health>
  /**
   * To be awaited before something rests on an insecure answer: a resolver that has gone blind since its last self-test says
   * insecure of everything. One test for all who ask at the same time, and none where nothing was said insecurely since the
   * last. Where the resolver turns out to be blind, health() says so from then on, and era() is another. Never rejects.
   * @returns why the answers cannot be believed; undefined where they can, or where health() says that the resolver is blind
   */
  confirm(): Promise<Failure | undefined>
  /** Another number as soon as what was said insecurely before counts no more: ask again. */
  era(): number
  /** Milliseconds, in all, in which lookups that mail waits for stood in line: what time limits must not count (timeLimit). */
  readonly stoodInLineMs: () => number
  /** Whether such lookups stand in line now. */
  readonly isInLine: () => boolean
  /** Whether so many of them are under way that none may be in vain: a resolver takes a bounded number of questions. */
  readonly isCrowded: () => boolean
  /** One line: backend, servers, whose AD bit is believed. */
  describe(): string
  /** Which backend is asked; undefined until the first is chosen. */
  backend(): 'ad' | 'getdns' | undefined
  /** Ends pending lookups, the self-test and the getdns process. */
  close(): void
}

/** Between two self-tests for the sake of lookups. */
const PAUSE_MS = 1000

/** Lookups under way that are a crowd: few of those that a resolver takes. */
const CROWD = 16

/** Where nobody set more, Unbound takes 1,024 questions at a time, and lets a client wait for 1,000 answers. */
export const MOST_UNDER_WAY = 960

/**
 * @throws Error with a sentence for the operator when a server or the trust anchor file cannot be read, or when
 *   `backend` is `getdns` and that package is not installed
 */
export function createResolver(options: ResolverOptions): ManagedResolver {
  const { onHealth, timers = systemTimers, selfTestIntervalMs: intervalMs } = options
  const now = options.now ?? (() => performance.now())
  const clock = lineClock(now)
  const system = systemWatch(options, now)
  let era = 0
  let isValidating: boolean | undefined
  let testedForLookups = Number.NEGATIVE_INFINITY
  let closed = false
  let settings = settingsFrom(options, system?.current(), { now, clock, onTurn: forgetInsecure })
  let choice = choose(options, settings)
  let underWay = 0
  const counted: Resolver = {
    async resolve(name, type, how) {
      const isAwaited = how?.background !== true
      if (isAwaited) underWay++
      try {
        return await choice.resolve(name, type, how)
      } finally {
        if (isAwaited) underWay--
      }
    },
  }
  const steadied = steady(counted, {
    era: () => era,
    beforeAsking: () => lookAtServers(),
    onTrouble: () => testForLookups(true),
    onAnswer,
  })
  const cache = cached(steadied, { now, maxOctets: options.cacheOctets ?? 2_097_152 })
  const watch = monitor(test, {
    timers,
    now,
    ...(intervalMs === undefined ? {} : { intervalMs }),
    ...(onHealth === undefined ? {} : { onChange: onHealth }),
  })

  /** A sound resolver may call secure what a blind one called insecure; secure answers stay so. */
  function forgetInsecure(): void {
    era++
    cache.forgetInsecure()
  }

  /** @param closely not by its marks alone */
  function lookAtServers(closely = false): void {
    if (closed || system?.look(closely) !== true) return
    const former = choice
    settings = settingsFrom(options, system.current(), { now, clock, onTurn: forgetInsecure })
    choice = choose(options, settings)
    era++
    cache.clear()
    former.close()
    watch.again().catch(() => undefined)
  }

  async function test(): Promise<Health> {
    for (;;) {
      lookAtServers()
      const tested = choice
      const { health, hasChanged } = await tested.make()
      if (tested !== choice) continue
      if (hasChanged || hasTurned(health)) forgetInsecure()
      return health
    }
  }

  /** Silence changes nothing of what was said before. */
  function hasTurned({ state }: Health): boolean {
    if (state === 'unreachable') return false
    const before = isValidating
    isValidating = state === 'validating'
    return before !== undefined && before !== isValidating
  }

  /** @param closely look at the servers as well, not by their file's marks alone */
  function testForLookups(closely: boolean): void {
    if (now() - testedForLookups < PAUSE_MS) return
    testedForLookups = now()
    if (closely) lookAtServers(true)
    watch.check().catch(() => undefined)
  }

  function onAnswer(): void {
    if (watch.health()?.state === 'unreachable') testForLookups(false)
  }

  return {
    resolver: cache,
    health: () => watch.health() ?? { state: 'unreachable', detail: 'not tested yet' },
    recent: () => watch.recent(),
    check: () => watch.check(),
    async confirm() {
      if (watch.health()?.state === 'blind') return undefined
      const found = await choice.confirm()
      if (found.some(({ state }) => state === 'blind')) {
        await watch.again()
        return undefined
      }
      const deaf = found.find(({ state }) => state === 'unreachable')
      return (
        deaf && failure('timeout', `the resolver answered, and was then tested: ${deaf.detail}`)
      )
    },
    era: () => era,
    backend: () => choice.current()?.name,
    stoodInLineMs: clock.stoodMs,
    isInLine: clock.isThere,
    isCrowded: () => underWay >= CROWD,
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
      closed = true
      watch.stop()
      choice.close()
    },
  }
}

/** undefined where the operator has named the servers. */
function systemWatch(
  { servers, systemServers, systemChanged = () => false }: ResolverOptions,
  now: () => number,
): SystemServersWatch | undefined {
  if (servers.length > 0) return undefined
  return systemServers === undefined
    ? watchResolvConf(now)
    : { current: systemServers, look: systemChanged }
}

/** @param system what holds where the operator has named no servers: its options with it */
function settingsFrom(
  options: ResolverOptions,
  system: SystemServers | undefined,
  tools: Pick<Settings, 'now' | 'clock' | 'onTurn'>,
): Settings {
  const { trustAd } = options
  const { servers, ...how } = system ?? { servers: options.servers }
  return {
    servers: withTrust(servers.map(parseServer), trustAd, system === undefined),
    trustAd,
    timeoutMs: options.timeoutMs ?? 5000,
    deadlineMs: options.deadlineMs ?? 20_000,
    concurrency: options.concurrency ?? MOST_UNDER_WAY,
    names: options.selfTest ?? { signedName: '.' },
    randomId: options.randomId ?? (() => randomInt(65536)),
    ...tools,
    ...how,
  }
}
