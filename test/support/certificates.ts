/**
 * Certificates for tests, of any shape: good chains, and ones that no CA would sign. Written in DER by hand and signed with
 * node:crypto, so that one takes well under a millisecond (EC, Ed25519) and nothing outside the process is needed.
 * Nothing is checked: a certificate comes out as it was asked for.
 */
import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto'
import type { TlsaData } from '../../plugins/dnssec-stub/types'
import type { TlsaRecord } from '../../plugins/dane/types'
import {
  bitString,
  boolean,
  element,
  integer,
  namedBits,
  nul,
  objectIdentifier,
  octetString,
  sequence,
  set,
  tagged,
  time,
  utf8String,
} from './certificates-der'

export type KeyKind = 'ec' | 'ec384' | 'rsa' | 'rsa1024' | 'ed25519'

/** A general name: a string is a dNSName; `bytes` is a dNSName of exactly these octets. */
export type TestName =
  | string
  | { readonly bytes: Uint8Array }
  | { readonly ip: Uint8Array }
  | { readonly email: string }
  | { readonly uri: string }
  | { readonly directory: string }
  | { readonly raw: Uint8Array }

export interface TestExtension {
  readonly oid: string
  readonly critical?: boolean
  /** The DER inside the OCTET STRING. */
  readonly value: Uint8Array
}

export type TestKeyUsage =
  | 'digitalSignature'
  | 'nonRepudiation'
  | 'keyEncipherment'
  | 'dataEncipherment'
  | 'keyAgreement'
  | 'keyCertSign'
  | 'cRLSign'

export interface CertificateRequest {
  /** A common name, or pairs of attribute type and value, as in `[['O', 'Test'], ['CN', 'mx']]`; empty: an empty name. */
  readonly subject?: string | readonly (readonly ['CN' | 'O' | 'OU' | 'C', string])[]
  /** Names of the subjectAltName; left out or empty: no such extension. */
  readonly san?: readonly TestName[]
  /** Left out: self-signed. */
  readonly issuer?: TestCertificate
  /** A kind (a new key is made) or a private key to certify. Default `ec` (P-256). */
  readonly key?: KeyKind | KeyObject
  /** Default: yesterday. */
  readonly notBefore?: Date
  /** Default: in 30 days. */
  readonly notAfter?: Date
  /** true or false writes basicConstraints; undefined leaves the extension out. */
  readonly ca?: boolean
  readonly pathLen?: number
  /** Default: keyCertSign and cRLSign for a CA, else no such extension; false: none. */
  readonly keyUsage?: readonly TestKeyUsage[] | false
  /** Short names or dotted identifiers; left out: no such extension. */
  readonly extKeyUsage?: readonly string[]
  readonly nameConstraints?: {
    readonly permitted?: readonly TestName[]
    readonly excluded?: readonly TestName[]
  }
  /** Appended to the extensions, in this order. */
  readonly extensions?: readonly TestExtension[]
  /** Subject and authority key identifiers; default true. */
  readonly keyIdentifiers?: boolean
  /** 3, or 1 for a certificate without extensions; any other number is written into one that is as of version 3. */
  readonly version?: number
  readonly serial?: bigint
  readonly digest?: 'sha1' | 'sha256' | 'sha384' | 'sha512'
  /** RSA signatures as RSASSA-PSS; over SHA-1 with the default parameters, which are none. */
  readonly pss?: boolean
  /** Signs with this key instead of the issuer's: a forgery in the issuer's name. */
  readonly signingKey?: KeyObject
}

export interface TestCertificate {
  readonly certificate: X509Certificate
  readonly der: Buffer
  readonly pem: string
  /** The private key. */
  readonly key: KeyObject
  readonly keyPem: string
  /** DER of the subject name. */
  readonly subjectDer: Buffer
}

const DAY = 86_400_000
const ATTRIBUTES = { CN: '2.5.4.3', O: '2.5.4.10', OU: '2.5.4.11', C: '2.5.4.6' } as const
const KEY_USAGE_BITS: Readonly<Record<TestKeyUsage, number>> = {
  digitalSignature: 0,
  nonRepudiation: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
}
const EXT_KEY_USAGES: Readonly<Record<string, string>> = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  emailProtection: '1.3.6.1.5.5.7.3.4',
  any: '2.5.29.37.0',
}

/** An RSA key takes a tenth of a second to make: a few take turns, so that no two in a row are the same. */
const RSA_KEYS = 4
const rsaKeys: KeyObject[] = []
let rsaTurn = 0

function rsaKey(): KeyObject {
  const turn = rsaTurn++ % RSA_KEYS
  return (rsaKeys[turn] ??= generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)
}

export function makeKey(kind: KeyKind = 'ec'): KeyObject {
  switch (kind) {
    case 'ec':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    case 'ec384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
    case 'rsa':
      return rsaKey()
    case 'rsa1024':
      return generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
    case 'ed25519':
      return generateKeyPairSync('ed25519').privateKey
  }
}

/** DER of a distinguished name. */
export function distinguishedName(subject: NonNullable<CertificateRequest['subject']>): Buffer {
  const pairs = typeof subject === 'string' ? ([['CN', subject]] as const) : subject
  return sequence(
    ...pairs.map(([type, value]) =>
      set(
        sequence(
          objectIdentifier(ATTRIBUTES[type]),
          type === 'C' ? element(0x13, Buffer.from(value, 'latin1')) : utf8String(value),
        ),
      ),
    ),
  )
}

export function generalName(name: TestName): Buffer {
  if (typeof name === 'string') return tagged(2, false, Buffer.from(name, 'latin1'))
  if ('bytes' in name) return tagged(2, false, name.bytes)
  if ('ip' in name) return tagged(7, false, name.ip)
  if ('email' in name) return tagged(1, false, Buffer.from(name.email, 'latin1'))
  if ('uri' in name) return tagged(6, false, Buffer.from(name.uri, 'latin1'))
  if ('directory' in name) return tagged(4, true, distinguishedName(name.directory))
  return Buffer.from(name.raw)
}

function extension({ oid, critical = false, value }: TestExtension): Buffer {
  return sequence(
    objectIdentifier(oid),
    ...(critical ? [boolean(true)] : []),
    octetString(Buffer.from(value)),
  )
}

function publicKeyInfo(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: 'der', type: 'spki' })
}

function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha1').update(publicKeyInfo(key)).digest()
}

function subtrees(tag: number, names: readonly TestName[] | undefined): Buffer[] {
  if (names === undefined || names.length === 0) return []
  return [tagged(tag, true, ...names.map((name) => sequence(generalName(name))))]
}

function extensionsOf(request: CertificateRequest, key: KeyObject, issuerKey: KeyObject): Buffer[] {
  const { san = [], ca, pathLen, extKeyUsage, nameConstraints, keyIdentifiers = true } = request
  const keyUsage = request.keyUsage ?? (ca === true ? (['keyCertSign', 'cRLSign'] as const) : false)
  const list: TestExtension[] = []
  if (ca !== undefined)
    list.push({
      oid: '2.5.29.19',
      critical: true,
      value: sequence(
        ...(ca ? [boolean(true)] : []),
        ...(pathLen === undefined ? [] : [integer(pathLen)]),
      ),
    })
  if (keyUsage !== false)
    list.push({
      oid: '2.5.29.15',
      critical: true,
      value: namedBits(keyUsage.map((usage) => KEY_USAGE_BITS[usage])),
    })
  if (extKeyUsage !== undefined)
    list.push({
      oid: '2.5.29.37',
      value: sequence(
        ...extKeyUsage.map((usage) => objectIdentifier(EXT_KEY_USAGES[usage] ?? usage)),
      ),
    })
  if (san.length > 0) list.push({ oid: '2.5.29.17', value: sequence(...san.map(generalName)) })
  if (nameConstraints !== undefined)
    list.push({
      oid: '2.5.29.30',
      critical: true,
      value: sequence(
        ...subtrees(0, nameConstraints.permitted),
        ...subtrees(1, nameConstraints.excluded),
      ),
    })
  if (keyIdentifiers) {
    list.push({ oid: '2.5.29.14', value: octetString(keyIdentifier(key)) })
    list.push({
      oid: '2.5.29.35',
      value: sequence(tagged(0, false, keyIdentifier(issuerKey))),
    })
  }
  return [...list, ...(request.extensions ?? [])].map(extension)
}

type Digest = NonNullable<CertificateRequest['digest']>

const DIGEST_IDENTIFIERS: Readonly<Record<Digest, string>> = {
  sha1: '1.3.14.3.2.26',
  sha256: '2.16.840.1.101.3.4.2.1',
  sha384: '2.16.840.1.101.3.4.2.2',
  sha512: '2.16.840.1.101.3.4.2.3',
}

interface Signing {
  readonly algorithm: Buffer
  readonly sign: (data: Buffer) => Buffer
}

function signing(key: KeyObject, digest: Digest = 'sha256', pss = false): Signing {
  if (key.asymmetricKeyType === 'ed25519')
    return {
      algorithm: sequence(objectIdentifier('1.3.101.112')),
      sign: (data) => sign(null, data, key),
    }
  if (pss) return pssSigning(key, digest)
  const oid =
    key.asymmetricKeyType === 'rsa'
      ? `1.2.840.113549.1.1.${{ sha1: 5, sha256: 11, sha384: 12, sha512: 13 }[digest]}`
      : `1.2.840.10045.4.${{ sha1: '1', sha256: '3.2', sha384: '3.3', sha512: '3.4' }[digest]}`
  const parameters = key.asymmetricKeyType === 'rsa' ? [nul()] : []
  return {
    algorithm: sequence(objectIdentifier(oid), ...parameters),
    sign: (data) => sign(digest, data, key),
  }
}

/** RFC 4055 §3.1. */
function pssSigning(key: KeyObject, digest: Digest): Signing {
  const hash = sequence(objectIdentifier(DIGEST_IDENTIFIERS[digest]), nul())
  const saltLength = createHash(digest).digest().length
  const parameters =
    digest === 'sha1'
      ? sequence()
      : sequence(
          tagged(0, true, hash),
          tagged(1, true, sequence(objectIdentifier('1.2.840.113549.1.1.8'), hash)),
          tagged(2, true, integer(saltLength)),
        )
  return {
    algorithm: sequence(objectIdentifier('1.2.840.113549.1.1.10'), parameters),
    sign: (data) =>
      sign(digest, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }),
  }
}

function pemOf(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

/** Makes one certificate and, unless given, its key. */
export function makeCertificate(request: CertificateRequest = {}): TestCertificate {
  const key = request.key instanceof KeyObject ? request.key : makeKey(request.key)
  const issuerKey = request.issuer?.key ?? key
  const subjectDer = distinguishedName(request.subject ?? 'test')
  const signer = signing(request.signingKey ?? issuerKey, request.digest, request.pss)
  const { algorithm } = signer
  const version = request.version ?? 3
  const tbs = sequence(
    ...(version === 1 ? [] : [tagged(0, true, integer(version - 1))]),
    integer(request.serial ?? BigInt(`0x01${randomBytes(8).toString('hex')}`)),
    algorithm,
    request.issuer?.subjectDer ?? subjectDer,
    sequence(
      time(request.notBefore ?? new Date(Date.now() - DAY)),
      time(request.notAfter ?? new Date(Date.now() + 30 * DAY)),
    ),
    subjectDer,
    publicKeyInfo(key),
    ...(version === 1 ? [] : optionalExtensions(extensionsOf(request, key, issuerKey))),
  )
  const der = sequence(tbs, algorithm, bitString(signer.sign(tbs)))
  return {
    certificate: new X509Certificate(der),
    der,
    pem: pemOf(der),
    key,
    keyPem: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    subjectDer,
  }
}

function optionalExtensions(extensions: readonly Buffer[]): Buffer[] {
  return extensions.length === 0 ? [] : [tagged(3, true, sequence(...extensions))]
}

export interface TestChain {
  /** Leaf first, root last. */
  readonly chain: readonly TestCertificate[]
  readonly leaf: TestCertificate
  readonly root: TestCertificate
}

/**
 * A chain of the given length: 1 is a self-signed leaf, 2 a root and its leaf, and so on.
 * @param changes what to alter, by position: 0 is the leaf, the last the root
 */
export function makeChain(
  size: number,
  leaf: CertificateRequest = {},
  changes: Readonly<Record<number, CertificateRequest>> = {},
): TestChain {
  let issuer: TestCertificate | undefined
  const chain: TestCertificate[] = []
  for (let position = size - 1; position >= 0; position--) {
    const shape: CertificateRequest =
      position === 0
        ? { subject: 'mx1.rcpt.test', san: ['mx1.rcpt.test'], ...leaf }
        : { subject: position === size - 1 ? 'Test root' : `Test CA ${position}`, ca: true }
    issuer = makeCertificate({
      ...shape,
      ...(issuer === undefined ? {} : { issuer }),
      ...changes[position],
    })
    chain.unshift(issuer)
  }
  const [first] = chain
  const last = chain.at(-1)
  if (first === undefined || last === undefined) throw new Error('a chain has at least one part')
  return { chain, leaf: first, root: last }
}

/** DER of a certificate's SubjectPublicKeyInfo, by node:crypto. */
export function spkiOf(certificate: X509Certificate): Buffer {
  return certificate.publicKey.export({ format: 'der', type: 'spki' })
}

function associationData(
  certificate: X509Certificate,
  selector: number,
  matchingType: number,
): Buffer {
  const selected = selector === 0 ? certificate.raw : spkiOf(certificate)
  if (matchingType === 0) return Buffer.from(selected)
  return createHash(matchingType === 1 ? 'sha256' : 'sha512')
    .update(selected)
    .digest()
}

/** A usable record that certificate or key of `of` satisfies. */
export function tlsaRecord(
  of: TestCertificate,
  usage: TlsaRecord['usage'],
  selector: TlsaRecord['selector'],
  matchingType: TlsaRecord['matchingType'],
): TlsaRecord {
  return {
    usage,
    selector,
    matchingType,
    data: associationData(of.certificate, selector, matchingType),
  }
}

/** The same as RDATA, with any numbers; `data` replaces the association data. */
export function tlsaData(
  of: TestCertificate,
  usage: number,
  selector: number,
  matchingType: number,
  data?: Buffer,
): TlsaData {
  return {
    malformed: false,
    usage,
    selector,
    matchingType,
    data: data ?? associationData(of.certificate, selector, matchingType),
  }
}

/** A well-formed record that nothing satisfies ("TLSA bad"). */
export function strangeRecord(
  usage: TlsaRecord['usage'],
  selector: TlsaRecord['selector'] = 1,
  matchingType: 1 | 2 = 1,
): TlsaRecord {
  return { usage, selector, matchingType, data: Buffer.alloc(matchingType === 1 ? 32 : 64, 0x5a) }
}
