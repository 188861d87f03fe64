import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { judgeRecords } from '../../../plugins/dane/tlsa'
import type { DaneVerdict, TlsaRecord } from '../../../plugins/dane/types'
import { verifyDane } from '../../../plugins/dane/verify'
import { cpuMilliseconds } from '../../support/cpu'
import {
  makeCertificate,
  makeChain,
  makeKey,
  spkiOf,
  strangeRecord,
  tlsaData,
  tlsaRecord,
  type CertificateRequest,
  type TestCertificate,
} from '../../support/certificates'
import type { DaneFailureReason } from '../../../plugins/reasons/codes'

const DAY = 86_400_000
const NOW = new Date()
const days = (count: number) => new Date(NOW.getTime() + count * DAY)
const HOST = 'mx1.rcpt.test'
const DIGESTS = ['sha512', 'sha256'] as const

interface Scene {
  readonly chain: readonly TestCertificate[]
  readonly records: readonly TlsaRecord[]
  readonly references?: readonly string[]
}

function judge({ chain, records, references = [HOST] }: Scene): DaneVerdict {
  return verifyDane({
    chain: chain.map(({ certificate }) => certificate),
    records,
    references,
    now: NOW,
  })
}

function outcome(scene: Scene): number | DaneFailureReason {
  const verdict = judge(scene)
  return verdict.ok ? verdict.depth : verdict.reason
}

interface Case {
  readonly title: string
  readonly scene: () => Scene
  /** The depth at which it is satisfied, or why not. */
  readonly expected: number | DaneFailureReason
}

/** A leaf alone, with a 3 1 1 of it. */
function endEntity(leaf: CertificateRequest): () => Scene {
  return () => {
    const made = makeCertificate(leaf)
    return { chain: [made], records: [tlsaRecord(made, 3, 1, 1)] }
  }
}

/** A chain, all of it sent, anchored at the root unless said. */
function anchored(
  size: number,
  leaf: CertificateRequest = {},
  changes: Readonly<Record<number, CertificateRequest>> = {},
  anchor = size - 1,
): () => Scene {
  return () => {
    const { chain } = makeChain(size, leaf, changes)
    return { chain, records: [tlsaRecord(at(chain, anchor), 2, 0, 1)] }
  }
}

function at(chain: readonly TestCertificate[], index: number): TestCertificate {
  return chain[index] ?? assert.fail('no such certificate')
}

const END_ENTITY: readonly Case[] = [
  {
    title: 'AUTH-01 one matching record of several is enough',
    scene: () => {
      const leaf = makeCertificate()
      return { chain: [leaf], records: [strangeRecord(3), tlsaRecord(leaf, 3, 1, 1)] }
    },
    expected: 0,
  },
  {
    title: 'AUTH-02 no matching record is no authentication',
    scene: () => ({ chain: [makeCertificate()], records: [strangeRecord(3)] }),
    expected: 'dane-no-match',
  },
  {
    title: 'AUTH-02 a server without certificate is not authenticated',
    scene: () => ({ chain: [], records: [strangeRecord(3)] }),
    expected: 'dane-no-certificate',
  },
  {
    title: 'AUTH-02 an empty set of records authenticates nobody',
    scene: () => ({ chain: [makeCertificate()], records: [] }),
    expected: 'dane-no-match',
  },
  {
    title: 'AUTH-03 DANE-EE checks no name',
    scene: endEntity({ subject: 'other.example', san: ['other.example'] }),
    expected: 0,
  },
  {
    title: 'AUTH-04 DANE-EE accepts an expired certificate',
    scene: endEntity({ notBefore: days(-1000), notAfter: days(-730) }),
    expected: 0,
  },
  {
    title: 'AUTH-04 DANE-EE accepts a certificate from tomorrow',
    scene: endEntity({ notBefore: days(1) }),
    expected: 0,
  },
  {
    title: 'AUTH-05 DANE-EE asks for no purpose and no role',
    scene: endEntity({ ca: true, extKeyUsage: ['clientAuth'], keyUsage: ['cRLSign'] }),
    expected: 0,
  },
  {
    title: 'AUTH-05 DANE-EE does not mind malformed or unknown critical extensions',
    scene: endEntity({
      extensions: [{ oid: '1.2.3.4', critical: true, value: Buffer.from('30ff', 'hex') }],
    }),
    expected: 0,
  },
  {
    title: 'VER-07 DANE-EE believes no key that can be broken',
    scene: endEntity({ key: generateKeyPairSync('rsa', { modulusLength: 768 }).privateKey }),
    expected: 'dane-key-too-weak',
  },
  {
    title: 'VER-07 DANE-EE believes the shortest key that TLS libraries take',
    scene: endEntity({ key: 'rsa1024' }),
    expected: 0,
  },
  {
    title: 'AUTH-06 DANE-EE matches no certificate but the leaf',
    scene: () => {
      const { chain } = makeChain(3)
      return { chain, records: [tlsaRecord(at(chain, 1), 3, 0, 1)] }
    },
    expected: 'dane-no-match',
  },
  {
    title: 'AUTH-07 a DANE-EE match is enough beside DANE-TA records that fail',
    scene: () => {
      const { chain, leaf } = makeChain(2)
      const records = [tlsaRecord(makeCertificate({ ca: true }), 2, 0, 1)]
      return { chain, records: [...records, tlsaRecord(leaf, 3, 1, 1)] }
    },
    expected: 0,
  },
  {
    title: 'AUTH-39 no signed certificate timestamps are asked for',
    scene: endEntity({}),
    expected: 0,
  },
  {
    title: 'USE-19 the fortieth of forty records is found',
    scene: () => {
      const leaf = makeCertificate()
      const strangers = Array.from({ length: 39 }, () => strangeRecord(3))
      return { chain: [leaf], records: [...strangers, tlsaRecord(leaf, 3, 1, 1)] }
    },
    expected: 0,
  },
  {
    title: 'USE-19 duplicates are harmless',
    scene: () => {
      const leaf = makeCertificate()
      const record = tlsaRecord(leaf, 3, 0, 2)
      return { chain: [leaf], records: [record, record] }
    },
    expected: 0,
  },
  ...[0, 1].map((served): Case => ({
    title: `USE-20 a roll-over set works with its ${served === 0 ? 'old' : 'new'} key`,
    scene: () => {
      const both = [makeCertificate(), makeCertificate()]
      const records = both.map((leaf) => tlsaRecord(leaf, 3, 1, 1))
      return { chain: [at(both, served)], records }
    },
    expected: 0,
  })),
]

for (const key of ['ec', 'rsa', 'ed25519'] as const) {
  for (const selector of [0, 1] as const) {
    for (const matchingType of [0, 1, 2] as const) {
      ;(END_ENTITY as Case[]).push({
        title: `USE-18 3 ${selector} ${matchingType} of an ${key} leaf matches`,
        scene: () => {
          const leaf = makeCertificate({ key })
          return { chain: [leaf], records: [tlsaRecord(leaf, 3, selector, matchingType)] }
        },
        expected: 0,
      })
    }
  }
}

const NAMES: readonly Case[] = [
  { title: 'AUTH-13 DANE-TA: the leaf names the base domain', scene: anchored(2), expected: 1 },
  {
    title: 'AUTH-13 DANE-TA: a leaf with another name is refused',
    scene: anchored(2, { san: ['foo.test'] }),
    expected: 'dane-ta-name-mismatch',
  },
  {
    title: 'AUTH-14 DANE-TA: any reference identifier is enough',
    scene: () => ({
      ...anchored(2, { san: ['rcpt.test'] })(),
      references: [HOST, 'rcpt.test', 'real.test'],
    }),
    expected: 1,
  },
  {
    title: 'AUTH-16 DANE-TA: a name that is no reference identifier is not enough',
    scene: anchored(2, { san: ['rcpt.test'] }),
    expected: 'dane-ta-name-mismatch',
  },
  {
    title: 'DANE-TA without any reference identifier is refused',
    scene: () => ({ ...anchored(2)(), references: [] }),
    expected: 'dane-ta-name-mismatch',
  },
  {
    title: 'AUTH-20 DANE-TA: a DNS-ID hides the common name',
    scene: anchored(2, { subject: HOST, san: ['foo.test'] }),
    expected: 'dane-ta-name-mismatch',
  },
  {
    title: 'AUTH-21 DANE-TA: the common name counts where there is no DNS-ID',
    scene: anchored(2, { subject: HOST, san: [] }),
    expected: 1,
  },
  {
    title: 'AUTH-22 DANE-TA: a wildcard fits one label',
    scene: anchored(2, { san: ['*.rcpt.test'] }),
    expected: 1,
  },
  {
    title: 'AUTH-23 DANE-TA: a partial wildcard fits nothing',
    scene: anchored(2, { san: ['mx*.rcpt.test'] }),
    expected: 'dane-ta-name-mismatch',
  },
]

const AUTHORITY = { subject: 'Test root', ca: true } as const

const ANCHORS: readonly Case[] = [
  ...[2, 3, 4].flatMap((size) =>
    Array.from({ length: size - 1 }, (_, index): Case => ({
      title: `AUTH-12 anchor at ${index + 1} in a chain of ${size}`,
      scene: anchored(size, {}, {}, index + 1),
      expected: index + 1,
    })),
  ),
  {
    title: 'AUTH-09 the leaf chains to the root that is published',
    scene: anchored(3),
    expected: 2,
  },
  {
    title: 'AUTH-11 a private CA is as good as any, by its key',
    scene: () => {
      const { chain, root } = makeChain(2)
      return { chain, records: [tlsaRecord(root, 2, 1, 1)] }
    },
    expected: 1,
  },
  {
    title: 'AUTH-12 the root above the anchor need not be sent',
    scene: () => {
      const { chain } = makeChain(3)
      return { chain: chain.slice(0, 2), records: [tlsaRecord(at(chain, 1), 2, 0, 1)] }
    },
    expected: 1,
  },
  ...([1, 2] as const).flatMap((matchingType) =>
    ([0, 1] as const).map((selector): Case => ({
      title: `AUTH-31 2 ${selector} ${matchingType} and the anchor not sent`,
      scene: () => {
        const { chain, root } = makeChain(3)
        const records = [tlsaRecord(root, 2, selector, matchingType)]
        return { chain: chain.slice(0, 2), records }
      },
      expected: 'dane-ta-not-in-chain',
    })),
  ),
  {
    title: 'AUTH-32 2 0 0: the issuer comes from the DNS, the server sends the leaf alone',
    scene: () => {
      const { chain, root } = makeChain(2)
      return { chain: chain.slice(0, 1), records: [tlsaRecord(root, 2, 0, 0)] }
    },
    expected: 1,
  },
  {
    title: 'AUTH-32 2 0 0: the root comes from the DNS, the server sends leaf and intermediate',
    scene: () => {
      const { chain, root } = makeChain(3)
      return { chain: chain.slice(0, 2), records: [tlsaRecord(root, 2, 0, 0)] }
    },
    expected: 2,
  },
  {
    title: 'AUTH-33 2 1 0: the key from the DNS signed the leaf',
    scene: () => {
      const { chain, root } = makeChain(2)
      return { chain: chain.slice(0, 1), records: [tlsaRecord(root, 2, 1, 0)] }
    },
    expected: 1,
  },
  {
    title: 'AUTH-33 2 1 0: the key from the DNS signed the intermediate',
    scene: () => {
      const { chain, root } = makeChain(3)
      return { chain: chain.slice(0, 2), records: [tlsaRecord(root, 2, 1, 0)] }
    },
    expected: 2,
  },
  {
    title: 'AUTH-33 2 1 0: names count as ever',
    scene: () => {
      const { chain, root } = makeChain(2, { san: ['foo.test'] })
      return { chain: chain.slice(0, 1), records: [tlsaRecord(root, 2, 1, 0)] }
    },
    expected: 'dane-ta-name-mismatch',
  },
  {
    title: 'AUTH-33 2 1 0: dates count as ever',
    scene: () => {
      const { chain, root } = makeChain(2, { notAfter: days(-1), notBefore: days(-2) })
      return { chain: chain.slice(0, 1), records: [tlsaRecord(root, 2, 1, 0)] }
    },
    expected: 'dane-ta-expired',
  },
  {
    title: 'AUTH-33 2 1 0: another key signed nothing here',
    scene: () => ({
      chain: makeChain(2).chain.slice(0, 1),
      records: [tlsaRecord(makeCertificate(), 2, 1, 0)],
    }),
    expected: 'dane-ta-not-in-chain',
  },
  {
    title: 'AUTH-33 2 1 0: a sent certificate with that key is the anchor, and its dates count',
    scene: () => {
      const { chain, root } = makeChain(
        2,
        {},
        { 1: { ...AUTHORITY, notBefore: days(-9), notAfter: days(-1) } },
      )
      return { chain, records: [tlsaRecord(root, 2, 1, 0)] }
    },
    expected: 'dane-ta-expired',
  },
  {
    title: 'AUTH-34 2 1 1: a re-issued root with the same key fits',
    scene: () => reissued(1),
    expected: 1,
  },
  {
    title: 'AUTH-34 2 0 1: a re-issued root is another certificate',
    scene: () => reissued(0),
    expected: 'dane-ta-not-in-chain',
  },
  {
    title: 'AUTH-35 the genuine CA beside a self-signed forgery proves nothing',
    scene: () => {
      const authority = makeCertificate(AUTHORITY)
      const forged = makeCertificate({ subject: HOST, san: [HOST] })
      return { chain: [forged, authority], records: [tlsaRecord(authority, 2, 0, 1)] }
    },
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-35 a forgery in the name of the genuine CA proves nothing',
    scene: () => {
      const authority = makeCertificate(AUTHORITY)
      const forged = makeCertificate({ san: [HOST], issuer: authority, signingKey: makeKey() })
      return { chain: [forged, authority], records: [tlsaRecord(authority, 2, 0, 1)] }
    },
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-35 a forged intermediate below the genuine CA proves nothing',
    scene: () => {
      const authority = makeCertificate(AUTHORITY)
      const false_ = makeCertificate({
        subject: 'CA',
        ca: true,
        issuer: authority,
        signingKey: makeKey(),
      })
      const leaf = makeCertificate({ san: [HOST], issuer: false_ })
      return { chain: [leaf, false_, authority], records: [tlsaRecord(authority, 2, 0, 1)] }
    },
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-35 a genuine leaf certificate of that CA is no CA itself',
    scene: () => {
      const authority = makeCertificate(AUTHORITY)
      const customer = makeCertificate({ subject: 'customer', issuer: authority, keyUsage: false })
      const forged = makeCertificate({ san: [HOST], issuer: customer })
      return { chain: [forged, customer, authority], records: [tlsaRecord(authority, 2, 0, 1)] }
    },
    expected: 'dane-ta-chain-invalid',
  },
  ...([0, 1] as const).flatMap((selector) =>
    ([0, 1, 2] as const).map((matchingType): Case => ({
      title: `AUTH-36 2 ${selector} ${matchingType} of the self-signed leaf itself is no anchor`,
      scene: () => {
        const leaf = makeCertificate({ subject: HOST, san: [HOST], ca: true })
        return { chain: [leaf, leaf], records: [tlsaRecord(leaf, 2, selector, matchingType)] }
      },
      expected: 'dane-ta-not-in-chain',
    })),
  ),
]

function reissued(selector: 0 | 1): Scene {
  const old = makeCertificate(AUTHORITY)
  const renewed = makeCertificate({ ...AUTHORITY, key: old.key })
  const leaf = makeCertificate({ san: [HOST], issuer: old })
  return { chain: [leaf, renewed], records: [tlsaRecord(old, 2, selector, 1)] }
}

const PAST = { notBefore: days(-30), notAfter: days(-1) }
const FUTURE = { notBefore: days(1) }
const CA_NAMES = ['leaf', 'intermediate', 'anchor'] as const

const PATHS: readonly Case[] = [
  ...CA_NAMES.flatMap((what, position): Case[] => {
    const id = position === 2 ? 'AUTH-29' : 'AUTH-28'
    const shape = (dates: CertificateRequest): Case['scene'] =>
      position === 0 ? anchored(3, dates) : anchored(3, {}, { [position]: dates })
    return [
      {
        title: `${id} an expired ${what} is refused`,
        scene: shape(PAST),
        expected: 'dane-ta-expired',
      },
      {
        title: `${id} a not yet valid ${what} is refused`,
        scene: shape(FUTURE),
        expected: 'dane-ta-not-yet-valid',
      },
    ]
  }),
  {
    title: 'AUTH-29 of an anchor that is no root the dates do not count',
    scene: anchored(3, {}, { 1: PAST }, 1),
    expected: 1,
  },
  {
    title: 'AUTH-29 below such an anchor they do',
    scene: anchored(4, {}, { 2: PAST, 1: PAST }, 2),
    expected: 'dane-ta-expired',
  },
  ...([0, 1] as const).map((selector): Case => ({
    title: `AUTH-29 2 ${selector} 1 of a root that is there as its expired certificate from another root`,
    scene: () => {
      const older = makeCertificate({ subject: 'Older root', ca: true })
      const root = makeCertificate(AUTHORITY)
      const cross = makeCertificate({ ...AUTHORITY, key: root.key, issuer: older, ...PAST })
      const below = makeCertificate({ subject: 'Below', ca: true, issuer: root })
      const leaf = makeCertificate({ san: [HOST], issuer: below })
      return { chain: [leaf, below, cross], records: [tlsaRecord(cross, 2, selector, 1)] }
    },
    expected: 2,
  })),
  {
    title: 'AUTH-29 the same certificate below an anchor must be valid',
    scene: () => {
      const older = makeCertificate({ subject: 'Older root', ca: true })
      const root = makeCertificate(AUTHORITY)
      const cross = makeCertificate({ ...AUTHORITY, key: root.key, issuer: older, ...PAST })
      const leaf = makeCertificate({ san: [HOST], issuer: root })
      return { chain: [leaf, cross, older], records: [tlsaRecord(older, 2, 1, 1)] }
    },
    expected: 'dane-ta-expired',
  },
  {
    title: 'AUTH-30 the path length of the anchor counts',
    scene: anchored(3, {}, { 2: { pathLen: 0 } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-30 a path length that suffices is no hindrance',
    scene: anchored(4, {}, { 3: { pathLen: 2 }, 2: { pathLen: 1 }, 1: { pathLen: 0 } }),
    expected: 3,
  },
  {
    title: 'AUTH-30 the path length of an intermediate counts',
    scene: anchored(4, {}, { 2: { pathLen: 0 } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-30 permitted names of the anchor hold the leaf',
    scene: anchored(3, {}, { 2: { nameConstraints: { permitted: ['other.test'] } } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-30 a leaf within the permitted names is accepted',
    scene: anchored(3, {}, { 2: { nameConstraints: { permitted: ['rcpt.test'] } } }),
    expected: 2,
  },
  {
    title: 'AUTH-30 excluded names of an intermediate hold the leaf',
    scene: anchored(3, {}, { 1: { nameConstraints: { excluded: ['rcpt.test'] } } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-30 name constraints hold a common name that stands for a DNS-ID',
    scene: anchored(2, { san: [] }, { 1: { nameConstraints: { permitted: ['other.test'] } } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-30 a wildcard does not lead around an excluded host',
    scene: anchored(2, { san: ['*.rcpt.test'] }, { 1: { nameConstraints: { excluded: [HOST] } } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-30 directory names are held as well',
    scene: anchored(2, {}, { 1: { nameConstraints: { permitted: [{ directory: 'other' }] } } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-30 directory names compare without case and white space',
    scene: anchored(
      2,
      {
        subject: [
          ['O', 'Test  Mail'],
          ['CN', HOST],
        ],
      },
      {
        1: {
          nameConstraints: {
            permitted: [
              {
                raw: Buffer.from(
                  'a4163014311230100603550' + '40a1309544553' + '54204d41494c',
                  'hex',
                ),
              },
            ],
          },
        },
      },
    ),
    expected: 1,
  },
  {
    title: 'AUTH-30 addresses are held by their network',
    scene: anchored(
      2,
      { san: [HOST, { ip: Buffer.from([192, 0, 2, 1]) }] },
      { 1: { nameConstraints: { permitted: [{ ip: Buffer.from([10, 0, 0, 0, 255, 0, 0, 0]) }] } } },
    ),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-30 a constraint on a form of names that is not understood refuses such names',
    scene: anchored(
      2,
      { san: [HOST, { uri: 'https://a.test/' }] },
      { 1: { nameConstraints: { excluded: [{ uri: 'b.test' }] } } },
    ),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-37 unrelated, duplicate and disordered certificates do no harm',
    scene: () => {
      const { chain, root } = makeChain(4)
      const stray = makeCertificate({ ca: true })
      const [leaf, low, high] = chain.map((_, index) => at(chain, index))
      assert.ok(leaf && low && high)
      const sent = [leaf, stray, root, high, low, high, leaf, stray]
      return { chain: sent, records: [tlsaRecord(root, 2, 0, 1)] }
    },
    expected: 3,
  },
  {
    title: 'AUTH-37 of two issuers with one name and key, the one that holds is found',
    scene: () => {
      const root = makeCertificate(AUTHORITY)
      const expired = makeCertificate({ subject: 'CA', ca: true, issuer: root, ...PAST })
      const valid = makeCertificate({ subject: 'CA', ca: true, issuer: root, key: expired.key })
      const leaf = makeCertificate({ san: [HOST], issuer: valid })
      return { chain: [leaf, expired, valid, root], records: [tlsaRecord(root, 2, 0, 1)] }
    },
    expected: 2,
  },
  {
    title: 'AUTH-37 of two issuers with one name, the one whose key signed is found',
    scene: () => {
      const impostor = makeCertificate({ ...AUTHORITY, keyIdentifiers: false })
      const root = makeCertificate({ ...AUTHORITY, keyIdentifiers: false })
      const leaf = makeCertificate({ san: [HOST], issuer: root, keyIdentifiers: false })
      return { chain: [leaf, impostor, root], records: [tlsaRecord(root, 2, 0, 1)] }
    },
    expected: 1,
  },
  {
    title: 'AUTH-38 an intermediate with CA:FALSE is refused',
    scene: anchored(3, {}, { 1: { ca: false, keyUsage: ['keyCertSign'] } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-38 an intermediate without basicConstraints is refused',
    scene: () => {
      const root = makeCertificate(AUTHORITY)
      const plain = makeCertificate({ subject: 'CA', issuer: root, keyUsage: ['keyCertSign'] })
      const leaf = makeCertificate({ san: [HOST], issuer: plain })
      return { chain: [leaf, plain, root], records: [tlsaRecord(root, 2, 0, 1)] }
    },
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-38 an anchor with CA:FALSE is refused',
    scene: anchored(2, {}, { 1: { ca: false, keyUsage: false } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-38 an issuer without keyCertSign is refused',
    scene: anchored(2, {}, { 1: { keyUsage: ['cRLSign'] } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-38 a root of version 1 is an anchor',
    scene: () => versionOne(true),
    expected: 1,
  },
  {
    title: 'AUTH-38 an intermediate of version 1 is refused',
    scene: () => versionOne(false),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-38 a leaf for TLS servers is accepted',
    scene: anchored(2, { extKeyUsage: ['clientAuth', 'serverAuth'] }),
    expected: 1,
  },
  ...(['clientAuth', 'any'] as const).map((usage): Case => ({
    title: `AUTH-38 a leaf with the key purpose ${usage} alone is refused`,
    scene: anchored(2, { extKeyUsage: [usage] }),
    expected: 'dane-ta-chain-invalid',
  })),
  {
    title: 'AUTH-38 an intermediate that is for other purposes is refused',
    scene: anchored(3, {}, { 1: { extKeyUsage: ['emailProtection'] } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-38 a leaf whose key may only sign certificates is refused',
    scene: anchored(2, { keyUsage: ['cRLSign'] }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'a critical extension that is not understood is refused',
    scene: anchored(2, {
      extensions: [{ oid: '1.2.3.4', critical: true, value: Buffer.from('0500', 'hex') }],
    }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'a leaf signed over SHA-1 is refused',
    scene: anchored(2, { digest: 'sha1' }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'a leaf signed by RSASSA-PSS over SHA-1 is refused',
    scene: anchored(2, { digest: 'sha1', pss: true }, { 1: { key: 'rsa' } }),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'a leaf signed by RSASSA-PSS over SHA2-256 is accepted',
    scene: anchored(2, { pss: true }, { 1: { key: 'rsa' } }),
    expected: 1,
  },
  {
    title: 'AUTH-35 a CA whose key signed, but whose name is not the issuer of the leaf',
    scene: () => {
      const authority = makeCertificate(AUTHORITY)
      const renamed = makeCertificate({ subject: 'Other', ca: true, key: authority.key })
      const leaf = makeCertificate({ san: [HOST], issuer: authority })
      return { chain: [leaf, renamed], records: [tlsaRecord(authority, 2, 1, 1)] }
    },
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'AUTH-38 a self-issued intermediate of version 1 is refused',
    scene: () => {
      const root = makeCertificate(AUTHORITY)
      const old = makeCertificate({ subject: 'Test root', version: 1, issuer: root })
      const leaf = makeCertificate({ san: [HOST], issuer: old, keyIdentifiers: false })
      return { chain: [leaf, old, root], records: [tlsaRecord(root, 2, 0, 1)] }
    },
    expected: 'dane-ta-chain-invalid',
  },
  ...(['Test root', 'Other CA'] as const).map((subject): Case => ({
    title: `AUTH-30 names of ${subject === 'Other CA' ? 'an' : 'a self-issued'} intermediate ${subject === 'Other CA' ? 'are' : 'are not'} held by name constraints`,
    scene: () => {
      const root = makeCertificate({
        ...AUTHORITY,
        nameConstraints: { permitted: ['rcpt.test'] },
      })
      const below = makeCertificate({ subject, ca: true, san: ['ca.other.test'], issuer: root })
      const leaf = makeCertificate({ san: [HOST], issuer: below })
      return { chain: [leaf, below, root], records: [tlsaRecord(root, 2, 0, 1)] }
    },
    expected: subject === 'Other CA' ? 'dane-ta-chain-invalid' : 2,
  })),
  {
    title: 'AUTH-30 names and constraints beyond all measure are refused',
    scene: anchored(
      2,
      { san: [HOST, ...Array.from({ length: 300 }, (_, index) => `h${index}.test`)] },
      {
        1: {
          nameConstraints: {
            excluded: Array.from({ length: 300 }, (_, index) => `x${index}.test`),
          },
        },
      },
    ),
    expected: 'dane-ta-chain-invalid',
  },
  {
    title: 'an anchor that signed itself over SHA-1 is accepted, for its signature proves nothing',
    scene: anchored(2, {}, { 1: { digest: 'sha1' } }),
    expected: 1,
  },
  {
    title: 'an issuer with an RSA key of 1024 bits is refused',
    scene: anchored(2, {}, { 1: { key: 'rsa1024' } }),
    expected: 'dane-ta-chain-invalid',
  },
]

function versionOne(anchorsIt: boolean): Scene {
  const root = makeCertificate({ ...AUTHORITY, version: anchorsIt ? 1 : 3 })
  const old = makeCertificate({ subject: 'Old', version: 1, issuer: root })
  const leaf = makeCertificate({ san: [HOST], issuer: anchorsIt ? root : old })
  return { chain: [leaf, old, root], records: [tlsaRecord(root, 2, 0, 1)] }
}

describe('dane: verification', () => {
  for (const { title, scene, expected } of [...END_ENTITY, ...NAMES, ...ANCHORS, ...PATHS]) {
    it(title, () => {
      assert.equal(outcome(scene()), expected)
    })
  }

  it('USE-10 an unusable record that would match does not authenticate', () => {
    const leaf = makeCertificate()
    const set = [tlsaData(leaf, 1, 1, 1), tlsaData(leaf, 3, 1, 1, Buffer.alloc(32))]
    const { usable } = judgeRecords(set, { digests: DIGESTS })
    assert.equal(outcome({ chain: [leaf], records: usable }), 'dane-no-match')
  })

  it('USE-13 USE-14 USE-15 USE-16 digest agility decides which record can match', () => {
    const leaf = makeCertificate()
    const strange = Buffer.alloc(64)
    const fits = (...set: Parameters<typeof judgeRecords>[0]) =>
      outcome({ chain: [leaf], records: judgeRecords(set, { digests: DIGESTS }).usable })
    const strong = tlsaData(leaf, 3, 1, 2, strange)
    assert.equal(fits(tlsaData(leaf, 3, 1, 1), strong), 'dane-no-match')
    assert.equal(fits(tlsaData(leaf, 3, 0, 1), strong), 0)
    const short = tlsaData(leaf, 3, 1, 2, strange.subarray(1))
    assert.equal(fits(short, tlsaData(leaf, 3, 1, 1)), 0)
    assert.equal(fits(tlsaData(leaf, 3, 1, 0), strong), 0)
  })

  it('AUTH-10 no CA of this machine plays a part', () => {
    const { chain } = makeChain(2)
    const records = [tlsaRecord(makeCertificate({ ca: true }), 2, 0, 1)]
    assert.equal(outcome({ chain, records }), 'dane-ta-not-in-chain')
  })

  it('names the record and the reference identifier that fitted', () => {
    const { chain, root } = makeChain(2, { san: ['*.rcpt.test'] })
    const record = tlsaRecord(root, 2, 1, 2)
    const verdict = judge({ chain, records: [strangeRecord(3), record] })
    assert.deepEqual(verdict, { ok: true, record, depth: 1, matchedName: HOST })
  })

  it('AUTH-28 a certificate is valid from and through the seconds that it names', () => {
    const notBefore = new Date('2026-01-01T00:00:00Z')
    const notAfter = new Date('2026-02-01T00:00:00Z')
    const { chain, root } = makeChain(2, { notBefore, notAfter }, { 1: { notBefore } })
    const on = (now: string) => {
      const verdict = verifyDane({
        chain: chain.map(({ certificate }) => certificate),
        records: [tlsaRecord(root, 2, 0, 1)],
        references: [HOST],
        now: new Date(now),
      })
      return verdict.ok ? verdict.depth : verdict.reason
    }
    assert.equal(on('2025-12-31T23:59:59.999Z'), 'dane-ta-not-yet-valid')
    assert.equal(on('2026-01-01T00:00:00Z'), 1)
    assert.equal(on('2026-02-01T00:00:00.999Z'), 1)
    assert.equal(on('2026-02-01T00:00:01Z'), 'dane-ta-expired')
  })

  describe('explains', () => {
    const detail = (scene: Scene) => {
      const verdict = judge(scene)
      return verdict.ok ? assert.fail('accepted') : verdict.detail
    }

    it('which digests were expected and presented', () => {
      const leaf = makeCertificate()
      const text = detail({ chain: [leaf], records: [strangeRecord(3)] })
      const presented = tlsaRecord(leaf, 3, 1, 1).data.toString('hex')
      assert.equal(text, `expected 3 1 1 ${'5a'.repeat(32)}; presented 3 1 1 ${presented}`)
    })

    it('which names were expected and presented', () => {
      const text = detail(anchored(2, { san: ['foo.test', '*.bar.test'] })())
      assert.equal(text, `expected ${HOST}; presented foo.test, *.bar.test`)
    })

    it('which certificate expired when', () => {
      const notAfter = new Date('2026-01-02T03:04:05Z')
      const text = detail(anchored(2, { notBefore: days(-999), notAfter })())
      assert.equal(text, `certificate "CN=${HOST}" expired 2026-01-02T03:04:05Z`)
    })

    it('in one bounded line without control characters, whatever was sent', () => {
      const hostile = '\u001b[2J\r\n'.repeat(200)
      const leaf = makeCertificate({ subject: hostile, san: [] })
      const records = Array.from({ length: 500 }, () => tlsaRecord(leaf, 2, 0, 0))
      const scenes: Scene[] = [
        { chain: [makeCertificate({ subject: hostile }), leaf, leaf], records },
        anchored(2, { subject: hostile, san: [] })(),
        anchored(2, { subject: hostile, ...PAST })(),
        anchored(2, { san: Array.from({ length: 99 }, () => ({ bytes: Buffer.from(hostile) })) })(),
      ]
      for (const scene of scenes) {
        const text = detail(scene)
        assert.match(text, /^[\x20-\x7e…]+$/)
        assert.ok(text.length <= 800)
      }
    })
  })

  it('bounds the work that a hostile chain can cause', () => {
    const keys = [makeKey(), makeKey()] as const
    const name = (side: number) => `CA ${side % 2}`
    const certificates = Array.from({ length: 40 }, (_, index) => {
      const issuer = makeCertificate({
        subject: name(index + 1),
        ca: true,
        key: keys[(index + 1) % 2 === 0 ? 0 : 1],
      })
      return makeCertificate({
        subject: name(index),
        ca: true,
        key: keys[index % 2 === 0 ? 0 : 1],
        issuer,
      })
    })
    const leaf = makeCertificate({ san: [HOST], issuer: at(certificates, 0) })
    const records = [tlsaRecord(makeCertificate(), 2, 0, 1)]
    const spent = cpuMilliseconds(() => {
      assert.equal(outcome({ chain: [leaf, ...certificates], records }), 'dane-ta-not-in-chain')
    })
    assert.ok(spent < 3000, `${spent} ms`)
  })

  it('property: no changed octet in a chain makes it throw, and none authenticates by DANE-EE', () => {
    const { chain, leaf, root } = makeChain(3)
    const records = [tlsaRecord(leaf, 3, 0, 1), tlsaRecord(root, 2, 0, 1)]
    fc.assert(
      fc.property(fc.nat(leaf.der.length - 1), fc.integer({ min: 1, max: 255 }), (place, bits) => {
        const changed = Buffer.from(leaf.der)
        changed.writeUInt8(changed.readUInt8(place) ^ bits, place)
        const certificate = parsed(changed)
        if (certificate === undefined) return
        const rest = chain.slice(1).map((issuer) => issuer.certificate)
        const verdict = verifyDane({
          chain: [certificate, ...rest],
          records,
          references: [HOST],
          now: NOW,
        })
        assert.equal(verdict.ok, false)
      }),
      { numRuns: 500 },
    )
  })

  it('a key that cannot be read is no reason to throw', () => {
    const made = makeCertificate({ key: 'ec' })
    const spki = spkiOf(made.certificate)
    const broken = Buffer.from(made.der)
    const place = broken.indexOf(spki)
    broken.fill(0xff, place + spki.length - 64, place + spki.length)
    const certificate = new X509Certificate(broken)
    const verdict = verifyDane({
      chain: [certificate, certificate],
      records: [strangeRecord(2), strangeRecord(3), tlsaRecord(made, 2, 1, 0)],
      references: [HOST],
      now: NOW,
    })
    assert.equal(verdict.ok, false)
  })
})

function parsed(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}
