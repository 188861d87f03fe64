import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import fc from 'fast-check'
import { readKeyKind, weighKey } from '../../../plugins/x509/key'
import { curveKeyInfo, rsaKeyInfo } from '../../support/costly-keys'

const spki = (key: KeyObject): Buffer => key.export({ format: 'der', type: 'spki' })
const weightOf = (keyInfo: Buffer) => weighKey(readKeyKind(keyInfo))

const TAKEN: readonly (readonly [string, () => Buffer])[] = [
  ...[1024, 2048, 3072, 4096, 8192, 16_384].flatMap((bits) =>
    [17, 32, 64].map(
      (exponent) => [`RSA ${bits}, exponent of ${exponent} bits`, () => rsaKeyInfo(bits, exponent)] as const,
    ),
  ),
  ['RSASSA-PSS', () => spki(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey)],
  ...['P-224', 'P-256', 'P-384', 'P-521', 'secp256k1', 'brainpoolP256r1', 'brainpoolP384r1', 'brainpoolP512r1'].map(
    (curve) => [curve, () => curveKeyInfo(curve, 'named')] as const,
  ),
  ['Ed25519', () => spki(generateKeyPairSync('ed25519').publicKey)],
  ['Ed448', () => spki(generateKeyPairSync('ed448').publicKey)],
  ['DSA 1024', () => spki(generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }).publicKey)],
] // prettier-ignore

const REFUSED: readonly (readonly [string, () => Buffer, RegExp])[] = [
  ['RSA beyond 16,384 bits', () => rsaKeyInfo(16_392, 17), /^an RSA modulus of 16392 bits$/],
  ['an exponent of 65 bits', () => rsaKeyInfo(2048, 65), /^an RSA exponent of 65 bits$/],
  ['an exponent as long as the modulus', () => rsaKeyInfo(3072, 3064), /^an RSA exponent of 3064 bits$/],
  ['a curve by its parameters', () => curveKeyInfo('P-256', 'explicit'), /by its parameters/],
  ['a curve over a binary field', () => curveKeyInfo('sect571r1', 'named'), /not supported/],
  ['a key that signs nothing', () => spki(generateKeyPairSync('x25519').publicKey), /algorithm/],
  ['no key', () => Buffer.from('3000', 'hex'), /not plain DER/],
] // prettier-ignore

describe('x509: what a check with a key costs', () => {
  for (const [title, make] of TAKEN) {
    it(`${title} is worth its check`, () => {
      const weight = weightOf(make())
      assert.ok(weight.ok && weight.microseconds <= 6000, JSON.stringify(weight))
    })
  }

  for (const [title, make, why] of REFUSED) {
    it(`${title} is not`, () => {
      const weight = weightOf(make())
      assert.ok(!weight.ok, JSON.stringify(weight))
      assert.match(weight.why, why)
    })
  }

  it('property: any octets never throw, and what cannot be read is never worth a check', () => {
    const octets = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
    const damaged = fc
      .tuple(fc.constant(rsaKeyInfo(1024, 17)), fc.nat(150), fc.nat(255))
      .map(([whole, place, octet]) => {
        const bytes = Buffer.from(whole)
        bytes.writeUInt8(octet, place % bytes.length)
        return bytes
      })
    fc.assert(
      fc.property(fc.oneof(octets, damaged), (bytes) => {
        const kind = readKeyKind(bytes)
        const weight = weighKey(kind)
        return kind !== undefined || !weight.ok
      }),
    )
  })
})
