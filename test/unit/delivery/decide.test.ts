import assert from 'node:assert/strict'
import fc from 'fast-check'
import { decide } from '../../../plugins/delivery/decide'
import { raiseToOperatorsFloor } from '../../../plugins/delivery/requirement'
import type { Rules } from '../../../plugins/delivery/decide'
import { thisServer } from '../../../plugins/delivery/this-server'
import type { Facts, PlannedHost, Requirement } from '../../../plugins/delivery/types'
import { facts, host, policy, rules, secureMx, servfail, tlsa } from '../../support/facts'

const inOrder = () => 0

function plannedHosts(given: Facts, by: Rules = rules()): readonly PlannedHost[] {
  const { outcome } = decide(given, by, inOrder)
  assert.equal(outcome.kind, 'hosts')
  return outcome.kind === 'hosts' ? outcome.hosts : []
}

function only(given: Facts, by?: Rules): PlannedHost {
  const [planned] = plannedHosts(given, by)
  assert.ok(planned)
  return planned
}

/** A requirement in one word, for tables: what must pass, or why the host is not used. */
function word(requirement: Requirement): string {
  switch (requirement.level) {
    case 'refuse':
      return requirement.reason
    case 'authenticate':
      return [requirement.dane && 'dane', requirement.pkix && 'pkix'].filter(Boolean).join('+')
    case 'encrypt':
    case 'opportunistic':
      return requirement.level
  }
}

const insecureMx = { ...secureMx('mx1.rcpt.test'), security: 'insecure' } as const
const nullMx = { kind: 'null-mx', security: 'secure' } as const
const otherHost = policy('enforce', ['other.test'])

describe('decide: DANE x MTA-STS for one host', () => {
  const enforce = policy('enforce')
  const testing = policy('testing', ['other.test'])
  const none = { kind: 'none' } as const
  const table: readonly (readonly [string, keyof typeof tlsa, Facts['sts'], string])[] = [
    ['TLSA-23 usable TLSA, no STS', 'usable', none, 'dane'],
    ['SA-22 usable TLSA satisfies on its own beside STS enforce', 'usable', enforce, 'dane'],
    ['SA-22 usable TLSA, MX not in the STS policy', 'usable', otherHost, 'dane'],
    ['SA-17 usable TLSA beside STS testing', 'usable', testing, 'dane'],
    ['USE-11 TLSA-18 all unusable, no STS: TLS stays mandatory', 'unusable', none, 'encrypt'],
    ['SA-23 all unusable, STS enforce', 'unusable', enforce, 'pkix'],
    ['SA-23 all unusable, MX not in the STS policy', 'unusable', otherHost, 'sts-mx-not-listed'],
    ['SA-17 all unusable beside STS testing', 'unusable', testing, 'encrypt'],
    ['TLSA-16 denied TLSA, no STS', 'none', none, 'opportunistic'],
    ['SA-21 denied TLSA, STS enforce', 'none', enforce, 'pkix'],
    ['SA-01 denied TLSA, MX not in the STS policy', 'none', otherHost, 'sts-mx-not-listed'],
    ['SA-17 denied TLSA beside STS testing', 'none', testing, 'opportunistic'],
    ['SA-18 denied TLSA, STS none', 'none', policy('none', []), 'opportunistic'],
    ['TLSA-17 failed TLSA lookup', 'failed', none, 'tlsa-lookup-failed'],
    ['SA-20 failed TLSA lookup is not healed by STS', 'failed', enforce, 'tlsa-lookup-failed'],
    ['SA-20 failed TLSA lookup beside STS testing', 'failed', testing, 'tlsa-lookup-failed'],
  ]
  for (const [title, dane, sts, expected] of table) {
    it(`XC-08 ${title} -> ${expected}`, () => {
      const planned = only(facts({ sts, hosts: [host({ tlsa: tlsa[dane] })] }))
      assert.equal(word(planned.requirement), expected)
    })
  }

  it('SA-22 with_dane=both wants both', () => {
    const given = facts({ sts: enforce, hosts: [host({ tlsa: tlsa.usable })] })
    assert.equal(word(only(given, rules({ withDane: 'both' })).requirement), 'dane+pkix')
    const elsewhere = facts({ sts: otherHost, hosts: [host({ tlsa: tlsa.usable })] })
    assert.equal(
      word(only(elsewhere, rules({ withDane: 'both' })).requirement),
      'sts-mx-not-listed',
    )
  })

  it('SA-33 DANE behind an insecure MX does not replace STS: both must pass', () => {
    const given = facts({ mx: insecureMx, sts: enforce, hosts: [host({ tlsa: tlsa.usable })] })
    const { requirement } = only(given)
    assert.equal(word(requirement), 'dane+pkix')
    assert.ok(requirement.level === 'authenticate' && requirement.success === 'verified')
  })

  it('DNS-15 DNS-16 DANE behind an insecure MX is trusted, never verified', () => {
    const { requirement } = only(facts({ mx: insecureMx, hosts: [host({ tlsa: tlsa.usable })] }))
    assert.ok(requirement.level === 'authenticate' && requirement.success === 'trusted')
  })

  it('AUTH-14 AUTH-16 the next-hop domain is a reference identifier behind a secure MX only', () => {
    const references = (mx: Facts['mx']) => {
      const { requirement } = only(facts({ mx, hosts: [host({ tlsa: tlsa.usable })] }))
      return requirement.level === 'authenticate' ? requirement.dane?.references : undefined
    }
    assert.deepEqual(references(secureMx('mx1.rcpt.test')), ['mx1.rcpt.test', 'rcpt.test'])
    assert.deepEqual(references(insecureMx), ['mx1.rcpt.test'])
  })

  it('SNI-01 SNI-04 SNI is the TLSA base domain, also where STS demands something beside', () => {
    const real = { ...tlsa.usable, base: 'real.test' }
    const given = facts({ sts: enforce, hosts: [host({ tlsa: real })] })
    for (const withDane of ['dane', 'both'] as const) {
      const { requirement } = only(given, rules({ withDane }))
      assert.ok(requirement.level === 'authenticate')
      assert.equal(requirement.sni, 'real.test')
    }
  })

  it('SNI-02 SNI under an STS policy is the MX hostname', () => {
    const { requirement } = only(facts({ sts: enforce }))
    assert.ok(requirement.level === 'authenticate' && requirement.sni === 'mx1.rcpt.test')
  })
})

describe('decide: what becomes of the whole attempt', () => {
  it('DNS-07 a failed MX lookup defers', () => {
    const { outcome } = decide(
      facts({ mx: { kind: 'failed', failure: servfail } }),
      rules(),
      inOrder,
    )
    assert.ok(outcome.kind === 'defer' && outcome.reason === 'mx-lookup-failed')
  })

  it('DNS-01 a resolver that does not validate defers, where the operator wants that', () => {
    const blind = rules({ blind: 'no AD bit' })
    for (const mx of [secureMx('mx1.rcpt.test'), nullMx]) {
      const { outcome } = decide(facts({ mx }), blind, inOrder)
      assert.ok(outcome.kind === 'defer' && outcome.reason === 'resolver-blind')
    }
  })

  const noAddress = host({ addresses: { kind: 'none', security: 'secure' } })
  const forgeable = host({ addresses: { kind: 'none', security: 'insecure' } })
  const denials: readonly (readonly [string, Partial<Facts>, Partial<Facts>, string])[] = [
    [
      'DNS-08 NXDOMAIN',
      { mx: { kind: 'nxdomain', security: 'insecure' }, hosts: [] },
      { mx: { kind: 'nxdomain', security: 'secure' }, hosts: [] },
      'no-such-domain',
    ],
    [
      'DNS-27 DNS-30 null MX',
      { mx: { kind: 'null-mx', security: 'insecure' }, hosts: [] },
      { mx: { kind: 'null-mx', security: 'secure' }, hosts: [] },
      'null-mx',
    ],
    [
      'DNS-24 neither MX record nor address',
      { mx: { kind: 'implicit', security: 'secure' }, hosts: [forgeable] },
      { mx: { kind: 'implicit', security: 'secure' }, hosts: [noAddress] },
      'no-mail-host',
    ],
    [
      'DNS-24 no MX record, unsigned, and no address',
      { mx: { kind: 'implicit', security: 'insecure' }, hosts: [noAddress] },
      { mx: { kind: 'implicit', security: 'secure' }, hosts: [noAddress] },
      'no-mail-host',
    ],
  ]
  const unknown = {
    kind: 'unknown',
    problem: { reason: 'sts-txt-lookup-failed', detail: 'SERVFAIL' },
  } as const
  for (const [what, unsigned, signed, reason] of denials) {
    const outcomeOf = (given: Partial<Facts>) => {
      const { outcome } = decide(facts(given), rules(), inOrder)
      return outcome.kind === 'hosts' ? 'hosts' : `${outcome.kind} ${outcome.reason}`
    }
    it(`${what} bounces`, () => {
      const silent = [{ kind: 'none' }, { kind: 'not-asked' }, unknown] as const
      for (const sts of [...silent, policy('testing'), policy('none', [])]) {
        assert.equal(outcomeOf({ ...unsigned, sts }), `bounce ${reason}`)
      }
    })
    it(`${what}, not signed, against a policy in force: the mail waits`, () => {
      assert.equal(outcomeOf({ ...unsigned, sts: policy('enforce') }), 'defer sts-domain-denied')
    })
    it(`${what}, signed, bounces whatever a policy says`, () => {
      assert.equal(outcomeOf({ ...signed, sts: policy('enforce') }), `bounce ${reason}`)
    })
  }

  it('DNS-12 no MX record and a failed address lookup never bounces', () => {
    const failed = host({ addresses: { kind: 'failed', failure: servfail } })
    const given = facts({ mx: { kind: 'implicit', security: 'insecure' }, hosts: [failed] })
    assert.equal(decide(given, rules(), inOrder).outcome.kind, 'hosts')
  })

  it('DNS-13 hosts go by preference; TLSA records do not change the order', () => {
    const hosts = [
      host({ host: 'mx2.rcpt.test', preference: 20, tlsa: tlsa.usable }),
      host({ host: 'mx1.rcpt.test', preference: 10 }),
    ]
    const names = plannedHosts(facts({ hosts })).map((planned) => planned.host)
    assert.deepEqual(names, ['mx1.rcpt.test', 'mx2.rcpt.test'])
  })

  it('DNS-13 equal preferences are shuffled by the draw', () => {
    const hosts = ['a', 'b', 'c'].map((name) => host({ host: `${name}.test` }))
    const draws = [0.9, 0.1, 0.5]
    const { outcome } = decide(facts({ hosts }), rules(), () => draws.shift() ?? 0)
    assert.ok(outcome.kind === 'hosts')
    assert.deepEqual(
      outcome.hosts.map((planned) => planned.host),
      ['b.test', 'c.test', 'a.test'],
    )
  })

  it('DNS-14 SA-15 this server and every host no better than it are dropped before security is looked at', () => {
    const hosts = [
      host({ host: 'mx1.rcpt.test', preference: 10, tlsa: tlsa.failed }),
      host({ host: 'self.rcpt.test', preference: 20 }),
      host({ host: 'mx2.rcpt.test', preference: 20 }),
      host({ host: 'mx3.rcpt.test', preference: 30 }),
    ]
    const self = thisServer('self.rcpt.test', [], [])
    const names = plannedHosts(facts({ hosts }), rules({ self })).map((planned) => planned.host)
    assert.deepEqual(names, ['mx1.rcpt.test'])
  })

  it('DNS-14 when nothing better than this server is left, the mail waits', () => {
    const self = thisServer('sender.test', ['192.0.2.1'], [])
    const { outcome } = decide(facts({ hosts: [host()] }), rules({ self }), inOrder)
    assert.ok(outcome.kind === 'defer' && outcome.reason === 'mx-loop')
  })

  it('DNS-40 SA-24 each host is decided by itself', () => {
    const hosts = [
      host({ host: 'mx1.rcpt.test', preference: 10, tlsa: tlsa.usable }),
      host({ host: 'mx2.rcpt.test', preference: 20, tlsa: tlsa.none }),
      host({ host: 'mx3.rcpt.test', preference: 30, tlsa: tlsa.failed }),
    ]
    const words = plannedHosts(facts({ hosts })).map(({ requirement }) => word(requirement))
    assert.deepEqual(words, ['dane', 'opportunistic', 'tlsa-lookup-failed'])
  })

  it('DNS-11 DNS-24 a host whose address fails or is missing is skipped, the others stay', () => {
    const hosts = [
      host({ host: 'a.test', preference: 1, addresses: { kind: 'failed', failure: servfail } }),
      host({ host: 'b.test', preference: 2, addresses: { kind: 'none', security: 'secure' } }),
      host({ host: 'c.test', preference: 3 }),
    ]
    const words = plannedHosts(facts({ hosts })).map(({ requirement }) => word(requirement))
    assert.deepEqual(words, ['address-lookup-failed', 'no-address', 'opportunistic'])
  })

  it('SA-26 the same host under two next-hop domains has the requirement of each', () => {
    const one = only(facts({ nextHop: 'a.test', sts: policy('enforce') }))
    const other = only(facts({ nextHop: 'b.test', sts: policy('none', []) }))
    assert.equal(word(one.requirement), 'pkix')
    assert.equal(word(other.requirement), 'opportunistic')
  })
})

describe('decide: what the operator says', () => {
  it('SD-18 a failed TXT lookup without a cached policy: continue, or defer', () => {
    const sts = {
      kind: 'unknown',
      problem: { reason: 'sts-txt-lookup-failed', detail: 'SERVFAIL' },
    } as const
    assert.equal(word(only(facts({ sts })).requirement), 'opportunistic')
    const strict = rules({ txtFailure: 'defer' })
    assert.equal(word(only(facts({ sts }), strict).requirement), 'sts-txt-lookup-failed')
    const withDane = facts({ sts, hosts: [host({ tlsa: tlsa.usable })] })
    assert.equal(word(only(withDane, strict).requirement), 'dane')
  })

  it('XC-11 a store that could not be read, and a TXT lookup or fetch that failed: mail waits, whatever txt_failure says', () => {
    const sts = {
      kind: 'store-unread',
      store: 'Redis is not reachable',
      problem: { reason: 'sts-txt-lookup-failed', detail: 'SERVFAIL' },
    } as const
    const reason = (from: Facts, under = rules()) => word(only(from, under).requirement)
    const expected: readonly (readonly [string, string])[] = [
      [reason(facts({ sts })), 'sts-store-unread'],
      [reason(facts({ sts }), rules({ txtFailure: 'defer' })), 'sts-store-unread'],
      [reason(facts({ sts }), rules({ destination: 'encrypt' })), 'sts-store-unread'],
      [reason(facts({ sts, hosts: [host({ tlsa: tlsa.unusable })] })), 'sts-store-unread'],
      [reason(facts({ sts, hosts: [host({ tlsa: tlsa.usable })] })), 'dane'],
      [
        reason(facts({ sts, mx: insecureMx, hosts: [host({ tlsa: tlsa.usable })] })),
        'sts-store-unread',
      ],
    ]
    for (const [found, wanted] of expected) assert.equal(found, wanted)
    const [planned] = plannedHosts(facts({ sts }))
    assert.ok(planned?.requirement.level === 'refuse')
    assert.match(
      planned.requirement.detail,
      /could not be read \(Redis is not reachable\): SERVFAIL/,
    )
  })

  it('XC-11 and no denial that may be forged sends such mail back', () => {
    const sts = {
      kind: 'store-unread',
      store: 'Redis is full',
      problem: { reason: 'sts-txt-lookup-failed', detail: 'SERVFAIL' },
    } as const
    const mx = { kind: 'implicit', security: 'insecure' } as const
    const denied = (security: 'secure' | 'insecure') => {
      const hosts = [host({ addresses: { kind: 'none', security } })]
      return decide(facts({ sts, mx: { ...mx, security }, hosts }), rules(), () => 0).outcome
    }
    const outcome = denied('insecure')
    assert.ok(outcome.kind === 'defer')
    assert.equal(outcome.reason, 'sts-store-unread')
    assert.equal(denied('secure').kind, 'bounce')
  })

  it('encrypt is a floor: it raises, and never lowers', () => {
    const encrypt = rules({ destination: 'encrypt' })
    assert.equal(word(only(facts(), encrypt).requirement), 'encrypt')
    assert.equal(word(only(facts({ sts: policy('enforce') }), encrypt).requirement), 'pkix')
    assert.equal(
      word(only(facts({ hosts: [host({ tlsa: tlsa.failed })] }), encrypt).requirement),
      'tlsa-lookup-failed',
    )
  })

  const daneOnly = rules({ destination: 'dane-only' })
  const mandatory: readonly (readonly [string, Facts, string])[] = [
    ['MAND-01 usable TLSA', facts({ hosts: [host({ tlsa: tlsa.usable })] }), 'dane'],
    [
      'MAND-02 TLSA-22 insecure MX',
      facts({ mx: insecureMx, hosts: [host({ tlsa: tlsa.usable })] }),
      'dane-required',
    ],
    ['MAND-03 no TLSA', facts(), 'dane-required'],
    ['MAND-04 all unusable', facts({ hosts: [host({ tlsa: tlsa.unusable })] }), 'tlsa-unusable'],
    ['MAND-06 STS enforce instead', facts({ sts: policy('enforce') }), 'dane-required'],
    ['TLSA lookup failed', facts({ hosts: [host({ tlsa: tlsa.failed })] }), 'tlsa-lookup-failed'],
  ]
  for (const [title, given, expected] of mandatory) {
    it(`dane-only: ${title} -> ${expected}`, () => {
      assert.equal(word(only(given, daneOnly).requirement), expected)
    })
  }

  it('MAND-05 dane-only: one host without TLSA is skipped, the next is used', () => {
    const hosts = [
      host({ host: 'mx1.rcpt.test', preference: 10 }),
      host({ host: 'mx2.rcpt.test', preference: 20, tlsa: tlsa.usable }),
    ]
    const words = plannedHosts(facts({ hosts }), daneOnly).map(({ requirement }) =>
      word(requirement),
    )
    assert.deepEqual(words, ['dane-required', 'dane'])
  })

  const verify = (match?: readonly string[]) => rules({ destination: 'verify', match })
  const unsigned = { mx: insecureMx } as const
  const named = ['partner.test', '.partner.test']
  /** What must pass, the names that count, who demands it, and what success is called. */
  const inFull = ({ requirement, policy: by }: PlannedHost) => {
    if (requirement.level !== 'authenticate') return `${word(requirement)} by ${by}`
    const { host: name, match = [] } = requirement.pkix ?? {}
    const names = [name, ...match].filter(Boolean).join(' ')
    return `${word(requirement)} [${names}] by ${by}, ${requirement.success}`
  }
  const verified: readonly (readonly [string, Facts, readonly string[] | undefined, string])[] = [
    ['no policy', facts(), undefined, 'pkix [mx1.rcpt.test] by operator, verified'],
    [
      'no policy, unsigned MX',
      facts(unsigned),
      undefined,
      'pkix [mx1.rcpt.test] by operator, trusted',
    ],
    [
      'no policy, unsigned MX, names',
      facts(unsigned),
      named,
      'pkix [partner.test .partner.test] by operator, verified',
    ],
    [
      'a route',
      facts({ mx: { kind: 'route' } }),
      undefined,
      'pkix [mx1.rcpt.test] by operator, verified',
    ],
    [
      'usable TLSA: both',
      facts({ hosts: [host({ tlsa: tlsa.usable })] }),
      undefined,
      'dane+pkix [mx1.rcpt.test] by operator, verified',
    ],
    [
      'usable TLSA behind an unsigned MX: both',
      facts({ ...unsigned, hosts: [host({ tlsa: tlsa.usable })] }),
      undefined,
      'dane+pkix [mx1.rcpt.test] by operator, trusted',
    ],
    [
      'usable TLSA behind an unsigned MX, names',
      facts({ ...unsigned, hosts: [host({ tlsa: tlsa.usable })] }),
      named,
      'dane+pkix [partner.test .partner.test] by operator, verified',
    ],
    [
      'unusable TLSA',
      facts({ hosts: [host({ tlsa: tlsa.unusable })] }),
      undefined,
      'pkix [mx1.rcpt.test] by operator, verified',
    ],
    [
      'STS enforce',
      facts({ sts: policy('enforce') }),
      undefined,
      'pkix [mx1.rcpt.test] by sts, verified',
    ],
    [
      'STS enforce, names: both',
      facts({ sts: policy('enforce') }),
      named,
      'pkix [mx1.rcpt.test partner.test .partner.test] by sts, verified',
    ],
    [
      'STS testing',
      facts({ sts: policy('testing') }),
      named,
      'pkix [partner.test .partner.test] by operator, verified',
    ],
    ['STS that names others', facts({ sts: otherHost }), named, 'sts-mx-not-listed by sts'],
    [
      'TLSA lookup failed',
      facts({ hosts: [host({ tlsa: tlsa.failed })] }),
      named,
      'tlsa-lookup-failed by dane',
    ],
    [
      'an address in the place of a name',
      facts({ hosts: [host({ host: '192.0.2.1' })] }),
      named,
      'verify-no-name by operator',
    ],
  ]
  for (const [title, given, match, expected] of verified) {
    it(`MAND-09 verify${match ? ' match=' : ''}: ${title} -> ${expected}`, () => {
      const planned = only(given, verify(match))
      assert.equal(inFull(planned), expected)
      const insisted = planned.demands.filter(({ enforced }) => enforced)
      const isOthers = /by (?:sts|dane)$/.test(expected)
      assert.equal(
        insisted.some((one) => one.policy === 'operator'),
        !isOthers,
      )
    })
  }

  it('MAND-09 verify beside STS and DANE that must both pass asks for the names as well', () => {
    const given = facts({ sts: policy('enforce'), hosts: [host({ tlsa: tlsa.usable })] })
    const planned = only(given, { ...verify(named), withDane: 'both' })
    assert.equal(
      inFull(planned),
      'dane+pkix [mx1.rcpt.test partner.test .partner.test] by dane+sts, verified',
    )
    const policies = planned.demands.map((one) => one.policy)
    assert.deepEqual(policies, ['dane', 'sts', 'operator'])
  })

  it('MAND-09 verify with enable_tls=false: the host is not used', () => {
    const off = { ...verify(), tlsSwitchedOff: true }
    assert.equal(word(only(facts(), off).requirement), 'tls-switched-off')
  })

  it('enable_tls=false: hosts that demand TLS are refused, others stay', () => {
    const off = rules({ tlsSwitchedOff: true })
    assert.equal(word(only(facts({ sts: policy('enforce') }), off).requirement), 'tls-switched-off')
    assert.equal(word(only(facts(), off).requirement), 'opportunistic')
  })
})

describe('raiseToOperatorsFloor', () => {
  const unusable = facts({ hosts: [host({ tlsa: tlsa.unusable })] })

  it('TLS without a certificate becomes TLS with one, where tls.ini demands that', () => {
    const { requirement } = raiseToOperatorsFloor(only(unusable), true)
    assert.ok(requirement.level === 'authenticate')
    assert.deepEqual(requirement.pkix, { host: 'mx1.rcpt.test', patterns: [], by: 'operator' })
    assert.equal(requirement.success, 'verified')
  })

  it('DNS-16 behind an insecure MX that is trusted, never verified', () => {
    const { requirement } = raiseToOperatorsFloor(only(unusable), false)
    assert.ok(requirement.level === 'authenticate' && requirement.success === 'trusted')
  })

  it('MAND-09 beside names of the operator’s own it asks for the name of the host', () => {
    const given = only(facts(), rules({ destination: 'verify', match: ['partner.test'] }))
    const { requirement } = raiseToOperatorsFloor(given, false)
    assert.ok(requirement.level === 'authenticate')
    const { host: name, match } = requirement.pkix ?? {}
    assert.deepEqual({ name, match }, { name: 'mx1.rcpt.test', match: ['partner.test'] })
  })

  for (const [title, given] of [
    ['DANE', facts({ hosts: [host({ tlsa: tlsa.usable })] })],
    ['MTA-STS', facts({ sts: policy('enforce') })],
    ['no policy', facts()],
    ['a host that is refused', facts({ hosts: [host({ tlsa: tlsa.failed })] })],
  ] as const) {
    it(`${title} stays as it is`, () => {
      const planned = only(given)
      assert.equal(raiseToOperatorsFloor(planned, true), planned)
    })
  }
})

describe('decide: strictness only rises', () => {
  const LEVELS = ['opportunistic', 'encrypt', 'authenticate', 'refuse'] as const
  const rank = (requirement: Requirement) => LEVELS.indexOf(requirement.level)
  const anyTlsa = fc.constantFrom(...Object.values(tlsa))
  const anySts = fc.constantFrom<Facts['sts']>(
    { kind: 'none' },
    { kind: 'not-asked' },
    policy('enforce'),
    otherHost,
    policy('testing'),
    policy('none', []),
  )
  const anyMx = fc.constantFrom(secureMx('mx1.rcpt.test'), insecureMx, { kind: 'route' } as const)

  it('no remote datum lowers what the operator demands', () => {
    fc.assert(
      fc.property(anyTlsa, anySts, anyMx, (dane, sts, mx) => {
        const given = facts({ mx, sts, hosts: [host({ tlsa: dane })] })
        const { requirement } = only(given, rules({ destination: 'encrypt' }))
        assert.ok(rank(requirement) >= LEVELS.indexOf('encrypt'))
      }),
    )
  })

  it('MAND-09 nor what verify demands, which takes nothing from what the receiver publishes', () => {
    fc.assert(
      fc.property(anyTlsa, anySts, anyMx, fc.boolean(), (dane, sts, mx, isNamed) => {
        const given = facts({ mx, sts, hosts: [host({ tlsa: dane })] })
        const match = isNamed ? ['partner.test'] : undefined
        const { requirement } = only(given, rules({ destination: 'verify', match }))
        const { requirement: without } = only(given)
        assert.ok(rank(requirement) >= LEVELS.indexOf('authenticate'))
        if (without.level === 'refuse') assert.deepEqual(requirement, without)
        if (requirement.level !== 'authenticate') return
        assert.ok(requirement.pkix)
        assert.deepEqual(requirement.pkix.match, match)
        if (without.level !== 'authenticate') return
        assert.deepEqual(requirement.dane, without.dane)
        if (without.pkix) assert.equal(requirement.pkix.host, without.pkix.host)
        if (without.success === 'verified') assert.equal(requirement.success, 'verified')
      }),
    )
  })

  it('adding an STS policy never lowers what DANE demands, nor the other way round', () => {
    fc.assert(
      fc.property(anyTlsa, anySts, anyMx, (dane, sts, mx) => {
        const both = only(facts({ mx, sts, hosts: [host({ tlsa: dane })] }))
        const daneAlone = only(facts({ mx, hosts: [host({ tlsa: dane })] }))
        assert.ok(rank(both.requirement) >= rank(daneAlone.requirement))
        if (both.requirement.level === 'opportunistic') {
          assert.equal(only(facts({ mx, sts })).requirement.level, 'opportunistic')
        }
      }),
    )
  })
})
