/**
 * What a public key is, and what one signature check with it costs, read from its DER without asking OpenSSL: a key that somebody
 * made to burn time must be known before any arithmetic is done with it (an RSA exponent as long as the modulus takes a
 * hundred times as long as a common one, a curve given by its parameters cannot be told from the outside). Pure, never throws.
 */
import { readElement, readElements, readSequence, TAG, type Element } from './der'

export type KeyKind =
  | { readonly kind: 'rsa'; readonly modulusBits: number; readonly exponentBits: number }
  | { readonly kind: 'dsa'; readonly modulusBits: number; readonly orderBits: number }
  /** `curve`: the name's identifier as hex; undefined for a curve given by its parameters. */
  | { readonly kind: 'ec'; readonly curve: string | undefined }
  | { readonly kind: 'ed25519' | 'ed448' }
  | { readonly kind: 'other' }

export type KeyWeight =
  /** `microseconds`: of one signature check, on an ordinary core, rounded up. */
  | { readonly ok: true; readonly microseconds: number }
  /** `why`: what makes it too costly, fit to stand behind "has". */
  | { readonly ok: false; readonly why: string }

const ALGORITHM = {
  rsa: '2a864886f70d010101',
  rsaPss: '2a864886f70d01010a',
  dsa: '2a8648ce380401',
  ec: '2a8648ce3d0201',
  ed25519: '2b6570',
  ed448: '2b6571',
} as const

/** OpenSSL's own limit; Node and Postfix take no more either. */
const LARGEST_MODULUS = 16_384
/** OpenSSL allows no more with moduli beyond 3072 bits. Keys made in earnest have 2, 5 or 17. */
const LARGEST_EXPONENT = 64
/** Of a DSA key (FIPS 186-4 §4.2). */
const LARGEST_DSA_MODULUS = 3072
const LARGEST_DSA_ORDER = 256

/** Microseconds of one check on each named curve that is worth them; all are curves over prime fields. */
const CURVES: ReadonlyMap<string, number> = new Map([
  ['2b81040021', 800], // P-224
  ['2a8648ce3d030107', 100], // P-256
  ['2b81040022', 1000], // P-384
  ['2b81040023', 1900], // P-521
  ['2b8104000a', 900], // secp256k1
  ['2b2403030208010107', 900], // brainpoolP256r1
  ['2b240303020801010b', 1500], // brainpoolP384r1
  ['2b240303020801010d', 2500], // brainpoolP512r1
])

/** @param publicKeyInfo DER of the SubjectPublicKeyInfo (RFC 5280 §4.1.2.7); undefined for one that is not plain DER */
export function readKeyKind(publicKeyInfo: Buffer): KeyKind | undefined {
  const [algorithm, bits, surplus] = readSequence(publicKeyInfo) ?? []
  if (algorithm?.tag !== TAG.sequence || bits?.tag !== TAG.bitString || surplus !== undefined)
    return undefined
  const [identifier, parameters] = readElements(algorithm.content) ?? []
  if (identifier?.tag !== TAG.objectIdentifier) return undefined
  switch (identifier.content.toString('hex')) {
    case ALGORITHM.rsa:
    case ALGORITHM.rsaPss:
      return readRsa(bits)
    case ALGORITHM.dsa:
      return readDsa(parameters)
    case ALGORITHM.ec:
      return {
        kind: 'ec',
        curve:
          parameters?.tag === TAG.objectIdentifier ? parameters.content.toString('hex') : undefined,
      }
    case ALGORITHM.ed25519:
      return { kind: 'ed25519' }
    case ALGORITHM.ed448:
      return { kind: 'ed448' }
    default:
      return { kind: 'other' }
  }
}

function readRsa(bits: Element): KeyKind | undefined {
  const [modulus, exponent] = readSequence(bits.content.subarray(1)) ?? []
  if (modulus?.tag !== TAG.integer || exponent?.tag !== TAG.integer) return undefined
  return { kind: 'rsa', modulusBits: bitsOf(modulus), exponentBits: bitsOf(exponent) }
}

/** A key without parameters inherits its issuer's, which no certificate has done for decades. */
function readDsa(parameters: Element | undefined): KeyKind | undefined {
  const [modulus, order] =
    (parameters &&
      readElement(parameters.whole, TAG.sequence) &&
      readElements(parameters.content)) ??
    []
  if (modulus?.tag !== TAG.integer || order?.tag !== TAG.integer) return undefined
  return { kind: 'dsa', modulusBits: bitsOf(modulus), orderBits: bitsOf(order) }
}

/** The length of a number that is not negative; of a negative one, of its octets, which OpenSSL takes for no key. */
function bitsOf({ content }: Element): number {
  const start = content.findIndex((octet) => octet !== 0)
  if (start === -1) return 0
  return (content.length - start) * 8 - (Math.clz32(content.readUInt8(start)) - 24)
}

/** What one check with this key costs, or why none is to be made: of a key that cannot be read here, OpenSSL may make anything. */
export function weighKey(key: KeyKind | undefined): KeyWeight {
  if (key === undefined) return { ok: false, why: 'a key that is not plain DER' }
  switch (key.kind) {
    case 'rsa':
      return weighRsa(key.modulusBits, key.exponentBits)
    case 'dsa':
      return key.modulusBits > LARGEST_DSA_MODULUS || key.orderBits > LARGEST_DSA_ORDER
        ? { ok: false, why: `a DSA key of ${key.modulusBits} and ${key.orderBits} bits` }
        : { ok: true, microseconds: 2500 }
    case 'ec': {
      if (key.curve === undefined)
        return { ok: false, why: 'an elliptic curve given by its parameters, not by its name' }
      const microseconds = CURVES.get(key.curve)
      return microseconds === undefined
        ? { ok: false, why: 'an elliptic curve that is not supported' }
        : { ok: true, microseconds }
    }
    case 'ed25519':
      return { ok: true, microseconds: 250 }
    case 'ed448':
      return { ok: true, microseconds: 900 }
    case 'other':
      return { ok: false, why: 'a key of an algorithm that is not supported' }
  }
}

function weighRsa(modulusBits: number, exponentBits: number): KeyWeight {
  if (modulusBits > LARGEST_MODULUS)
    return { ok: false, why: `an RSA modulus of ${modulusBits} bits` }
  if (exponentBits > LARGEST_EXPONENT)
    return { ok: false, why: `an RSA exponent of ${exponentBits} bits` }
  // A multiplication takes the square of the modulus, and each bit of the exponent one or two of them.
  const kilobits = modulusBits / 1024
  return { ok: true, microseconds: Math.ceil(30 + kilobits * kilobits * exponentBits * 0.35) }
}
