/**
 * The process whose memory `memory` measures: planner, DNS cache and MTA-STS policies as wiring.ts puts them together, over a DNS
 * that is made up. Run with --expose-gc; writes its rows as JSON.
 */
import type * as configModule from '../../plugins/config'
import type * as plannerModule from '../../plugins/delivery/planner'
import type * as cacheModule from '../../plugins/dnssec-stub/cache'
import type { Resolver } from '../../plugins/dnssec-stub/types'
import type * as policiesModule from '../../plugins/mta-sts/policies'
import type * as storeModule from '../../plugins/store/memory'
import { validating } from '../support/facts'
import { octetsAlive } from '../support/heap'
import { hostile, manyDomains, ordinary } from '../support/many-domains'
import { memoryOf } from './process'
import { compiled } from './world'

const ORDINARY = 20_000
const SUBDOMAINS = 10_000
/** As wiring.ts has it. */
const CACHED_OUTCOMES = 3_145_728
const MIB = 2 ** 20

async function main(): Promise<void> {
  const { readConfig } = compiled('config.js') as typeof configModule
  const { createPlanner } = compiled('delivery/planner.js') as typeof plannerModule
  const { cached } = compiled('dnssec-stub/cache.js') as typeof cacheModule
  const { createStsPolicies } = compiled('mta-sts/policies.js') as typeof policiesModule
  const { memoryStore } = compiled('store/memory.js') as typeof storeModule
  const config = readConfig({}, () => undefined)
  if (!config.ok) throw new Error(config.mistakes.join('\n'))
  const [good, evil] = [
    manyDomains(ordinary),
    manyDomains(hostile({ mx: 3000, tlsa: 850, txt: 4000 })),
  ]
  let asked = 0
  const dns: Resolver = {
    resolve(name, type, options) {
      asked++
      return (/(?:evil\.test|\.mx)$/.test(name) ? evil : good).resolve(name, type, options)
    },
  }
  const ticks = () => performance.now()
  const resolver = cached(dns, { now: ticks, maxOctets: CACHED_OUTCOMES })
  const silent = () => undefined
  // The wall clock stands still, for warm policies are looked at again after five minutes, and this takes longer here and there.
  const sts = createStsPolicies({
    resolver,
    store: memoryStore({ now: Date.now }),
    fetch: () => Promise.reject(new Error('there are no policies here')),
    clock: () => 1_800_000_000_000,
    random: Math.random,
    log: { info: silent, notice: silent, warn: silent, error: silent },
    settings: { fetchTimeoutMs: 1000, refreshIntervalMs: 86_400_000 },
  })
  const planner = createPlanner({
    resolver,
    sts,
    self: () => Promise.resolve(undefined),
    config: () => config.config,
    tlsSwitchedOff: () => false,
    selfTest: validating,
    now: () => new Date(),
    ticks,
    random: Math.random,
  })
  const rows: { case: string; metric: string; value: number; unit: string }[] = []
  const own = () => memoryOf(process.pid).anonymous
  // What code takes when it first runs is no matter of domains.
  for (let n = 0; n < 50; n++) await planner.planForDomain(`first${n}.example`)
  const [before, ownBefore] = [await octetsAlive(), own()]
  const note = async (name: string) => {
    rows.push(
      { case: name, metric: 'memory of its own, more', value: own() - ownBefore, unit: 'MiB' },
      {
        case: name,
        metric: 'alive, more',
        value: ((await octetsAlive()) - before) / MIB,
        unit: 'MiB',
      },
    )
  }
  const domains = Array.from({ length: ORDINARY }, (_, n) => `dom${n}.customer-${n % 97}.example`)
  for (const domain of domains) await planner.planForDomain(domain)
  await note('20,000 ordinary domains')
  for (let n = 0; n < SUBDOMAINS; n++) {
    await planner.planForDomain(`d${n}.evil.test`)
    if (n + 1 === SUBDOMAINS / 10) await note('and 1,000 subdomains of a hostile zone')
  }
  await note('and 10,000 subdomains of a hostile zone')
  const questions = asked
  for (const domain of domains) await planner.planForDomain(domain)
  rows.push({
    case: 'the ordinary domains once more',
    metric: 'DNS questions',
    value: asked - questions,
    unit: '',
  })
  process.stdout.write(JSON.stringify(rows))
  await sts.close()
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    console.error(error)
    process.exit(1)
  },
)
