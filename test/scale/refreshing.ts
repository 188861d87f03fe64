/**
 * What the refresh of one policy costs: the real resolver, HTTPS fetch and cache of this worker, against a DNS server and
 * policy hosts in another process. The clock moves a day at a time.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { rootCertificates } from 'node:tls'
import { createResolver } from '../../plugins/dnssec-stub'
import { fetchPolicy } from '../../plugins/mta-sts/fetch'
import { rememberTrust } from '../../plugins/https/open'
import { createStsPolicies } from '../../plugins/mta-sts/policies'
import { createStore } from '../../plugins/store'
import type { Logger } from '../../plugins/store/types'
import type { Served } from './servers'
import { storeSettings } from './world'
import type { Measured, ScaleSettings } from './world'

const DAY = 86_400_000
const ROUNDS = 6

const quiet: Logger = {
  info: () => undefined,
  notice: () => undefined,
  warn: (text) => {
    console.error(`warn ${text}`)
  },
  error: (text) => {
    console.error(`error ${text}`)
  },
}

/** @returns microseconds of CPU, and fetches per second, of refreshing policies, sixteen at a time */
export async function refreshing(settings: ScaleSettings): Promise<Measured> {
  const servers = fork(`${__dirname}/servers.ts`, { execArgv: ['--import', 'tsx'] })
  try {
    const [served] = (await once(servers, 'message')) as [Served]
    return await measure(settings, served)
  } finally {
    await end(servers)
  }
}

async function measure(settings: ScaleSettings, served: Served): Promise<Measured> {
  let time = settings.loadedAt
  let steady = 0
  const clock = (): number => time
  const dns = createResolver({
    backend: 'ad',
    servers: [served.dns],
    trustAd: 'loopback',
    cacheOctets: 3_145_728,
    now: () => steady,
  })
  await dns.check()
  // A file of its own: the policies that the other tasks measure stay as they are.
  const path = `${settings.path}.refreshing`
  const store = await createStore(
    { ...storeSettings(settings), path, prefix: 'refreshing' },
    { log: quiet, now: clock },
  )
  const trust = rememberTrust()
  const ca = [served.ca, ...rootCertificates].join('\n')
  const sts = createStsPolicies({
    resolver: dns.resolver,
    store,
    fetch: (domain, signal) =>
      fetchPolicy({
        domain,
        signal,
        resolver: dns.resolver,
        ca,
        trust,
        port: served.port,
        timeoutMs: 60_000,
        maxBody: 65_536,
        allowPrivate: true,
      }),
    clock,
    random: Math.random,
    log: quiet,
    settings: { fetchTimeoutMs: 60_000, refreshIntervalMs: DAY },
  })
  for (const domain of served.domains) {
    const lookup = await sts.lookup(domain)
    if (lookup.kind !== 'policy') throw new Error(JSON.stringify(lookup))
  }
  await sts.refreshDue()
  let fetched = 0
  const nextDay = async (): Promise<void> => {
    time += DAY
    steady += DAY
    fetched += await sts.refreshDue()
  }
  // Once for the compiler.
  await nextDay()
  fetched = 0
  const cpu = process.cpuUsage()
  const started = performance.now()
  for (let round = 0; round < ROUNDS; round++) await nextDay()
  const seconds = (performance.now() - started) / 1000
  const { user, system } = process.cpuUsage(cpu)
  await sts.close()
  await store.close()
  dns.close()
  if (fetched !== ROUNDS * served.domains.length) throw new Error(`only ${fetched} fetches`)
  return { refreshCpu: (user + system) / fetched, refreshesPerSecond: fetched / seconds }
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, 'exit')
  child.kill()
  await exited
}
