/**
 * `policies`: the MTA-STS policies in the store that a running Haraka uses, through the same code. What is refreshed or purged
 * here, its workers notice at once.
 */
import type { KnownPolicy, StsLookup } from '../mta-sts/types'
import type { ManagedStsPolicies } from '../mta-sts/policies'
import type { Command } from './arguments'
import { reportPolicy } from './report'
import type { ReportedPolicy } from './report'
import { fromNow, printable, utc, wrap } from './words'

export interface PolicyEntry extends ReportedPolicy {
  readonly domain: string
  /** The policy's lines, as served. */
  readonly lines: readonly string[]
}

export interface PoliciesReport {
  readonly version: 1
  readonly command: 'policies list' | 'policies show' | 'policies refresh' | 'policies purge'
  readonly policies: readonly PolicyEntry[]
  /** What went wrong; null where nothing did. */
  readonly problem: string | null
  readonly exitCode: number
}

type PoliciesCommand = Extract<Command, { kind: 'list' | 'show' | 'refresh' | 'purge' }>

export async function policies(
  command: PoliciesCommand,
  sts: Pick<ManagedStsPolicies, 'list' | 'show' | 'refresh' | 'purge'>,
  refreshSeconds: number,
): Promise<PoliciesReport> {
  const entry = (lookup: Pick<Extract<StsLookup, { kind: 'policy' }>, 'known' | 'source'>) => ({
    domain: lookup.known.domain,
    ...reportPolicy(lookup, refreshSeconds),
    lines: lookup.known.policy.lines.map((line) => printable(line)),
  })
  const cached = (known: Parameters<typeof entry>[0]['known']) => entry({ known, source: 'cache' })
  switch (command.kind) {
    case 'list': {
      const known = [...(await sts.list())].sort((a, b) => (a.domain < b.domain ? -1 : 1))
      return report('policies list', known.map(cached), null)
    }
    case 'show': {
      const known = await read(sts, command.domain)
      if (typeof known === 'string') return report('policies show', [], known)
      return known
        ? report('policies show', [cached(known)], null)
        : report('policies show', [], `no policy of ${printable(command.domain)} is kept`)
    }
    case 'refresh': {
      const lookup = await sts.refresh(command.domain)
      const { problem } = 'problem' in lookup ? lookup : {}
      const none = `${printable(command.domain)} publishes no policy`
      return report(
        'policies refresh',
        lookup.kind === 'policy' ? [entry(lookup)] : [],
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
        known ? [cached(known)] : [],
        known && purged ? null : `${printable(command.domain)}: ${problem}`,
      )
    }
  }
}

/** @returns what went wrong where the store cannot be read */
function read(
  sts: Pick<ManagedStsPolicies, 'show'>,
  domain: string,
): Promise<KnownPolicy | string | undefined> {
  return sts
    .show(domain)
    .catch((err: unknown) => printable(err instanceof Error ? err.message : String(err)))
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
  const cells = entries.map(({ domain, mode, expiresAt, id }) => {
    return [mode.padEnd(9), fromNow(Date.parse(expiresAt), now).padEnd(14), domain, id] as const
  })
  return [
    'mode     expires       domain (id)',
    ...cells.flatMap(([mode, expires, domain, id]) =>
      wrap(`${mode}${expires}`, `${domain} (${id})`),
    ),
  ]
}

function entryText(entry: PolicyEntry, now: number): readonly string[] {
  const when = (at: string) => `${utc(Date.parse(at))} (${fromNow(Date.parse(at), now)})`
  return [
    ...wrap('', `${entry.domain} (id ${entry.id})`),
    `  fetched  ${when(entry.fetchedAt)}`,
    `  expires  ${when(entry.expiresAt)}`,
    ...(entry.nextRefresh === null ? [] : [`  refresh  ${when(entry.nextRefresh)}`]),
    '',
    ...entry.lines.flatMap((line) => wrap('  ', line)),
  ]
}
