/**
 * Are keys and signatures of a chain strong enough to prove anything? At least 112 bits, which is security level 2 of OpenSSL
 * and what it ships with: RSA from 2048 bits, elliptic curves from 224, no MD5, no SHA-1.
 */
import type { X509Certificate } from 'node:crypto'
import { readPublicKeyInfo, type Profile } from './certificate'
import { readElement, readElements, readSequence, TAG } from './der'

const LEAST_MODULUS_BITS = 2048
const LEAST_CURVE_BITS = 224
/** Below this, a patient attacker has the private key. */
const LEAST_BELIEVABLE_MODULUS_BITS = 1024

/** Keys that are no RSA keys: id-ecPublicKey, Ed25519, Ed448. */
const NOT_RSA: ReadonlySet<string> = new Set(['2a8648ce3d0201', '2b6570', '2b6571'])
const RSASSA_PSS = '2a864886f70d01010a'
const SHA1 = '2b0e03021a'
/** Signature algorithms over MD2, MD4, MD5 or SHA-1, as hex of their identifiers. */
const BROKEN: ReadonlySet<string> = new Set([
  '2a864886f70d010102',
  '2a864886f70d010103',
  '2a864886f70d010104',
  '2a864886f70d010105',
  '2b0e03021d',
  '2b0e03021b',
  '2a8648ce380403',
  '2a8648ce3d0401',
])

/** True for a key of at least 112 bits of security; false also for one that cannot be read. */
export function hasStrongKey(certificate: X509Certificate): boolean {
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey
    switch (asymmetricKeyType) {
      case 'rsa':
      case 'rsa-pss':
      case 'dsa':
        return (asymmetricKeyDetails?.modulusLength ?? 0) >= LEAST_MODULUS_BITS
      case 'ec': {
        const bits = /\d{3}/.exec(asymmetricKeyDetails?.namedCurve ?? '')
        return bits !== null && Number(bits[0]) >= LEAST_CURVE_BITS
      }
      case 'ed25519':
      case 'ed448':
        return true
      case 'x25519':
      case 'x448':
      case undefined:
        return false
      default:
        return false
    }
  } catch {
    return false
  }
}

/**
 * True for a key that proves nothing about who holds it: RSA below 1024 bits. For DANE-EE, where the records' owner vouches for
 * the very key; TLS libraries refuse such keys, but only where they verify a chain.
 */
export function hasBreakableKey(certificate: X509Certificate): boolean {
  // A key object of an elliptic curve costs as much as half a signature, and has no answer to give.
  if (NOT_RSA.has(keyAlgorithm(certificate) ?? '')) return false
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey
    if (asymmetricKeyType !== 'rsa' && asymmetricKeyType !== 'rsa-pss') return false
    return (asymmetricKeyDetails?.modulusLength ?? 0) < LEAST_BELIEVABLE_MODULUS_BITS
  } catch {
    return true
  }
}

/** The identifier of the key's algorithm, as hex. */
function keyAlgorithm(certificate: X509Certificate): string | undefined {
  const info = readPublicKeyInfo(certificate)
  const [algorithm] = (info && readSequence(info)) ?? []
  const [identifier] = (algorithm && readElements(algorithm.content)) ?? []
  return identifier?.tag === TAG.objectIdentifier ? identifier.content.toString('hex') : undefined
}

/** True unless the certificate was signed over a broken digest. */
export function hasStrongSignature({ signatureAlgorithm }: Profile): boolean {
  const [identifier, parameters] = readSequence(signatureAlgorithm) ?? []
  if (identifier?.tag !== TAG.objectIdentifier) return false
  const id = identifier.content.toString('hex')
  if (id === RSASSA_PSS) return hasStrongPssDigest(parameters?.whole)
  return !BROKEN.has(id)
}

/** RSASSA-PSS names its digest in the parameter [0]; left out, it is SHA-1 (RFC 4055 §3.1). */
function hasStrongPssDigest(parameters: Buffer | undefined): boolean {
  const first = parameters && readSequence(parameters)?.[0]
  if (first?.tag !== 0xa0) return false
  const algorithm = readElement(first.content, TAG.sequence)
  const [digest] = (algorithm && readElements(algorithm.content)) ?? []
  return digest?.tag === TAG.objectIdentifier && digest.content.toString('hex') !== SHA1
}
