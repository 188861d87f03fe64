import assert from 'node:assert/strict'
import fc from 'fast-check'
import { makeReport, reportJson } from '../../../plugins/tlsrpt/report'
import type { DomainDay, PolicyResult } from '../../../plugins/tlsrpt/types'
import { codePoint } from '../../support/code-point'

const result: PolicyResult = {
  // Out of order on purpose.
  'failure-details': [
    {
      'failed-session-count': 100,
      'receiving-ip': '2001:db8:abcd::1',
      'result-type': 'certificate-expired',
      'sending-mta-ip': '2001:db8:abcd:12::1',
      'receiving-mx-hostname': 'mx1.rcpt.test',
    },
  ],
  summary: { 'total-failure-session-count': 303, 'total-successful-session-count': 5326 },
  policy: {
    'mx-host': ['*.rcpt.test'],
    'policy-domain': 'rcpt.test',
    'policy-string': ['version: STSv1', 'mode: testing', 'x: bär\u2028😀'],
    'policy-type': 'sts',
  },
}
const counted: DomainDay = { domain: 'rcpt.test', day: 20_784, policies: [result], names: [] }
const source = {
  counted,
  organization: 'Sender Inc.',
  contact: 'tls-reports@sender.test',
  cluster: 'abcdefgh',
}

describe('the report (RFC 8460 §4.4)', () => {
  it('TJ-01 TJ-02 TJ-03 TJ-04 TJ-05 TJ-12 TJ-19 TT-01 is as in the RFC, octet for octet', () => {
    assert.equal(
      reportJson(makeReport(source)),
      `{
  "organization-name": "Sender Inc.",
  "date-range": {
    "start-datetime": "2026-11-27T00:00:00Z",
    "end-datetime": "2026-11-27T23:59:59Z"
  },
  "contact-info": "tls-reports@sender.test",
  "report-id": "2026-11-27.rcpt.test.abcdefgh@sender.test",
  "policies": [
    {
      "policy": {
        "policy-type": "sts",
        "policy-string": [
          "version: STSv1",
          "mode: testing",
          "x: b\\u00e4r\\u2028\\ud83d\\ude00"
        ],
        "policy-domain": "rcpt.test",
        "mx-host": [
          "*.rcpt.test"
        ]
      },
      "summary": {
        "total-successful-session-count": 5326,
        "total-failure-session-count": 303
      },
      "failure-details": [
        {
          "result-type": "certificate-expired",
          "sending-mta-ip": "2001:db8:abcd:12::1",
          "receiving-mx-hostname": "mx1.rcpt.test",
          "receiving-ip": "2001:db8:abcd::1",
          "failed-session-count": 100
        }
      ]
    }
  ]
}
`,
    )
  })

  it('TJ-09 TJ-13 a plain day: no policy-string, and an empty list of details', () => {
    const plain: PolicyResult = {
      policy: { 'policy-type': 'no-policy-found', 'policy-domain': 'rcpt.test' },
      summary: { 'total-successful-session-count': 1, 'total-failure-session-count': 0 },
      'failure-details': [],
    }
    const report = makeReport({ ...source, counted: { ...counted, policies: [plain] } })
    assert.deepEqual(report.policies, [plain])
    assert.doesNotMatch(reportJson(report), /null/)
  })

  it('TJ-01 TD-24 whatever a policy holds: US-ASCII, the same each time, and read back as it was', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: codePoint })), (lines) => {
        const policy = { ...result.policy, 'policy-string': lines }
        const of = { ...source, counted: { ...counted, policies: [{ ...result, policy }] } }
        const json = reportJson(makeReport(of))
        assert.match(json, /^[\x20-\x7e\n]+$/)
        assert.equal(json, reportJson(makeReport(structuredClone(of))))
        assert.deepEqual(JSON.parse(json), makeReport(of))
      }),
    )
  })
})
