/**
 * `check`: plans a delivery with the plugin's own planner, on the store that Haraka uses, and with --connect rehearses it.
 * What it reports is what those said; it decides nothing itself. No mail is sent.
 */
import { isIP } from 'node:net'
import type { SecureVersion } from 'node:tls'
import { nextHopDomain, treatmentOf } from '../delivery/planner'
import type { Treatment } from '../delivery/planner'
import type { Plan } from '../delivery/types'
import { destinationLine, destinationsFor } from '../destinations'
import { rehearse } from '../haraka/rehearsal'
import { withoutName } from '../haraka/without-name'
import { hopRuleFor } from '../requiretls-hops'
import type { MessageDemand } from '../requiretls/demand'
import type { Asked } from './arguments'
import type { Rehearsal } from '../haraka/rehearsal'
import { createContextSource } from '../haraka/tls-context'
import type { Wiring } from '../wiring'
import { readLookups } from './lookups'
import { conclude, exitCodeOf } from './conclude'
import { reportHost, reportSts, reportTrial } from './report'
import type { CheckReport } from './report'
import type { Settings } from './settings'

export interface CheckOptions {
  /** A domain, or an address of which the domain counts. */
  readonly target: string
  readonly connect: boolean
  /** What --host and --port name: mail that an operator routes there. */
  readonly route: { readonly host?: string; readonly port?: number }
  /** What the message asks (RFC 8689). */
  readonly asked: Asked | null
  readonly now: () => Date
}

const SMTP_PORT = 25
/** What Haraka uses where tls.ini names none. */
const HARAKAS_MIN_VERSION = 'TLSv1.2'

export async function check(
  options: CheckOptions,
  settings: Settings,
  { planner, resolver }: Pick<Wiring, 'planner' | 'resolver'>,
): Promise<CheckReport> {
  const { config } = settings
  const domain = domainOf(options.target)
  const route = routeOf(domain, options.route)
  const judged = route?.host ?? domain
  const literal = addressLiteral(judged)
  const demand = demandOf(options.asked, route !== undefined, config)
  const treatment = treatmentFor(settings, judged, literal, demand, options.now())
  const plan =
    literal === undefined
      ? await (route
          ? planner.planForRoute(route, { demand })
          : planner.planForDomain(domain, { demand }))
      : planForLiteral(judged, literal, route, demand, hopRuleFor(config.requiretlsHops, literal))
  const enforce = treatment === 'enforce'
  const rehearsal = options.connect ? await tryHosts(plan, enforce, settings, options) : undefined
  const conclusion = conclude(plan, enforce, rehearsal, options.asked)
  const { mx, sts } = plan.facts
  const { state, detail } = resolver.health()
  const signal = AbortSignal.timeout(config.dns.deadlineSeconds * 1000)
  return {
    version: 1,
    command: 'check',
    domain,
    nextHop: plan.nextHop,
    route: route ?? null,
    checkedAt: options.now().toISOString(),
    treatment,
    asked: options.asked,
    ...reportRule(settings, judged, options.now()),
    resolver: {
      ...(wasAsked(mx, literal)
        ? { state, detail }
        : { state: 'not-asked', detail: 'no name to look up' }),
      description: resolver.describe(),
    },
    mx: { kind: mx.kind, security: 'security' in mx ? mx.security : null },
    lookups: await readLookups(plan.facts, {
      resolver: resolver.resolver,
      digests: config.dane.digests,
      signal,
    }),
    sts: reportSts(sts, config.mtaSts.refreshIntervalSeconds),
    hosts: plan.outcome.kind === 'hosts' ? plan.outcome.hosts.map(reportHost) : [],
    trials: rehearsal?.trials.map(reportTrial) ?? null,
    conclusion,
    exitCode: exitCodeOf(conclusion),
  }
}

/** A host that the operator has named, and a setting of his, let nothing go. */
function demandOf(
  asked: Asked | null,
  isRouted: boolean,
  { tlsRequired }: Settings['config'],
): MessageDemand | undefined {
  if (asked === 'tls-required-no' && (isRouted || !tlsRequired.honour)) return undefined
  return asked ?? undefined
}

function treatmentFor(
  { config }: Settings,
  judged: string,
  literal: string | undefined,
  demand: MessageDemand | undefined,
  now: Date,
): Treatment {
  if (demand === 'requiretls') return 'enforce'
  return literal === undefined ? treatmentOf(config, judged, now) : 'off'
}

function reportRule(
  { config }: Settings,
  judged: string,
  now: Date,
): Pick<CheckReport, 'rule' | 'ruleMatch' | 'ruleFor' | 'ruleUntil' | 'endedRules'> {
  const { inForce, ended } = destinationsFor(config, nextHopDomain(judged) ?? judged, now)
  const [counts] = inForce
  return {
    rule: counts?.rule ?? null,
    ruleMatch: counts?.match ?? [],
    ruleFor: counts?.name ?? null,
    ruleUntil: counts?.until ?? null,
    endedRules: ended.map(destinationLine),
  }
}

/** What is no name is never asked for, and a route to an address has none. */
function wasAsked(mx: Plan['facts']['mx'], literal: string | undefined): boolean {
  return literal === undefined && !(mx.kind === 'failed' && mx.failure.cause === 'bad-name')
}

function domainOf(target: string): string {
  return target.slice(target.lastIndexOf('@') + 1)
}

function routeOf(
  domain: string,
  { host, port }: CheckOptions['route'],
): { readonly host: string; readonly port: number } | undefined {
  if (host === undefined && port === undefined) return undefined
  return { host: host ?? domain, port: port ?? SMTP_PORT }
}

/** `[192.0.2.1]`, `[IPv6:2001:db8::1]` or a bare address: no name, no policy (RFC 8461 §3.4). */
function addressLiteral(text: string): string | undefined {
  const inner = /^\[(?:IPv6:)?(.+)\]$/i.exec(text)?.[1] ?? text
  return isIP(inner) === 0 ? undefined : inner
}

function planForLiteral(
  nextHop: string,
  address: string,
  route: { readonly port: number } | undefined,
  demand: MessageDemand | undefined,
  hop: ReturnType<typeof hopRuleFor>,
): Plan {
  if (demand === 'requiretls') {
    const port = route?.port ?? SMTP_PORT
    const left = { kind: 'left', mx: { exchange: address, port }, mark: undefined } as const
    const tagged = withoutName(left, () => (route ? hop : undefined))
    if (tagged.kind === 'planned') return tagged.plan
    if (tagged.kind === 'refused' || !route) {
      const detail = `${address} is an address, and has no name that a certificate could prove`
      return {
        ...planForLiteral(nextHop, address, route, undefined, hop),
        outcome: { kind: 'bounce', reason: 'requiretls-no-name', detail },
      }
    }
  }
  return {
    nextHop,
    outcome:
      route || !nextHop.startsWith('[')
        ? {
            kind: 'hosts',
            hosts: [
              {
                host: address,
                preference: 0,
                port: route?.port ?? SMTP_PORT,
                addresses: [address],
                requirement: { level: 'opportunistic', reason: 'not-covered' },
                policy: 'none',
                demands: [],
              },
            ],
          }
        : {
            kind: 'defer',
            reason: 'bad-domain',
            detail: `Haraka looks for MX records of ${nextHop}, which is no name, and lets the mail wait`,
          },
    facts: {
      nextHop,
      nextHopExpanded: nextHop,
      mx: { kind: 'route' },
      hosts: [],
      sts: { kind: 'not-asked' },
    },
  }
}

async function tryHosts(
  plan: Plan,
  enforce: boolean,
  settings: Settings,
  { now }: CheckOptions,
): Promise<Rehearsal | undefined> {
  const { nextHop } = plan
  if (plan.outcome.kind !== 'hosts') return undefined
  const { config, ca, outbound, outboundTls, helo } = settings
  const contexts = (minVersion: SecureVersion, roots: string | undefined) =>
    createContextSource(ourSettings(minVersion, roots), { cfg: outboundTls }, {})
  const sources = {
    policy: contexts(config.tls.minVersion, ca),
    // What enforcing would have said is judged by our roots also where Haraka asks for none.
    opportunistic: contexts(HARAKAS_MIN_VERSION, ca),
    unaided: contexts(HARAKAS_MIN_VERSION, undefined),
  }
  return rehearse({
    plan,
    enforce,
    helo,
    session: sources.policy.sessionOptions(),
    contextFor: (address, use) => sources[use].contextFor(address),
    unaidedTls: (host, address) => settings.unaidedTls(nextHop, host, address),
    timeoutMs: outbound.connectTimeoutMs,
    now,
  })
}

function ourSettings(minVersion: SecureVersion, ca: string | undefined) {
  const settings = { minVersion, ca }
  return () => settings
}
