/**
 * One attempt's plan: questions that the settings allow, facts, decision. Settings are read anew for each plan, so that a
 * reload takes effect with the next attempt. Never rejects for anything that the network did.
 */
import type { Config } from '../config'
import { destinationFor, ruleFor } from '../destinations'
import { hopRuleFor } from '../requiretls-hops'
import type { MessageDemand } from '../requiretls/demand'
import { canonicalName, timeLimit } from '../dnssec-stub'
import type { ManagedResolver, Resolver, TimeLimit } from '../dnssec-stub'
import { decide } from './decide'
import type { Rules } from './decide'
import { gatherForDomain, gatherForRoute, stsPatience } from './gather'
import type { Questions, RouteHost, Sources } from './gather'
import { createFactsMemory } from './memory'
import type { FactsMemory } from './memory'
import type { Self } from './self'
import { confirmed } from './confirmed'
import type { Facts, Plan, PlanOutcome } from './types'

export interface PlannerOptions extends Sources {
  readonly config: () => Config
  readonly tlsSwitchedOff: () => boolean
  /** Which name and addresses are this server's own. */
  readonly self: Self
  /** Whether the resolver validates, and whether what it says insecurely can be believed. */
  readonly selfTest: Pick<ManagedResolver, 'health' | 'recent' | 'check' | 'confirm' | 'era'>
  /** Milliseconds, in all, in which lookups stood in line: no time limit counts them; default: none. */
  readonly stoodInLineMs?: () => number
  readonly now: () => Date
  /** Milliseconds of a clock that never steps. */
  readonly ticks: () => number
  readonly random: () => number
}

export interface Planner {
  /** @param domain A recipient's domain, as in the address. */
  planForDomain(domain: string, options?: PlanOptions): Promise<Plan>
  /** Mail that another plugin routes. */
  planForRoute(route: RouteHost, options?: Pick<PlanOptions, 'demand'>): Promise<Plan>
}

export type Treatment = 'enforce' | 'observe' | 'off'

/** What the operator wants for a next-hop domain: policies enforced, only looked at, or neither. */
export function treatmentOf(config: Config, domain: string, now: Date): Treatment {
  const rule = ruleFor(config, nextHopDomain(domain) ?? domain, now)
  if (rule === 'off') return 'off'
  return rule === 'observe' || config.mode === 'observe' ? 'observe' : 'enforce'
}

interface Asked extends Questions {
  /** Ends the clocks of its time limits. */
  readonly end: () => void
}

export interface PlanOptions {
  /** Ask for the `_mta-sts` record past any cache (RFC 8461 §5.1). */
  readonly recheck?: boolean
  /** What the message itself asks. */
  readonly demand?: MessageDemand | undefined
}

/** So often is a plan made anew because the resolver has changed meanwhile. */
const MOST_ROUNDS = 4
const UNSTEADY: PlanOutcome = {
  kind: 'defer',
  reason: 'resolver-blind',
  detail: 'the resolver goes blind and comes back faster than it answers',
}

/**
 * The A-label form in which a domain is asked for, compared and logged (RFC 5890 §2.3.2.1).
 * @returns undefined where the DNS cannot hold it: a label that is empty or too long, a name that is too long, blanks.
 */
export function nextHopDomain(domain: string): string | undefined {
  const name = canonicalName(domain)
  return name === '' ? undefined : name
}

export function createPlanner(options: PlannerOptions): Planner {
  const { config, now, random, selfTest, ticks, stoodInLineMs = () => 0 } = options
  const rule = (nextHop: string) => ruleFor(config(), nextHop, now())

  function questions(nextHop: string, recheck: boolean): Asked {
    const { dane, mtaSts, dns } = config()
    const destination = rule(nextHop)
    const dnsMs = dns.deadlineSeconds * 1000
    const limits: TimeLimit[] = []
    const within = (milliseconds: number) =>
      once(() => {
        const limit = timeLimit(milliseconds, stoodInLineMs)
        limits.push(limit)
        return limit.signal
      })
    return {
      askDane: (dane.enabled || destination === 'dane-only') && destination !== 'sts',
      askSts: mtaSts.enabled && destination !== 'dane' && destination !== 'dane-only',
      insecureMx: dane.insecureMx,
      digests: dane.digests,
      recheck,
      dnsSignal: within(dnsMs),
      stsSignal: within(dnsMs + mtaSts.fetchTimeoutSeconds * 1000),
      end: () => {
        for (const { stop } of limits) stop()
      },
    }
  }

  /** Not tested yet, or unreachable when last tested: only another test tells. */
  async function whyBlind(): Promise<string | undefined> {
    const last = selfTest.health()
    const health = last.state === 'unreachable' ? await selfTest.check() : last
    return health.state === 'validating' ? undefined : health.detail
  }

  /** Whether mail shall wait for a resolver that validates. */
  function mindsBlindness({ askDane }: Questions): boolean {
    return config().dane.blindResolver === 'defer' && askDane
  }

  /** @param blind Why the resolver was blind before the facts were gathered: one that sees only now has not seen them. */
  async function rules(
    nextHop: string,
    asked: Questions,
    blind: string | undefined,
    demand: MessageDemand | undefined,
  ): Promise<Rules> {
    const blindNow = mindsBlindness(asked) ? await whyBlind() : undefined
    const { mode, mtaSts, requiretlsHops } = config()
    const { rule: destination, match } = destinationFor(config(), nextHop, now()) ?? {}
    return {
      blind: blind ?? blindNow,
      destination,
      match,
      withDane: mtaSts.withDane,
      txtFailure: mtaSts.txtFailure,
      tlsSwitchedOff: options.tlsSwitchedOff(),
      self: await options.self(),
      demand,
      requiretlsHop: hopRuleFor(requiretlsHops, nextHop),
      leftAlone: mode === 'observe' || destination === 'observe' || destination === 'off',
    }
  }

  const memory = createFactsMemory({ resolver: options.resolver, now: options.ticks })
  let keptUnder = config()
  let keptFrom = selfTest.era()

  /** What was gathered under other settings answers other questions; what a blind resolver said is not what a sound one says. */
  function currentMemory(): FactsMemory {
    const era = selfTest.era()
    if (keptUnder !== config() || keptFrom !== era) {
      keptUnder = config()
      keptFrom = era
      memory.clear()
    }
    return memory
  }

  /** Facts from the memory with what MTA-STS says now; gathered where anything is missing or to be looked at anew. */
  async function factsFor(
    key: string,
    stsDomain: string,
    asked: Asked,
    work: (sources: Sources) => Promise<Facts>,
  ): Promise<Facts> {
    // Beside the lookups of the domain: the first decision of all waits for it, and hears of a failure then.
    options.self().catch(() => undefined)
    try {
      return await findFacts(key, stsDomain, asked, work)
    } finally {
      asked.end()
    }
  }

  async function findFacts(
    key: string,
    stsDomain: string,
    asked: Questions,
    work: (sources: Sources) => Promise<Facts>,
  ): Promise<Facts> {
    const known = asked.recheck ? undefined : currentMemory().known(key)
    if (known) {
      if (!known.asksSts) return { ...known.found, sts: { kind: 'not-asked' } }
      const sts =
        options.sts.peek?.(stsDomain) ??
        (await options.sts.lookup(stsDomain, { signal: stsPatience(known.found.mx, asked) }))
      return { ...known.found, sts }
    }
    // Without DANE, nothing rests on what is secure.
    const workSurely = (resolver: Resolver) =>
      !asked.askDane
        ? work({ ...options, resolver })
        : confirmed({ resolver, confirm: selfTest.confirm, ticks }, (heard) =>
            work({ ...options, resolver: heard }),
          )
    return currentMemory().gather(key, workSurely, asked.recheck)
  }

  /**
   * A plan that rests on no self-test older than a minute, and on no answer from before the resolver went blind, came back or
   * was replaced by another while the plan was made.
   */
  async function steadyPlan(make: () => Promise<Plan>): Promise<Plan> {
    for (let round = 1; ; round++) {
      const health = selfTest.recent()
      if (health instanceof Promise) await health
      const era = selfTest.era()
      const plan = await make()
      if (selfTest.era() === era) return plan
      if (round === MOST_ROUNDS) return { ...plan, outcome: UNSTEADY }
    }
  }

  async function domainPlan(
    nextHop: string,
    { recheck = false, demand }: PlanOptions,
  ): Promise<Plan> {
    const blind = mindsBlindness(questions(nextHop, recheck)) ? await whyBlind() : undefined
    const asked = questions(nextHop, recheck)
    const facts = await factsFor(
      `domain ${rule(nextHop) ?? ''} ${nextHop}`,
      nextHop,
      asked,
      (sources) => gatherForDomain(nextHop, sources, asked),
    )
    return decide(facts, await rules(nextHop, asked, blind, demand), random)
  }

  async function routePlan(route: RouteHost, { demand }: PlanOptions): Promise<Plan> {
    const { host, port } = route
    const blind = mindsBlindness(questions(host, false)) ? await whyBlind() : undefined
    const asked = questions(host, false)
    const facts = await factsFor(
      `route ${rule(host) ?? ''} ${host} ${port}`,
      host,
      asked,
      (sources) => gatherForRoute(route, sources, asked),
    )
    return decide(facts, await rules(host, asked, blind, demand), random)
  }

  return {
    async planForDomain(domain, planOptions = {}) {
      const nextHop = nextHopDomain(domain)
      if (nextHop === undefined) return unusableName(domain, 'bounce')
      return steadyPlan(() => domainPlan(nextHop, planOptions))
    },
    async planForRoute(route, planOptions = {}) {
      const host = nextHopDomain(route.host)
      // The operator's to mend, and no reason to send mail back.
      if (host === undefined) return unusableName(route.host, 'defer')
      return steadyPlan(() => routePlan({ ...route, host }, planOptions))
    },
  }
}

function unusableName(domain: string, kind: 'bounce' | 'defer'): Plan {
  const shown = JSON.stringify(domain.slice(0, 80))
  return {
    nextHop: domain,
    outcome: { kind, reason: 'bad-domain', detail: `${shown} is no domain name` },
    facts: {
      nextHop: domain,
      nextHopExpanded: domain,
      mx: { kind: 'failed', failure: { kind: 'failed', cause: 'bad-name', detail: shown } },
      hosts: [],
      sts: { kind: 'not-asked' },
    },
  }
}

/** Made when first asked for: a warm decision starts no timer. */
function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => (made ??= { value: make() }).value
}
