/**
 * `policies`: the MTA-STS policies in the store that a running Haraka uses, through the same code. What is refreshed or purged
 * here, its workers notice at once.
 */
import type { KnownPolicy, StsLookup } from '../mta-sts/types'
import type { PolicyUpkeep } from '../mta-sts/admin'
import type { ManagedStsPolicies } from '../mta-sts/policies'
import type { Command } from './arguments'
import { reportPolicy } from './report'
import type { ReportedPolicy } from './report'
import { fromNow, printable, utc, wrap } from './words'
import type { ReasonCode } from '../reasons/codes'
import { errorText } from '../x509/trouble'

export interface PolicyEntry extends ReportedPolicy {
  readonly domain: string
  /** The policy's lines, as served. */
  readonly lines: readonly string[]
  /** Why the last refresh failed; null where it did not. */
  readonly refreshProblem: { readonly reason: ReasonCode; readonly detail: string } | null
  /** The last day on which mail went there, about; null where the store has no mark. */
  readonly lastUsed: string | null
  /** Half a year without mail: not refreshed any more. */
  readonly givenUp: boolean
}

export interface PoliciesReport {
  readonly version: 1
  readonly command: 'policies list' | 'policies show' | 'policies refresh' | 'policies purge'
  readonly policies: readonly PolicyEntry[]
  /** What went wrong; null where nothing did. */
  readonly problem: string | null
  readonly exitCode: number
}

/** Policies whose upkeep is read at the same time. */
const AT_ONCE = 50
const DAY = 86_400_000

type PoliciesCommand = Extract<Command, { kind: 'list' | 'show' | 'refresh' | 'purge' }>

export async function policies(
  command: PoliciesCommand,
  sts: Pick<ManagedStsPolicies, 'list' | 'show' | 'upkeep' | 'refresh' | 'purge'>,
  refreshSeconds: number,
): Promise<PoliciesReport> {
  const entry = async (
    lookup: Pick<Extract<StsLookup, { kind: 'policy' }>, 'known' | 'source'>,
  ): Promise<PolicyEntry> => ({
    domain: lookup.known.domain,
    ...reportPolicy(lookup, refreshSeconds),
    lines: lookup.known.policy.lines.map((line) => printable(line)),
    ...reportUpkeep(await sts.upkeep(lookup.known.domain)),
  })
  const cached = (known: KnownPolicy) => entry({ known, source: 'cache' })
  switch (command.kind) {
    case 'list': {
      const known = [...(await sts.list())].sort((a, b) => (a.domain < b.domain ? -1 : 1))
      const entries: PolicyEntry[] = []
      // A few at a time: there may be millions.
      for (let first = 0; first < known.length; first += AT_ONCE) {
        entries.push(...(await Promise.all(known.slice(first, first + AT_ONCE).map(cached))))
      }
      return report('policies list', entries, null)
    }
    case 'show': {
      const known = await read(sts, command.domain)
      if (typeof known === 'string') return report('policies show', [], known)
      return known
        ? report('policies show', [await cached(known)], null)
        : report('policies show', [], `no policy of ${printable(command.domain)} is kept`)
    }
    case 'refresh': {
      const lookup = await sts.refresh(command.domain)
      const { problem } = 'problem' in lookup ? lookup : {}
      const none = `${printable(command.domain)} publishes no policy`
      return report(
        'policies refresh',
        lookup.kind === 'policy' ? [await entry(lookup)] : [],
        problem ? `${problem.reason}: ${problem.detail}` : lookup.kind === 'policy' ? null : none,
      )
    }
    case 'purge': {
      const known = await read(sts, command.domain)
      const purged = await sts.purge(command.domain)
      if (typeof known === 'string') return report('policies purge', [], known)
      const problem = known ? 'the store did not forget it' : 'no policy is kept'
      return report(
        'policies purge',
        known ? [await cached(known)] : [],
        known && purged ? null : `${printable(command.domain)}: ${problem}`,
      )
    }
  }
}

function reportUpkeep({
  problem,
  lastUsed,
  givenUp,
}: PolicyUpkeep): Pick<PolicyEntry, 'refreshProblem' | 'lastUsed' | 'givenUp'> {
  return {
    refreshProblem: problem ? { reason: problem.reason, detail: printable(problem.detail) } : null,
    lastUsed: lastUsed === undefined ? null : new Date(lastUsed * DAY).toISOString().slice(0, 10),
    givenUp,
  }
}

/** @returns what went wrong where the store cannot be read */
function read(
  sts: Pick<ManagedStsPolicies, 'show'>,
  domain: string,
): Promise<KnownPolicy | string | undefined> {
  return sts.show(domain).catch((err: unknown) => printable(errorText(err)))
}

function report(
  command: PoliciesReport['command'],
  entries: readonly PolicyEntry[],
  problem: string | null,
): PoliciesReport {
  return { version: 1, command, policies: entries, problem, exitCode: problem === null ? 0 : 1 }
}

export function policiesText(
  { command, policies: entries, problem }: PoliciesReport,
  now: number,
): readonly string[] {
  return [
    ...(command === 'policies list' ? listText(entries, now) : []),
    ...(command === 'policies purge' && problem === null
      ? entries.map(({ domain }) => `The policy of ${domain} is forgotten.`)
      : []),
    ...(command === 'policies show' || command === 'policies refresh'
      ? entries.flatMap((entry) => entryText(entry, now))
      : []),
    ...(problem === null ? [] : wrap('', `Problem: ${problem}`)),
  ]
}

function listText(entries: readonly PolicyEntry[], now: number): readonly string[] {
  if (entries.length === 0) return ['No policy is kept.']
  return [
    'mode     expires       domain (id)',
    ...entries.flatMap((entry) => {
      const expires = fromNow(Date.parse(entry.expiresAt), now).padEnd(14)
      return [
        ...wrap(`${entry.mode.padEnd(9)}${expires}`, `${entry.domain} (${entry.id})`),
        ...troublesOf(entry).flatMap((trouble) => wrap(' '.repeat(23), trouble)),
      ]
    }),
  ]
}

/** What an operator should know of a policy that still holds. */
function troublesOf({ refreshProblem, lastUsed, givenUp }: PolicyEntry): readonly string[] {
  return [
    ...(refreshProblem
      ? [`the last refresh failed: ${refreshProblem.reason}, ${refreshProblem.detail}`]
      : []),
    ...(givenUp && lastUsed !== null ? [`no mail since ${lastUsed}: not refreshed any more`] : []),
  ]
}

function entryText(entry: PolicyEntry, now: number): readonly string[] {
  const when = (at: string) => `${utc(Date.parse(at))} (${fromNow(Date.parse(at), now)})`
  return [
    ...wrap('', `${entry.domain} (id ${entry.id})`),
    `  fetched  ${when(entry.fetchedAt)}`,
    `  expires  ${when(entry.expiresAt)}`,
    ...(entry.nextRefresh === null ? [] : [`  refresh  ${when(entry.nextRefresh)}`]),
    ...(entry.lastUsed === null ? [] : [`  used     ${entry.lastUsed}`]),
    ...troublesOf(entry).flatMap((trouble) => wrap('  trouble  ', trouble)),
    '',
    ...entry.lines.flatMap((line) => wrap('  ', line)),
  ]
}
