import assert from 'node:assert/strict'
import { discoverTlsa, referenceIdentifiers } from '../../../plugins/dane/discovery'
import type { TlsaVerdict } from '../../../plugins/dane/types'
import {
  failed,
  hang,
  insecure,
  nodata,
  nxdomain,
  scriptedResolver,
  secure,
  tlsa,
  type ScriptedResolver,
  type Zone,
} from '../../support/scripted-resolver'

const MX1 = 'mx1.rcpt.test'
const IP = '192.0.2.1'
const GOOD = tlsa(3, 1, 1, 'aa'.repeat(32))
const OTHER = tlsa(3, 1, 1, 'bb'.repeat(32))
const UNUSABLE = tlsa(1, 1, 1, 'cc'.repeat(32))

interface Asked {
  readonly verdict: TlsaVerdict
  /** TLSA and CNAME questions only, in order. */
  readonly log: readonly string[]
  readonly resolver: ScriptedResolver
}

async function ask(
  zone: Zone,
  { host = MX1, port = 25, signal }: { host?: string; port?: number; signal?: AbortSignal } = {},
): Promise<Asked> {
  const resolver = scriptedResolver(zone)
  const [a, aaaa] = [await resolver.resolve(host, 'A'), await resolver.resolve(host, 'AAAA')]
  resolver.forget()
  const verdict = await discoverTlsa({
    host,
    port,
    a,
    aaaa,
    resolver,
    digests: ['sha512', 'sha256'],
    ...(signal === undefined ? {} : { signal }),
  })
  return { verdict, log: resolver.log(), resolver }
}

/** `usable BASE`, `unusable BASE`, `none WHY` or `failed NAME`. */
function brief(verdict: TlsaVerdict): string {
  switch (verdict.kind) {
    case 'usable':
    case 'unusable':
      return `${verdict.kind} ${verdict.base}`
    case 'none':
      return `none ${verdict.why}`
    case 'failed':
      return `failed ${verdict.name} ${verdict.failure.cause}`
  }
}

interface Case {
  readonly title: string
  readonly zone: Zone
  readonly host?: string
  readonly port?: number
  readonly verdict: string
  readonly log: readonly string[]
}

const at = (base: string, port = 25) => `_${port}._tcp.${base} TLSA`
const tlsaAt = (base: string, port = 25) => `_${port}._tcp.${base}`
const ALIAS = { [MX1]: { CNAME: secure('real.test') }, 'real.test': { A: secure(IP) } }
const INSECURE_TARGET = { 'host.unsigned.test': { A: insecure(IP) } }

const CASES: readonly Case[] = [
  {
    title: 'TLSA-01 TLSA-04 asks at _port._tcp of the host when its address is secure',
    zone: { [MX1]: { A: secure(IP) }, [tlsaAt(MX1)]: { TLSA: secure(GOOD) } },
    verdict: `usable ${MX1}`,
    log: [at(MX1)],
  },
  {
    title: 'TLSA-02 the port is the one that is dialled',
    zone: {
      [MX1]: { A: secure(IP) },
      [tlsaAt(MX1)]: { TLSA: secure(OTHER) },
      [tlsaAt(MX1, 2525)]: { TLSA: secure(UNUSABLE) },
    },
    port: 2525,
    verdict: `unusable ${MX1}`,
    log: [at(MX1, 2525)],
  },
  {
    title: 'TLSA-05 a secure alias: the expanded name comes first',
    zone: {
      ...ALIAS,
      [tlsaAt('real.test')]: { TLSA: secure(GOOD) },
      [tlsaAt(MX1)]: { TLSA: secure(UNUSABLE) },
    },
    verdict: 'usable real.test',
    log: [at('real.test')],
  },
  {
    title: 'TLSA-06 a denial at the expanded name: the original name is next',
    zone: {
      ...ALIAS,
      [tlsaAt('real.test')]: { TLSA: nxdomain() },
      [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
    },
    verdict: `usable ${MX1}`,
    log: [at('real.test'), at(MX1)],
  },
  {
    title: 'TLSA-06 insecure records at the expanded name: the original name is next',
    zone: {
      ...ALIAS,
      [tlsaAt('real.test')]: { TLSA: insecure(OTHER) },
      [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
    },
    verdict: `usable ${MX1}`,
    log: [at('real.test'), at(MX1)],
  },
  ...(['servfail', 'timeout', 'bogus', 'refused', 'malformed'] as const).map((cause): Case => ({
    title: `TLSA-07 a lookup failure (${cause}) at the expanded name is final`,
    zone: {
      ...ALIAS,
      [tlsaAt('real.test')]: { TLSA: failed(cause) },
      [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
    },
    verdict: `failed ${tlsaAt('real.test')} ${cause}`,
    log: [at('real.test')],
  })),
  {
    title: 'TLSA-07 a lookup failure at the original name is final as well',
    zone: { ...ALIAS, [tlsaAt(MX1)]: { TLSA: failed() } },
    verdict: `failed ${tlsaAt(MX1)} servfail`,
    log: [at('real.test'), at(MX1)],
  },
  {
    title: 'TLSA-08 TLSA-18 a secure set of which nothing is usable ends the search',
    zone: {
      ...ALIAS,
      [tlsaAt('real.test')]: { TLSA: secure(UNUSABLE) },
      [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
    },
    verdict: 'unusable real.test',
    log: [at('real.test')],
  },
  {
    title: 'TLSA-09 a secure alias to an insecure address: the original name alone',
    zone: {
      [MX1]: { CNAME: secure('host.unsigned.test') },
      ...INSECURE_TARGET,
      [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
      [tlsaAt('host.unsigned.test')]: { TLSA: secure(UNUSABLE) },
    },
    verdict: `usable ${MX1}`,
    log: [`${MX1} CNAME`, at(MX1)],
  },
  {
    title: 'TLSA-10 an insecure alias: no DANE, and no TLSA question',
    zone: {
      [MX1]: { CNAME: insecure('host.unsigned.test') },
      ...INSECURE_TARGET,
      [tlsaAt(MX1)]: { TLSA: failed() },
    },
    verdict: 'none insecure-address',
    log: [`${MX1} CNAME`],
  },
  {
    title: 'TLSA-12 names within the alias chain are never asked',
    zone: {
      [MX1]: { CNAME: secure('mid.test') },
      'mid.test': { CNAME: secure('end.test') },
      'end.test': { A: secure(IP) },
      [tlsaAt('mid.test')]: { TLSA: secure(UNUSABLE) },
    },
    verdict: 'none denied',
    log: [at('end.test'), at(MX1)],
  },
  {
    title: 'TLSA-13 an alias at the TLSA name leaves the base domain as it is',
    zone: {
      [MX1]: { A: secure(IP) },
      [tlsaAt(MX1)]: { CNAME: secure('tlsa._dane.x.test') },
      'tlsa._dane.x.test': { TLSA: secure(GOOD) },
    },
    verdict: `usable ${MX1}`,
    log: [at(MX1)],
  },
  {
    title: 'TLSA-14 an alias at the TLSA name into an unsigned zone counts as no records',
    zone: {
      [MX1]: { A: secure(IP) },
      [tlsaAt(MX1)]: { CNAME: secure('tlsa.unsigned.test') },
      'tlsa.unsigned.test': { TLSA: insecure(OTHER) },
    },
    verdict: 'none insecure-records',
    log: [at(MX1)],
  },
  {
    title: 'TLSA-14 an insecure alias to secure records counts as no records',
    zone: {
      [MX1]: { A: secure(IP) },
      [tlsaAt(MX1)]: { CNAME: insecure('tlsa.x.test') },
      'tlsa.x.test': { TLSA: secure(OTHER) },
    },
    verdict: 'none insecure-records',
    log: [at(MX1)],
  },
  {
    title: 'TLSA-15 insecure records under a secure host are not used',
    zone: { [MX1]: { A: secure(IP) }, [tlsaAt(MX1)]: { TLSA: insecure(OTHER) } },
    verdict: 'none insecure-records',
    log: [at(MX1)],
  },
  {
    title: 'TLSA-16 a secure denial is no DANE',
    zone: { [MX1]: { A: secure(IP) }, [tlsaAt(MX1)]: { TLSA: nodata() } },
    verdict: 'none denied',
    log: [at(MX1)],
  },
  {
    title: 'DNS-06 an insecure denial is no DANE either',
    zone: { [MX1]: { A: secure(IP) }, [tlsaAt(MX1)]: { TLSA: nxdomain('insecure') } },
    verdict: 'none denied',
    log: [at(MX1)],
  },
  {
    title: 'TLSA-17 a lookup failure at the only name is final',
    zone: { [MX1]: { A: secure(IP) }, [tlsaAt(MX1)]: { TLSA: failed('timeout') } },
    verdict: `failed ${tlsaAt(MX1)} timeout`,
    log: [at(MX1)],
  },
  {
    title: 'TLSA-19 a destination without MX goes the same way',
    zone: {
      'rcpt.test': { CNAME: secure('real.test') },
      'real.test': { A: secure(IP) },
      [tlsaAt('real.test')]: { TLSA: secure(GOOD) },
    },
    host: 'rcpt.test',
    verdict: 'usable real.test',
    log: [at('real.test')],
  },
  {
    title: 'TLSA-24 an IDN host is asked for in A-labels',
    zone: {
      'mx.xn--bcher-kva.test': { A: secure(IP) },
      [tlsaAt('mx.xn--bcher-kva.test')]: { TLSA: secure(GOOD) },
    },
    host: 'mx.xn--bcher-kva.test',
    verdict: 'usable mx.xn--bcher-kva.test',
    log: [at('mx.xn--bcher-kva.test')],
  },
  {
    title: 'DNS-23 an insecure address: no DANE, and no TLSA question',
    zone: { [MX1]: { A: insecure(IP) }, [tlsaAt(MX1)]: { TLSA: failed() } },
    verdict: 'none insecure-address',
    log: [],
  },
  {
    title: 'DNS-24 a host without address is not asked for',
    zone: { [MX1]: { A: nodata(), AAAA: nodata() }, [tlsaAt(MX1)]: { TLSA: secure(GOOD) } },
    verdict: 'none no-address',
    log: [],
  },
  {
    title: 'DNS-25 one family answers, the other fails: the one that answers counts',
    zone: {
      [MX1]: { A: secure(IP), AAAA: failed() },
      [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
    },
    verdict: `usable ${MX1}`,
    log: [at(MX1)],
  },
  {
    title: 'DNS-25 one family is denied, the other fails: the host is not known to have no address',
    zone: {
      [MX1]: { A: nodata(), AAAA: failed('bogus') },
      [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
    },
    verdict: `failed ${MX1} bogus`,
    log: [],
  },
  {
    title: 'DNS-26 one secure family is enough',
    zone: {
      [MX1]: { A: insecure(IP), AAAA: secure('2001:db8::1') },
      [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
    },
    verdict: `usable ${MX1}`,
    log: [at(MX1)],
  },
]

describe('dane: discovery', () => {
  for (const { title, zone, host, port, verdict, log } of CASES) {
    it(title, async () => {
      const options = {
        ...(host === undefined ? {} : { host }),
        ...(port === undefined ? {} : { port }),
      }
      const asked = await ask(zone, options)
      assert.equal(brief(asked.verdict), verdict)
      assert.deepEqual(asked.log, log)
    })
  }

  it('TLSA-11 a failure of the CNAME question is a failure of the host', async () => {
    const resolver = scriptedResolver({ [MX1]: { CNAME: failed('timeout') } })
    const verdict = await discoverTlsa({
      host: MX1,
      port: 25,
      a: { ...insecure(IP), aliases: ['host.unsigned.test'] },
      aaaa: nodata('insecure'),
      resolver,
      digests: ['sha256'],
    })
    assert.equal(brief(verdict), `failed ${MX1} timeout`)
    assert.deepEqual(resolver.log(), [`${MX1} CNAME`])
  })

  it('TLSA-11 an alias that is securely denied a moment later is a failure', async () => {
    const resolver = scriptedResolver({ [MX1]: { CNAME: nodata() } })
    const verdict = await discoverTlsa({
      host: MX1,
      port: 25,
      a: { ...insecure(IP), aliases: ['host.unsigned.test'] },
      aaaa: nodata('insecure'),
      resolver,
      digests: ['sha256'],
    })
    assert.equal(brief(verdict), `failed ${MX1} malformed`)
  })

  it('TLSA-21 a wildcard answer is an ordinary answer, and all of it is shown', async () => {
    const { verdict } = await ask({
      [MX1]: { A: secure(IP) },
      [tlsaAt(MX1)]: { TLSA: secure(GOOD, UNUSABLE) },
    })
    assert.deepEqual(verdict, {
      kind: 'usable',
      base: MX1,
      records: [
        { usage: 3, selector: 1, matchingType: 1, data: Buffer.from('aa'.repeat(32), 'hex') },
      ],
      presentation: [`3 1 1 ${'aa'.repeat(32)}`, `1 1 1 ${'cc'.repeat(32)}`],
    })
  })

  it('USE-11 says of each record why it is unusable', async () => {
    const { verdict } = await ask({
      [MX1]: { A: secure(IP) },
      [tlsaAt(MX1)]: { TLSA: secure(UNUSABLE, tlsa(3, 9, 1, '00')) },
    })
    assert.deepEqual(verdict.kind === 'unusable' && verdict.why, [
      'usage 1 is not for SMTP (RFC 7672 §3.1.3)',
      'unknown selector 9',
    ])
  })

  it('TLSA-23 keeps the four verdicts apart', async () => {
    const kinds = []
    for (const reply of [secure(GOOD), secure(UNUSABLE), nodata(), failed()]) {
      const { verdict } = await ask({ [MX1]: { A: secure(IP) }, [tlsaAt(MX1)]: { TLSA: reply } })
      kinds.push(verdict.kind)
    }
    assert.deepEqual(kinds, ['usable', 'unusable', 'none', 'failed'])
  })

  it('DNS-40 each host has its own verdict', async () => {
    const zone: Zone = {
      [MX1]: { A: secure(IP) },
      'mx2.rcpt.test': { A: secure(IP) },
      [tlsaAt(MX1)]: { TLSA: secure(OTHER) },
    }
    assert.equal(brief((await ask(zone)).verdict), `usable ${MX1}`)
    assert.equal(brief((await ask(zone, { host: 'mx2.rcpt.test' })).verdict), 'none denied')
  })

  it('TLSA-03 the recipient domain is never asked where there is an MX host', async () => {
    const { verdict, log } = await ask({
      [MX1]: { A: secure(IP) },
      [tlsaAt('rcpt.test')]: { TLSA: secure(GOOD) },
    })
    assert.equal(brief(verdict), 'none denied')
    assert.deepEqual(log, [at(MX1)])
  })

  it('DNS-32 TLSA-24 host names are compared and asked for in lower case, without trailing dot', async () => {
    const zone: Zone = { [MX1]: { A: secure(IP) }, [tlsaAt(MX1)]: { TLSA: secure(GOOD) } }
    const { verdict, log } = await ask(zone, { host: 'MX1.Rcpt.TEST.' })
    assert.equal(brief(verdict), `usable ${MX1}`)
    assert.deepEqual(log, [at(MX1)])
  })

  describe('names that hosts seldom bear', () => {
    const long = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(54)}.test`
    const names: Readonly<Record<string, string>> = {
      underscore: '_mx.rcpt.test',
      'leading hyphen': '-mx.rcpt.test',
      'trailing hyphen': 'mx-.rcpt.test',
      slash: 'mx/1.rcpt.test',
      space: 'mx\\0321.rcpt.test',
      'escaped dot': 'mx\\0461.rcpt.test',
      backslash: 'mx\\0921.rcpt.test',
      'octets beyond ASCII': 'm\\195\\188x.rcpt.test',
      asterisk: '*.rcpt.test',
      digits: '25.123',
      'one label': 'localhost',
      'no A-label': 'xn--abc.test',
      'a name below which no TLSA record fits': long,
    }
    for (const [what, odd] of Object.entries(names)) {
      it(`${what}: DNS-23 TLSA-10 nothing is secure, so no TLSA question arises`, async () => {
        const { verdict, log } = await ask({ [odd]: { A: insecure(IP) } }, { host: odd })
        assert.equal(brief(verdict), 'none insecure-address')
        assert.deepEqual(log, [])
      })
      it(`${what}: TLSA-04 TLSA-17 with a secure address the DNS has the word`, async () => {
        const known: Zone = { [odd]: { A: secure(IP) }, [tlsaAt(odd)]: { TLSA: secure(GOOD) } }
        const { verdict } = await ask(known, { host: odd })
        assert.equal(brief(verdict), odd === long ? 'none denied' : `usable ${odd}`)
        const bad: Zone = { [odd]: { A: secure(IP) }, [tlsaAt(odd)]: { TLSA: failed() } }
        const { verdict: worse } = await ask(bad, { host: odd })
        assert.equal(worse.kind, odd === long ? 'none' : 'failed')
      })
      it(`${what}: TLSA-05 TLSA-06 as the target of an alias`, async () => {
        const zone: Zone = {
          [MX1]: { CNAME: secure(odd) },
          [odd]: { A: secure(IP) },
          [tlsaAt(MX1)]: { TLSA: secure(GOOD) },
        }
        assert.equal(brief((await ask(zone)).verdict), `usable ${MX1}`)
      })
    }
  })

  it('a host that the DNS cannot be asked for is a failure, and nothing is asked', async () => {
    const { verdict, log } = await ask({}, { host: 'mx 1\n.test' })
    assert.ok(verdict.kind === 'failed' && verdict.failure.cause === 'bad-name')
    assert.doesNotMatch(verdict.failure.detail, /\n/)
    assert.deepEqual(log, [])
  })

  it('the caller can end a lookup that hangs; that is a failure', async () => {
    const controller = new AbortController()
    const zone: Zone = { [MX1]: { A: secure(IP) }, [tlsaAt(MX1)]: { TLSA: hang } }
    const asked = ask(zone, { signal: controller.signal })
    controller.abort()
    assert.equal(brief((await asked).verdict), `failed ${tlsaAt(MX1)} aborted`)
  })
})

describe('dane: reference identifiers', () => {
  const question = {
    base: MX1,
    nextHop: 'rcpt.test',
    nextHopExpanded: 'real.test',
    mxUsed: true,
    mxSecure: true,
  }
  const cases = [
    [
      'AUTH-13 AUTH-14 AUTH-15 a secure MX: base domain, next-hop domain, expanded next-hop domain',
      question,
      [MX1, 'rcpt.test', 'real.test'],
    ],
    [
      'AUTH-14 a next-hop domain that is no alias comes once',
      { ...question, nextHopExpanded: 'rcpt.test' },
      [MX1, 'rcpt.test'],
    ],
    ['AUTH-16 an insecure MX: the host alone', { ...question, mxSecure: false }, [MX1]],
    [
      'AUTH-17 no MX: base domain and the next-hop domain that led to it',
      { ...question, base: 'real.test', mxUsed: false },
      ['real.test', 'rcpt.test'],
    ],
    [
      'AUTH-17 no MX and no alias: one name',
      { ...question, base: 'rcpt.test', mxUsed: false },
      ['rcpt.test'],
    ],
    [
      'AUTH-17 no MX, the alias did not lead to the base: one name',
      { ...question, base: 'rcpt.test', nextHopExpanded: 'real.test', mxUsed: false },
      ['rcpt.test'],
    ],
    [
      'AUTH-18 an MX host that is an alias: its unexpanded name is none',
      { ...question, base: 'host.provider.test', mxSecure: false },
      ['host.provider.test'],
    ],
    [
      'DNS-32 names are compared in one form',
      { ...question, base: 'RCPT.test.', nextHopExpanded: 'rcpt.TEST' },
      ['rcpt.test'],
    ],
  ] as const
  for (const [title, asked, expected] of cases) {
    it(title, () => {
      assert.deepEqual(referenceIdentifiers(asked), expected)
    })
  }
})
