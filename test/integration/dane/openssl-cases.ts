/**
 * A grid of chains and TLSA record sets, to be judged by verifyDane and by OpenSSL: length of the chain, place of the anchor, whether it
 * is sent, every selector and matching type, and in each of these what can be wrong with names, dates, constraints,
 * signatures, extra certificates and the records themselves. Certificates are made when a case is asked for.
 *
 * A case either must come out alike, or is a deliberate difference: then it says which, and both outcomes.
 * docs/dane-differences.md gives the reason of each.
 */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { TlsaData } from '../../../plugins/dnssec-stub/types'
import {
  makeCertificate,
  makeChain,
  makeKey,
  spkiOf,
  tlsaData,
  type CertificateRequest,
  type TestCertificate,
} from '../../support/certificates'

/** `unusable`: the set has no usable record. */
export type Outcome = 'verified' | 'refused' | 'unusable'

export type DifferenceName =
  | 'pkix-usages'
  | 'partial-wildcards'
  | 'wildcard-below-top-level'
  | 'underscore-under-wildcard'
  | 'leaf-as-its-own-anchor'
  | 'ca-without-basic-constraints'
  | 'excluded-name-under-wildcard'
  | 'several-issuers-of-one-name'
  | 'broken-digest-below-a-bare-key'
  | 'keys-made-to-burn-time'

export interface Difference {
  readonly name: DifferenceName
  readonly ours: Outcome
  readonly openssl: Outcome
}

export interface Scene {
  /** Leaf first, as the server sends them. */
  readonly sent: readonly TestCertificate[]
  readonly records: readonly TlsaData[]
  /** The TLSA base domain, the only reference identifier. */
  readonly name: string
}

export interface MatrixCase {
  readonly id: string
  readonly make: () => Scene
  readonly difference?: Difference
}

const HOST = 'mx1.rcpt.test'
/** Of nobody in any chain. */
const FORGER = makeKey()
const DAY = 86_400_000
const days = (count: number) => new Date(Date.now() + count * DAY)
const EXPIRED: CertificateRequest = { notBefore: days(-30), notAfter: days(-1) }
const NOT_YET_VALID: CertificateRequest = { notBefore: days(1) }

const onCurve = (namedCurve: string, paramEncoding: 'named' | 'explicit' = 'named'): KeyObject =>
  generateKeyPairSync('ec', { namedCurve, paramEncoding }).privateKey

/** Keys with which one check of a signature takes a multiple of what it takes with any that is in use. */
const COSTLY_KEYS: readonly (readonly [string, () => KeyObject])[] = [
  ['a curve over a binary field', () => onCurve('sect571r1')],
]

const CURVES = [
  ['P-521', 'named'],
  ['secp256k1', 'named'],
  ['brainpoolP512r1', 'named'],
  ['P-256', 'explicit'],
] as const

/** RSA keys take long to make, so the grid shares a few of each kind. */
export class KeyRing {
  readonly #keys = new Map<string, KeyObject>()

  take(kind: KeyKind, place: number): KeyObject {
    const label = `${kind} ${place}`
    const key = this.#keys.get(label) ?? makeKey(kind)
    this.#keys.set(label, key)
    return key
  }
}

const KINDS = ['ec', 'rsa', 'ed25519'] as const
type KeyKind = (typeof KINDS)[number]
type KeyPlan = KeyKind | 'mixed'

function kindOf(plan: KeyPlan, place: number): KeyKind {
  return plan === 'mixed' ? (KINDS[place % KINDS.length] ?? 'ec') : plan
}

function planKeys(plan: KeyPlan, ring: KeyRing, size: number): Record<number, CertificateRequest> {
  return Object.fromEntries(
    Array.from({ length: size }, (_, place) => [
      place,
      { key: ring.take(kindOf(plan, place), place) },
    ]),
  )
}

/** Where in the grid a variant is applied. */
interface Spot {
  readonly size: number
  readonly anchor: number
  readonly sent: boolean
  readonly usage: 2 | 3
  readonly selector: 0 | 1
  readonly matchingType: 0 | 1 | 2
}

interface Variant {
  readonly label: string
  readonly changes?: Readonly<Record<number, CertificateRequest>>
  /** Alters what is sent. */
  readonly send?: (
    sent: readonly TestCertificate[],
    chain: readonly TestCertificate[],
  ) => readonly TestCertificate[]
  /** Alters the record set, given the plain one. */
  readonly publish?: (plain: TlsaData, chain: readonly TestCertificate[]) => readonly TlsaData[]
  readonly name?: string
  readonly difference?: (spot: Spot, kindAt: (place: number) => KeyKind) => Difference | undefined
}

const leafNames = (label: string, leaf: CertificateRequest, name?: string): Variant => ({
  label,
  changes: { 0: leaf },
  ...(name === undefined ? {} : { name }),
})

/** True where the chain can be anchored at all: by what is sent, or by what the record holds in full. */
function reachable({ sent, matchingType, usage }: Spot): boolean {
  return usage === 3 || sent || matchingType === 0
}

const differs =
  (name: DifferenceName, ours: Outcome, openssl: Outcome, where: (spot: Spot) => boolean) =>
  (spot: Spot): Difference | undefined =>
    spot.usage === 2 && reachable(spot) && where(spot) ? { name, ours, openssl } : undefined

/** An anchor that is certificate, not bare key: then its own fields are judged. */
const hasAnchorCertificate = ({ sent, selector }: Spot): boolean => sent || selector === 0

const NAMES: readonly Variant[] = [
  { label: 'plain' },
  leafNames('other name', { san: ['other.test'] }),
  leafNames('last of many names', { san: ['a.test', 'b.test', '*.c.test', HOST] }),
  leafNames('wildcard', { san: ['*.rcpt.test'] }),
  leafNames('wildcard in upper case', { san: ['*.RCPT.Test'] }),
  leafNames('wildcard for two labels', { san: ['*.test'] }),
  leafNames('wildcard for the parent', { san: ['*.rcpt.test'] }, 'rcpt.test'),
  leafNames('wildcard in the middle', { san: ['mx1.*.test'] }),
  {
    ...leafNames('partial wildcard', { san: ['mx*.rcpt.test'] }),
    difference: differs('partial-wildcards', 'refused', 'verified', () => true),
  },
  {
    ...leafNames('wildcard below the top level', { san: ['*.test'] }, 'mx1.test'),
    difference: differs('wildcard-below-top-level', 'verified', 'refused', () => true),
  },
  {
    ...leafNames('underscore under wildcard', { san: ['*.rcpt.test'] }, 'mx_1.rcpt.test'),
    difference: differs('underscore-under-wildcard', 'verified', 'refused', () => true),
  },
  leafNames('underscore', { san: ['mx_1.rcpt.test'] }, 'mx_1.rcpt.test'),
  leafNames('common name only', { subject: HOST, san: [] }),
  leafNames('wildcard common name', { subject: '*.rcpt.test', san: [] }),
  leafNames('other common name only', { subject: 'other.test', san: [] }),
  leafNames('common name beside another DNS name', { subject: HOST, san: ['other.test'] }),
  leafNames('common name beside a mail address', { subject: HOST, san: [{ email: 'a@b.test' }] }),
  leafNames('no name', { subject: [], san: [] }),
  leafNames('mail address that looks right', { subject: 'x', san: [{ email: HOST }] }),
  leafNames('URI that looks right', { subject: 'x', san: [{ uri: HOST }] }),
  leafNames('NUL in the name', {
    subject: 'x',
    san: [{ bytes: Buffer.from(`${HOST}\0.evil.test`) }],
  }),
  leafNames('trailing dot in the name', { subject: 'x', san: [`${HOST}.`] }),
]

function placesOf(size: number): number[] {
  return Array.from({ length: size }, (_, place) => place)
}

/** Ed25519 knows no digest, so that there the request for SHA-1 changes nothing. */
const brokenDigest = (place: number): Partial<Variant> => ({
  difference: (spot, kindAt) =>
    spot.anchor === place + 1 && kindAt(spot.anchor) !== 'ed25519'
      ? differs(
          'broken-digest-below-a-bare-key',
          'refused',
          'verified',
          (at) => !hasAnchorCertificate(at),
        )(spot)
      : undefined,
})

function fields(size: number): Variant[] {
  const variants: Variant[] = []
  for (const place of placesOf(size)) {
    const put = (label: string, change: CertificateRequest, more: Partial<Variant> = {}): void => {
      variants.push({ label: `${label} at ${place}`, changes: { [place]: change }, ...more })
    }
    put('expired', EXPIRED)
    put('not yet valid', NOT_YET_VALID)
    put('for clients', { extKeyUsage: ['clientAuth'] })
    put('for servers', { extKeyUsage: ['clientAuth', 'serverAuth'] })
    put('for any purpose', { extKeyUsage: ['any'] })
    put('unknown critical extension', {
      extensions: [{ oid: '1.2.3.4', critical: true, value: Buffer.from([5, 0]) }],
    })
    put('unknown extension', { extensions: [{ oid: '1.2.3.4', value: Buffer.from([5, 0]) }] })
    if (place === 0) {
      put('key for signing certificates', { keyUsage: ['cRLSign'] })
      put('key for TLS', { keyUsage: ['digitalSignature'] })
      put('is a CA', { ca: true, keyUsage: ['digitalSignature', 'keyCertSign'] })
      put('forged in the name of its issuer', { signingKey: FORGER })
      put('signed over SHA-1', { digest: 'sha1' }, brokenDigest(place))
      continue
    }
    put('CA:FALSE', { ca: false, keyUsage: ['keyCertSign'] })
    put('CA:FALSE and no key usage', { ca: false, keyUsage: false })
    put('without keyCertSign', { keyUsage: ['cRLSign'] })
    put('without key identifiers', { keyIdentifiers: false })
    put('path length 0', { pathLen: 0 })
    put('path length 1', { pathLen: 1 })
    put('permits the name', { nameConstraints: { permitted: ['rcpt.test'] } })
    put('permits the name by a leading dot', { nameConstraints: { permitted: ['.rcpt.test'] } })
    put('permits other names', { nameConstraints: { permitted: ['other.test'] } })
    put('excludes the name', { nameConstraints: { excluded: ['rcpt.test'] } })
    put('excludes other names', { nameConstraints: { excluded: ['other.test'] } })
    put('permits another network', {
      nameConstraints: { permitted: [{ ip: Buffer.from([10, 0, 0, 0, 255, 0, 0, 0]) }] },
    })
    put('permits other directory names', {
      nameConstraints: { permitted: [{ directory: 'other' }] },
    })
    variants.push({
      label: `excludes the host that a wildcard covers at ${place}`,
      changes: { 0: { san: ['*.rcpt.test'] }, [place]: { nameConstraints: { excluded: [HOST] } } },
      difference: differs(
        'excluded-name-under-wildcard',
        'refused',
        'verified',
        (spot) => place < spot.anchor || (place === spot.anchor && hasAnchorCertificate(spot)),
      ),
    })
    variants.push({
      label: `permits other names, common name only, at ${place}`,
      changes: {
        0: { san: [] },
        [place]: { nameConstraints: { permitted: ['other.test'] } },
      },
    })
    if (place < size - 1) {
      put('forged in the name of its issuer', { signingKey: FORGER })
      put('signed over SHA-1', { digest: 'sha1' }, brokenDigest(place))
    }
  }
  return variants
}

const EXTRAS: readonly Variant[] = [
  {
    label: 'stray certificate at the end',
    send: (sent) => [...sent, makeCertificate({ subject: 'stray', ca: true })],
  },
  {
    label: 'stray certificate in between',
    send: ([leaf, ...rest]) =>
      leaf === undefined ? [] : [leaf, makeCertificate({ subject: 'stray' }), ...rest],
  },
  {
    label: 'issuers in reverse order',
    send: ([leaf, ...rest]) => (leaf === undefined ? [] : [leaf, ...rest.toReversed()]),
  },
  { label: 'everything twice', send: (sent) => [...sent, ...sent] },
  {
    label: 'self-signed forgery before the genuine issuers',
    send: ([leaf, ...rest]) => [
      makeCertificate({ subject: HOST, san: [HOST], key: leaf?.key ?? makeKey() }),
      ...rest,
    ],
  },
  {
    label: 'forged leaf in the name of the first issuer',
    send: ([leaf, ...rest], [, issuer]) => [
      makeCertificate({
        san: [HOST],
        key: leaf?.key ?? makeKey(),
        signingKey: FORGER,
        ...(issuer === undefined ? {} : { issuer }),
      }),
      ...rest,
    ],
  },
  {
    label: 'forged leaf signed by the genuine leaf',
    send: ([leaf, ...rest]) =>
      leaf === undefined
        ? []
        : [
            makeCertificate({ subject: 'x', san: [HOST], issuer: leaf, key: leaf.key }),
            leaf,
            ...rest,
          ],
  },
  {
    label: 'anchor re-issued with the same key',
    send: (sent, chain) => {
      const top = chain.at(-1)
      return sent.map((one) =>
        one === top ? makeCertificate({ subject: 'Test root', ca: true, key: one.key }) : one,
      )
    },
  },
]

const ZEROS = Buffer.alloc(128)

function strange(plain: TlsaData): TlsaData {
  const data = Buffer.from(plain.data)
  if (plain.matchingType !== 0) return { ...plain, data: Buffer.alloc(data.length, 0x5a) }
  const other = makeCertificate({ ca: true })
  return { ...plain, data: plain.selector === 0 ? other.der : spkiOf(other.certificate) }
}

const digest = (plain: TlsaData, matchingType: 1 | 2, data: Buffer): TlsaData => ({
  ...plain,
  matchingType,
  data,
})

const SETS: readonly Variant[] = [
  { label: 'only a stranger', publish: (plain) => [strange(plain)] },
  { label: 'a stranger first', publish: (plain) => [strange(plain), plain] },
  { label: 'a stranger last', publish: (plain) => [plain, strange(plain)] },
  { label: 'the record twice', publish: (plain) => [plain, plain] },
  {
    label: 'a strange leaf beside it',
    publish: (plain, [leaf]) =>
      leaf === undefined ? [] : [strange(tlsaData(leaf, 3, 1, 1)), plain],
  },
  {
    label: 'a strange anchor beside it',
    publish: (plain) => [plain, strange(tlsaData(makeCertificate(), 2, 1, 1))],
  },
  {
    label: 'the leaf as DANE-EE beside it',
    publish: (plain, [leaf]) => (leaf === undefined ? [] : [plain, tlsaData(leaf, 3, 0, 2)]),
  },
  {
    label: 'a strange stronger digest',
    publish: (plain) => [plain, digest(plain, 2, ZEROS.subarray(0, 64))],
  },
  {
    label: 'a strange weaker digest',
    publish: (plain) => [digest(plain, 1, ZEROS.subarray(0, 32)), plain],
  },
  {
    label: 'a stronger digest one octet short',
    publish: (plain) => [digest(plain, 2, ZEROS.subarray(0, 63)), plain],
  },
  { label: 'only a digest that is too long', publish: (plain) => [digest(plain, 1, ZEROS)] },
  {
    label: 'an octet after the data',
    publish: (plain) => [{ ...plain, data: Buffer.concat([plain.data, Buffer.alloc(1)]) }],
  },
  { label: 'cut short', publish: (plain) => [{ ...plain, data: plain.data.subarray(0, -1) }] },
  { label: 'unknown selector', publish: (plain) => [{ ...plain, selector: 2 }] },
  { label: 'unknown matching type', publish: (plain) => [{ ...plain, matchingType: 3 }] },
  { label: 'unknown usage', publish: (plain) => [{ ...plain, usage: 4 }] },
  {
    label: 'unknown numbers beside it',
    publish: (plain) => [{ ...plain, usage: 9 }, { ...plain, selector: 9 }, plain],
  },
]

function combine(variant: Variant, spot: Spot, plan: KeyPlan, ring: KeyRing): MatrixCase {
  const { size, anchor, usage, selector, matchingType, sent } = spot
  const place = usage === 3 ? '' : ` anchor ${anchor} ${sent ? 'sent' : 'not sent'}`
  const difference = variant.difference?.(spot, (one) => kindOf(plan, one))
  return {
    id: `${usage} ${selector} ${matchingType}, ${size} long${place}, ${plan}: ${variant.label}`,
    ...(difference === undefined ? {} : { difference }),
    make: () => {
      const keys = planKeys(plan, ring, size)
      const changes = Object.fromEntries(
        placesOf(size).map((one) => [one, { ...keys[one], ...variant.changes?.[one] }]),
      )
      const { chain } = makeChain(size, {}, changes)
      const anchorCertificate = chain[anchor]
      if (anchorCertificate === undefined) throw new Error('the anchor is outside the chain')
      const shown = sent ? chain : chain.slice(0, Math.max(anchor, 1))
      const plain = tlsaData(anchorCertificate, usage, selector, matchingType)
      return {
        sent: variant.send?.(shown, chain) ?? shown,
        records: variant.publish?.(plain, chain) ?? [plain],
        name: variant.name ?? HOST,
      }
    },
  }
}

/** All cases, in an order that does not change. */
export function matrix(ring: KeyRing = new KeyRing()): MatrixCase[] {
  const cases: MatrixCase[] = []
  const plans: readonly KeyPlan[] = [...KINDS, 'mixed']
  const add = (variants: readonly Variant[], spot: Spot): void => {
    for (const variant of variants)
      cases.push(combine(variant, spot, plans[cases.length % plans.length] ?? 'ec', ring))
  }
  for (const selector of [0, 1] as const) {
    for (const matchingType of [0, 1, 2] as const) {
      for (const size of [1, 2, 3, 4]) {
        const leaf = { size, anchor: 0, sent: true, usage: 3, selector, matchingType } as const
        add([...NAMES, ...(size === 1 ? fields(1) : []), ...SETS], leaf)
        for (const anchor of placesOf(size).slice(1)) {
          for (const sent of [true, false]) {
            const spot = { size, anchor, sent, usage: 2, selector, matchingType } as const
            const onlyTop = anchor === size - 1
            add([...(onlyTop ? [...NAMES, ...SETS] : NAMES.slice(0, 4)), ...EXTRAS], spot)
            add(fields(size), spot)
          }
        }
      }
    }
  }
  return [...cases, ...peculiar(ring)]
}

/** What does not fit the grid, above all the remaining deliberate differences. */
function peculiar(ring: KeyRing): MatrixCase[] {
  const cases: MatrixCase[] = []
  const root = (more: CertificateRequest = {}) =>
    makeCertificate({ subject: 'Test root', ca: true, ...more })
  const leafOf = (issuer: TestCertificate, more: CertificateRequest = {}) =>
    makeCertificate({ subject: HOST, san: [HOST], issuer, ...more })
  for (const selector of [0, 1] as const) {
    for (const matchingType of [0, 1, 2] as const) {
      const shape = `${selector} ${matchingType}`
      cases.push({
        id: `2 ${shape} of the self-signed leaf itself`,
        ...(selector === 1 && matchingType === 0
          ? {
              difference: {
                name: 'leaf-as-its-own-anchor',
                ours: 'refused',
                openssl: 'verified',
              },
            }
          : {}),
        make: () => {
          const leaf = makeCertificate({ subject: HOST, san: [HOST] })
          return { sent: [leaf], records: [tlsaData(leaf, 2, selector, matchingType)], name: HOST }
        },
      })
      for (const usage of [0, 1]) {
        const set = (more: boolean) => (): Scene => {
          const authority = root()
          const leaf = leafOf(authority)
          const of = usage === 0 ? authority : leaf
          const strangers = more ? [strange(tlsaData(leaf, 3, 1, 1))] : []
          const records = [tlsaData(of, usage, selector, matchingType), ...strangers]
          return { sent: [leaf, authority], records, name: HOST }
        }
        cases.push({
          id: `${usage} ${shape} alone`,
          difference: { name: 'pkix-usages', ours: 'unusable', openssl: 'refused' },
          make: set(false),
        })
        cases.push({ id: `${usage} ${shape} beside a strange 3 1 1`, make: set(true) })
      }
      cases.push({
        id: `2 ${shape} of a CA without basicConstraints that has keyCertSign`,
        difference: { name: 'ca-without-basic-constraints', ours: 'refused', openssl: 'verified' },
        make: () => {
          const authority = makeCertificate({ subject: 'Test root', keyUsage: ['keyCertSign'] })
          const records = [tlsaData(authority, 2, selector, matchingType)]
          return { sent: [leafOf(authority), authority], records, name: HOST }
        },
      })
      cases.push({
        id: `2 ${shape} of a root of version 1`,
        make: () => {
          const authority = root({ version: 1 })
          const records = [tlsaData(authority, 2, selector, matchingType)]
          return { sent: [leafOf(authority), authority], records, name: HOST }
        },
      })
      cases.push({
        id: `2 ${shape} of a root, below it an intermediate of version 1`,
        make: () => {
          const authority = root()
          const old = makeCertificate({ subject: 'Old', version: 1, issuer: authority })
          const records = [tlsaData(authority, 2, selector, matchingType)]
          return { sent: [leafOf(old), old, authority], records, name: HOST }
        },
      })
      for (const place of ['anchor', 'intermediate'] as const) {
        cases.push({
          id: `2 ${shape} of a root, in the chain its expired certificate from another root, at the ${place}`,
          make: () => {
            const older = makeCertificate({ subject: 'Older root', ca: true })
            const authority = root()
            const cross = root({ issuer: older, key: authority.key, ...EXPIRED })
            const [issuer, of] = place === 'anchor' ? [authority, cross] : [cross, older]
            const below = makeCertificate({ subject: 'Below', ca: true, issuer })
            const records = [tlsaData(of, 2, selector, matchingType)]
            return { sent: [leafOf(below), below, cross, older], records, name: HOST }
          },
        })
      }
      for (const [label, key] of COSTLY_KEYS) {
        cases.push({
          id: `2 ${shape} of a root that has ${label}`,
          difference: {
            name: 'keys-made-to-burn-time',
            ours: matchingType === 0 ? 'unusable' : 'refused',
            openssl: 'verified',
          },
          make: () => {
            const authority = root({ key: key() })
            const records = [tlsaData(authority, 2, selector, matchingType)]
            return { sent: [leafOf(authority), authority], records, name: HOST }
          },
        })
      }
      for (const [curve, encoding] of CURVES) {
        cases.push({
          id: `2 ${shape} of a root with a key on ${curve}, ${encoding}`,
          make: () => {
            const authority = root({ key: onCurve(curve, encoding) })
            const records = [tlsaData(authority, 2, selector, matchingType)]
            return { sent: [leafOf(authority), authority], records, name: HOST }
          },
        })
      }
      cases.push({
        id: `2 ${shape} of a root, before it another of its name`,
        ...(matchingType === 0 && selector === 0
          ? {}
          : {
              difference: {
                name: 'several-issuers-of-one-name',
                ours: 'verified',
                openssl: 'refused',
              },
            }),
        make: () => {
          const impostor = root({ keyIdentifiers: false, key: ring.take('ec', 90) })
          const authority = root({ keyIdentifiers: false, key: ring.take('ec', 91) })
          const leaf = leafOf(authority, { keyIdentifiers: false })
          const records = [tlsaData(authority, 2, selector, matchingType)]
          return { sent: [leaf, impostor, authority], records, name: HOST }
        },
      })
    }
  }
  return cases
}
