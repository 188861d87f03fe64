/** Keys, certificates and TLSA records that were made to burn the time of who looks at them. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import type { TlsaData } from '../../plugins/dnssec-stub/types'
import { makeCertificate, type TestCertificate } from './certificates'
import { bitString, integer, nul, objectIdentifier, sequence } from './certificates-der'

/** An odd number of exactly so many bits, a multiple of eight. */
function oddNumber(bits: number): bigint {
  const random = BigInt(`0x${randomBytes(Math.ceil(bits / 8)).toString('hex')}`)
  const top = 1n << BigInt(bits - 1)
  return (random & (top - 1n)) | top | 1n
}

/** The SubjectPublicKeyInfo of an RSA key that nobody has the private half of. */
export function rsaKeyInfo(modulusBits: number, exponentBits: number): Buffer {
  const numbers = sequence(integer(oddNumber(modulusBits)), integer(oddNumber(exponentBits)))
  return sequence(sequence(objectIdentifier('1.2.840.113549.1.1.1'), nul()), bitString(numbers))
}

export function curveKeyInfo(namedCurve: string, paramEncoding: 'named' | 'explicit'): Buffer {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve, paramEncoding })
  return publicKey.export({ format: 'der', type: 'spki' })
}

/** The same with a point that is not on the curve. */
export function offCurve(keyInfo: Buffer): Buffer {
  const spoilt = Buffer.from(keyInfo)
  spoilt.writeUInt8(spoilt.readUInt8(spoilt.length - 3) ^ 1, spoilt.length - 3)
  return spoilt
}

export function wholeRecord(usage: 2 | 3, keyInfo: Buffer): TlsaData {
  return { malformed: false, usage, selector: 1, matchingType: 0, data: keyInfo }
}

/** The octets of TLSA data that fit into one DNS message beside their heads. */
const MESSAGE = 60_000

/** Different records of one set; more are looked at by nobody, and keys take long to make. */
const DIFFERENT = 40

/** As many records of one kind as a DNS message holds. */
export function fullSet(make: () => TlsaData): TlsaData[] {
  const made = Array.from({ length: DIFFERENT }, make)
  const octets = (made[0]?.data.length ?? 0) + 15
  const set: TlsaData[] = []
  while ((set.length + 1) * octets < MESSAGE) set.push(...made)
  return set.slice(0, Math.floor(MESSAGE / octets))
}

/**
 * A chain of CAs with RSA keys, so that RSA keys published as anchors have something to check. Leaf first. Two keys take turns: to
 * make one takes most of a second.
 */
export function rsaChain(host: string, issuers: number, modulusLength: number): TestCertificate[] {
  const chain: TestCertificate[] = []
  const keys = [0, 1].map(() => generateKeyPairSync('rsa', { modulusLength }).privateKey)
  for (let place = 0; place < issuers; place++) {
    const key = keys[place % 2]
    assert.ok(key)
    const [issuer] = chain
    chain.unshift(
      makeCertificate({ subject: `CA ${place}`, ca: true, key, ...(issuer ? { issuer } : {}) }),
    )
  }
  const [issuer] = chain
  return [makeCertificate({ subject: host, san: [host], ...(issuer ? { issuer } : {}) }), ...chain]
}
