/**
 * The lookups of a plan, for people to read. The plan has asked already, and the resolver still holds the answers: here they
 * are only read out, with what the facts leave away (TTL, aliases, security of each). What failed is taken from the facts
 * and not asked again. Decides nothing; never rejects.
 */
import { isIP } from 'node:net'
import { judgeRecords, presentRecord } from '../dane/tlsa'
import type { DigestName } from '../dane/types'
import type { Facts, HostFacts } from '../delivery/types'
import type {
  Failure,
  Outcome,
  RecordData,
  RecordType,
  Resolver,
  Security,
} from '../dnssec-stub/types'
import { parseRecords } from '../mta-sts/record'
import type { StsLookup } from '../mta-sts/types'
import { printable } from './words'

export interface LookupRecord {
  /** In the form of a master file. */
  readonly text: string
  /** For TLSA and `_mta-sts` TXT: whether the record counts; null for all others. */
  readonly usable: boolean | null
  /** Why it does not count. */
  readonly why: string | null
}

export interface Lookup {
  readonly name: string
  readonly type: RecordType
  readonly result: 'answer' | 'nodata' | 'nxdomain' | 'failed'
  /** Null where the lookup failed. */
  readonly security: Security | null
  /** Seconds; null where the lookup failed. */
  readonly ttl: number | null
  /** Where CNAMEs led, in order, without the name itself. */
  readonly aliases: readonly string[]
  readonly records: readonly LookupRecord[]
  /** What went wrong: cause and detail. */
  readonly failure: string | null
}

interface Reading {
  readonly resolver: Resolver
  readonly digests: readonly DigestName[]
  readonly signal: AbortSignal
}

export async function readLookups(facts: Facts, reading: Reading): Promise<readonly Lookup[]> {
  const hosts = await Promise.all(facts.hosts.map((host) => ofHost(host, reading)))
  return [...(await ofNextHop(facts, reading)), ...hosts.flat()]
}

async function ofNextHop(facts: Facts, reading: Reading): Promise<readonly Lookup[]> {
  const { nextHop, mx, sts } = facts
  const lookups: Lookup[] = []
  if (mx.kind === 'failed') lookups.push(failed(nextHop, 'MX', mx.failure))
  else if (mx.kind !== 'route') {
    lookups.push(await read(nextHop, 'MX', reading, plain(presentMx)))
  }
  const txt = `_mta-sts.${nextHop}`
  if (isTxtFailure(sts)) {
    const { detail } = sts.problem
    lookups.push(failed(txt, 'TXT', { kind: 'failed', cause: 'servfail', detail }))
  } else if (sts.kind !== 'not-asked') {
    lookups.push(await read(txt, 'TXT', reading, presentTxt))
  }
  return lookups
}

function isTxtFailure(
  sts: Facts['sts'],
): sts is Extract<StsLookup, { kind: 'unknown' | 'store-unread' }> {
  if (sts.kind === 'store-unread') return sts.problem.reason === 'sts-txt-lookup-failed'
  return sts.kind === 'unknown'
}

async function ofHost(host: HostFacts, reading: Reading): Promise<readonly Lookup[]> {
  if (isIP(host.host) !== 0) return []
  if (host.addresses.kind === 'failed') {
    return [failed(host.host, 'A', host.addresses.failure)]
  }
  const addresses = await Promise.all([
    read(host.host, 'AAAA', reading, plain(String)),
    read(host.host, 'A', reading, plain(String)),
  ])
  return [...addresses, ...(await ofTlsa(host, addresses, reading))]
}

async function ofTlsa(
  { host, port, tlsa }: HostFacts,
  addresses: readonly Lookup[],
  reading: Reading,
): Promise<readonly Lookup[]> {
  const at = (base: string) => `_${port}._tcp.${base}`
  const ask = (base: string) => read(at(base), 'TLSA', reading, presentTlsa(reading.digests))
  switch (tlsa.kind) {
    case 'not-asked':
      return []
    case 'failed':
      return [failed(tlsa.name, 'TLSA', tlsa.failure)]
    case 'usable':
    case 'unusable':
      return [await ask(tlsa.base)]
    case 'none': {
      if (tlsa.why === 'insecure-address' || tlsa.why === 'no-address') return []
      const expanded = addresses.find(({ security }) => security === 'secure')?.aliases.at(-1)
      return Promise.all([...new Set([expanded ?? host, host])].map(ask))
    }
  }
}

type Present<T extends RecordType> = (
  records: readonly RecordData[T][],
  security: Security,
) => readonly LookupRecord[]

async function read<T extends RecordType>(
  name: string,
  type: T,
  { resolver, signal }: Reading,
  present: Present<T>,
): Promise<Lookup> {
  const outcome: Outcome<T> = await resolver.resolve(name, type, { signal })
  if (outcome.kind === 'failed') return failed(name, type, outcome)
  const { kind, security, ttl, aliases } = outcome
  const records = outcome.kind === 'answer' ? present(outcome.records, security) : []
  return { name, type, result: kind, security, ttl, aliases, records, failure: null }
}

function failed(name: string, type: RecordType, { cause, detail }: Failure): Lookup {
  return {
    name,
    type,
    result: 'failed',
    security: null,
    ttl: null,
    aliases: [],
    records: [],
    failure: printable(`${cause}: ${detail}`),
  }
}

function plain<R>(present: (record: R) => string): (records: readonly R[]) => LookupRecord[] {
  return (records) =>
    records.map((record) => ({ text: printable(present(record)), usable: null, why: null }))
}

function presentMx({ preference, exchange }: RecordData['MX']): string {
  return `${preference} ${exchange === '' ? '.' : exchange}`
}

function presentTxt(records: readonly Buffer[]): readonly LookupRecord[] {
  const verdict = parseRecords(records)
  return records.map((record) => {
    const text = printable(record.toString('latin1'))
    if (!text.startsWith('v=STSv1')) return { text, usable: false, why: 'no MTA-STS record' }
    return verdict.kind === 'record'
      ? { text, usable: true, why: null }
      : { text, usable: false, why: verdict.kind === 'invalid' ? verdict.detail : 'malformed' }
  })
}

function presentTlsa(digests: readonly DigestName[]): Present<'TLSA'> {
  return (records, security) => {
    const { unusable, overruled } = judgeRecords(records, { digests })
    return records.map((record, index) => {
      const text = presentRecord(record)
      if (security === 'insecure') {
        return { text, usable: false, why: 'not secure: it does not count' }
      }
      const why = [...unusable, ...overruled].find((entry) => entry.index === index)?.why
      return { text, usable: why === undefined, why: why ?? null }
    })
  }
}
