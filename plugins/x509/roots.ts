/**
 * A chain against roots that its session did not know: for sessions that somebody else held, with other roots. Gives what
 * OpenSSL would have said, in its words, names left aside. Never throws; what cannot be read is not trusted. Pure.
 */
import { X509Certificate } from 'node:crypto'
import { findPath } from './chain'

export type RootsVerdict = { readonly ok: true } | { readonly ok: false; readonly code: string }

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

const CODES = {
  expired: 'CERT_HAS_EXPIRED',
  'not-yet-valid': 'CERT_NOT_YET_VALID',
  invalid: 'INVALID_CA',
  'too-costly': 'CERT_CHAIN_TOO_COSTLY',
} as const

/** Certificates of a path that is only named. */
const LONGEST = 10

let last: { readonly pem: string; readonly roots: readonly X509Certificate[] } | undefined

/**
 * The certificates of a PEM file; a part that cannot be read is left out. The last file is remembered: reading a bundle of
 * them takes tens of milliseconds, and each session asks.
 */
export function readRoots(pem: string): readonly X509Certificate[] {
  if (last?.pem !== pem) last = { pem, roots: (pem.match(PEM) ?? []).flatMap(readRoot) }
  return last.roots
}

function readRoot(pem: string): readonly X509Certificate[] {
  try {
    return [new X509Certificate(pem)]
  } catch {
    return []
  }
}

/** @param chain as the peer sent it, leaf first */
export function againstRoots(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  now: Date,
): RootsVerdict {
  const [leaf, ...others] = chain
  if (leaf === undefined) return { ok: false, code: 'UNABLE_TO_GET_ISSUER_CERT' }
  // Of a bundle of many roots only those that may have signed something here.
  const near = roots.filter((root) => chain.some((certificate) => mayBeIssuedBy(certificate, root)))
  const found = findPath({
    leaf,
    issuers: [...near, ...others],
    // OpenSSL takes only a root for the end of a path.
    isAnchor: (issuer) =>
      mayBeIssuedBy(issuer, issuer) && near.some(({ raw }) => raw.equals(issuer.raw)),
    anchorKeys: [],
    now,
  })
  if (found.ok) return { ok: true }
  const code = found.reason === 'not-anchored' ? whyUntrusted(chain, now) : CODES[found.reason]
  return { ok: false, code }
}

/**
 * OpenSSL goes on after it has found no root, and its last word counts: from the top of what it could build down to the leaf, a date
 * that is over or has not come.
 */
function whyUntrusted(chain: readonly X509Certificate[], now: Date): string {
  const path = chain.slice(0, 1)
  let top = path[0]
  while (top !== undefined && !mayBeIssuedBy(top, top) && path.length < LONGEST) {
    const below = top
    top = chain.find((issuer) => !path.includes(issuer) && mayBeIssuedBy(below, issuer))
    if (top !== undefined) path.push(top)
  }
  const dated = path.map((certificate) => whyOutOfDate(certificate, now)).find(Boolean)
  if (dated !== undefined) return dated
  if (top !== undefined && mayBeIssuedBy(top, top))
    return path.length === 1 ? 'DEPTH_ZERO_SELF_SIGNED_CERT' : 'SELF_SIGNED_CERT_IN_CHAIN'
  return path.length === 1 ? 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' : 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'
}

function whyOutOfDate({ validFrom, validTo }: X509Certificate, now: Date): string | undefined {
  if (now.getTime() < Date.parse(validFrom)) return CODES['not-yet-valid']
  return now.getTime() >= Date.parse(validTo) + 1000 ? CODES.expired : undefined
}

function mayBeIssuedBy(certificate: X509Certificate, root: X509Certificate): boolean {
  try {
    return certificate.checkIssued(root)
  } catch {
    return false
  }
}
