/**
 * Facts in, plan out; pure. This is where "what is owed to this host" is decided, and nowhere else.
 * Strictness only rises: each host gets the strongest of the operator's floor, DANE and MTA-STS. A lookup that failed is a
 * host not used; only hosts without any policy are delivered to as plain Haraka would.
 */
import type { DestinationRule } from '../destinations'
import { referenceIdentifiers } from '../dane/discovery'
import type { TlsaVerdict } from '../dane/types'
import type { Failure, Security } from '../dnssec-stub/types'
import { matchesMx } from '../mta-sts/match'
import type { KnownPolicy, StsLookup } from '../mta-sts/types'
import type { HopRule } from '../requiretls-hops'
import type { MessageDemand } from '../requiretls/demand'
import { leftToHaraka, raiseToRequireTls, raiseToTls, wishOnly, withoutTls } from './raise'
import { raiseToVerify, sniFor } from './requirement'
import { withoutLoops, worthTrying } from './this-server'
import type { ThisServer } from './this-server'
import type {
  Facts,
  HostFacts,
  PkixDemand,
  Plan,
  PlannedHost,
  PlanOutcome,
  PolicyDemand,
  Requirement,
} from './types'

export interface Rules {
  readonly destination: DestinationRule | undefined
  /** The operator's own names for the destination (`verify match=`). */
  readonly match?: readonly string[] | undefined
  /** Whether a host that DANE satisfies must satisfy an MTA-STS enforce policy as well. */
  readonly withDane: 'dane' | 'both'
  /** What a failed `_mta-sts` TXT lookup means where no policy is cached. */
  readonly txtFailure: 'continue' | 'defer'
  /** Why the resolver's word on security is worth nothing, where mail shall wait until it is (dane.blind_resolver). */
  readonly blind: string | undefined
  /** Haraka's own TLS is off (outbound.ini enable_tls=false): what demands TLS cannot be delivered. */
  readonly tlsSwitchedOff: boolean
  /** Which hosts and addresses are this machine's own; undefined where local_mx_ok says that mail for itself is meant. */
  readonly self: ThisServer | undefined
  /** What the message itself asks (RFC 8689); left out: nothing. */
  readonly demand?: MessageDemand | undefined
  /** What the operator says of REQUIRETLS at this next hop; left out: that it is enforced. */
  readonly requiretlsHop?: HopRule | undefined
  /** No policy is enforced here (`off`, `observe`); a demand of the message's own is. */
  readonly leftAlone?: boolean
}

export type Decided = Pick<PlannedHost, 'requirement' | 'policy' | 'demands'>

/**
 * @param random 0 ≤ x < 1; shuffles hosts of equal preference (RFC 5321 §5.1).
 */
export function decide(facts: Facts, rules: Rules, random: () => number): Plan {
  return {
    nextHop: facts.nextHop,
    outcome: decideOutcome(facts, rules, random),
    facts,
  }
}

function decideOutcome(facts: Facts, rules: Rules, random: () => number): PlanOutcome {
  const { mx } = facts
  if (rules.blind !== undefined)
    return { kind: 'defer', reason: 'resolver-blind', detail: rules.blind }
  switch (mx.kind) {
    case 'failed':
      return { kind: 'defer', reason: 'mx-lookup-failed', detail: inWords(mx.failure) }
    case 'nxdomain':
      return denied(facts, mx.security, 'no-such-domain', 'does not exist')
    case 'null-mx':
      return denied(facts, mx.security, 'null-mx', 'accepts no mail')
    case 'implicit':
      return withoutMailHost(facts, mx.security) ?? decideHosts(facts, rules, random)
    case 'mx':
    case 'route':
      return decideHosts(facts, rules, random)
  }
}

/** Denied, not failed. */
function withoutMailHost(facts: Facts, security: Security): PlanOutcome | undefined {
  const denials = facts.hosts.map(({ addresses }) => addresses)
  if (!denials.every(isDenied)) return undefined
  const isSecure = security === 'secure' && denials.every((denial) => denial.security === 'secure')
  return denied(
    facts,
    isSecure ? 'secure' : 'insecure',
    'no-mail-host',
    'has neither MX records nor an address',
  )
}

function isDenied(
  addresses: HostFacts['addresses'],
): addresses is Extract<HostFacts['addresses'], { kind: 'none' }> {
  return addresses.kind === 'none'
}

/**
 * The domain takes no mail: the mail goes back at once. But where a policy in force says that there are mail hosts, or may say so, a
 * denial that anybody may have forged sends nothing back (RFC 8461 §10.3).
 */
function denied(
  { nextHop, sts }: Facts,
  security: Security,
  reason: 'no-such-domain' | 'null-mx' | 'no-mail-host',
  what: string,
): PlanOutcome {
  if (security !== 'secure' && sts.kind === 'store-unread') {
    return { kind: 'defer', reason: 'sts-store-unread', policy: 'sts', detail: whyUnread(sts) }
  }
  if (security === 'secure' || sts.kind !== 'policy' || sts.known.policy.mode !== 'enforce') {
    return { kind: 'bounce', reason, detail: `${nextHop} ${what}` }
  }
  const until = new Date(sts.known.expiresAt).toISOString()
  return {
    kind: 'defer',
    reason: 'sts-domain-denied',
    policy: 'sts',
    detail:
      `the DNS says without a signature that ${nextHop} ${what}, and its MTA-STS policy, in force until ${until}, ` +
      `names mail hosts: ${sts.known.policy.mx.join(' ')}`,
  }
}

function decideHosts(facts: Facts, rules: Rules, random: () => number): PlanOutcome {
  const inOrder = inOrderOfTrial(facts, random)
  // A route is the operator's word: it may lead where an MX record must not.
  const hosts = facts.mx.kind === 'route' ? inOrder : withoutLoops(inOrder, rules.self)
  if (hosts.length === 0) {
    return {
      kind: 'defer',
      reason: 'mx-loop',
      detail: `this server is the best MX host of ${facts.nextHop} (RFC 5321 section 5.1)`,
    }
  }
  return { kind: 'hosts', ...inRounds(hosts, facts, rules) }
}

type Raise = (decided: Decided, host: string, facts: Facts) => Decided

/** One round, or two where the message would rather go with less than not at all. */
function inRounds(
  hosts: readonly HostFacts[],
  facts: Facts,
  rules: Rules,
): Pick<Extract<PlanOutcome, { kind: 'hosts' }>, 'hosts' | 'then'> {
  const plan = (raise: Raise) => hosts.map((host) => planHost(host, facts, rules, raise))
  const ordinary = plan((decided) => decided)
  switch (demandAtHop(rules)) {
    case undefined:
      return { hosts: ordinary }
    case 'requiretls':
      return { hosts: plan(raiseToRequireTls) }
    case 'tls':
      return { hosts: plan(raiseToTls) }
    case 'requiretls-if-possible': {
      const then = rules.leftAlone ? ordinary.map(leftToHaraka) : ordinary
      return { hosts: plan(raiseToRequireTls), then }
    }
    case 'tls-required-no': {
      // The operator's own floor.
      if (rules.destination !== undefined && FLOORS.has(rules.destination)) {
        return { hosts: ordinary }
      }
      const then = ordinary.map(withoutTls)
      return rules.tlsSwitchedOff ? { hosts: then } : { hosts: ordinary.map(wishOnly), then }
    }
  }
}

/** Rules by which the operator demands something on his own account. */
const FLOORS: ReadonlySet<DestinationRule> = new Set(['encrypt', 'verify', 'dane-only'])

function demandAtHop({ demand, requiretlsHop }: Rules): MessageDemand | 'tls' | undefined {
  if (demand !== 'requiretls') return demand
  switch (requiretlsHop) {
    case 'tls':
      return 'tls'
    case 'if-possible':
      return 'requiretls-if-possible'
    case 'enforce':
    case undefined:
      return demand
  }
}

/** A route's order is the operator's; MX hosts go by preference, equals shuffled. */
function inOrderOfTrial(facts: Facts, random: () => number): readonly HostFacts[] {
  if (facts.mx.kind === 'route') return facts.hosts
  return facts.hosts
    .map((host) => ({ host, draw: random() }))
    .sort((a, b) => a.host.preference - b.host.preference || a.draw - b.draw)
    .map(({ host }) => host)
}

function planHost(host: HostFacts, facts: Facts, rules: Rules, raise: Raise): PlannedHost {
  const { requirement, policy, demands } = decideHost(host, facts, rules, raise)
  return {
    host: host.host,
    preference: host.preference,
    port: host.port,
    addresses:
      host.addresses.kind === 'resolved' ? worthTrying(host.addresses.list, rules.self) : [],
    requirement,
    policy,
    demands: [...demands, ...notInsistedOn(host, facts, demands)],
  }
}

/** A policy in mode testing, or beside DANE: what it would have demanded is told (RFC 8461 §5, RFC 8460 §4.3). */
function notInsistedOn(
  host: HostFacts,
  { sts }: Facts,
  insistedOn: readonly PolicyDemand[],
): readonly PolicyDemand[] {
  if (host.addresses.kind !== 'resolved' || sts.kind !== 'policy') return []
  if (sts.known.policy.mode === 'none') return []
  if (insistedOn.some(({ policy }) => policy === 'sts')) return []
  return [{ policy: 'sts', enforced: false, demand: stsDemand(host, sts.known) }]
}

function decideHost(host: HostFacts, facts: Facts, rules: Rules, raise: Raise): Decided {
  if (host.addresses.kind === 'failed') {
    return refuse('none', 'address-lookup-failed', inWords(host.addresses.failure))
  }
  if (host.addresses.kind === 'none') {
    return refuse('none', 'no-address', `${host.host} has no address`)
  }
  if (worthTrying(host.addresses.list, rules.self).length === 0) {
    return refuse('none', 'no-remote-address', describeOwn(host.host, host.addresses.list))
  }
  // Ahead of the look at Haraka's own TLS, which must be on for what the message asks as well.
  const decided = raise(requireByRule(host, facts, rules), host.host, facts)
  if (rules.tlsSwitchedOff && decided.requirement.level !== 'opportunistic') {
    if (decided.requirement.level === 'refuse') return decided
    const detail = `${host.host} must be reached over TLS, but outbound.ini says enable_tls=false`
    const requirement = { level: 'refuse', reason: 'tls-switched-off', detail } as const
    // The sender's own setting stands in the way: no policy has failed.
    return { requirement, policy: decided.policy, demands: [] }
  }
  return decided
}

function requireByRule(host: HostFacts, facts: Facts, rules: Rules): Decided {
  if (rules.destination === 'dane-only') return requireDane(host, facts)
  const published = requirePublished(host, facts, rules)
  return rules.destination === 'verify'
    ? raiseToVerify(published, host.host, mxIsSecure(facts), rules.match)
    : published
}

function describeOwn(host: string, addresses: readonly string[]): string {
  const shown = addresses.slice(0, 3).join(', ') + (addresses.length > 3 ? ', ...' : '')
  return `${host} has no address of another machine, only ${shown}, which local_mx_ok=false in outbound.ini leaves out`
}

/** Mandatory DANE (RFC 7672 §6): a secure MX, usable TLSA records, a match; nothing else will do. */
function requireDane(host: HostFacts, facts: Facts): Decided {
  const { tlsa } = host
  if (!mxIsSecure(facts)) {
    return refuse('operator', 'dane-required', `the MX records of ${facts.nextHop} are not secure`)
  }
  switch (tlsa.kind) {
    case 'usable':
      return authenticateByDane(tlsa, facts, undefined)
    case 'unusable':
      return refuse('operator', 'tlsa-unusable', describeUnusable(tlsa, host))
    case 'failed':
      return refuse('dane', 'tlsa-lookup-failed', describeTlsaFailure(tlsa))
    case 'none':
    case 'not-asked':
      return refuse('operator', 'dane-required', `${host.host} has no secure TLSA records`)
  }
}

/** DANE verdict first; its failure is final. No DANE: MTA-STS. Neither: the operator's floor, or nothing (XC-08). */
function requirePublished(host: HostFacts, facts: Facts, rules: Rules): Decided {
  const { tlsa } = host
  switch (tlsa.kind) {
    case 'failed':
      return refuse('dane', 'tlsa-lookup-failed', describeTlsaFailure(tlsa))
    case 'usable': {
      if (mxIsSecure(facts) && rules.withDane === 'dane') {
        return authenticateByDane(tlsa, facts, undefined)
      }
      const sts = demandedBySts(host, facts, rules)
      if (sts?.requirement.level === 'refuse') return sts
      return authenticateByDane(tlsa, facts, sts)
    }
    case 'unusable':
      return requireSts(host, facts, rules, encrypted('dane', host, 'tls-unauthenticated'))
    case 'none':
    case 'not-asked':
      return requireSts(host, facts, rules, floor(host, facts, rules))
  }
}

/** @param otherwise Owed to the host where MTA-STS demands nothing; its demands stand beside those of MTA-STS. */
function requireSts(host: HostFacts, facts: Facts, rules: Rules, otherwise: Decided): Decided {
  const sts = demandedBySts(host, facts, rules)
  if (sts === undefined) return otherwise
  const others = otherwise.demands.filter(({ policy }) => policy === 'dane')
  return { ...sts, demands: [...others, ...sts.demands] }
}

/** What MTA-STS demands of this host; undefined where it demands nothing. */
function demandedBySts(host: HostFacts, facts: Facts, rules: Rules): Decided | undefined {
  const { sts } = facts
  switch (sts.kind) {
    case 'not-asked':
    case 'none':
      return undefined
    case 'unknown':
      return rules.txtFailure === 'defer'
        ? refuse('sts', 'sts-txt-lookup-failed', sts.problem.detail)
        : undefined
    case 'store-unread':
      return refuse('sts', 'sts-store-unread', whyUnread(sts))
    case 'policy':
      return sts.known.policy.mode === 'enforce' ? enforceSts(host, sts.known) : undefined
  }
}

function whyUnread({ store, problem }: Extract<StsLookup, { kind: 'store-unread' }>): string {
  return `a policy may be in the store, which could not be read (${store}): ${problem.detail}`
}

function enforceSts(host: HostFacts, known: KnownPolicy): Decided {
  const requirement = stsDemand(host, known)
  return insist('sts', requirement)
}

/** What a policy asks of a host, were it enforced. */
function stsDemand(host: HostFacts, known: KnownPolicy): PolicyDemand['demand'] {
  const patterns = known.policy.mx
  if (!matchesMx(known.policy, host.host)) {
    return {
      level: 'refuse',
      reason: 'sts-mx-not-listed',
      detail: `${host.host} is not among the MX patterns of ${known.domain}: ${patterns.join(' ')}`,
    }
  }
  return {
    level: 'authenticate',
    sni: host.host,
    pkix: { host: host.host, patterns },
    success: 'verified',
  }
}

/** @param sts What MTA-STS demands beside it; the session must pass both. */
function authenticateByDane(
  tlsa: Extract<TlsaVerdict, { kind: 'usable' }>,
  facts: Facts,
  sts: Decided | undefined,
): Decided {
  const mxSecure = mxIsSecure(facts)
  const references = referenceIdentifiers({
    base: tlsa.base,
    nextHop: facts.nextHop,
    nextHopExpanded: facts.nextHopExpanded,
    mxUsed: facts.mx.kind === 'mx',
    mxSecure,
  })
  const byDane = {
    level: 'authenticate',
    sni: tlsa.base,
    dane: { base: tlsa.base, records: tlsa.records, references, presentation: tlsa.presentation },
    success: mxSecure ? 'verified' : 'trusted',
  } as const
  const dane = insist('dane', byDane)
  const pkix = pkixOf(sts)
  if (sts === undefined || pkix === undefined) return dane
  return {
    requirement: { ...byDane, pkix, success: 'verified' },
    policy: 'dane+sts',
    demands: [...dane.demands, ...sts.demands],
  }
}

function floor(host: HostFacts, facts: Facts, rules: Rules): Decided {
  if (rules.destination === 'encrypt') {
    return encrypted('operator', host, 'operator-encrypt')
  }
  return {
    requirement: { level: 'opportunistic', reason: whyOpportunistic(facts) },
    policy: 'none',
    demands: [],
  }
}

function whyOpportunistic({ sts }: Facts): 'no-policy' | 'sts-testing' | 'sts-none' {
  if (sts.kind !== 'policy') return 'no-policy'
  return sts.known.policy.mode === 'testing' ? 'sts-testing' : 'sts-none'
}

/** May success through this host be called secure delivery to the next-hop domain (RFC 7672 §2.2.1)? */
export function mxIsSecure({ mx }: Facts): boolean {
  switch (mx.kind) {
    case 'mx':
    case 'implicit':
      return mx.security === 'secure'
    case 'route':
      return true
    case 'null-mx':
    case 'nxdomain':
    case 'failed':
      return false
  }
}

function pkixOf(decided: Decided | undefined): PkixDemand | undefined {
  return decided?.requirement.level === 'authenticate' ? decided.requirement.pkix : undefined
}

function describeTlsaFailure(tlsa: Extract<TlsaVerdict, { kind: 'failed' }>): string {
  return `TLSA lookup of ${tlsa.name} failed: ${inWords(tlsa.failure)}`
}

function inWords({ cause, detail }: Failure): string {
  return cause === 'aborted' ? 'no answer within dns.deadline' : detail
}

function describeUnusable(
  tlsa: Extract<TlsaVerdict, { kind: 'unusable' }>,
  host: HostFacts,
): string {
  return `no TLSA record of ${host.host} is usable: ${tlsa.why.slice(0, 4).join('; ')}`
}

function encrypted(
  policy: 'dane' | 'operator',
  host: HostFacts,
  reason: Extract<Requirement, { level: 'encrypt' }>['reason'],
): Decided {
  return insist(policy, { level: 'encrypt', sni: sniFor(host.host), reason })
}

function insist(policy: PolicyDemand['policy'], demand: PolicyDemand['demand']): Decided {
  return { requirement: demand, policy, demands: [{ policy, enforced: true, demand }] }
}

function refuse(
  policy: PolicyDemand['policy'] | 'none',
  reason: Extract<Requirement, { level: 'refuse' }>['reason'],
  detail: string,
): Decided {
  const requirement = { level: 'refuse', reason, detail } as const
  return policy === 'none' ? { requirement, policy, demands: [] } : insist(policy, requirement)
}
