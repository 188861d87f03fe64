/**
 * Lookups of one attempt, and nothing but lookups: MX, then each host's addresses, then its TLSA records, with the MTA-STS
 * policy beside them. Says what was found, never what follows from it. Bounded: one deadline for the DNS, so many hosts,
 * so many addresses. Never rejects.
 */
import { isIP } from 'node:net'
import { discoverTlsa } from '../dane/discovery'
import type { DigestName } from '../dane/types'
import type { MxRecord, Outcome, Resolver } from '../dnssec-stub/types'
import type { StsLookup, StsPolicies } from '../mta-sts/types'
import type { Facts, HostFacts, MxFacts } from './types'

/** Haraka tries hosts until one takes the message; past this many of the best, more would only cost time. */
export const MOST_HOSTS = 50
/** Addresses of one host, per family. */
export const MOST_ADDRESSES = 50

export interface Sources {
  readonly resolver: Resolver
  readonly sts: StsPolicies
  /** Whether so many lookups are under way that none may be in vain; default: never. */
  readonly isCrowded?: () => boolean
}

export interface Questions {
  readonly askDane: boolean
  readonly askSts: boolean
  /** RFC 7672 §2.2.1: `ignore` asks for no TLSA records behind an insecure MX RRset. */
  readonly insecureMx: 'honour' | 'ignore'
  readonly digests: readonly DigestName[]
  /** Ask for the `_mta-sts` record past any cache. */
  readonly recheck: boolean
  /** Bounds the DNS part; what is not known by then has failed. */
  readonly dnsSignal: () => AbortSignal
  /** Bounds MTA-STS discovery. */
  readonly stsSignal: () => AbortSignal
}

/** A host that an operator's route names: RFC 7672 §2.2.2's non-MX destination. */
export interface RouteHost {
  readonly host: string
  readonly port: number
}

const SMTP_PORT = 25

interface Candidate {
  readonly host: string
  readonly preference: number
  readonly port: number
  readonly askTlsa: boolean
}

type NotAsked = Extract<Facts['sts'], { readonly kind: 'not-asked' }>
const NOT_ASKED: NotAsked = { kind: 'not-asked' }

/** @param nextHop A recipient's domain, lower case A-labels. */
export async function gatherForDomain(
  nextHop: string,
  sources: Sources,
  questions: Questions,
): Promise<Facts> {
  const { askSts, recheck } = questions
  const askStsUntil = (signal: AbortSignal) => sources.sts.lookup(nextHop, { signal, recheck })
  const mxLookup = sources.resolver.resolve(nextHop, 'MX', { signal: questions.dnsSignal() })
  const stsLookup = askSts ? stsBesideMx(mxLookup, sources, questions, askStsUntil) : NOT_ASKED
  const outcome = await mxLookup
  const mx = readMx(outcome)
  const hosts = await Promise.all(
    candidates(nextHop, mx, questions).map((candidate) => hostFacts(candidate, sources, questions)),
  )
  const aliases = outcome.kind === 'failed' ? [] : outcome.aliases
  return {
    nextHop,
    nextHopExpanded: aliases.at(-1) ?? nextHop,
    mx,
    hosts,
    sts: await stsBeside(mx, stsLookup, askStsUntil, questions),
  }
}

/** The policy domain of routed mail is the relay's name, never the recipient's (RFC 8461 §3.4). */
export async function gatherForRoute(
  route: RouteHost,
  sources: Sources,
  questions: Questions,
): Promise<Facts> {
  const [sts, host] = await Promise.all([
    questions.askSts
      ? sources.sts.lookup(route.host, { signal: questions.stsSignal() })
      : ({ kind: 'not-asked' } as const),
    hostFacts({ ...route, preference: 0, askTlsa: questions.askDane }, sources, questions),
  ])
  return {
    nextHop: route.host,
    nextHopExpanded: route.host,
    mx: { kind: 'route' },
    hosts: [host],
    sts,
  }
}

function readMx(outcome: Outcome<'MX'>): MxFacts {
  switch (outcome.kind) {
    case 'failed':
      return { kind: 'failed', failure: outcome }
    case 'nxdomain':
      return { kind: 'nxdomain', security: outcome.security }
    case 'nodata':
      return { kind: 'implicit', security: outcome.security }
    case 'answer': {
      const records = outcome.records.filter(({ exchange }) => exchange !== '')
      if (records.length === 0) return { kind: 'null-mx', security: outcome.security }
      return { kind: 'mx', security: outcome.security, records }
    }
  }
}

/**
 * Begins at once. In a crowd only behind MX records that could be had: resolvers take a bounded number of questions at a time, and
 * a domain whose name servers are dead would hold two of those places for as long as they try, where plain Haraka has it hold one.
 */
async function stsBesideMx(
  mxLookup: Promise<Outcome<'MX'>>,
  { isCrowded = () => false }: Sources,
  { stsSignal }: Questions,
  ask: (signal: AbortSignal) => Promise<StsLookup>,
): Promise<Facts['sts']> {
  const signal = stsSignal()
  if (isCrowded() && readMx(await mxLookup).kind === 'failed') return NOT_ASKED
  return ask(signal)
}

/** What MTA-STS says counts where there are hosts, and where anybody may have forged that there are none. */
async function stsBeside(
  mx: MxFacts,
  lookup: Promise<Facts['sts']> | NotAsked,
  ask: (signal: AbortSignal) => Promise<StsLookup>,
  questions: Questions,
): Promise<Facts['sts']> {
  switch (mx.kind) {
    case 'mx':
    case 'implicit':
      return lookup
    case 'null-mx':
    case 'nxdomain':
      // The same look once more, to be waited for no longer.
      return mx.security === 'secure' || !questions.askSts
        ? { kind: 'not-asked' }
        : ask(stsPatience(mx, questions))
    case 'route':
    case 'failed':
      return { kind: 'not-asked' }
  }
}

/**
 * How long MTA-STS is waited for. Beside a denial only a policy that is known already counts: a policy host that does not answer
 * keeps no mail to a domain that is gone from going back.
 */
export function stsPatience(mx: MxFacts, { dnsSignal, stsSignal }: Questions): AbortSignal {
  return mx.kind === 'null-mx' || mx.kind === 'nxdomain' ? dnsSignal() : stsSignal()
}

function candidates(nextHop: string, mx: MxFacts, questions: Questions): readonly Candidate[] {
  switch (mx.kind) {
    case 'mx': {
      const askTlsa = questions.askDane && mayAskBehind(mx.security, questions)
      return bestOnePerName(mx.records).map(({ exchange, preference }) => ({
        host: exchange,
        preference,
        port: SMTP_PORT,
        askTlsa,
      }))
    }
    case 'implicit':
      return [
        {
          host: nextHop,
          preference: 0,
          port: SMTP_PORT,
          askTlsa: questions.askDane && mayAskBehind(mx.security, questions),
        },
      ]
    case 'route':
    case 'null-mx':
    case 'nxdomain':
    case 'failed':
      return []
  }
}

function mayAskBehind(security: 'secure' | 'insecure', questions: Questions): boolean {
  return security === 'secure' || questions.insecureMx === 'honour'
}

function bestOnePerName(records: readonly MxRecord[]): readonly MxRecord[] {
  const byName = new Map<string, MxRecord>()
  for (const record of [...records].sort((a, b) => a.preference - b.preference)) {
    if (!byName.has(record.exchange)) byName.set(record.exchange, record)
  }
  return [...byName.values()].slice(0, MOST_HOSTS)
}

async function hostFacts(
  candidate: Candidate,
  sources: Sources,
  questions: Questions,
): Promise<HostFacts> {
  const { host, preference, port } = candidate
  const common = { host, preference, port }
  if (isIP(host) !== 0) {
    return {
      ...common,
      addresses: { kind: 'resolved', list: [host] },
      tlsa: { kind: 'not-asked' },
    }
  }
  const { resolver } = sources
  const options = { signal: questions.dnsSignal() }
  const [aaaa, a] = await Promise.all([
    resolver.resolve(host, 'AAAA', options),
    resolver.resolve(host, 'A', options),
  ])
  const addresses = readAddresses(a, aaaa)
  if (addresses.kind !== 'resolved') {
    return { ...common, addresses, tlsa: { kind: 'not-asked' } }
  }
  const tlsa = candidate.askTlsa
    ? await discoverTlsa({
        host,
        port,
        a,
        aaaa,
        resolver,
        digests: questions.digests,
        signal: questions.dnsSignal(),
      })
    : ({ kind: 'not-asked' } as const)
  return { ...common, addresses, tlsa }
}

/** One family that answers is enough (DNS-25); none, with a failure in either, is a failure and no "none" (DNS-12). */
function readAddresses(a: Outcome<'A'>, aaaa: Outcome<'AAAA'>): HostFacts['addresses'] {
  const list = [
    ...(aaaa.kind === 'answer' ? aaaa.records.slice(0, MOST_ADDRESSES) : []),
    ...(a.kind === 'answer' ? a.records.slice(0, MOST_ADDRESSES) : []),
  ]
  if (list.length > 0) return { kind: 'resolved', list }
  if (a.kind === 'failed') return { kind: 'failed', failure: a }
  if (aaaa.kind === 'failed') return { kind: 'failed', failure: aaaa }
  return { kind: 'none', security: bothSecure(a, aaaa) ? 'secure' : 'insecure' }
}

function bothSecure(...outcomes: readonly Outcome<'A' | 'AAAA'>[]): boolean {
  return outcomes.every((outcome) => outcome.kind !== 'failed' && outcome.security === 'secure')
}
