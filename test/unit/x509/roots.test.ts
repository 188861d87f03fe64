import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { againstRoots, readRoots } from '../../../plugins/x509/roots'
import { makeCertificate, type TestCertificate } from '../../support/certificates'

const DAY = 86_400_000
const now = new Date()
const x509 = ({ pem }: TestCertificate) => new X509Certificate(pem)
const root = makeCertificate({ subject: 'Root', ca: true })
const intermediate = makeCertificate({ subject: 'Intermediate', ca: true, issuer: root })
const leaf = makeCertificate({ subject: 'leaf', san: ['mx.test'], issuer: intermediate })
const expired = makeCertificate({
  subject: 'leaf',
  issuer: root,
  notBefore: new Date(now.getTime() - 2 * DAY),
  notAfter: new Date(now.getTime() - DAY),
})
const other = makeCertificate({ subject: 'Other', ca: true })
const self = makeCertificate({ subject: 'self', san: ['mx.test'] })
const crowd = Array.from({ length: 140 }, (_, index) =>
  makeCertificate({ subject: `Root ${index}`, ca: true }),
)

const cases: readonly (readonly [
  string,
  readonly TestCertificate[],
  readonly TestCertificate[],
  string | undefined,
])[] = [
  ['the root is left out of the chain', [leaf, intermediate], [root], undefined],
  ['the root is sent along', [leaf, intermediate, root], [root], undefined],
  ['the root is the last of many', [leaf, intermediate], [...crowd, root], undefined],
  ['an intermediate is missing', [leaf], [root], 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ['another root', [leaf, intermediate], [other], 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
  ['no root', [leaf, intermediate, root], [], 'SELF_SIGNED_CERT_IN_CHAIN'],
  ['self-signed', [self], [root], 'DEPTH_ZERO_SELF_SIGNED_CERT'],
  ['expired', [expired], [root], 'CERT_HAS_EXPIRED'],
  ['nothing was presented', [], [root], 'UNABLE_TO_GET_ISSUER_CERT'],
]

describe('a chain against the roots of a file', () => {
  for (const [title, chain, roots, code] of cases) {
    it(`${title} -> ${code ?? 'trusted'}`, () => {
      const read = readRoots(roots.map(({ pem }) => pem).join('\n'))
      assert.equal(read.length, roots.length)
      const verdict = againstRoots(chain.map(x509), read, now)
      assert.deepEqual(verdict, code === undefined ? { ok: true } : { ok: false, code })
    })
  }

  it('what is no certificate in the file is left out', () => {
    const junk = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
    assert.equal(readRoots(`words\n${junk}${root.pem}`).length, 1)
  })

  it('a bundle is read once, and anew when it is another', () => {
    const read = readRoots(root.pem)
    assert.equal(readRoots(root.pem), read)
    assert.notEqual(readRoots(other.pem), read)
    assert.deepEqual(readRoots(other.pem).map(({ subject }) => subject), [x509(other).subject])
  }) // prettier-ignore
})
