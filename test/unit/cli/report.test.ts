import assert from 'node:assert/strict'
import type { PlannedHost, PlanOutcome, Requirement } from '../../../plugins/delivery/types'
import type { Rehearsal, Trial } from '../../../plugins/haraka/rehearsal'
import type { TrialResult } from '../../../plugins/haraka/unaided'
import { createRefresh } from '../../../plugins/mta-sts/refresh'
import { memoryStore } from '../../../plugins/store/memory'
import { conclude, exitCodeOf } from '../../../plugins/cli/conclude'
import { reportHost, reportPolicy } from '../../../plugins/cli/report'

const verified: Requirement = {
  level: 'authenticate',
  sni: 'mx.example',
  pkix: { host: 'mx.example', patterns: ['mx.example'] },
  success: 'verified',
}
const trusted: Requirement = { ...verified, success: 'trusted' }
const opportunistic: Requirement = { level: 'opportunistic', reason: 'no-policy' }
const refused: Requirement = { level: 'refuse', reason: 'tlsa-lookup-failed', detail: 'bogus' }

function host(requirement: Requirement, name = 'mx.example'): PlannedHost {
  const addresses = ['192.0.2.1']
  return {
    host: name,
    preference: 10,
    port: 25,
    addresses,
    requirement,
    policy: 'sts',
    demands: [],
  }
}

function trial(result: TrialResult, requirement: Requirement = verified): Trial {
  const common = {
    ...{ evidence: undefined, enforcing: undefined, address: '192.0.2.1' },
    ...{ stage: undefined, reply: undefined },
  }
  return { ...common, planned: host(requirement), result }
}

const delivers = (verdict: 'verified' | 'trusted' | 'encrypted' | 'cleartext'): TrialResult => ({
  kind: 'delivers',
  verdict,
  reason: 'sts-matched',
  detail: '',
})
const next = (reason: 'dane-no-match' | 'connect-failed'): TrialResult => ({
  kind: 'next',
  reason,
  detail: reason,
})

describe('how check concludes', () => {
  type Case = readonly [string, PlanOutcome, boolean, Rehearsal | undefined, string, number]
  const hosts = (...requirements: readonly Requirement[]): PlanOutcome => ({
    kind: 'hosts',
    hosts: requirements.map((requirement) => host(requirement)),
  })
  const ends = (by: Trial): Rehearsal => ({ trials: [by], end: { kind: 'delivers', by } })
  const stops = (kind: 'deferred' | 'bounced'): Rehearsal => {
    const by = trial({ kind, reason: 'greeting-refused', detail: '' })
    return { trials: [by], end: { kind, by } }
  }
  const exhausted: Rehearsal = {
    trials: [trial(next('connect-failed')), trial(next('dane-no-match'))],
    end: { kind: 'deferred', by: undefined },
  }
  const cases: readonly Case[] = [
    [
      'a plan that defers',
      { kind: 'defer', reason: 'mx-lookup-failed', detail: '' },
      true,
      undefined,
      'deferred',
      2,
    ],
    [
      'a plan that bounces',
      { kind: 'bounce', reason: 'null-mx', detail: '' },
      true,
      undefined,
      'bounced',
      2,
    ],
    ['first host demands', hosts(verified), true, undefined, 'if-verified', 1],
    [
      'first host cannot be used, second demands',
      hosts(refused, verified),
      true,
      undefined,
      'if-verified',
      1,
    ],
    ['first host demands, over insecure MX', hosts(trusted), true, undefined, 'if-verified', 1],
    ['nobody demands', hosts(opportunistic), true, undefined, 'unverified', 1],
    ['no host can be used', hosts(refused), true, undefined, 'deferred', 2],
    ['only observed', hosts(verified), false, undefined, 'unverified', 1],
    [
      'only observed: a host that policy refuses is used',
      hosts(refused),
      false,
      undefined,
      'unverified',
      1,
    ],
    ['verified', hosts(verified), true, ends(trial(delivers('verified'))), 'verified', 0],
    ['trusted', hosts(trusted), true, ends(trial(delivers('trusted'))), 'unverified', 1],
    ['encrypted', hosts(opportunistic), true, ends(trial(delivers('encrypted'))), 'unverified', 1],
    ['cleartext', hosts(opportunistic), true, ends(trial(delivers('cleartext'))), 'unverified', 1],
    ['Haraka defers', hosts(opportunistic), true, stops('deferred'), 'deferred', 2],
    ['Haraka bounces', hosts(opportunistic), true, stops('bounced'), 'bounced', 2],
    ['no host is left', hosts(verified), true, exhausted, 'deferred', 2],
  ]
  for (const [title, outcome, enforce, rehearsal, delivery, exitCode] of cases) {
    it(`${title} -> ${delivery}, exit code ${exitCode}`, () => {
      const conclusion = conclude({ outcome }, enforce, rehearsal)
      assert.equal(conclusion.delivery, delivery)
      assert.equal(exitCodeOf(conclusion), exitCode)
    })
  }

  it('a deferral speaks of security before reachability', () => {
    const conclusion = conclude({ outcome: hosts(verified) }, true, exhausted)
    assert.equal(conclusion.reason, 'dane-no-match')
    assert.equal(conclusion.rfc, 'RFC 7672 section 3.2')
  })
})

describe('what check reports', () => {
  it('of a refused host: reason and RFC', () => {
    const { demand } = reportHost(host(refused))
    assert.equal(demand.reason, 'tlsa-lookup-failed')
    assert.equal(demand.rfc, 'RFC 7672 section 2.1.2')
  })

  it('of a host under both policies: both RFCs, all names', () => {
    const dane = {
      base: 'base.example',
      records: [{ usage: 2, selector: 1, matchingType: 1, data: Buffer.alloc(32) }] as const,
      references: ['base.example', 'example'],
      presentation: [],
    }
    const { demand } = reportHost(host({ ...verified, dane }))
    assert.equal(demand.rfc, 'RFC 7672 section 2.2; RFC 8461 section 5')
    assert.deepEqual(demand.names, ['base.example', 'example', 'mx.example'])
    assert.deepEqual(demand.tlsa, [`2 1 1 ${'00'.repeat(32)}`])
  })

  it('under DANE-EE names do not count, and none is shown', () => {
    const dane = {
      base: 'base.example',
      records: [{ usage: 3, selector: 1, matchingType: 1, data: Buffer.alloc(32) }] as const,
      references: ['base.example', 'example'],
      presentation: [],
    }
    const only: Requirement = { level: 'authenticate', sni: 'x', dane, success: 'verified' }
    assert.deepEqual(reportHost(host(only)).demand.names, [])
    assert.deepEqual(reportHost(host({ ...verified, dane })).demand.names, ['mx.example'])
  })

  it('of a host whose TLSA records are all unusable: no rule of the operator, and section 2.2', () => {
    const unusable: Requirement = { level: 'encrypt', sni: 'x', reason: 'tls-unauthenticated' }
    const { demand } = reportHost({ ...host(unusable), policy: 'dane' })
    assert.equal(demand.rfc, 'RFC 7672 section 2.2')
    assert.doesNotMatch(demand.detail, /rule/)
  })

  it('nextRefresh is when the refresh in the background has its turn at the latest: up to a tenth of its interval before', async () => {
    for (const maxAge of [10_800, 86_400, 604_800]) {
      const policy = { mode: 'enforce', mx: ['mx.x.example'], maxAge, lines: [] } as const
      const domain = 'x.example'
      const expiresAt = maxAge * 1000
      const known = { domain, id: '1', policy, fetchedAt: 0, expiresAt }
      const { nextRefresh } = reportPolicy({ known, source: 'cache' }, 86_400)
      const at = Date.parse(nextRefresh ?? '')
      let now = 0.899 * at
      const log = { info: ignore, notice: ignore, warn: ignore, error: ignore }
      const store = memoryStore({ now: () => now })
      const text = `version: STSv1\r\nmode: enforce\r\nmx: mx.x.example\r\nmax_age: ${maxAge}\r\n`
      await store.setPolicy({ domain, id: '1', text, fetchedAt: 0, expiresAt })
      let fetches = 0
      const refresh = createRefresh({
        store,
        fetchOnce: {
          byId: () => Promise.reject(new Error('not asked')),
          anew: () => {
            fetches += 1
            return Promise.resolve({ ok: true, known, source: 'fetched', saved: true })
          },
          failure: () => Promise.resolve(undefined),
          stored: () => Promise.resolve(undefined),
        },
        askTxt: () => Promise.resolve({ kind: 'record', id: '1', ttlMs: 1000 }),
        clock: () => now,
        random: () => 1,
        log,
        settings: { refreshIntervalMs: 86_400_000 },
      })
      await refresh.due()
      assert.equal(fetches, 0)
      now = at
      await refresh.due()
      assert.equal(fetches, 1)
    }
  })

  const refreshes: readonly (readonly [string, number, string | null])[] = [
    ['daily', 604_800, '1970-01-02T00:00:00.000Z'],
    ['by half its life where that is shorter', 86_400, '1970-01-01T12:00:00.000Z'],
    ['never in the background where it lives less than three hours', 10_799, null],
  ]
  for (const [title, maxAge, expected] of refreshes) {
    it(`a policy is refreshed ${title}`, () => {
      const policy = { mode: 'enforce', mx: [], maxAge, lines: [] } as const
      const known = { domain: 'x', id: '1', policy, fetchedAt: 0, expiresAt: maxAge * 1000 }
      assert.equal(reportPolicy({ known, source: 'cache' }, 86_400).nextRefresh, expected)
    })
  }
})

function ignore(): void {
  // Nobody listens.
}
