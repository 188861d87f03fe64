/**
 * Which TLSA records speak for one host and port, and under which name (RFC 7672 §2.1, §2.2.2, §2.2.3).
 *
 * Promises: TLSA is asked only where the host's address, or the first alias of its name, is secure; only at the expanded name and
 * the original one, never at names between. The first name with secure records is the TLSA base domain, be they usable or
 * not. A failed lookup is final for the host and never "none": else an attacker who drops answers could switch DANE off.
 */
import { canonicalName } from '../dnssec-stub/names'
import type { Answer, Failure, Outcome, Resolver } from '../dnssec-stub/types'
import { normalizeHostName } from '../x509/names'
import { judgeRecords } from './tlsa'
import type { DigestName, TlsaVerdict } from './types'

export interface TlsaQuestion {
  /** MX host, or the destination itself where no MX is used. */
  readonly host: string
  /** The port that will be dialled. */
  readonly port: number
  /** What the address lookups of this host came to. */
  readonly a: Outcome<'A'>
  readonly aaaa: Outcome<'AAAA'>
  readonly resolver: Resolver
  /** The allowed digests, strongest first. */
  readonly digests: readonly DigestName[]
  /** Ends the lookups; the verdict is then `failed`. */
  readonly signal?: AbortSignal
}

/**
 * Looks the TLSA records of a host up, after its addresses. Whether its name is one that a host may bear is not asked: where nothing
 * is secure no TLSA question arises (RFC 7672 §2.2.2), and where something is, the DNS has an answer for any name.
 */
export async function discoverTlsa(question: TlsaQuestion): Promise<TlsaVerdict> {
  const host = canonicalName(question.host)
  if (host === undefined) return failed(question.host, badName(question.host))
  const candidates = await baseDomains(host, question)
  return candidates.kind === 'bases' ? askTlsa(candidates.bases, question) : candidates
}

type Candidates =
  | { readonly kind: 'bases'; readonly bases: readonly string[] }
  | Extract<TlsaVerdict, { kind: 'none' | 'failed' }>

/** The candidates for the TLSA base domain, in order (RFC 7672 §2.2.2). */
async function baseDomains(host: string, question: TlsaQuestion): Promise<Candidates> {
  const { a, aaaa } = question
  const answers = [a, aaaa].filter((outcome) => outcome.kind === 'answer')
  if (answers.length === 0) {
    const failure = [a, aaaa].find((outcome) => outcome.kind === 'failed')
    return failure ? failed(host, failure) : { kind: 'none', why: 'no-address' }
  }
  const secure = answers.find(({ security }) => security === 'secure')
  if (secure !== undefined) return { kind: 'bases', bases: unique([expanded(secure, host), host]) }
  if (answers.every(({ aliases }) => aliases.length === 0))
    return { kind: 'none', why: 'insecure-address' }
  return insecureAlias(host, question)
}

function expanded({ aliases }: Answer<'A'> | Answer<'AAAA'>, host: string): string {
  return aliases.at(-1) ?? host
}

/** A secure alias may lead to an insecure address; then the original name alone can be the base domain (RFC 7672 §2.1.3). */
async function insecureAlias(
  host: string,
  { resolver, signal }: TlsaQuestion,
): Promise<Candidates> {
  const alias = await resolver.resolve(host, 'CNAME', signal && { signal })
  if (alias.kind === 'failed') return failed(host, alias)
  if (alias.security === 'insecure') return { kind: 'none', why: 'insecure-address' }
  return alias.kind === 'answer'
    ? { kind: 'bases', bases: [host] }
    : failed(host, {
        kind: 'failed',
        cause: 'malformed',
        detail: `${host} led through an alias for its address, and is securely no alias now`,
      })
}

async function askTlsa(
  bases: readonly string[],
  { port, resolver, digests, signal }: TlsaQuestion,
): Promise<TlsaVerdict> {
  let why: 'denied' | 'insecure-records' = 'denied'
  for (const base of bases) {
    const name = canonicalName(`_${port}._tcp.${base}`)
    // The name of a host may be so long that no record can be below it.
    if (name === undefined) continue
    const outcome = await resolver.resolve(name, 'TLSA', signal && { signal })
    if (outcome.kind === 'failed') return failed(name, outcome)
    if (outcome.kind !== 'answer') continue
    if (outcome.security === 'secure') return judged(base, outcome, digests)
    why = 'insecure-records'
  }
  return { kind: 'none', why }
}

function judged(
  base: string,
  { records }: Answer<'TLSA'>,
  digests: readonly DigestName[],
): TlsaVerdict {
  const { usable, presentation, unusable } = judgeRecords(records, { digests })
  return usable.length > 0
    ? { kind: 'usable', base, records: usable, presentation }
    : { kind: 'unusable', base, presentation, why: unusable.map(({ why }) => why) }
}

function failed(name: string, failure: Failure): TlsaVerdict & { kind: 'failed' } {
  return { kind: 'failed', name, failure }
}

function badName(host: string): Failure {
  const shown = host.slice(0, 255).replace(/[^\x20-\x7e]/g, '?')
  return { kind: 'failed', cause: 'bad-name', detail: `${shown} is no domain name` }
}

export interface ReferenceQuestion {
  /** TLSA base domain. */
  readonly base: string
  /** Next-hop domain, as asked for. */
  readonly nextHop: string
  /** Where CNAMEs at the next-hop domain led; left out or the domain itself where it is no alias. */
  readonly nextHopExpanded?: string
  /** Whether the host came from an MX record. */
  readonly mxUsed: boolean
  /** Whether the MX RRset, with every alias on the way to it, is secure. */
  readonly mxSecure: boolean
}

/**
 * The names of which a certificate must bear one under DANE-TA (RFC 7672 §3.2.2): the TLSA base domain first; then, because a
 * secure MX RRset vouches for it, the next-hop domain as given and as expanded. Without MX the given name counts where the base
 * is its expansion. An insecure MX RRset proves nothing about the next-hop domain: there the base stands alone.
 */
export function referenceIdentifiers(question: ReferenceQuestion): string[] {
  const { base, nextHop, nextHopExpanded = nextHop, mxUsed, mxSecure } = question
  if (!mxUsed) return unique([base, nextHop])
  return mxSecure ? unique([base, nextHop, nextHopExpanded]) : unique([base])
}

function unique(names: readonly string[]): string[] {
  return [...new Set([...new Set(names)].map((name) => normalizeHostName(name) ?? name))]
}
