/**
 * From a leaf to a trust anchor that the caller names, over whatever certificates a peer sent (RFC 5280 §6.1).
 *
 * Promises: the certificates may come in any order, twice, or have nothing to do with the leaf; presence proves nothing, only
 * a signature does. A path is accepted when each certificate was signed by the next, all are within their validity, each
 * issuer is a CA that may sign, and path lengths, name constraints, key usages and key purposes hold, up to and including
 * the anchor. The leaf is never its own anchor. No local CA store plays a part.
 * Refuses: critical extensions that are not understood, weak keys and digests, work beyond the limits below. Never throws. Pure.
 */
import type { KeyObject, X509Certificate } from 'node:crypto'
import { KEY_USAGE, SERVER_AUTH, type Profile } from './certificate'
import { Effort } from './effort'
import { NameChecks } from './name-constraints'
import { Certified, SignatureChecks } from './signatures'
import { hasStrongSignature } from './strength'

/** Issuers considered, and certificates of a path. Real chains have 2 to 5. */
export const MOST_ISSUERS = 32
const LONGEST_PATH = 10
/** Paths begun in one search. */
const MOST_STEPS = 128
/**
 * Microseconds for one search, as x509/key.ts estimates them: ten to twenty checks with the slowest keys that are in use, a
 * hundred with common ones. Honest chains need two to four, and one more for each bare key. With the keys taken out of 32
 * certificates, which nobody pays for, the worst of searches was measured to take 25 ms: half of what may hold others up.
 */
export const MOST_EFFORT = 20_000

export interface PathQuery {
  readonly leaf: X509Certificate
  /** Where issuers may be found, the preferred ones first; at most the first 32 distinct ones are considered. */
  readonly issuers: readonly X509Certificate[]
  /** Whether this issuer certificate is a trust anchor. */
  readonly isAnchor: (issuer: X509Certificate) => boolean
  /** Anchors that are keys without certificate: they may have signed the topmost certificate of a path. */
  readonly anchorKeys: readonly KeyObject[]
  readonly now: Date
  /** Left out: a purse of its own. */
  readonly effort?: Effort
}

/** `too-costly`: the search was given up before it had come to an end. */
export type PathFlaw = 'expired' | 'not-yet-valid' | 'invalid' | 'too-costly'

export type PathResult =
  | {
      readonly ok: true
      /** Leaf first; an anchor certificate is the last of them. */
      readonly path: readonly X509Certificate[]
      /** The bare key that signed the last certificate, where that is the anchor. */
      readonly anchorKey?: KeyObject
    }
  /** A way to an anchor exists, but it does not hold. */
  | { readonly ok: false; readonly reason: PathFlaw; readonly detail: string }
  | { readonly ok: false; readonly reason: 'not-anchored' }

interface Flaw {
  readonly reason: PathFlaw
  readonly detail: string
}

const TOO_COSTLY: Flaw = {
  reason: 'too-costly',
  detail:
    'the certificates and keys are so many or so large that checking all of them would take too long',
}

/** Searches and validates; the first path that holds wins. */
export function findPath(query: PathQuery): PathResult {
  const effort = query.effort ?? new Effort(MOST_EFFORT)
  const leaf = new Certified(query.leaf)
  const issuers = distinctIssuers(query)
  const signatures = new SignatureChecks(effort)
  const names = new NameChecks(effort)
  let steps = 0
  let flaw: Flaw | undefined

  const extend = (path: readonly Certified[]): PathResult | undefined => {
    const top = path.at(-1)
    if (top === undefined || ++steps > MOST_STEPS) return undefined
    const anchored = path.length > 1 && query.isAnchor(top.certificate)
    const anchorKey = anchored
      ? undefined
      : query.anchorKeys.find((key) => signatures.signedBy(top, key))
    if (anchored || anchorKey !== undefined) {
      const found = path.every((certified) => certified.pay(effort))
        ? findFlaw(path, anchored, query.now, names)
        : TOO_COSTLY
      const certificates = path.map(({ certificate }) => certificate)
      if (found === undefined) {
        return anchorKey === undefined
          ? { ok: true, path: certificates }
          : { ok: true, path: certificates, anchorKey }
      }
      // What is wrong with this path is wrong with every longer one.
      flaw ??= found
      return undefined
    }
    if (path.length === LONGEST_PATH || signatures.issued(top, top)) return undefined
    for (const issuer of issuers) {
      if (path.includes(issuer) || !signatures.issued(top, issuer)) continue
      const result = extend([...path, issuer])
      if (result !== undefined) return result
    }
    return undefined
  }

  const result = extend([leaf])
  if (result !== undefined) return result
  flaw ??= whyGivenUp(signatures, effort)
  return flaw === undefined ? { ok: false, reason: 'not-anchored' } : { ok: false, ...flaw }
}

/** What was left untried, where no path was found. */
function whyGivenUp({ unused }: SignatureChecks, effort: Effort): Flaw | undefined {
  if (unused !== undefined)
    return {
      reason: 'invalid',
      detail: `${shownSubject(unused.issuer.certificate)} has ${unused.why}`,
    }
  return effort.exhausted ? TOO_COSTLY : undefined
}

function distinctIssuers({ leaf, issuers }: PathQuery): Certified[] {
  const distinct: X509Certificate[] = []
  for (const issuer of issuers) {
    if (distinct.length === MOST_ISSUERS) break
    if (![leaf, ...distinct].some(({ raw }) => raw.equals(issuer.raw))) distinct.push(issuer)
  }
  return distinct.map((certificate) => new Certified(certificate))
}

/** @param anchored whether the last certificate is the anchor; else a bare key is, and signed it */
function findFlaw(
  path: readonly Certified[],
  anchored: boolean,
  now: Date,
  names: NameChecks,
): Flaw | undefined {
  let intermediates = 0
  for (const [depth, certified] of path.entries()) {
    const { certificate, profile } = certified
    const isAnchor = anchored && depth === path.length - 1
    const invalid = (why: string): Flaw => ({
      reason: 'invalid',
      detail: `${shownSubject(certificate)} ${why}`,
    })
    if (profile === undefined) return invalid('is malformed')
    const wrong =
      wrongAnywhere(certified, profile) ??
      (depth === 0 ? wrongLeaf(profile) : wrongIssuer(profile, isAnchor, intermediates)) ??
      (!isAnchor && !hasStrongSignature(profile)
        ? 'is signed over a broken digest'
        : wrongName(profile, depth, path, names))
    if (wrong !== undefined) return invalid(wrong)
    const time = isAnchor && !isRoot(certificate) ? undefined : wrongTime(certificate, profile, now)
    if (time !== undefined) return time
    if (depth > 0 && !profile.subject.equals(profile.issuer)) intermediates++
  }
  return undefined
}

/**
 * An anchor is a name and a key (RFC 5280 §6.1.1 (d)), and the certificate that carries them may be an old one, signed by another CA
 * for a time that is over. OpenSSL looks at the dates of roots, which say it of themselves, and at no other anchor's.
 */
function isRoot(certificate: X509Certificate): boolean {
  try {
    return certificate.checkIssued(certificate)
  } catch {
    return false
  }
}

function wrongAnywhere(certified: Certified, profile: Profile): string | undefined {
  if (profile.unknownCritical.length > 0) return 'has a critical extension that is not understood'
  if (profile.extendedKeyUsage?.includes(SERVER_AUTH) === false) return 'is not for TLS servers'
  return certified.hasStrongKey ? undefined : 'has a weak or unreadable key'
}

function wrongLeaf({ keyUsage }: Profile): string | undefined {
  const { digitalSignature, keyEncipherment, keyAgreement } = KEY_USAGE
  return keyUsage === undefined ||
    (keyUsage & (digitalSignature | keyEncipherment | keyAgreement)) !== 0
    ? undefined
    : 'has a key that is not for TLS'
}

/** @param intermediates certificates between the leaf and this one that are not self-issued */
function wrongIssuer(
  { version, basicConstraints, keyUsage, issuer, subject }: Profile,
  isAnchor: boolean,
  intermediates: number,
): string | undefined {
  // A root of version 1 cannot say that it is a CA; being chosen as the anchor says it instead.
  const oldRoot = isAnchor && version === 1 && issuer.equals(subject)
  if (basicConstraints?.ca !== true && !oldRoot) return 'is not a CA'
  if (keyUsage !== undefined && (keyUsage & KEY_USAGE.keyCertSign) === 0)
    return 'may not sign certificates'
  const { pathLength } = basicConstraints ?? {}
  return pathLength !== undefined && intermediates > pathLength
    ? `allows ${pathLength} CA certificates below it, and there are ${intermediates}`
    : undefined
}

/** Names are judged against every issuer above; a self-issued issuer only passes its own name on (RFC 5280 §6.1.3). */
function wrongName(
  profile: Profile,
  depth: number,
  path: readonly Certified[],
  names: NameChecks,
): string | undefined {
  if (depth > 0 && profile.subject.equals(profile.issuer)) return undefined
  for (const issuer of path.slice(depth + 1)) {
    const constraints = issuer.profile?.nameConstraints
    const violation = constraints && names.violation(profile, constraints, depth === 0)
    if (violation !== undefined) return `has ${violation}`
  }
  return undefined
}

function wrongTime(certificate: X509Certificate, profile: Profile, now: Date): Flaw | undefined {
  const { notBefore, notAfter } = profile
  const date = (time: number) => new Date(time).toISOString().replace('.000', '')
  if (now.getTime() < notBefore)
    return {
      reason: 'not-yet-valid',
      detail: `${shownSubject(certificate)} is valid from ${date(notBefore)}`,
    }
  // Whole seconds: a certificate is valid through the second that notAfter names.
  if (now.getTime() >= notAfter + 1000)
    return {
      reason: 'expired',
      detail: `${shownSubject(certificate)} expired ${date(notAfter)}`,
    }
  return undefined
}

const MOST_SHOWN = 120

/** A certificate's subject for people: one line, bounded, nothing but printable ASCII. */
export function shownSubject(certificate: X509Certificate): string {
  // Node types it as a string, and gives undefined for an empty name.
  const subject: string | undefined = certificate.subject
  const line = (subject ?? '').replace(/\n/g, ', ').replace(/[^\x20-\x7e]/g, '?')
  return `certificate "${line.length > MOST_SHOWN ? `${line.slice(0, MOST_SHOWN)}…` : line}"`
}
