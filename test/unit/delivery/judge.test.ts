import assert from 'node:assert/strict'
import type { TlsaRecord } from '../../../plugins/dane/types'
import { judge, type SessionEvidence } from '../../../plugins/delivery/judge'
import type { DaneDemand, PkixDemand, Requirement, Verdict } from '../../../plugins/delivery/types'
import {
  makeCertificate,
  makeChain,
  strangeRecord,
  type TestCertificate,
  tlsaRecord,
} from '../../support/certificates'

const NOW = new Date()
const HOST = 'mx1.rcpt.test'
const chain = makeChain(3)
const { leaf, root } = chain

type Judged = Extract<Requirement, { level: 'encrypt' | 'authenticate' }>

function dane(...records: readonly TlsaRecord[]): DaneDemand {
  return { base: HOST, records, references: [HOST, 'rcpt.test'], presentation: [] }
}

const pkix: PkixDemand = { host: HOST, patterns: [HOST] }

function authenticate(
  demands: { readonly dane?: DaneDemand; readonly pkix?: PkixDemand },
  success: 'verified' | 'trusted' = 'verified',
): Judged {
  return { level: 'authenticate', sni: HOST, success, ...demands }
}

function session(presented: readonly TestCertificate[], untrusted?: string): SessionEvidence {
  return {
    chain: presented.map(({ certificate }) => certificate),
    pkix: untrusted === undefined ? { ok: true } : { ok: false, code: untrusted },
  }
}

function outcome({ verdict, reason }: Verdict): string {
  return `${verdict} ${reason}`
}

const stranger = makeCertificate({ subject: 'other.test', san: ['other.test'] })
const good = tlsaRecord(leaf, 3, 1, 1)
const anchor = tlsaRecord(root, 2, 0, 1)
const bad = strangeRecord(3)

describe('judge: a session against its requirement', () => {
  const table: readonly (readonly [string, Judged, SessionEvidence, string])[] = [
    [
      'USE-11 TLS mandatory, authentication not: any certificate will do',
      { level: 'encrypt', sni: HOST, reason: 'tls-unauthenticated' },
      session([stranger], 'DEPTH_ZERO_SELF_SIGNED_CERT'),
      'encrypted tls-unauthenticated',
    ],
    [
      'USE-11 even none at all',
      { level: 'encrypt', sni: HOST, reason: 'tls-unauthenticated' },
      session([], 'UNABLE_TO_GET_ISSUER_CERT'),
      'encrypted tls-unauthenticated',
    ],
    [
      'the operator wants encryption',
      { level: 'encrypt', sni: undefined, reason: 'operator-encrypt' },
      session([stranger], 'DEPTH_ZERO_SELF_SIGNED_CERT'),
      'encrypted operator-encrypt',
    ],
    [
      'AUTH-01 DANE-EE matches',
      authenticate({ dane: dane(bad, good) }),
      session(chain.chain, 'SELF_SIGNED_CERT_IN_CHAIN'),
      'verified dane-ee-matched',
    ],
    [
      'AUTH-09 AUTH-10 DANE-TA matches; the trust store is not asked',
      authenticate({ dane: dane(anchor) }),
      session(chain.chain, 'SELF_SIGNED_CERT_IN_CHAIN'),
      'verified dane-ta-matched',
    ],
    [
      'DNS-16 behind an insecure MX it is trusted, not verified',
      authenticate({ dane: dane(good) }, 'trusted'),
      session(chain.chain),
      'trusted dane-ee-matched',
    ],
    [
      'AUTH-02 nothing matches, however well the roots trust the chain',
      authenticate({ dane: dane(bad) }),
      session(chain.chain),
      'refused dane-no-match',
    ],
    [
      'XC-02 no certificate, as a resumed session may show none',
      authenticate({ dane: dane(good) }),
      session([]),
      'refused dane-no-certificate',
    ],
    [
      'DANE with no record at all',
      authenticate({ dane: dane() }),
      session(chain.chain),
      'refused dane-no-match',
    ],
    ['SA-01 PKIX passes', authenticate({ pkix }), session(chain.chain), 'verified sts-matched'],
    [
      'PKIX, no certificate, though OpenSSL had no complaint',
      authenticate({ pkix }),
      session([]),
      'refused pkix-no-certificate',
    ],
    [
      'SA-09 PKIX, another name',
      authenticate({ pkix }),
      session([stranger]),
      'refused pkix-name-mismatch',
    ],
    ...(
      [
        ['the name of the host is none of them', ['partner.test'], 'refused pkix-name-mismatch'],
        ['one of them', ['partner.test', HOST], 'verified operator-matched'],
        ['below a parent', ['.test'], 'verified operator-matched'],
        ['a parent is not below itself', [`.${HOST}`], 'refused pkix-name-mismatch'],
        ['no name at all', [], 'refused pkix-name-mismatch'],
      ] as const
    ).map(
      ([title, match, word]) =>
        [
          `MAND-09 names of the operator's own: ${title}`,
          authenticate({ pkix: { match, patterns: [], by: 'operator' } }),
          session(chain.chain),
          word,
        ] as const,
    ),
    [
      'MAND-09 the host and a name of the operator’s own: both must be there',
      authenticate({ pkix: { ...pkix, match: ['partner.test'] } }),
      session(chain.chain),
      'refused pkix-name-mismatch',
    ],
    [
      'MAND-09 DANE and a name of the operator’s own: both must pass',
      authenticate({ dane: dane(good), pkix: { match: [HOST], patterns: [], by: 'operator' } }),
      session(chain.chain, 'SELF_SIGNED_CERT_IN_CHAIN'),
      'refused pkix-untrusted',
    ],
    [
      'PKIX without a name to expect',
      authenticate({ pkix: { patterns: [] } }),
      session(chain.chain),
      'refused pkix-name-mismatch',
    ],
    [
      'PKIX, unknown root',
      authenticate({ pkix }),
      session(chain.chain, 'SELF_SIGNED_CERT_IN_CHAIN'),
      'refused pkix-untrusted',
    ],
    [
      'PKIX, unknown root, and a subject that is empty as some CAs leave it',
      authenticate({ pkix }),
      session([makeCertificate({ subject: [], san: [HOST] })], 'DEPTH_ZERO_SELF_SIGNED_CERT'),
      'refused pkix-untrusted',
    ],
    [
      'PKIX, expired',
      authenticate({ pkix }),
      session(chain.chain, 'CERT_HAS_EXPIRED'),
      'refused pkix-expired',
    ],
    [
      'PKIX, not yet valid',
      authenticate({ pkix }),
      session(chain.chain, 'CERT_NOT_YET_VALID'),
      'refused pkix-not-yet-valid',
    ],
    [
      'PKIX, a code that nobody knows',
      authenticate({ pkix }),
      session(chain.chain, ''),
      'refused pkix-untrusted',
    ],
    [
      'SA-33 both demands pass',
      authenticate({ dane: dane(good), pkix }),
      session(chain.chain),
      'verified dane-and-sts-matched',
    ],
    [
      'SA-33 both demanded, DANE passes alone',
      authenticate({ dane: dane(good), pkix }),
      session(chain.chain, 'SELF_SIGNED_CERT_IN_CHAIN'),
      'refused pkix-untrusted',
    ],
    [
      'SA-33 both demanded, PKIX passes alone',
      authenticate({ dane: dane(bad), pkix }),
      session(chain.chain),
      'refused dane-no-match',
    ],
    [
      'both demanded, no certificate',
      authenticate({ dane: dane(good), pkix }),
      session([]),
      'refused dane-no-certificate',
    ],
    [
      'XC-03 authentication without any demand is no success',
      authenticate({}),
      session(chain.chain),
      'refused pkix-untrusted',
    ],
  ]
  for (const [title, requirement, evidence, expected] of table) {
    it(`${title} -> ${expected}`, () => {
      assert.equal(outcome(judge(requirement, evidence, NOW)), expected)
    })
  }

  it('AUTH-28 DANE-TA is judged at the moment of the session', () => {
    const later = new Date(NOW.getTime() + 40 * 86_400_000)
    const requirement = authenticate({ dane: dane(anchor) })
    assert.equal(outcome(judge(requirement, session(chain.chain), NOW)), 'verified dane-ta-matched')
    assert.equal(
      outcome(judge(requirement, session(chain.chain), later)),
      'refused dane-ta-expired',
    )
    const endEntity = authenticate({ dane: dane(good) })
    assert.equal(outcome(judge(endEntity, session(chain.chain), later)), 'verified dane-ee-matched')
  })

  it('SA-12 a common name is no name under PKIX', () => {
    const nameless = makeCertificate({ subject: HOST })
    const verdict = judge(authenticate({ pkix }), session([nameless]), NOW)
    assert.equal(outcome(verdict), 'refused pkix-name-mismatch')
    assert.match(verdict.detail, /expected mx1\.rcpt\.test/)
  })

  it('XC-05 a success says which record matched where, and as which name', () => {
    const byKey = judge(authenticate({ dane: dane(good) }), session(chain.chain), NOW)
    assert.equal(byKey.detail, 'TLSA 3 1 1 at mx1.rcpt.test matches')
    const byAnchor = judge(authenticate({ dane: dane(anchor) }), session(chain.chain), NOW)
    assert.equal(byAnchor.detail, 'TLSA 2 0 1 at mx1.rcpt.test matches as mx1.rcpt.test')
  })

  it('a certificate’s own words cannot break the line', () => {
    const forged = makeCertificate({
      subject: [
        ['O', 'a\r\nb\u0007'],
        ['CN', `\u202e${'x'.repeat(500)}`],
      ],
    })
    for (const requirement of [authenticate({ pkix }), authenticate({ dane: dane(bad) })]) {
      const { detail } = judge(requirement, session([forged], 'X'), NOW)
      assert.match(detail, /^[\x20-\x7e]{1,1000}$/)
    }
  })
})
