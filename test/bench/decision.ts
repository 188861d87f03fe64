/**
 * `decision`: how fast "who are the hosts, and what is owed to each" is answered, inside the process as the plugin has it: warm; with
 * the policy in LMDB or Redis and not yet in this worker; and the peer, a policy daemon on the same Redis, asked over its socket.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type * as plannerModule from '../../plugins/delivery/planner'
import type * as fetchModule from '../../plugins/mta-sts/fetch'
import type * as policiesModule from '../../plugins/mta-sts/policies'
import type * as settingsModule from '../../plugins/settings'
import type * as storeModule from '../../plugins/store'
import type * as wiringModule from '../../plugins/wiring'
import { openPeerClient, startPeer } from './peer'
import { cpuOf, sleep } from './process'
import { quantile, Rounds, type Row } from './report'
import { compiled, type Publishes, type World } from './world'

const ROUNDS = 5
/** Domains of each kind. */
const DOMAINS = 200
/** Warm decisions of a round; of the others one for each domain, so many times. */
const WARM = 50_000
const PASSES = 5
/** Questions at the same time, where rates are measured. */
const AT_ONCE = 16

const WARM_KINDS: readonly (readonly [string, Publishes])[] = [
  ['warm, no policy', 'nothing'],
  ['warm, DANE', 'dane'],
  ['warm, MTA-STS', 'sts'],
  ['warm, DANE and MTA-STS', 'both'],
]

/** Answers for one domain; what is measured. */
type Ask = (domain: string) => Promise<unknown>

export async function benchDecision(world: World): Promise<readonly Row[]> {
  const byKind = await makeDomains(world)
  const sts = byKind('sts')
  const redis = await world.lab.redis()
  const peer = await startPeer(world.lab, redis.url)
  const clients = await Promise.all(Array.from({ length: AT_ONCE }, openPeerClient))
  const stores = await Promise.all([openStore(world, 'lmdb'), openStore(world, 'redis', redis)])
  const plugin = createPlugin(world, stores[0].store)
  const rounds = new Rounds('decision')
  const askPeer = (client: number) => async (domain: string) => {
    const answer = await clients[client]?.ask(domain)
    if (answer?.startsWith('OK secure') !== true) throw new Error(`the peer says ${answer}`)
  }
  const verified = async (domain: string) => {
    const plan = await plugin.ask(domain)
    const level = plan.outcome.kind === 'hosts' && plan.outcome.hosts[0]?.requirement.level
    if (level !== 'authenticate') throw new Error(`${domain}: ${level}`)
  }
  // Everybody has every policy fetched once.
  for (const domain of sts) await askPeer(0)(domain)
  for (const { store } of stores) {
    plugin.use(store)
    for (const domain of sts) await verified(domain)
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, kind] of WARM_KINDS) {
      const domains = repeated(byKind(kind), WARM)
      for (const domain of byKind(kind)) await plugin.ask(domain)
      // What that has set going in the background: marks of use, on their way into the store.
      await sleep(300)
      await addRate(rounds, name, domains, process.pid, [plugin.ask])
      await addLatency(rounds, name, domains, plugin.ask)
    }
    for (const { name, store } of stores) {
      const cold = (measure: (ask: Ask) => Promise<void>) =>
        measure(async (domain) => {
          await verified(domain)
        })
      // A new cache for each pass: within one, no domain is asked for twice.
      const rates: Measured[] = []
      const latencies: number[] = []
      for (let pass = 0; pass < PASSES; pass++) {
        plugin.use(store)
        await cold(async (ask) => {
          rates.push(await rate(sts, process.pid, Array<Ask>(AT_ONCE).fill(ask)))
        })
        plugin.use(store)
        await cold(async (ask) => {
          latencies.push(...(await latency(sts, ask)))
        })
      }
      for (const measured of rates) addMeasured(rounds, name, measured)
      addQuantiles(rounds, name, latencies)
    }
    const name = 'postfix-mta-sts-resolver on Redis'
    const asked = repeated(sts, DOMAINS * PASSES)
    const lines = clients.map((_, index) => askPeer(index))
    await addRate(rounds, name, asked, peer.pid, lines)
    await addLatency(rounds, name, asked, askPeer(0))
  }
  for (const client of clients) client.close()
  await peer.stop()
  await plugin.close()
  for (const { store } of stores) await store.close()
  return rounds.rows()
}

async function makeDomains(world: World): Promise<(kind: Publishes) => readonly string[]> {
  const names = await world.domains(
    WARM_KINDS.flatMap(([, publishes]) =>
      Array.from({ length: DOMAINS }, (_, number) => ({
        label: `${publishes}-${number}`,
        publishes,
      })),
    ),
  )
  return (kind) => names.filter((name) => name.startsWith(`${kind}-`))
}

const SILENT = { info: ignore, notice: ignore, warn: ignore, error: ignore }

async function openStore(
  { lab }: World,
  backend: 'lmdb' | 'redis',
  redis?: { readonly address: string; readonly port: number },
): Promise<{ readonly name: string; readonly store: storeModule.Store }> {
  const { createStore } = compiled('store/index.js') as typeof storeModule
  const folder = join(lab.folder, `decision-${backend}`)
  await mkdir(folder)
  const store = await createStore(
    {
      backend,
      path: join(folder, 'policies.mdb'),
      prefix: 'bench',
      redis: redis ? { host: redis.address, port: redis.port } : {},
    },
    { log: SILENT, now: Date.now },
  )
  const name = { lmdb: 'LMDB behind a cold worker', redis: 'Redis behind a cold worker' }[backend]
  return { name, store }
}

/** The plugin's rooms as wiring.ts puts them together, but for its store, and with it its cache, which can be changed. */
function createPlugin({ lab }: World, first: storeModule.Store) {
  const { createPlanner } = compiled('delivery/planner.js') as typeof plannerModule
  const { fetchPolicy } = compiled('mta-sts/fetch.js') as typeof fetchModule
  const { createStsPolicies } = compiled('mta-sts/policies.js') as typeof policiesModule
  const { readTlsPolicyIni } = compiled('settings.js') as typeof settingsModule
  const { wireResolver } = compiled('wiring.js') as typeof wiringModule

  const read = readTlsPolicyIni({}, '')
  if (!read.ok) throw new Error(read.mistakes.join('\n'))
  const { config } = read
  const managed = wireResolver({ config: () => config, onHealth: () => undefined })
  const { resolver } = managed
  const ca = lab.ca.pem
  const policies = (store: storeModule.Store) =>
    createStsPolicies({
      resolver,
      store,
      fetch: (domain, signal) =>
        fetchPolicy({
          domain,
          signal,
          resolver,
          ca,
          timeoutMs: 10_000,
          maxBody: 65_536,
          allowPrivate: true,
        }),
      clock: Date.now,
      random: Math.random,
      log: SILENT,
      settings: { fetchTimeoutMs: 10_000, refreshIntervalMs: 86_400_000 },
    })
  let current = policies(first)
  const former: Promise<void>[] = []
  const planner = createPlanner({
    resolver,
    sts: {
      peek: (domain) => current.peek(domain),
      lookup: (domain, options) => current.lookup(domain, options),
    },
    config: () => config,
    self: () => Promise.resolve(undefined),
    tlsSwitchedOff: () => false,
    selfTest: managed,
    now: () => new Date(),
    ticks: () => performance.now(),
    random: Math.random,
  })
  return {
    ask: (domain: string) => planner.planForDomain(domain),
    /** From now on with this store, and a cache of policies that is empty. */
    use(store: storeModule.Store) {
      former.push(current.close())
      current = policies(store)
    },
    async close() {
      managed.close()
      await Promise.all([...former, current.close()])
    },
  }
}

function repeated(domains: readonly string[], count: number): readonly string[] {
  return Array.from({ length: count }, (_, number) => domains[number % domains.length] ?? '')
}

interface Measured {
  readonly perSecond: number
  readonly cpuMicroseconds: number
}

/** @param pid whose CPU counts. @param lines as many as shall ask at the same time. */
async function rate(
  domains: readonly string[],
  pid: number,
  lines: readonly Ask[],
): Promise<Measured> {
  let next = 0
  const [began, used] = [performance.now(), cpuOf(pid)]
  await Promise.all(
    lines.map(async (ask) => {
      for (let domain = domains[next++]; domain !== undefined; domain = domains[next++]) {
        await ask(domain)
      }
    }),
  )
  const seconds = (performance.now() - began) / 1000
  return {
    perSecond: domains.length / seconds,
    cpuMicroseconds: (1000 * (cpuOf(pid) - used)) / domains.length,
  }
}

/** Milliseconds of each, one after the other. */
async function latency(domains: readonly string[], ask: Ask): Promise<number[]> {
  const times: number[] = []
  for (const domain of domains) {
    const began = performance.now()
    await ask(domain)
    times.push(performance.now() - began)
  }
  return times
}

async function addRate(
  rounds: Rounds,
  name: string,
  domains: readonly string[],
  pid: number,
  lines: readonly Ask[],
): Promise<void> {
  addMeasured(rounds, name, await rate(domains, pid, lines))
}

function addMeasured(rounds: Rounds, name: string, measured: Measured): void {
  rounds.add(name, 'decisions', measured.perSecond, '1/s')
  rounds.add(name, 'CPU per decision', measured.cpuMicroseconds, 'µs')
}

async function addLatency(
  rounds: Rounds,
  name: string,
  domains: readonly string[],
  ask: Ask,
): Promise<void> {
  addQuantiles(rounds, name, await latency(domains, ask))
}

function addQuantiles(rounds: Rounds, name: string, milliseconds: readonly number[]): void {
  rounds.add(name, 'p50', 1000 * quantile(milliseconds, 0.5), 'µs')
  rounds.add(name, 'p99', 1000 * quantile(milliseconds, 0.99), 'µs')
}

function ignore(): void {
  // What the stores say of themselves is not measured.
}
