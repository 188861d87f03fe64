/**
 * The parts of a certificate that path validation needs and node:crypto does not tell (RFC 5280 §4).
 *
 * Promises: all or nothing. A certificate that is not plain DER, has an extension twice, or one of the extensions read here
 * in a shape that RFC 5280 does not allow, has no profile. Extensions that are critical and not understood are named, not
 * judged; chain.ts refuses them. Never throws.
 */
import type { X509Certificate } from 'node:crypto'
import {
  readBoolean,
  readElement,
  readElements,
  readNamedBits,
  readSequence,
  readSmallInteger,
  readTime,
  TAG,
  type Element,
} from './der'
import { comparableRdns } from './distinguished-name'
import { sliceKeyInfo } from './key-info'

/** The context tag of a GeneralName: 1 rfc822Name, 2 dNSName, 4 directoryName, 6 URI, 7 iPAddress (RFC 5280 §4.2.1.6). */
export interface GeneralName {
  readonly form: number
  /** The octets inside the tag. */
  readonly value: Buffer
}

export interface NameConstraints {
  readonly permitted: readonly GeneralName[]
  readonly excluded: readonly GeneralName[]
}

/** Bits of keyUsage as `readNamedBits` numbers them (RFC 5280 §4.2.1.3). */
export const KEY_USAGE = {
  digitalSignature: 1 << 0,
  keyEncipherment: 1 << 2,
  keyAgreement: 1 << 4,
  keyCertSign: 1 << 5,
} as const

/** id-kp-serverAuth, as the hex of its octets. */
export const SERVER_AUTH = '2b06010505070301'

export interface Profile {
  readonly version: 1 | 2 | 3
  /** DER of the Name. */
  readonly issuer: Buffer
  readonly subject: Buffer
  /** Milliseconds since the epoch, both ends included. */
  readonly notBefore: number
  readonly notAfter: number
  /** DER of the SubjectPublicKeyInfo, as it stands in the certificate. */
  readonly publicKeyInfo: Buffer
  /** DER of the AlgorithmIdentifier of the signature. */
  readonly signatureAlgorithm: Buffer
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLength?: number }
  readonly keyUsage?: number
  /** Key purposes, as the hex of their octets. */
  readonly extendedKeyUsage?: readonly string[]
  readonly subjectAltName?: readonly GeneralName[]
  readonly nameConstraints?: NameConstraints
  /** Identifiers of the critical extensions that are not understood here, as hex. */
  readonly unknownCritical: readonly string[]
}

interface Extension {
  readonly critical: boolean
  readonly value: Buffer
}

const EXTENSION = {
  keyUsage: '551d0f',
  subjectAltName: '551d11',
  basicConstraints: '551d13',
  nameConstraints: '551d1e',
  extendedKeyUsage: '551d25',
} as const

/** Read here, or certificate policies: no policy is ever required, so that processing them cannot fail (RFC 5280 §6.1). */
const UNDERSTOOD: ReadonlySet<string> = new Set([...Object.values(EXTENSION), '551d20'])

/** Certificates do not change, and each is read several times in one judgement. */
const profiles = new WeakMap<X509Certificate, { readonly profile: Profile | undefined }>()

/** Reads a certificate; undefined where it breaks the rules above. */
export function readProfile(certificate: X509Certificate): Profile | undefined {
  const known = profiles.get(certificate)
  if (known !== undefined) return known.profile
  const [tbs] = readSequence(certificate.raw) ?? []
  const profile = tbs && readTbs(tbs)
  profiles.set(certificate, { profile })
  return profile
}

/** The SubjectPublicKeyInfo alone, for digests (RFC 6698 §2.1.2); nothing else of the certificate needs to be in order. */
export function readPublicKeyInfo(certificate: X509Certificate): Buffer | undefined {
  return sliceKeyInfo(certificate.raw)
}

interface Fields {
  readonly version: 1 | 2 | 3
  readonly signatureAlgorithm: Element
  readonly issuer: Element
  readonly validity: Element
  readonly subject: Element
  readonly publicKeyInfo: Element
  readonly rest: readonly Element[]
}

function fieldsOf(tbs: Element): Fields | undefined {
  const parts = tbs.tag === TAG.sequence ? readElements(tbs.content) : undefined
  if (parts === undefined) return undefined
  const version = parts[0]?.tag === 0xa0 ? readVersion(parts.shift()) : 1
  const [serial, signatureAlgorithm, issuer, validity, subject, publicKeyInfo, ...rest] = parts
  if (version === undefined || serial?.tag !== TAG.integer) return undefined
  if (signatureAlgorithm?.tag !== TAG.sequence || issuer?.tag !== TAG.sequence) return undefined
  if (validity?.tag !== TAG.sequence || subject?.tag !== TAG.sequence) return undefined
  if (publicKeyInfo?.tag !== TAG.sequence) return undefined
  return { version, signatureAlgorithm, issuer, validity, subject, publicKeyInfo, rest }
}

function readVersion(element: Element | undefined): 1 | 2 | 3 | undefined {
  const number = element && readElement(element.content, TAG.integer)
  const value = number && readSmallInteger(number)
  if (value === 1) return 2
  return value === 2 ? 3 : undefined
}

function readTbs(tbs: Element): Profile | undefined {
  const fields = fieldsOf(tbs)
  if (fields === undefined) return undefined
  const [notBefore, notAfter] = (readElements(fields.validity.content) ?? []).map(readTime)
  const extensions = readExtensions(fields)
  if (notBefore === undefined || notAfter === undefined || extensions === undefined)
    return undefined
  const understood = readUnderstood(extensions)
  if (understood === undefined) return undefined
  return {
    version: fields.version,
    issuer: fields.issuer.whole,
    subject: fields.subject.whole,
    notBefore,
    notAfter,
    publicKeyInfo: fields.publicKeyInfo.whole,
    signatureAlgorithm: fields.signatureAlgorithm.whole,
    ...understood,
    unknownCritical: [...extensions]
      .filter(([id, { critical }]) => critical && !UNDERSTOOD.has(id))
      .map(([id]) => id),
  }
}

/** After the key come the unique identifiers [1] and [2] of version 2 and the extensions [3], each at most once. */
function readExtensions({ version, rest }: Fields): Map<string, Extension> | undefined {
  const last = rest.at(-1)
  const holder = last?.tag === 0xa3 ? last : undefined
  const identifiers = holder === undefined ? rest : rest.slice(0, -1)
  if (identifiers.some(({ tag }) => tag !== 0x81 && tag !== 0x82)) return undefined
  const extensions = new Map<string, Extension>()
  if (holder === undefined) return extensions
  const list = version === 3 ? readSequence(holder.content) : undefined
  if (list === undefined) return undefined
  for (const element of list) {
    const read = readExtension(element)
    if (read === undefined || extensions.has(read.id)) return undefined
    extensions.set(read.id, read)
  }
  return extensions
}

function readExtension(element: Element): (Extension & { readonly id: string }) | undefined {
  const parts = element.tag === TAG.sequence ? readElements(element.content) : undefined
  const id = parts?.shift()
  if (parts === undefined || id?.tag !== TAG.objectIdentifier) return undefined
  const flag = parts[0]?.tag === TAG.boolean ? parts.shift() : undefined
  const critical = flag === undefined ? false : readBoolean(flag)
  const [value] = parts
  if (critical === undefined || parts.length !== 1 || value?.tag !== TAG.octetString)
    return undefined
  return { id: id.content.toString('hex'), critical, value: value.content }
}

type Understood = Pick<
  Profile,
  'basicConstraints' | 'keyUsage' | 'extendedKeyUsage' | 'subjectAltName' | 'nameConstraints'
>

const READERS = {
  basicConstraints: readBasicConstraints,
  keyUsage: (value: Buffer) => {
    const bits = readElement(value, TAG.bitString)
    return bits && readNamedBits(bits)
  },
  extendedKeyUsage: readPurposes,
  subjectAltName: readGeneralNames,
  nameConstraints: readNameConstraints,
} as const

function readUnderstood(extensions: ReadonlyMap<string, Extension>): Understood | undefined {
  const found: Record<string, unknown> = {}
  for (const [name, read] of Object.entries(READERS)) {
    const extension = extensions.get(EXTENSION[name as keyof typeof READERS])
    if (extension === undefined) continue
    const value = read(extension.value)
    if (value === undefined) return undefined
    found[name] = value
  }
  return found
}

function readBasicConstraints(value: Buffer): Profile['basicConstraints'] {
  const parts = readSequence(value)
  if (parts === undefined) return undefined
  const flag = parts[0]?.tag === TAG.boolean ? parts.shift() : undefined
  const ca = flag === undefined ? false : readBoolean(flag)
  const [length, surplus] = parts
  if (ca === undefined || surplus !== undefined) return undefined
  if (length === undefined) return { ca }
  const pathLength = readSmallInteger(length)
  return pathLength === undefined ? undefined : { ca, pathLength }
}

function readPurposes(value: Buffer): string[] | undefined {
  const parts = readSequence(value)
  if (parts === undefined || parts.length === 0) return undefined
  if (parts.some(({ tag }) => tag !== TAG.objectIdentifier)) return undefined
  return parts.map(({ content }) => content.toString('hex'))
}

/**
 * Names in one certificate, and constraints in one list; CAs stop at some hundred names, the most generous at two thousand. Of
 * those that hold elements themselves, a few.
 */
const MOST_NAMES = 2500
const MOST_CONSTRUCTED_NAMES = 128

function readGeneralNames(value: Buffer): GeneralName[] | undefined {
  const names = readSequence(value, MOST_NAMES)
  if (names === undefined || tooManyConstructed(names)) return undefined
  return complete(names.map(readGeneralName))
}

function tooManyConstructed(names: readonly Element[]): boolean {
  return names.filter(({ tag }) => (tag & 0x20) !== 0).length > MOST_CONSTRUCTED_NAMES
}

/** The forms that hold elements; the others are octets. Each comes in one of the two ways only (RFC 5280 §4.2.1.6). */
const CONSTRUCTED: Readonly<Record<number, (content: Buffer) => boolean>> = {
  0: isOtherName,
  3: (content) => readElements(content) !== undefined,
  4: (content) => comparableRdns(content) !== undefined,
  5: (content) => readElements(content) !== undefined,
}
const PRIMITIVE: ReadonlySet<number> = new Set([1, 2, 6, 7, 8])

/** Malformed names of any form invalidate the extension, also of forms that are not compared. */
function readGeneralName({ tag, content }: Element): GeneralName | undefined {
  const form = tag & 0x1f
  const isWhole = (tag & 0x20) === 0 ? PRIMITIVE.has(form) : CONSTRUCTED[form]?.(content) === true
  return (tag & 0xc0) === 0x80 && isWhole ? { form, value: content } : undefined
}

/** An identifier, and any one value in the tag [0]. */
function isOtherName(content: Buffer): boolean {
  const [id, value, surplus] = readElements(content) ?? []
  if (id?.tag !== TAG.objectIdentifier || value?.tag !== 0xa0 || surplus !== undefined) return false
  return readElements(value.content)?.length === 1
}

/** `minimum` and `maximum` have no place in this profile (RFC 5280 §4.2.1.10), hence one part a subtree. */
function readNameConstraints(value: Buffer): NameConstraints | undefined {
  const parts = readSequence(value)
  if (parts === undefined || parts.length === 0 || parts.length > 2) return undefined
  const lists: Record<number, GeneralName[]> = {}
  for (const { tag, content } of parts) {
    const bases = readSubtrees(content)
    if ((tag !== 0xa0 && tag !== 0xa1) || lists[tag] !== undefined) return undefined
    if (bases === undefined || bases.length === 0) return undefined
    lists[tag] = bases
  }
  return { permitted: lists[0xa0] ?? [], excluded: lists[0xa1] ?? [] }
}

function readSubtrees(content: Buffer): GeneralName[] | undefined {
  const bases = complete((readElements(content, MOST_NAMES) ?? []).map(readBase))
  if (bases === undefined || tooManyConstructed(bases)) return undefined
  return complete(bases.map(readGeneralName))
}

function readBase(subtree: Element): Element | undefined {
  const parts = subtree.tag === TAG.sequence ? readElements(subtree.content) : undefined
  const [base, surplus] = parts ?? []
  return surplus === undefined ? base : undefined
}

function complete<T>(list: readonly (T | undefined)[]): T[] | undefined {
  const whole = list.filter((entry) => entry !== undefined)
  return whole.length === list.length ? whole : undefined
}
