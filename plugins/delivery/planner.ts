/**
 * One attempt's plan: questions that the settings allow, facts, decision. Settings are read anew for each plan, so that a
 * reload takes effect with the next attempt. Never rejects for anything that the network did.
 */
import { domainToASCII } from 'node:url'
import type { Config } from '../config'
import { ruleFor } from '../config'
import { decide } from './decide'
import type { Rules } from './decide'
import { gatherForDomain, gatherForRoute } from './gather'
import type { Questions, RouteHost, Sources } from './gather'
import type { Plan } from './types'

export interface PlannerOptions extends Sources {
  readonly config: () => Config
  readonly tlsSwitchedOff: () => boolean
  readonly now: () => Date
  readonly random: () => number
}

export interface Planner {
  /** @param domain A recipient's domain, as in the address. */
  planForDomain(domain: string, options?: PlanOptions): Promise<Plan>
  /** Mail that another plugin routes. */
  planForRoute(route: RouteHost): Promise<Plan>
}

export type Treatment = 'enforce' | 'observe' | 'off'

/** What the operator wants for a next-hop domain: policies enforced, only looked at, or neither. */
export function treatmentOf(config: Config, domain: string, now: Date): Treatment {
  const rule = ruleFor(config, nextHopDomain(domain) ?? domain, now)
  if (rule === 'off') return 'off'
  return rule === 'observe' || config.mode === 'observe' ? 'observe' : 'enforce'
}

export interface PlanOptions {
  /** Ask for the `_mta-sts` record past any cache (RFC 8461 §5.1). */
  readonly recheck?: boolean
}

/**
 * The A-label form in which a domain is asked for, compared and logged (RFC 5890 §2.3.2.1).
 * @returns undefined where it is no host name at all.
 */
export function nextHopDomain(domain: string): string | undefined {
  const ascii = domainToASCII(domain).replace(/\.$/, '').toLowerCase()
  return ascii === '' ? undefined : ascii
}

export function createPlanner(options: PlannerOptions): Planner {
  const { config, now, random } = options
  const rule = (nextHop: string) => ruleFor(config(), nextHop, now())

  function questions(nextHop: string, recheck: boolean): Questions {
    const { dane, mtaSts, dns } = config()
    const destination = rule(nextHop)
    const dnsMs = dns.deadlineSeconds * 1000
    return {
      askDane: (dane.enabled || destination === 'dane-only') && destination !== 'sts',
      askSts: mtaSts.enabled && destination !== 'dane' && destination !== 'dane-only',
      insecureMx: dane.insecureMx,
      digests: dane.digests,
      recheck,
      dnsSignal: AbortSignal.timeout(dnsMs),
      stsSignal: AbortSignal.timeout(dnsMs + mtaSts.fetchTimeoutSeconds * 1000),
    }
  }

  function rules(nextHop: string): Rules {
    const { mode, mtaSts } = config()
    return {
      observe: mode === 'observe',
      destination: rule(nextHop),
      withDane: mtaSts.withDane,
      txtFailure: mtaSts.txtFailure,
      tlsSwitchedOff: options.tlsSwitchedOff(),
    }
  }

  return {
    async planForDomain(domain, { recheck = false } = {}) {
      const nextHop = nextHopDomain(domain)
      if (nextHop === undefined) return unusableDomain(domain)
      const facts = await gatherForDomain(nextHop, options, questions(nextHop, recheck))
      return decide(facts, rules(nextHop), random)
    },
    async planForRoute(route) {
      const host = nextHopDomain(route.host)
      if (host === undefined) return unusableDomain(route.host)
      const facts = await gatherForRoute({ ...route, host }, options, questions(host, false))
      return decide(facts, rules(host), random)
    },
  }
}

function unusableDomain(domain: string): Plan {
  const shown = JSON.stringify(domain.slice(0, 80))
  return {
    nextHop: domain,
    observe: false,
    outcome: { kind: 'defer', reason: 'bad-domain', detail: `${shown} is no domain name` },
    facts: {
      nextHop: domain,
      nextHopExpanded: domain,
      mx: { kind: 'failed', failure: { kind: 'failed', cause: 'bad-name', detail: shown } },
      hosts: [],
      sts: { kind: 'not-asked' },
    },
  }
}
