/**
 * One worker of the scale measurements, in a process of its own, so that its memory and CPU are its own: opens the real
 * store, does one task, and prints what it measured.
 */
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout as pause } from 'node:timers/promises'
import type { Resolver } from '../../plugins/dnssec-stub'
import { createStsPolicies } from '../../plugins/mta-sts/policies'
import type { ManagedStsPolicies } from '../../plugins/mta-sts/policies'
import { createCensus } from '../../plugins/telemetry/metrics-census'
import { createStore } from '../../plugins/store'
import { memoryStore } from '../../plugins/store/memory'
import { redisStore } from '../../plugins/store/redis/store'
import type { Logger, Store } from '../../plugins/store/types'
import { refreshing } from './refreshing'
import { domainOf, recordOf, storeSettings } from './world'
import type { Measured, ScaleSettings } from './world'

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** Lookups of one measurement: as many as the caches of a worker hold, and more. */
const LOOKUPS = 50_000
/** Writes at the same time while loading: LMDB puts them into one commit, Redis must answer each within its deadline. */
const LOADERS = { lmdb: 200, redis: 16 } as const

let warnings = 0
const log: Logger = {
  info: () => undefined,
  notice: () => undefined,
  warn: (text) => {
    warnings += 1
    console.error(`warn ${text}`)
  },
  error: (text) => {
    console.error(`error ${text}`)
  },
}

/** Octets that are this process's alone; the LMDB file, which it shares with all others, is not in them. */
function ownMemory(): number {
  globalThis.gc?.()
  const kib = /^RssAnon:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return Number(kib ?? 0) * 1024
}

/** Seconds of wall and of CPU that some work took, and the longest for which it held everything else up. */
async function timed(work: () => Promise<unknown>): Promise<Measured> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await pause(20)
  delay.reset()
  const cpu = process.cpuUsage()
  const started = performance.now()
  await work()
  const wall = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  // The delay is noted by a timer, which must still get its turn after the work.
  await pause(20)
  delay.disable()
  return { wall, cpu: (user + system) / 1e6, held: delay.max / 1e9 }
}

async function openStore(settings: ScaleSettings, now: () => number): Promise<Store> {
  const store = await createStore(storeSettings(settings), { log, now })
  // The first call waits for the connection.
  await store.getPolicy('example.test')
  return store
}

function openPolicies(store: Store, clock: () => number, resolver: Resolver): ManagedStsPolicies {
  const problem = { reason: 'sts-policy-fetch-error', detail: 'nothing is fetched here' } as const
  return createStsPolicies({
    resolver,
    store,
    fetch: () => Promise.resolve({ ok: false, problem }),
    clock,
    random: Math.random,
    log,
    settings: { fetchTimeoutMs: 60_000, refreshIntervalMs: DAY },
  })
}

/** Says of each domain what the store holds, at once: what is measured is the store and the cache. */
function knowing(ids: ReadonlyMap<string, string>): Resolver {
  return {
    resolve: (name, type) => {
      const id = ids.get(name.slice('_mta-sts.'.length))
      const records = [Buffer.from(`v=STSv1; id=${id ?? ''};`)]
      const answer = { kind: 'answer', type, records, security: 'secure', ttl: 3600, aliases: [] }
      return Promise.resolve(answer) as never
    },
  }
}

/** Through the store itself; with Redis without this machine's copy, which is a file like that of the other store. */
async function load(settings: ScaleSettings): Promise<Measured> {
  const { backend, count, loadedAt } = settings
  const tools = { log, now: () => loadedAt }
  const store =
    backend === 'lmdb'
      ? await openStore(settings, tools.now)
      : redisStore(storeSettings(settings), memoryStore(tools), tools)
  // The very first call may come before the connection; a pause later the next one is made.
  await store.getPolicy('example.test')
  await pause(2000)
  await store.getPolicy('example.test')
  warnings = 0
  let next = 0
  const work = async (): Promise<void> => {
    for (let n = next++; n < count; n = next++) {
      // What Redis does not take in time, the store in memory would take without ever waiting.
      if (warnings > 0) throw new Error('the store did not take all')
      const set = await store.setPolicy(recordOf(n, settings))
      const marked = await store.markUsed(domainOf(n), Math.floor(loadedAt / DAY))
      const planned = await store.plan(domainOf(n), recordOf(n, settings).fetchedAt + 0.95 * DAY)
      if (!set.ok || !marked.ok || !planned.ok) throw new Error(`${domainOf(n)} was not stored`)
    }
  }
  const measured = await timed(() => Promise.all(Array.from({ length: LOADERS[backend] }, work)))
  await store.close()
  return measured
}

async function lookups(settings: ScaleSettings): Promise<Measured> {
  const { count, loadedAt } = settings
  const base = ownMemory()
  const chosen = Array.from({ length: Math.min(LOOKUPS, count) }, (_, n) =>
    recordOf(Math.floor((n * count) / Math.min(LOOKUPS, count)), settings),
  )
  // In no order.
  chosen.sort((a, b) => (a.domain < b.domain ? -1 : 1))
  const resolver = knowing(new Map(chosen.map(({ domain, id }) => [domain, id])))
  const own = ownMemory()
  const heap = process.memoryUsage().heapUsed
  const store = await openStore(settings, () => loadedAt)
  const sts = openPolicies(store, () => loadedAt, resolver)
  const cold: number[] = []
  const warm: number[] = []
  let unknown = 0
  for (const { domain } of chosen) {
    const started = process.hrtime.bigint()
    const lookup = await sts.lookup(domain)
    cold.push(Number(process.hrtime.bigint() - started))
    if (lookup.kind !== 'policy') unknown++
    const again = process.hrtime.bigint()
    sts.peek(domain)
    warm.push(Number(process.hrtime.bigint() - again))
  }
  if (unknown > 0) throw new Error(`${unknown} policies were not found`)
  // Marks of use are still being written.
  await pause(3000)
  const memory = ownMemory() - own
  const held = process.memoryUsage().heapUsed - heap
  await sts.close()
  await store.close()
  return {
    coldMedian: quantile(cold, 0.5),
    coldP99: quantile(cold, 0.99),
    warmMedian: quantile(warm, 0.5),
    warmP99: quantile(warm, 0.99),
    memory,
    held,
    // Named here also to keep them in memory until all is measured.
    testData: own - base + 0 * chosen.length,
  }
}

function quantile(nanoseconds: readonly number[], part: number): number {
  const sorted = [...nanoseconds].sort((a, b) => a - b)
  return (sorted[Math.floor(sorted.length * part)] ?? NaN) / 1000
}

const nobody: Resolver = { resolve: () => Promise.reject(new Error('nobody is asked')) }

/** A round of the refresh in which nothing is due. */
async function round(settings: ScaleSettings): Promise<Measured> {
  const store = await openStore(settings, () => settings.loadedAt)
  const sts = openPolicies(store, () => settings.loadedAt, nobody)
  const measured = await timed(() => sts.refreshDue())
  await sts.close()
  await store.close()
  return measured
}

async function census(settings: ScaleSettings): Promise<Measured> {
  const store = await openStore(settings, () => settings.loadedAt)
  const sts = openPolicies(store, () => settings.loadedAt, nobody)
  const base = ownMemory()
  const count = createCensus({
    each: () => sts.each(),
    isInUse: () => Promise.resolve(true),
    clock: () => settings.loadedAt,
    patienceMs: 2 ** 31 - 1,
  })
  let counted = 0
  const measured = await timed(async () => (counted = (await count())?.[0]?.held ?? 0))
  if (counted !== settings.count) throw new Error(`only ${counted} policies were counted`)
  const memory = ownMemory() - base
  await sts.close()
  await store.close()
  return { ...measured, memory }
}

/** A worker that writes each second, an hour after its start, while the store is swept. */
async function sweep(settings: ScaleSettings): Promise<Measured> {
  let time = settings.loadedAt
  const store = await openStore(settings, () => time)
  time += HOUR
  const measured = await timed(async () => {
    for (let second = 0; second < 20; second++) {
      time += 1000
      await store.markUsed('example.test', 1)
    }
  })
  await store.close()
  return measured
}

const TASKS: Readonly<Record<string, (settings: ScaleSettings) => Promise<Measured>>> = {
  load,
  lookups,
  round,
  census,
  sweep,
  refreshing,
}

async function main(): Promise<void> {
  const measured = await TASKS[process.argv[2] ?? '']?.(
    JSON.parse(process.argv[3] ?? '') as ScaleSettings,
  )
  console.log(JSON.stringify(measured))
}

void main()
