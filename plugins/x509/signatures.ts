/**
 * The certificates of one search for a path, each read once, and the signatures between them, each checked once and only where the
 * key is worth it and the effort allows. Past that nothing holds.
 */
import type { KeyObject, X509Certificate } from 'node:crypto'
import { readProfile, readPublicKeyInfo, type Profile } from './certificate'
import type { Effort } from './effort'
import { readKeyKind, weighKey, type KeyWeight } from './key'
import { hasStrongKey } from './strength'

/** Names and key identifiers of two certificates compared; the certificate handed to OpenSSL and its key taken out of it. */
const MICROSECONDS_A_COMPARISON = 5
const MICROSECONDS_A_CHECK = 50
/** Octets that a microsecond suffices to digest. */
const DIGESTED = 400

/** Octets of a certificate that are read in a microsecond, if they are the worst there are: nothing but tiny names. */
const OCTETS_READ = 4

/** What is read of a certificate, on demand. */
export class Certified {
  readonly certificate: X509Certificate
  #paid = false
  #profile: { readonly is: Profile | undefined } | undefined
  #weight: KeyWeight | undefined
  #strong: boolean | undefined

  constructor(certificate: X509Certificate) {
    this.certificate = certificate
  }

  /** Undefined for a certificate that breaks the rules of certificate.ts. */
  get profile(): Profile | undefined {
    this.#profile ??= { is: readProfile(this.certificate) }
    return this.#profile.is
  }

  /** Takes from the effort what reading the profile may cost; false where there is not enough left. */
  pay(effort: Effort): boolean {
    this.#paid ||= effort.spend(this.certificate.raw.length / OCTETS_READ)
    return this.#paid
  }

  get keyWeight(): KeyWeight {
    const info = readPublicKeyInfo(this.certificate)
    this.#weight ??= weighKey(info && readKeyKind(info))
    return this.#weight
  }

  get hasStrongKey(): boolean {
    this.#strong ??= hasStrongKey(this.certificate)
    return this.#strong
  }
}

export class SignatureChecks {
  readonly #effort: Effort
  readonly #known = new Map<Certified, Map<Certified, boolean>>()
  readonly #weights = new Map<KeyObject, KeyWeight>()
  #unused: { readonly issuer: Certified; readonly why: string } | undefined

  constructor(effort: Effort) {
    this.#effort = effort
  }

  /** The first issuer that may have signed something, but whose key is not worth the check; `why` fits behind "has". */
  get unused(): { readonly issuer: Certified; readonly why: string } | undefined {
    return this.#unused
  }

  /** True when the subject names this issuer and was signed by its key. */
  issued(subject: Certified, issuer: Certified): boolean {
    const row = this.#known.get(subject) ?? new Map<Certified, boolean>()
    this.#known.set(subject, row)
    const answer = row.get(issuer) ?? this.#check(subject, issuer)
    row.set(issuer, answer)
    return answer
  }

  /** True when the subject was signed by this bare key. */
  signedBy(subject: Certified, key: KeyObject): boolean {
    const weight = this.#weights.get(key) ?? weigh(key)
    this.#weights.set(key, weight)
    return weight.ok && this.#verify(subject.certificate, weight.microseconds, () => key)
  }

  #check(subject: Certified, issuer: Certified): boolean {
    if (!this.#effort.spend(MICROSECONDS_A_COMPARISON)) return false
    if (!names(subject.certificate, issuer.certificate)) return false
    const weight = issuer.keyWeight
    if (!weight.ok) {
      this.#unused ??= { issuer, why: weight.why }
      return false
    }
    return this.#verify(
      subject.certificate,
      weight.microseconds,
      () => issuer.certificate.publicKey,
    )
  }

  #verify(subject: X509Certificate, microseconds: number, key: () => KeyObject): boolean {
    const digesting = subject.raw.length / DIGESTED
    if (!this.#effort.spend(MICROSECONDS_A_CHECK + digesting + microseconds)) return false
    try {
      return subject.verify(key())
    } catch {
      return false
    }
  }
}

function names(subject: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return subject.checkIssued(issuer)
  } catch {
    return false
  }
}

function weigh(key: KeyObject): KeyWeight {
  try {
    return weighKey(readKeyKind(key.export({ format: 'der', type: 'spki' })))
  } catch {
    return { ok: false, why: 'a key that cannot be written down' }
  }
}
