/**
 * Certificates to damage: chains of all shapes with keys that a number repeats, damaged in their octets or in their tree, and signed
 * anew where wanted, so that damage is not stopped by its signature. With them go TLSA records that fit some of it.
 */
import { createHash, createPrivateKey, sign, X509Certificate, type KeyObject } from 'node:crypto'
import {
  makeCertificate,
  type CertificateRequest,
  type TestCertificate,
  type TestName,
} from '../support/certificates'
import { bitString, sequence } from '../support/certificates-der'
import { damageTree, markDer, partsOf } from './der-tree'
import { damage } from './octets'
import type { Random } from './random'

export const NOW = new Date('2026-06-01T00:00:00Z')
export const HOST = 'mx1.rcpt.test'
const DAY = 86_400_000

/** An Ed25519 key: it signs the same octets the same way each time. */
function key(number: number): KeyObject {
  const prefix = Buffer.from('302e020100300506032b657004220420', 'hex')
  return createPrivateKey({
    key: Buffer.concat([prefix, Buffer.alloc(32, number + 1)]),
    format: 'der',
    type: 'pkcs8',
  })
}
const KEYS = Array.from({ length: 6 }, (_, number) => key(number))

const NAMES: readonly [TestName, ...TestName[]] = [
  HOST, '*.rcpt.test', 'rcpt.test', '*', '', '.', 'MX1.RCPT.TEST', 'a\u0000.test', `${HOST}\u0000.evil.test`,
  { ip: Buffer.from([192, 0, 2, 1]) }, { ip: Buffer.alloc(16) }, { email: 'a@rcpt.test' }, { uri: 'https://rcpt.test/' },
  { directory: 'Test CA' }, { bytes: Buffer.from([0xff, 0, 0x0a]) }, { raw: Buffer.from('a003020100', 'hex') },
] // prettier-ignore
const SUBJECTS = ['Test CA', HOST, '', 'evil\n\u202ename', 'x'.repeat(300), '*.rcpt.test'] as const

function names(random: Random, most: number): TestName[] {
  const isMany = random.percent(3)
  return Array.from({ length: isMany ? 600 : random.below(most) }, () => random.pick(NAMES))
}

function request(random: Random, isCa: boolean): CertificateRequest {
  const from = random.percent(85) ? -DAY : random.pick([DAY, -20_000 * DAY])
  const to = random.percent(85) ? DAY : random.pick([-1, -1001, 0, 100_000 * DAY])
  const chance = random.percent(12)
  return {
    subject: random.percent(70) ? (isCa ? 'Test CA' : HOST) : random.pick(SUBJECTS),
    san: isCa && random.percent(80) ? [] : random.percent(70) ? [HOST] : names(random, 8),
    notBefore: new Date(NOW.getTime() + from),
    notAfter: new Date(NOW.getTime() + to),
    serial: BigInt(1 + random.below(3)),
    keyIdentifiers: random.percent(50),
    version: random.percent(95) ? 3 : 1,
    ...(isCa || random.percent(20) ? { ca: isCa ? random.percent(92) : random.percent(50) } : {}),
    ...(isCa && random.percent(15) ? { pathLen: random.below(3) } : {}),
    ...(random.percent(10) ? { keyUsage: random.percent(20) ? false : [random.pick(['keyCertSign', 'cRLSign', 'digitalSignature'])] } : {}),
    ...(random.percent(10) ? { extKeyUsage: [random.pick(['serverAuth', 'clientAuth', 'any', '1.2.3'])] } : {}),
    ...(isCa && random.percent(15) ? { nameConstraints: { permitted: names(random, 3), excluded: names(random, 3) } } : {}),
    ...(chance ? { extensions: [{ oid: random.pick(['1.2.3', '2.5.29.17', '2.5.29.32', '2.5.29.15']), critical: random.percent(50), value: random.octets(random.below(20)) }] } : {}),
  } // prettier-ignore
}

/** Signs what a certificate says with another key, and leaves the rest as it is. */
function signAnew(der: Buffer, issuer: KeyObject): Buffer {
  const [tbs, algorithm] = partsOf(der)
  if (tbs === undefined || algorithm === undefined) return der
  return sequence(tbs, algorithm, bitString(sign(null, tbs, issuer)))
}

function damaged(random: Random, der: Buffer, issuer: KeyObject): Buffer {
  if (random.percent(35)) return damage(random, markDer(der))
  if (random.percent(20)) return damageTree(random, der)
  const [tbs, ...rest] = partsOf(der)
  if (tbs === undefined) return der
  return signAnew(sequence(damageTree(random, tbs), ...rest), issuer)
}

/** Leaf first; then its issuers, in some order, and strangers. */
export function chainOf(random: Random): Buffer[] {
  const size = random.percent(4) ? 12 : 1 + random.below(4)
  const whole: TestCertificate[] = []
  let issuer: TestCertificate | undefined
  for (let position = size - 1; position >= 0; position--) {
    const isCa = position > 0
    const sameKey = random.percent(10)
    issuer = makeCertificate({
      ...request(random, isCa),
      key: KEYS[sameKey ? 0 : position % KEYS.length] ?? key(0),
      ...(issuer === undefined ? {} : { issuer }),
    })
    whole.unshift(issuer)
  }
  const ders = whole.map(({ der }, position) => {
    const signer = whole[position + 1]?.key ?? whole[position]?.key ?? key(0)
    return random.percent(40 / size + 5) ? damaged(random, der, signer) : der
  })
  const [leaf, ...others] = ders
  if (random.percent(15)) others.reverse()
  if (random.percent(10)) others.push(...others)
  return leaf === undefined ? [] : [leaf, ...others]
}

/** Many CAs of one name and one key: each may have signed each, and so may each path. */
export function mazeOf(random: Random): Buffer[] {
  const [signer = key(0), leafKey = key(1)] = KEYS
  const root = makeCertificate({ ...request(random, true), subject: 'Maze', key: signer })
  const isHeavy = random.percent(50)
  const heavy = isHeavy
    ? {
        permitted: Array<TestName>(250).fill('test'),
        excluded: Array<TestName>(10).fill({ directory: 'x' }),
      }
    : undefined
  const heavySan = isHeavy ? Array<TestName>(250).fill(HOST) : [HOST]
  const ca = (serial: number): Buffer =>
    makeCertificate({
      subject: 'Maze', issuer: root, key: signer, ca: true, serial: BigInt(serial), keyIdentifiers: false, san: heavySan,
      notBefore: new Date(NOW.getTime() - DAY),
      notAfter: new Date(NOW.getTime() + DAY),
      ...(heavy === undefined ? {} : { nameConstraints: heavy }),
    }).der // prettier-ignore
  const expires = new Date(NOW.getTime() + (random.percent(50) ? DAY : -DAY))
  const leaf = makeCertificate({
    subject: HOST,
    san: heavySan,
    issuer: root,
    key: leafKey,
    notBefore: new Date(0),
    notAfter: expires,
  })
  return [
    leaf.der,
    ...Array.from({ length: isHeavy ? 8 : 16 }, (_, serial) => ca(serial + 2)),
    root.der,
  ]
}

const SHAPES = [
  '3 0 1',
  '3 1 1',
  '3 1 2',
  '3 0 0',
  '2 0 1',
  '2 1 1',
  '2 0 0',
  '2 1 0',
  '2 0 2',
  '2 0 1',
  '2 1 1',
] as const

/** RDATA of a TLSA record that one of the certificates fits, mostly. */
export function recordFor(random: Random, chain: readonly Buffer[]): Buffer {
  const [usage = 3, selector = 0, matchingType = 0] = random.pick(SHAPES).split(' ').map(Number)
  const last = chain.length - 1
  const der =
    chain[random.percent(60) ? (usage === 3 ? 0 : last) : random.below(chain.length)] ??
    Buffer.alloc(0)
  const selected = selector === 0 ? der : (publicKeyOf(der) ?? random.octets(44))
  const digest =
    matchingType === 0
      ? selected
      : createHash(matchingType === 1 ? 'sha256' : 'sha512')
          .update(selected)
          .digest()
  const whole = Buffer.concat([Buffer.from([usage, selector, matchingType]), digest])
  if (random.percent(85)) return whole
  return matchingType === 0
    ? damage(random, markDer(whole))
    : damage(random, { octets: whole, fields: [], parts: [] })
}

function publicKeyOf(der: Buffer): Buffer | undefined {
  try {
    return new X509Certificate(der).publicKey.export({ format: 'der', type: 'spki' })
  } catch {
    return undefined
  }
}
