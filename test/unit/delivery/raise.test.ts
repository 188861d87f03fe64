/** What a message's own demand makes of the plan, over the whole grid of what can be known of a host. */
import assert from 'node:assert/strict'
import { decide } from '../../../plugins/delivery/decide'
import type { Rules } from '../../../plugins/delivery/decide'
import { endOfTried } from '../../../plugins/delivery/host-end'
import type { Met } from '../../../plugins/delivery/host-end'
import { raiseToOperatorsFloor } from '../../../plugins/delivery/requirement'
import type { Facts, MxFacts, PlannedHost, Requirement } from '../../../plugins/delivery/types'
import { facts, host, policy, rules, secureMx, servfail, tlsa } from '../../support/facts'

const problem = (reason: 'sts-policy-fetch-error' | 'sts-txt-lookup-failed') => ({
  reason,
  detail: 'no answer',
})

const unsignedMx: MxFacts = {
  kind: 'mx',
  security: 'insecure',
  records: [{ preference: 10, exchange: 'mx1.rcpt.test' }],
}

const MX: Readonly<Record<string, MxFacts>> = {
  signed: secureMx('mx1.rcpt.test'),
  implicit: { kind: 'implicit', security: 'secure' },
  'implicit, unsigned': { kind: 'implicit', security: 'insecure' },
  route: { kind: 'route' },
  unsigned: unsignedMx,
}
const TLSA = { ...tlsa, 'not asked': { kind: 'not-asked' } } as const
const STS: Readonly<Record<string, Facts['sts']>> = {
  none: { kind: 'none' },
  'fetch failed': { kind: 'none', problem: problem('sts-policy-fetch-error') },
  'policy invalid': { kind: 'none', problem: { reason: 'sts-policy-invalid', detail: 'x' } },
  'TXT failed': { kind: 'unknown', problem: problem('sts-txt-lookup-failed') },
  'store unread': {
    kind: 'store-unread',
    store: 'redis',
    problem: problem('sts-txt-lookup-failed'),
  },
  testing: policy('testing'),
  'mode none': policy('none', []),
  listed: policy('enforce', ['mx1.rcpt.test']),
  unlisted: policy('enforce', ['other.test']),
  'not asked': { kind: 'not-asked' },
}

/** One host's facts, by the names above. */
interface Cell {
  readonly mx: string
  readonly tlsa: string
  readonly sts: string
  readonly withDane: Rules['withDane']
}

const grid: readonly Cell[] = Object.keys(MX).flatMap((mx) =>
  Object.keys(TLSA).flatMap((dane) =>
    Object.keys(STS).flatMap((sts) =>
      (['dane', 'both'] as const).map((withDane) => ({ mx, tlsa: dane, sts, withDane })),
    ),
  ),
)

function factsOf({ mx, tlsa: dane, sts }: Cell): Facts {
  return facts({
    mx: MX[mx] ?? secureMx(),
    sts: STS[sts] ?? { kind: 'none' },
    hosts: [host({ tlsa: TLSA[dane as keyof typeof TLSA] })],
  })
}

function roundsOf(given: Facts, by: Rules) {
  const { outcome } = decide(given, by, () => 0)
  assert.ok(outcome.kind === 'hosts')
  return { first: outcome.hosts.map(word), then: outcome.then?.map(word) }
}

function word({ requirement }: Pick<PlannedHost, 'requirement'>): string {
  switch (requirement.level) {
    case 'refuse':
      return requirement.reason
    case 'authenticate':
      return wordOfAuthentication(requirement)
    case 'encrypt': {
      const { reason, wished, because, requiretls } = requirement
      return [
        `encrypt (${reason})`,
        ...(wished ? [`wish ${wordOfAuthentication(wished)}`] : []),
        ...(because ? [`because ${because.reason}`] : []),
        ...(requiretls ? [requiretls] : []),
      ].join(' ')
    }
    case 'opportunistic':
      return requirement.withoutTls ? 'cleartext' : `opportunistic (${requirement.reason})`
  }
}

function wordOfAuthentication({
  dane,
  pkix,
  requiretls,
  success,
}: Extract<Requirement, { level: 'authenticate' }>): string {
  const parts = [dane && 'dane', pkix && (pkix.by ? `pkix by ${pkix.by}` : 'pkix')]
  return [parts.filter(Boolean).join('+'), ...(requiretls ? [requiretls] : []), success].join(' ')
}

const isOneOf =
  (...words: readonly string[]) =>
  (text: string) =>
    words.includes(text)
const any = () => true
const SAFE = isOneOf('signed', 'implicit', 'implicit, unsigned', 'route')
const UNSIGNED = isOneOf('unsigned')
const NO_DANE = isOneOf('unusable', 'none', 'not asked')

/** RFC 8689 section 4.2.1 in rows: the first that fits a cell is what must be. */
const rows: readonly (readonly [
  string,
  (mx: string) => boolean,
  (tlsa: string) => boolean,
  (sts: string) => boolean,
  string,
  Rules['withDane']?,
])[] = [
  ['RQ-09', any, isOneOf('failed'), any, 'tlsa-lookup-failed'],
  ['RQ-01 RQ-04', isOneOf('signed', 'implicit', 'route'), isOneOf('usable'), any, 'DANE', 'dane'],
  ['SA-01', any, any, isOneOf('unlisted'), 'sts-mx-not-listed'],
  ['XC-11', any, any, isOneOf('store unread'), 'sts-store-unread'],
  ['SA-22 SA-33', any, isOneOf('usable'), isOneOf('listed'), 'dane+pkix must verified'],
  ['RQ-02', any, NO_DANE, isOneOf('listed'), 'pkix must verified'],
  ['RQ-12', SAFE, isOneOf('usable'), any, 'DANE'],
  ['RQ-03 RQ-11 RQ-12 RQ-22', SAFE, NO_DANE, any, 'pkix by requiretls must verified'],
  ['RQ-09', UNSIGNED, any, isOneOf('TXT failed'), 'sts-txt-lookup-failed'],
  ['RQ-09', UNSIGNED, any, isOneOf('fetch failed'), 'requiretls-policy-unknown'],
  ['RQ-02 RQ-10', UNSIGNED, any, any, 'requiretls-mx-not-validated'],
]

function expectedOf(cell: Cell): { readonly ids: string; readonly word: string } {
  const row = rows.find(
    ([, mx, dane, sts, , withDane]) =>
      mx(cell.mx) &&
      dane(cell.tlsa) &&
      sts(cell.sts) &&
      (withDane ?? cell.withDane) === cell.withDane,
  )
  assert.ok(row, 'every cell has its row')
  return { ids: row[0], word: row[4] === 'DANE' ? 'dane must verified' : row[4] }
}

describe('decide: a message with REQUIRETLS', () => {
  for (const cell of grid) {
    const { ids, word: expected } = expectedOf(cell)
    const { mx, tlsa: dane, sts, withDane } = cell
    it(`${ids} MX ${mx}, TLSA ${dane}, MTA-STS ${sts}, with_dane=${withDane} -> ${expected}`, () => {
      const { first, then } = roundsOf(factsOf(cell), rules({ demand: 'requiretls', withDane }))
      assert.deepEqual(first, [expected])
      assert.equal(then, undefined)
    })
  }

  it('RQ-17 never asks for less than the policies, and nothing of an untagged message', () => {
    for (const cell of grid) {
      const { first: untagged } = roundsOf(factsOf(cell), rules({ withDane: cell.withDane }))
      const { first } = roundsOf(
        factsOf(cell),
        rules({ demand: 'requiretls', withDane: cell.withDane }),
      )
      assert.doesNotMatch(untagged.join(), /requiretls|must|may/)
      for (const part of ['dane', 'pkix']) {
        const isAsked = new RegExp(`^(?:\\w+\\+)?${part}\\b`)
        const isRefused = /^(?:requiretls|sts)-/.test(first.join())
        if (isAsked.test(untagged.join()) && !isRefused) assert.match(first.join(), isAsked)
      }
      // A refusal stays one.
      if (/^(?:tlsa|sts)-/.test(untagged.join())) assert.deepEqual(first, untagged)
    }
  })

  it('RQ-22 a host that is an address has no name to prove', () => {
    const given = facts({ mx: { kind: 'route' }, hosts: [host({ host: '192.0.2.1' })] })
    assert.deepEqual(roundsOf(given, rules({ demand: 'requiretls' })).first, ['requiretls-no-name'])
  })

  const exceptions: readonly (readonly [string, Partial<Rules>, string])[] = [
    ['off', { destination: 'off' }, 'pkix by requiretls must verified'],
    ['observe', { destination: 'observe' }, 'pkix by requiretls must verified'],
    ['mode observe', { leftAlone: true }, 'pkix by requiretls must verified'],
    ['encrypt', { destination: 'encrypt' }, 'pkix by requiretls must verified'],
    ['verify', { destination: 'verify' }, 'pkix by requiretls must verified'],
    ['dane-only', { destination: 'dane-only' }, 'dane-required'],
    ['enable_tls=false', { tlsSwitchedOff: true }, 'tls-switched-off'],
    ['txt_failure=defer', { txtFailure: 'defer' }, 'pkix by requiretls must verified'],
  ]
  const verify = { destination: 'verify', match: ['partner.test'] } as const
  const signed = { tlsa: 'none', mx: 'secure', names: 'mx1.rcpt.test partner.test' } as const
  for (const { mx, tlsa: dane, names } of [
    signed,
    { ...signed, mx: 'insecure', names: undefined },
    { ...signed, tlsa: 'usable', names: 'partner.test' },
    { tlsa: 'usable', mx: 'insecure', names: undefined },
  ] as const) {
    it(`MAND-09 verify match=, MX ${mx}, TLSA ${dane}: the operator's names make no MX record safe -> ${names ?? 'refused'}`, () => {
      const given = facts({
        mx: mx === 'secure' ? secureMx('mx1.rcpt.test') : unsignedMx,
        hosts: [host({ tlsa: tlsa[dane] })],
      })
      const { outcome } = decide(given, rules({ demand: 'requiretls', ...verify }), () => 0)
      const planned = outcome.kind === 'hosts' ? outcome.hosts[0] : undefined
      assert.ok(planned)
      const { requirement } = planned
      if (names === undefined) {
        assert.ok(requirement.level === 'refuse')
        assert.equal(requirement.reason, 'requiretls-mx-not-validated')
        return
      }
      assert.ok(requirement.level === 'authenticate' && requirement.requiretls === 'must')
      const { host: own, match = [] } = requirement.pkix ?? {}
      assert.equal([own, ...match].filter(Boolean).join(' '), names)
      assert.equal(requirement.dane !== undefined, dane === 'usable')
    })
  }

  for (const [title, changes, expected] of exceptions) {
    it(`RQ-01 ${title}: the author's demand is no policy of the receiver's -> ${expected}`, () => {
      const by = rules({ demand: 'requiretls', ...changes })
      assert.deepEqual(roundsOf(facts(), by).first, [expected])
    })
  }

  it('RQ-09 NO-12 without an MX answer it waits, null MX sends it back, as ever', () => {
    for (const demand of ['requiretls', 'requiretls-if-possible', 'tls-required-no'] as const) {
      const outcome = (mx: MxFacts) =>
        decide(facts({ mx, hosts: [] }), rules({ demand }), () => 0).outcome
      assert.equal(outcome({ kind: 'failed', failure: servfail }).kind, 'defer')
      assert.equal(outcome({ kind: 'null-mx', security: 'secure' }).kind, 'bounce')
    }
  })

  it('RQ-23 next hops of the operator: TLS with the tag where it is offered, or if possible', () => {
    const byHop = (requiretlsHop: Rules['requiretlsHop'], given: Facts) =>
      roundsOf(given, rules({ demand: 'requiretls', requiretlsHop }))
    const unsigned = facts({ mx: unsignedMx })
    assert.deepEqual(byHop('enforce', unsigned).first, ['requiretls-mx-not-validated'])
    assert.deepEqual(byHop('tls', unsigned), {
      first: ['encrypt (operator-encrypt) may'],
      then: undefined,
    })
    const strict = facts({ hosts: [host({ tlsa: tlsa.usable })] })
    assert.deepEqual(byHop('tls', strict).first, ['dane may verified'])
    assert.deepEqual(byHop('if-possible', unsigned), {
      first: ['requiretls-mx-not-validated'],
      then: ['opportunistic (no-policy)'],
    })
    const failed = facts({ hosts: [host({ tlsa: tlsa.failed })] })
    assert.deepEqual(byHop('tls', failed).first, ['tlsa-lookup-failed'])
  })
})

describe('decide: a notification with REQUIRETLS', () => {
  it('RQ-15 RQ-16 the whole grid: first as tagged, then as any other message', () => {
    for (const cell of grid) {
      const { withDane } = cell
      const by = (demand: Rules['demand']) => roundsOf(factsOf(cell), rules({ demand, withDane }))
      assert.deepEqual(by('requiretls-if-possible'), {
        first: by('requiretls').first,
        then: by(undefined).first,
      })
    }
  })

  it('RQ-16 where the plugin leaves the destination alone, the second round does so', () => {
    const by = rules({ demand: 'requiretls-if-possible', leftAlone: true })
    assert.deepEqual(roundsOf(facts({ sts: policy('enforce') }), by), {
      first: ['pkix must verified'],
      then: ['opportunistic (not-covered)'],
    })
  })
})

describe('decide: a message with TLS-Required: No', () => {
  it('NO-04 NO-05 NO-06 NO-08 NO-15 the whole grid: TLS first, the policies as wishes; then cleartext', () => {
    for (const cell of grid) {
      const { withDane } = cell
      const [untagged] = roundsOf(factsOf(cell), rules({ withDane })).first
      const { first, then } = roundsOf(
        factsOf(cell),
        rules({ demand: 'tls-required-no', withDane }),
      )
      const isStrict = /^(?:dane|pkix)\b.* (?:verified|trusted)$/.test(untagged ?? '')
      const isRefused = /^(?:tlsa|sts)-/.test(untagged ?? '')
      const more = isStrict ? ` wish ${untagged}` : isRefused ? ` because ${untagged}` : ''
      assert.deepEqual(first, [`encrypt (tls-required-no)${more}`])
      assert.deepEqual(then, ['cleartext'])
    }
  })

  it('MAND-08 takes nothing from the rules of the operator', () => {
    for (const destination of ['encrypt', 'verify', 'dane-only'] as const) {
      const given = facts({ hosts: [host({ tlsa: tlsa.usable })] })
      const by = (demand: Rules['demand']) => roundsOf(given, rules({ destination, demand }))
      assert.deepEqual(by('tls-required-no'), by(undefined))
    }
  })

  it('MAND-08 nor from force_tls_hosts: the wish is a demand again', () => {
    const firstOf = (given: Facts) => {
      const { outcome } = decide(given, rules({ demand: 'tls-required-no' }), () => 0)
      assert.ok(outcome.kind === 'hosts' && outcome.hosts[0])
      return raiseToOperatorsFloor(outcome.hosts[0], true)
    }
    const dane = facts({ hosts: [host({ tlsa: tlsa.usable })] })
    assert.equal(word(firstOf(dane)), 'dane verified')
    assert.equal(word(firstOf(facts())), 'pkix by operator verified')
  })

  it('NO-14 what was not insisted on is there to be reported, once', () => {
    const given = facts({ hosts: [host({ tlsa: tlsa.usable })] })
    const { outcome } = decide(given, rules({ demand: 'tls-required-no' }), () => 0)
    assert.ok(outcome.kind === 'hosts' && outcome.then)
    const session = { stage: 'tls', peer: '192.0.2.1' } as const
    const met: Met = {
      kind: 'secured',
      session,
      judge: ({ level }) =>
        level === 'encrypt'
          ? { verdict: 'encrypted', reason: 'tls-required-no', detail: '' }
          : { verdict: 'refused', reason: 'dane-no-match', detail: 'x' },
    }
    const byPolicy = (planned: PlannedHost | undefined) => {
      assert.ok(planned)
      const tried = { mode: 'enforce', domain: 'rcpt.test', facts: given, planned } as const
      return endOfTried({ ...tried, address: '192.0.2.1' }, met).byPolicy
    }
    const unmet = {
      policy: 'dane',
      enforced: false,
      met: false,
      reason: 'dane-no-match',
      detail: 'x',
    }
    assert.deepEqual(byPolicy(outcome.hosts[0]), [unmet])
    assert.deepEqual(byPolicy(outcome.then[0]), [])
  })

  it('NO-12 a host without a usable address stays one', () => {
    const none = { kind: 'none', security: 'secure' } as const
    const hosts = [host({ addresses: none }), host({ host: 'mx2.rcpt.test' })]
    const given = facts({ mx: secureMx('mx1.rcpt.test', 'mx2.rcpt.test'), hosts })
    assert.deepEqual(roundsOf(given, rules({ demand: 'tls-required-no' })), {
      first: ['no-address', 'encrypt (tls-required-no)'],
      then: ['no-address', 'cleartext'],
    })
  })

  it('NO-08 with enable_tls=false Haraka has no TLS to try', () => {
    const by = rules({ demand: 'tls-required-no', tlsSwitchedOff: true })
    const given = facts({ hosts: [host({ tlsa: tlsa.usable })] })
    assert.deepEqual(roundsOf(given, by), { first: ['cleartext'], then: undefined })
  })
})
