import assert from 'node:assert/strict'
import { checkText } from '../../../plugins/cli/check-text'
import type { CheckReport } from '../../../plugins/cli/report'
import { COLUMNS, styleFor } from '../../../plugins/cli/words'

const digest = 'ab'.repeat(32)
const report: CheckReport = {
  version: 1,
  command: 'check',
  domain: 'bücher.example',
  nextHop: 'xn--bcher-kva.example',
  route: null,
  checkedAt: '2026-11-22T12:00:00.000Z',
  treatment: 'enforce',
  asked: null,
  rule: null,
  ruleMatch: [],
  ruleFor: null,
  ruleUntil: null,
  endedRules: [],
  resolver: { state: 'validating', detail: 'the root is secure', description: 'backend ad' },
  mx: { kind: 'mx', security: 'secure' },
  lookups: [
    {
      name: 'xn--bcher-kva.example',
      type: 'MX',
      result: 'answer',
      security: 'secure',
      ttl: 300,
      aliases: ['other.example'],
      records: [{ text: '10 mx.example', usable: null, why: null }],
      failure: null,
    },
    {
      name: '_25._tcp.mx.example',
      type: 'TLSA',
      result: 'answer',
      security: 'secure',
      ttl: 60,
      aliases: [],
      records: [
        { text: `3 1 1 ${digest}`, usable: true, why: null },
        { text: `1 1 1 ${digest}`, usable: false, why: 'usage 1 is not for SMTP' },
      ],
      failure: null,
    },
    {
      name: '_mta-sts.xn--bcher-kva.example',
      type: 'TXT',
      result: 'failed',
      security: null,
      ttl: null,
      aliases: [],
      records: [],
      failure: 'servfail: 127.0.0.1:53: SERVFAIL',
    },
  ],
  sts: {
    kind: 'policy',
    policy: {
      mode: 'enforce',
      mx: ['mx.example', '*.example'],
      maxAge: 604_800,
      id: '20261122',
      source: 'cache',
      fetchedAt: '2026-11-20T12:00:00.000Z',
      expiresAt: '2026-11-27T12:00:00.000Z',
      nextRefresh: '2026-11-21T12:00:00.000Z',
    },
    store: null,
    problem: { reason: 'sts-txt-lookup-failed', detail: 'TXT failed' },
  },
  hosts: [
    {
      host: 'mx.example',
      preference: 10,
      port: 25,
      addresses: ['192.0.2.1'],
      demand: {
        level: 'authenticate',
        policy: 'dane',
        reason: null,
        rfc: 'RFC 7672 section 2.2',
        detail: 'usable TLSA records at mx.example',
        sni: 'mx.example',
        success: 'verified',
        tlsa: [`3 1 1 ${digest}`],
        names: ['mx.example'],
      },
    },
  ],
  trials: [
    {
      host: 'mx.example',
      address: '192.0.2.1',
      port: 25,
      result: 'next',
      verdict: 'refused',
      reason: 'dane-no-match',
      rfc: 'RFC 7672 section 3.2',
      meaning: 'x',
      detail: 'expected this, presented that',
      protocol: 'TLSv1.3',
      cipher: 'TLS_AES_256_GCM_SHA384',
      certificates: [
        {
          subject: 'CN=mx.example',
          issuer: 'CN=CA',
          names: ['mx.example'],
          notBefore: '2026-01-01T00:00:00.000Z',
          notAfter: '2027-01-01T00:00:00.000Z',
          tlsa: `3 1 1 ${digest}`,
        },
      ],
      enforcing: null,
    },
  ],
  conclusion: {
    delivery: 'deferred',
    host: 'mx.example',
    reason: 'dane-no-match',
    rfc: 'RFC 7672 section 3.2',
    detail: 'expected this, presented that',
  },
  exitCode: 2,
}

const expected = `b?cher.example (xn--bcher-kva.example), 2026-11-22 12:00:00 UTC
  DNSSEC is validated (the root is secure; backend ad)

Lookups
  secure   MX   xn--bcher-kva.example (TTL 300)
                alias of other.example
                10 mx.example
  secure   TLSA _25._tcp.mx.example (TTL 60)
                3 1 1
                ${digest}
                  usable
                1 1 1
                ${digest}
                  not usable: usage 1 is not for SMTP
  failed   TXT  _mta-sts.xn--bcher-kva.example
                servfail: 127.0.0.1:53: SERVFAIL

MTA-STS
  mode       enforce
  mx         mx.example
  mx         *.example
  id         20261122
  source     the cache
  fetched    2026-11-20 12:00:00 UTC (2 days ago)
  expires    2026-11-27 12:00:00 UTC (in 5 days)
  refresh    2026-11-21 12:00:00 UTC (1 day ago)
  problem    sts-txt-lookup-failed: TXT failed

Hosts, in the order of trial
  1. mx.example (preference 10, port 25)
     demands  TLS to an authenticated host; success counts as "verified"
     because  usable TLSA records at mx.example (RFC 7672 section 2.2)
     policy   dane
     address  192.0.2.1
     SNI      mx.example
     TLSA     3 1 1
              ${digest}
     name     mx.example

Connections
  mx.example [192.0.2.1] port 25
    verdict   refused; not used
    reason    dane-no-match: expected this, presented that (RFC 7672 section
              3.2)
    TLS       TLSv1.3 TLS_AES_256_GCM_SHA384
    presented 0. CN=mx.example
              issuer CN=CA
              names mx.example
              valid 2026-01-01T00:00:00.000Z to 2027-01-01T00:00:00.000Z
              3 1 1
              ${digest}

Would be deferred
  mx.example: dane-no-match: expected this, presented that (RFC 7672 section
  3.2)`

describe('text of check', () => {
  it('goes through a delivery in its order', () => {
    assert.equal(checkText(report, styleFor(false)).join('\n'), expected)
  })

  it('colours change nothing but colours', () => {
    const coloured = checkText(report, styleFor(true)).join('\n')
    // eslint-disable-next-line no-control-regex -- colours are control sequences
    const plain = coloured.replace(/\x1b\[\d*m/g, '')
    assert.notEqual(coloured, expected)
    assert.equal(plain, expected)
  })

  it('names however long leave no line longer than 80 columns', () => {
    const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.example`
    const everywhere = JSON.parse(
      JSON.stringify(report).replaceAll('mx.example', long),
    ) as CheckReport
    for (const line of checkText({ ...everywhere, nextHop: long }, styleFor(false))) {
      assert.ok(line.length <= COLUMNS, line)
    }
  })

  const treatments: readonly (readonly [Partial<CheckReport>, RegExp])[] = [
    [{ treatment: 'observe' }, /^Policies are only observed here: Haraka delivers as without/m],
    [
      { treatment: 'observe', rule: 'observe', ruleFor: '.example' },
      /only observed here \(rule "\.example = observe" under/,
    ],
    [
      { treatment: 'off', rule: 'off', ruleFor: 'x.example', ruleUntil: '2031-12-31' },
      /^No policy applies here \(rule "x\.example = off until 2031-12-31" under/m,
    ],
    [
      { treatment: 'enforce', rule: 'dane-only', ruleFor: '.example' },
      /^A rule of yours has a say \(rule "\.example = dane-only"/m,
    ],
    [
      { endedRules: ['x.example=off until 2020-01-01'] },
      /^The exception "x\.example=off until 2020-01-01" under \[destinations\] is over/m,
    ],
    [
      {
        resolver: { state: 'not-asked', detail: 'no name', description: 'backend not chosen yet' },
      },
      /^ {2}No resolver was asked: no name$/m,
    ],
  ]
  for (const [change, pattern] of treatments) {
    it(`says what else it depends on: ${JSON.stringify(change)}`, () => {
      assert.match(checkText({ ...report, ...change }, styleFor(false)).join('\n'), pattern)
    })
  }
})
