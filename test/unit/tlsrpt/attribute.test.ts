import assert from 'node:assert/strict'
import type { HostEnd } from '../../../plugins/delivery/host-end'
import type { Failure, FailureCause } from '../../../plugins/dnssec-stub/types'
import type { StsLookup, StsProblem } from '../../../plugins/mta-sts/types'
import { REASONS } from '../../../plugins/reasons/catalogue'
import type { ReasonCode } from '../../../plugins/reasons/codes'
import { additionsOfPlan, attribute } from '../../../plugins/tlsrpt/attribute'
import { problemCode, resultOf } from '../../../plugins/tlsrpt/result'
import { RESULT_TYPES } from '../../../plugins/tlsrpt/types'
import type { Addition } from '../../../plugins/tlsrpt/types'
import { facts, host, tlsa } from '../../support/facts'
import {
  hostEnd,
  LINES,
  LOCAL,
  notContacted,
  PEER,
  policyEnd,
  session,
  sts,
} from '../../support/session-ends'

const NO_POLICY = { 'policy-type': 'no-policy-found', 'policy-domain': 'rcpt.test' }
const TLSA = {
  'policy-type': 'tlsa',
  'policy-string': tlsa.usable.presentation,
  'policy-domain': 'mx1.rcpt.test',
}
const STS = {
  'policy-type': 'sts',
  'policy-string': LINES,
  'policy-domain': 'rcpt.test',
  'mx-host': ['*.rcpt.test'],
}
const BETWEEN = {
  'sending-mta-ip': LOCAL,
  'receiving-mx-hostname': 'mx1.rcpt.test',
  'receiving-mx-helo': 'mx1.rcpt.test',
  'receiving-ip': PEER,
}
const dane = facts({ hosts: [host({ tlsa: tlsa.usable })] })

/** `policy-type success|failure result-type code`, for each addition. */
function inShort(additions: readonly Addition[]): readonly string[] {
  return additions.map(({ policy, success, failure, detail }) =>
    [
      policy['policy-type'],
      success === 1 ? 'success' : failure === 1 ? 'failure' : 'detail',
      detail?.['result-type'],
      detail?.['failure-reason-code'],
    ]
      .filter((word) => word !== undefined)
      .join(' '),
  )
}

function counted(changes: Partial<HostEnd>): readonly string[] {
  return inShort(attribute(hostEnd(changes)))
}

/** Nothing is demanded, and there was no TLS. */
function withoutTls(
  reason: ReasonCode,
  stage: 'connect' | 'greeting' | 'ehlo' | 'starttls' | 'handshake',
  code?: string,
): readonly string[] {
  const isCleartext = reason === 'starttls-not-offered'
  return counted({
    verdict: isCleartext ? 'cleartext' : 'refused',
    reason: isCleartext ? 'no-policy' : reason,
    session: session({ stage, ...(code === undefined ? {} : { code }) }),
  })
}

describe('what the end of a host adds to a report (RFC 8460 §4)', () => {
  it('TT-04 TJ-06 no policy: a session over TLS is a success under no-policy-found', () => {
    assert.deepEqual(attribute(hostEnd()), [{ policy: NO_POLICY, success: 1, failure: 0 }])
  })

  it('TT-04 a policy in mode none is none', () => {
    const end = hostEnd({ facts: facts({ sts: sts('none') }), reason: 'sts-none' })
    assert.deepEqual(attribute(end), [{ policy: NO_POLICY, success: 1, failure: 0 }])
  })

  it('TT-02 TJ-06 TJ-08 TJ-10 a host with TLSA records counts under tlsa, at its TLSA base domain', () => {
    const end = hostEnd({ facts: dane, byPolicy: [policyEnd({ policy: 'dane' })] })
    assert.deepEqual(attribute(end), [{ policy: TLSA, success: 1, failure: 0 }])
  })

  it('TT-03 TJ-06 TJ-07 TJ-11 a domain with a policy counts under sts, with its lines and patterns', () => {
    for (const mode of ['enforce', 'testing'] as const) {
      const end = hostEnd({
        facts: facts({ sts: sts(mode) }),
        byPolicy: [policyEnd({ policy: 'sts', enforced: mode === 'enforce' })],
      })
      assert.deepEqual(attribute(end), [{ policy: STS, success: 1, failure: 0 }])
    }
  })

  it('TT-05 both policies: one entry each for the same session, each by its own verdict', () => {
    const both = facts({ hosts: [host({ tlsa: tlsa.usable })], sts: sts() })
    const byPolicy = [
      policyEnd({ policy: 'dane' }),
      policyEnd({ policy: 'sts', enforced: false, met: false, reason: 'pkix-name-mismatch' }),
    ]
    assert.deepEqual(counted({ facts: both, byPolicy }), [
      'tlsa success',
      'sts failure certificate-host-mismatch pkix-name-mismatch',
    ])
  })

  it('TT-06 a session that is lost after TLS was up is counted no second time', () => {
    assert.deepEqual(counted({ corrects: true, verdict: 'refused', reason: 'tls-lost' }), [])
  })

  it('TT-07 TT-22 a testing policy that is not met is a failure, though the mail went out', () => {
    const testing = facts({ sts: sts('testing') })
    const unmet = (reason: ReasonCode) =>
      counted({
        facts: testing,
        reason: 'sts-testing',
        byPolicy: [policyEnd({ policy: 'sts', enforced: false, met: false, reason })],
      })
    assert.deepEqual(unmet('pkix-expired'), ['sts failure certificate-expired pkix-expired'])
    assert.deepEqual(unmet('sts-mx-not-listed'), [
      'sts failure validation-failure sts-mx-not-listed',
    ])
  })

  it('TT-09 TJ-15 TJ-16 TJ-17 TJ-18 no STARTTLS: who spoke with whom', () => {
    const end = hostEnd({ verdict: 'cleartext', session: session({ stage: 'ehlo' }) })
    assert.deepEqual(attribute(end), [
      {
        policy: NO_POLICY,
        success: 0,
        failure: 1,
        detail: { 'result-type': 'starttls-not-supported', ...BETWEEN },
      },
    ])
  })

  const sessions: [string, Parameters<typeof withoutTls>, string | undefined][] = [
    [
      'TT-09 refused',
      ['starttls-refused', 'starttls', 'smtp-454'],
      'starttls-not-supported smtp-454',
    ],
    ['TT-13 closed at STARTTLS', ['smtp-closed', 'starttls'], 'validation-failure smtp-closed'],
    ['TT-13 hangs at STARTTLS', ['smtp-timeout', 'starttls'], 'validation-failure smtp-timeout'],
    [
      'TT-13 hangs in the handshake',
      ['smtp-timeout', 'handshake'],
      'validation-failure smtp-timeout',
    ],
    [
      'TT-13 junk at STARTTLS',
      ['smtp-malformed-reply', 'starttls'],
      'validation-failure smtp-malformed-reply',
    ],
    [
      'TT-13 no common version',
      ['tls-handshake-failed', 'handshake', 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION'],
      'validation-failure ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
    ],
    [
      'TT-13 cleartext behind 220',
      ['starttls-injection', 'handshake'],
      'validation-failure starttls-injection',
    ],
    ['TT-21 connection refused', ['connect-failed', 'connect'], undefined],
    ['TT-21 greeting refused', ['greeting-refused', 'greeting'], undefined],
    ['TT-21 junk for a greeting', ['smtp-malformed-reply', 'greeting'], undefined],
    ['TT-21 closed before a greeting', ['smtp-closed', 'greeting'], undefined],
    ['TT-21 hangs at EHLO', ['smtp-timeout', 'ehlo'], undefined],
  ]
  for (const [title, arguments_, expected] of sessions) {
    it(`${title}: ${expected ?? 'nothing'}`, () => {
      const seen = withoutTls(...arguments_)
      assert.deepEqual(seen, expected === undefined ? [] : [`no-policy-found failure ${expected}`])
    })
  }

  it('TT-26 what Haraka itself keeps from TLS is nothing', () => {
    const leftAlone = session({ stage: 'starttls', leftAlone: true })
    assert.deepEqual(counted({ verdict: 'cleartext', session: leftAlone }), [])
    const demanded = { facts: dane, verdict: 'cleartext', reason: 'not-covered' } as const
    assert.deepEqual(counted({ ...demanded, session: leftAlone }), [])
  })

  const certificates: [string, ReasonCode, string][] = [
    ['TT-10 TT-23', 'dane-ta-name-mismatch', 'certificate-host-mismatch'],
    ['TT-11 TT-23', 'dane-ta-expired', 'certificate-expired'],
    ['TT-23', 'dane-no-match', 'certificate-not-trusted'],
    ['TT-12', 'dane-key-too-weak', 'certificate-not-trusted'],
    ['TT-30', 'dane-ta-not-yet-valid', 'certificate-not-trusted'],
  ]
  for (const [ids, reason, type] of certificates) {
    it(`${ids} ${reason} is ${type}`, () => {
      const byPolicy = [policyEnd({ policy: 'dane', met: false, reason })]
      assert.deepEqual(counted({ facts: dane, verdict: 'refused', reason, byPolicy }), [
        `tlsa failure ${type} ${reason}`,
      ])
    })
  }

  it('TT-12 the code of a certificate that is not trusted is the one that OpenSSL gives', () => {
    const byPolicy = [
      policyEnd({
        policy: 'sts',
        met: false,
        reason: 'pkix-untrusted',
        code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
      }),
    ]
    assert.deepEqual(counted({ facts: facts({ sts: sts() }), byPolicy }), [
      'sts failure certificate-not-trusted DEPTH_ZERO_SELF_SIGNED_CERT',
    ])
  })

  it('TT-14 TT-29 unusable records, and the mail went out over TLS: tlsa-invalid', () => {
    const byPolicy = [policyEnd({ policy: 'dane', reason: 'tls-unauthenticated' })]
    const unusable = facts({ hosts: [host({ tlsa: tlsa.unusable })] })
    assert.deepEqual(counted({ facts: unusable, byPolicy }), ['tlsa failure tlsa-invalid'])
    const failed = [policyEnd({ policy: 'dane', met: false, reason: 'starttls-not-offered' })]
    const withoutTls = { byPolicy: failed, session: session({ stage: 'ehlo' }) }
    assert.deepEqual(counted({ facts: unusable, ...withoutTls }), [
      'tlsa failure starttls-not-supported',
    ])
  })

  /** A host that is not contacted. */
  function refused(failure: Failure): readonly Addition[] {
    const failed = { kind: 'failed', name: '_25._tcp.mx1.rcpt.test', failure } as const
    const end = notContacted({
      facts: facts({ hosts: [host({ tlsa: failed })] }),
      reason: 'tlsa-lookup-failed',
      byPolicy: [policyEnd({ policy: 'dane', met: false, reason: 'tlsa-lookup-failed' })],
    })
    return attribute(end)
  }

  it('TT-15 TJ-22 a TLSA lookup that failed: dnssec-invalid, without addresses, and without the resolver', () => {
    const detail = '127.0.0.1:53: SERVFAIL, extended error 6'
    const extendedError = { code: 6, text: 'DNSSEC Bogus at /etc/unbound' }
    assert.deepEqual(refused({ kind: 'failed', cause: 'bogus', detail, extendedError }), [
      {
        policy: { 'policy-type': 'tlsa', 'policy-string': [], 'policy-domain': 'mx1.rcpt.test' },
        success: 0,
        failure: 1,
        detail: {
          'result-type': 'dnssec-invalid',
          'failure-reason-code': 'dns-extended-error-6',
          'receiving-mx-hostname': 'mx1.rcpt.test',
        },
      },
    ])
    assert.deepEqual(inShort(refused({ kind: 'failed', cause: 'servfail', detail })), [
      'tlsa failure dnssec-invalid dns-servfail',
    ])
  })

  it('TT-15 a resolver of ours that is away is nothing', () => {
    const ours: FailureCause = 'network'
    assert.deepEqual(refused({ kind: 'failed', cause: ours, detail: 'connect' }), [])
  })

  it('TT-16 DANE that the operator demands and the host has not: dane-required', () => {
    const end = notContacted({
      policy: 'operator',
      reason: 'dane-required',
      byPolicy: [policyEnd({ policy: 'operator', met: false, reason: 'dane-required' })],
    })
    assert.deepEqual(inShort(attribute(end)), ['tlsa failure dane-required'])
  })

  it('MAND-09 a certificate that the operator alone demands is no policy of the receiver’s', () => {
    const byPolicy = [policyEnd({ policy: 'operator', met: false, reason: 'pkix-untrusted' })]
    const refused = { policy: 'operator', verdict: 'refused', reason: 'pkix-untrusted' } as const
    assert.deepEqual(counted({ ...refused, byPolicy }), ['no-policy-found success'])
    const both = [policyEnd({ policy: 'sts', met: true, reason: 'sts-matched' }), ...byPolicy]
    const beside = { ...refused, facts: facts({ sts: sts() }), byPolicy: both }
    assert.deepEqual(counted(beside), ['sts success'])
    const noName = { policy: 'operator', verdict: 'refused', reason: 'verify-no-name' } as const
    assert.deepEqual(inShort(attribute(notContacted(noName))), [])
  })

  it('TT-20 a host that the policy does not list is not contacted: no addresses', () => {
    const end = notContacted({
      facts: facts({ sts: sts() }),
      reason: 'sts-mx-not-listed',
      byPolicy: [policyEnd({ policy: 'sts', met: false, reason: 'sts-mx-not-listed' })],
    })
    assert.deepEqual(attribute(end), [
      {
        policy: STS,
        success: 0,
        failure: 1,
        detail: {
          'result-type': 'validation-failure',
          'failure-reason-code': 'sts-mx-not-listed',
          'receiving-mx-hostname': 'mx1.rcpt.test',
        },
      },
    ])
  })

  it('TT-21 an attempt that came to no host is nothing, whatever the reason', () => {
    for (const reason of Object.keys(REASONS) as ReasonCode[]) {
      const { host: named, ...end } = notContacted({ reason })
      assert.ok(named)
      assert.deepEqual(attribute(end), [], reason)
    }
    assert.deepEqual(counted({ facts: undefined }), [])
  })

  it('RL-04 mail by a smarthost counts for the smarthost', () => {
    const relayed = facts({ nextHop: 'relay.isp.test', hosts: [host({ host: 'relay.isp.test' })] })
    const [addition] = attribute(hostEnd({ facts: relayed, host: 'relay.isp.test' }))
    assert.equal(addition?.policy['policy-domain'], 'relay.isp.test')
  })

  it('TJ-15 TJ-18 addresses are in their own form', () => {
    const addresses = (local: string, peer: string) => {
      const end = hostEnd({
        verdict: 'cleartext',
        session: session({ stage: 'ehlo', local, peer }),
      })
      const detail = attribute(end)[0]?.detail
      return [detail?.['sending-mta-ip'], detail?.['receiving-ip']]
    }
    assert.deepEqual(addresses('::ffff:192.0.2.1', '192.0.2.2'), ['192.0.2.1', '192.0.2.2'])
    assert.deepEqual(addresses('fe80::1%eth0', '2001:db8::1'), ['fe80::1', '2001:db8::1'])
    assert.deepEqual(addresses('', 'nonsense'), [undefined, undefined])
  })

  it('TJ-17 a name that the server made up is printable, and no longer than a name', () => {
    const helo = (text: string) => {
      const end = hostEnd({ verdict: 'cleartext', session: session({ stage: 'ehlo', helo: text }) })
      return attribute(end)[0]?.detail?.['receiving-mx-helo']
    }
    assert.equal(helo('\u202emx\r\n"'), '?mx??"')
    assert.equal(helo('x'.repeat(1000))?.length, 255)
    assert.equal(helo(''), undefined)
  })
})

describe('trouble with an MTA-STS policy (RFC 8461 §6)', () => {
  function planned(lookup: StsLookup): readonly Addition[] {
    return additionsOfPlan(facts({ sts: lookup }))
  }
  const problem = (reason: StsProblem['reason'], detail = ''): StsProblem => ({ reason, detail })

  const troubles: [string, StsProblem['reason'], string, string][] = [
    [
      'TT-17',
      'sts-policy-fetch-error',
      'mta-sts.rcpt.test [192.0.2.7]: HTTP status 404',
      'sts-policy-fetch-error http-404',
    ],
    [
      'TT-17',
      'sts-policy-fetch-error',
      'mta-sts.rcpt.test [10.0.0.1]: connect ECONNREFUSED 10.0.0.1:443',
      'sts-policy-fetch-error ECONNREFUSED',
    ],
    [
      'TT-17',
      'sts-policy-fetch-error',
      'mta-sts.rcpt.test [10.0.0.1]: no TLS in time',
      'sts-policy-fetch-error timeout',
    ],
    ['TT-18', 'sts-policy-invalid', 'not a field: "x"', 'sts-policy-invalid'],
    [
      'TT-19',
      'sts-webpki-invalid',
      'mta-sts.rcpt.test [10.0.0.1]: certificate not trusted: DEPTH_ZERO_SELF_SIGNED_CERT',
      'sts-webpki-invalid tls-DEPTH_ZERO_SELF_SIGNED_CERT',
    ],
    [
      'TT-19',
      'sts-webpki-invalid',
      'mta-sts.rcpt.test [10.0.0.1]: certificate does not name mta-sts.rcpt.test; it names x',
      'sts-webpki-invalid tls-name-mismatch',
    ],
  ]
  for (const [id, reason, detail, expected] of troubles) {
    it(`${id} TT-28 TJ-22 nothing cached: one failure under sts with an empty policy-string: ${expected}`, () => {
      const [addition, ...others] = planned({ kind: 'none', problem: problem(reason, detail) })
      assert.deepEqual(others, [])
      assert.deepEqual(addition?.policy, {
        'policy-type': 'sts',
        'policy-string': [],
        'policy-domain': 'rcpt.test',
      })
      assert.deepEqual(inShort(addition === undefined ? [] : [addition]), [
        `sts failure ${expected}`,
      ])
    })
    it(`${id} TT-27 a policy is cached: a detail under it, and no failed session: ${expected}`, () => {
      const lookup = { ...sts(), problem: problem(reason, detail) }
      const additions = planned(lookup)
      assert.deepEqual(inShort(additions), [`sts detail ${expected}`])
      assert.deepEqual(additions[0]?.policy, STS)
    })
  }

  it('TT-27 a TXT record that is none or cannot be read, while a policy is cached', () => {
    const seen = (reason: StsProblem['reason']) =>
      inShort(planned({ ...sts(), problem: problem(reason, '127.0.0.1:53: SERVFAIL') }))
    assert.deepEqual(seen('sts-txt-invalid'), ['sts detail sts-policy-invalid sts-txt-invalid'])
    assert.deepEqual(seen('sts-txt-lookup-failed'), [
      'sts detail sts-policy-fetch-error sts-txt-lookup-failed',
    ])
  })

  it('TT-27 not for a cached policy in mode none', () => {
    assert.deepEqual(planned({ ...sts('none'), problem: problem('sts-policy-fetch-error') }), [])
  })

  it('SC-17 a TXT lookup that failed, with nothing cached, is nothing: nobody knows of a policy', () => {
    const failed = problem('sts-txt-lookup-failed', 'SERVFAIL')
    assert.deepEqual(planned({ kind: 'unknown', problem: failed }), [])
    assert.deepEqual(planned({ kind: 'store-unread', store: 'x', problem: failed }), [])
    assert.deepEqual(planned({ kind: 'none' }), [])
    assert.deepEqual(planned(sts()), [])
  })

  it('the code of a trouble is one of a few known words, whatever was said', () => {
    const said = 'GET /a?HTTP status 4040 SECRET_HOST_NAME CERT_ 10.0.0.1 /var/lib'
    assert.equal(problemCode(problem('sts-policy-fetch-error', said)), undefined)
  })
})

describe('result types (RFC 8460 §4.3)', () => {
  it('TT-25 TJ-14 every reason is nothing, or one of the eleven with a short code', () => {
    for (const reason of Object.keys(REASONS) as ReasonCode[]) {
      for (const stage of [undefined, 'greeting', 'starttls', 'handshake', 'tls'] as const) {
        const result = resultOf(reason, { stage, code: 'a b\n"\u202e<c>'.repeat(20) })
        if (result === undefined) continue
        assert.ok(RESULT_TYPES.includes(result.type), reason)
        if (result.code !== undefined) assert.match(result.code, /^[A-Za-z0-9_.-]{1,60}$/)
      }
    }
  })

  it('a failure without a code of others has our reason for one', () => {
    assert.deepEqual(resultOf('tls-handshake-failed'), {
      type: 'validation-failure',
      code: 'tls-handshake-failed',
    })
  })

  it('only a success, or what is ours, is nothing', () => {
    const nothing = (Object.keys(REASONS) as ReasonCode[]).filter(
      (reason) => resultOf(reason, { stage: 'handshake' }) === undefined,
    )
    const session = nothing.filter((reason) =>
      /^(?:pkix|dane-(?!ee-m|ta-m|and)|tls-h|starttls)/.test(reason),
    )
    assert.deepEqual(session, [])
  })
})
