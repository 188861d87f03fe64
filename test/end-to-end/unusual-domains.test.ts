/**
 * Domains and hosts as they seldom are: names with odd characters, names that are hardly any, domains of which the DNS says that
 * they are gone, many hosts, many addresses. Beside plain Haraka: what it can deliver, the plugin delivers.
 */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import {
  type Haraka,
  type HarakaVersion,
  Lab,
  type Outcome,
  policyText,
  type PolicyHost,
  tlsaLine,
  type ZoneSettings,
} from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertNothingLeaked, makeDomain, nextAddress } from '../support/lab/world'

const POLICY_HOST = '198.51.100.83'

/** First labels of hosts, as a zone file has them, by a word for the title. */
const labels: Readonly<Record<string, string>> = {
  slash: 'mx/1',
  underscore: '_mx',
  'leading-hyphen': '-mx',
  'trailing-hyphen': 'mx-',
  space: 'mx\\0321',
  'escaped-dot': 'mx\\.1',
  backslash: 'mx\\\\1',
  'beyond-ascii': 'm\\195\\188x',
  nul: 'mx\\0001',
  asterisk: '*',
  semicolon: 'mx\\;1',
  at: 'mx\\@1',
  percent: 'mx%41',
  digits: '123',
  colon: 'mx:25',
  long: [...'abc'].map((letter) => letter.repeat(63)).join('.') + `.${'d'.repeat(20)}`,
  'too-long-for-tlsa': [...'abc'].map((letter) => letter.repeat(63)).join('.') + `.${'d'.repeat(28)}`,
} // prettier-ignore

/** Haraka's parser of addresses lets this one through, and no DNS name can hold it. */
const LABEL_TOO_LONG = `${'x'.repeat(64)}.test`

describe('end to end: unusual domains', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let plain: Haraka
  let policies: PolicyHost

  before(async () => {
    lab = await Lab.start()
    policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    const outbound = { 'outbound.ini': 'connect_timeout=2' }
    const ini = `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n`
    plain = await lab.haraka({ port: 2526, config: outbound })
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: { ...outbound, 'tls-policy.ini': ini },
    })
  })
  after(() => lab.stop())

  function said(domain: string, pattern: string): Promise<string> {
    const line = new RegExp(`tls-policy: domain=${domain.replaceAll('.', '\\.')} .*${pattern}`)
    return haraka.waitForLine(`${domain}: ${pattern}`, line)
  }

  function assertDelivered(outcome: Outcome): asserts outcome is Outcome & { kind: 'delivered' } {
    assert.equal(outcome.kind, 'delivered', JSON.stringify(outcome))
  }

  describe('MX hosts with odd names', () => {
    const right = makeCertificate({ subject: 'right' })
    const wrong = makeCertificate({ subject: 'wrong' })
    const receivers = new Map<string, Awaited<ReturnType<Lab['receiver']>>>()
    type Kind = 'unsigned' | 'pinned' | 'mismatch' | 'alias'
    const domain = (what: string, kind: Kind) => `${what}-${kind}.test`

    before(async () => {
      const zones: Record<string, ZoneSettings> = {}
      for (const [what, label] of Object.entries(labels)) {
        for (const kind of ['unsigned', 'pinned', 'mismatch', 'alias'] as const) {
          const address = nextAddress()
          const name = domain(what, kind)
          receivers.set(name, await lab.receiver({ address, certificate: right }))
          const fits = what !== 'too-long-for-tlsa'
          const pin = kind === 'mismatch' ? wrong : right
          zones[name] = {
            security: kind === 'unsigned' ? 'unsigned' : 'signed',
            records: [
              ...(kind === 'alias' ? ['@ MX 10 mx', `mx CNAME ${label}`] : [`@ MX 10 ${label}`]),
              `${label} A ${address}`,
              ...(kind === 'unsigned' || !fits ? [] : [tlsaLine(label, pin)]),
            ],
          }
        }
      }
      await lab.zones(zones)
    })

    for (const what of Object.keys(labels)) {
      it(`${what}: DNS-23 in an unsigned zone no TLSA question arises, and mail flows`, async () => {
        const name = domain(what, 'unsigned')
        assertDelivered(await haraka.deliver(`u@${name}`))
        await said(name, 'reason=no-policy')
      })

      it(`${what}: TLSA-04 SNI-01 with secure TLSA records mail is verified, and held where they do not match`, async () => {
        const fits = what !== 'too-long-for-tlsa'
        const pinned = domain(what, 'pinned')
        assertDelivered(await haraka.deliver(`u@${pinned}`))
        await said(pinned, fits ? 'verdict=verified' : 'reason=no-policy')
        if (!fits) return
        const mismatch = domain(what, 'mismatch')
        const outcome = await haraka.deliver(`u@${mismatch}`)
        assert.equal(outcome.kind, 'deferred')
        await said(mismatch, 'reason=dane-no-match')
        assertNothingLeaked(receivers.get(mismatch))
      })

      it(`${what}: TLSA-05 as the target of an alias`, async () => {
        const name = domain(what, 'alias')
        assertDelivered(await haraka.deliver(`u@${name}`))
        await said(name, what === 'too-long-for-tlsa' ? 'reason=no-policy' : 'verdict=verified')
      })

      it(`${what}: where plain Haraka delivers, the plugin does`, async () => {
        const outcome = await plain.deliver(`plain@${domain(what, 'unsigned')}`)
        if (outcome.kind !== 'delivered') assert.equal(outcome.reason, 'Tried all MXs')
      })
    }
  })

  describe('recipient domains that are hardly any', () => {
    it('DNS-31 what only looks like an A-label is a name, and delivered to', async () => {
      const { recipient } = await makeDomain(lab, 'xn--abc.test', {
        hosts: [{ tlsa: [[3, 1, 1]] }],
      })
      assertDelivered(await haraka.deliver(recipient))
      await said('xn--abc.test', 'verdict=verified')
    })

    for (const version of ['3.1.6', '3.2.1', '3.3.4'] satisfies HarakaVersion[]) {
      it(`DNS-08 Haraka ${version}: where the DNS denies such a name, mail comes back at once as from plain Haraka`, async () => {
        const config = { 'outbound.ini': 'connect_timeout=2' }
        const both = [
          await lab.haraka({ version, port: 2601, config }),
          await lab.haraka({ version, port: 2602, plugins: ['tls-policy'], config }),
        ]
        for (const name of ['foo.123', 'gone.xn--abc.test', 'xn--gone.test', '0x7f.1', '1.2']) {
          for (const relay of both) {
            const outcome = await relay.deliverApart(`u@${name}`)
            assert.equal(outcome.kind, 'bounced', `${name}: ${JSON.stringify(outcome)}`)
            assert.equal(outcome.kind === 'bounced' && outcome.dsn?.status, '5.1.2', name)
          }
        }
        if (version === '3.1.6') {
          const outcome = await both[1]?.deliverApart(`u@${LABEL_TOO_LONG}`)
          assert.ok(outcome?.kind === 'bounced', JSON.stringify(outcome))
          assert.equal(outcome.dsn?.status, '5.1.2')
          await both[1]?.waitForLine('the reason', /reason=bad-domain/)
        }
        for (const relay of both) await relay.stop()
      })
    }
  })

  describe('a domain of which the DNS says that it takes no mail', () => {
    const denials: Readonly<Record<string, ZoneSettings['records']>> = {
      'null-mx': ['@ MX 0 .'],
      'no-address': ['other A 192.0.2.1'],
      nxdomain: undefined,
    }

    before(() =>
      lab.zones({
        'forgeable.test': { security: 'unsigned', records: [] },
        'proven.test': { security: 'signed', records: [] },
      }),
    )

    async function withPolicy(name: string, security: 'signed' | 'unsigned', mode: string) {
      policies.set(`mta-sts.${name}`, {
        answer: policyText(mode, [`mx1.${name}`]),
        certificate: lab.certificate(`mta-sts.${name}`),
      })
      const { recipient } = await makeDomain(lab, name, {
        security,
        records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
        hosts: [{}],
      })
      assertDelivered(await haraka.deliver(recipient))
    }

    async function deny(security: 'signed' | 'unsigned', parent: string, mode: string) {
      const outcomes = new Map<string, Outcome>()
      for (const how of Object.keys(denials)) await withPolicy(`${how}.${parent}`, security, mode)
      await lab.zones(
        Object.fromEntries(
          Object.entries(denials).map(([how, records]) => [
            `${how}.${parent}`,
            records && { security, records },
          ]),
        ),
      )
      await lab.resolver.flush()
      // What it knew of the good time is gone, but for the policies.
      await haraka.restart()
      for (const how of Object.keys(denials)) {
        outcomes.set(how, await haraka.deliver(`u@${how}.${parent}`))
      }
      return outcomes
    }

    it('without a signature, and against a policy in force: the mail waits', async () => {
      for (const [how, outcome] of await deny('unsigned', 'forgeable.test', 'enforce')) {
        assert.equal(outcome.kind, 'deferred', `${how}: ${JSON.stringify(outcome)}`)
        const line = await said(`${how}.forgeable.test`, 'reason=sts-domain-denied')
        assert.match(line, / policy=sts require=refuse verdict=refused /)
      }
    })

    it('DNS-27 DNS-30 signed: the mail comes back at once, whatever the policy says', async () => {
      for (const [how, outcome] of await deny('signed', 'proven.test', 'enforce')) {
        assert.equal(outcome.kind, 'bounced', `${how}: ${JSON.stringify(outcome)}`)
      }
    })
  })

  describe('many hosts and many addresses', () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

    for (const [what, pinned] of [
      ['without a policy', false],
      ['with DANE', true],
    ] as const) {
      const name = (kind: string) => `${kind}-${pinned ? 'pinned' : 'free'}.test`
      const certificate = makeCertificate({ subject: 'alive' })
      const security = pinned ? 'signed' : 'unsigned'

      it(`${what}: of 25 MX hosts only the last is alive`, async () => {
        const address = nextAddress()
        await lab.receiver({ address, certificate })
        await lab.zone(name('hosts'), {
          security,
          records: many(25).flatMap((n) => [
            `@ MX ${n} mx${n}`,
            `mx${n} A ${n === 25 ? address : nextAddress()}`,
            ...(pinned ? [tlsaLine(`mx${n}`, certificate)] : []),
          ]),
        })
        assertDelivered(await haraka.deliver(`u@${name('hosts')}`))
      })

      it(`${what}: of 12 addresses only one is alive`, async () => {
        const address = nextAddress()
        await lab.receiver({ address, certificate })
        await lab.zone(name('addresses'), {
          security,
          records: [
            '@ MX 10 mx',
            ...many(12).map((n) => `mx A ${n === 12 ? address : nextAddress()}`),
            ...(pinned ? [tlsaLine('mx', certificate)] : []),
          ],
        })
        assertDelivered(await haraka.deliver(`u@${name('addresses')}`))
      })
    }
  })

  it('a host that has a verdict in its certificate’s names writes none into the log, ours or Haraka’s', async () => {
    const ca = makeCertificate({ subject: 'CA', ca: true })
    const certificate = makeCertificate({
      subject: 'mx',
      san: ['verdict=verified.reason=dane-ta-matched.test'],
      issuer: ca,
    })
    const { recipient } = await makeDomain(lab, 'words.test', {
      hosts: [{ certificate: [certificate, ca], tlsa: [tlsaLine('mx1', ca, [2, 0, 1])] }],
    })
    const from = haraka.log().length
    assert.equal((await haraka.deliver(recipient)).kind, 'deferred')
    const line = await said('words.test', 'reason=dane-ta-name-mismatch')
    assert.match(line, /verdict:verified\.reason:dane-ta-matched\.test/)
    const told = haraka.log().slice(from)
    assert.ok(told.some((each) => /ERROR.*Failed to get socket.*verdict:verified/.test(each)))
    assert.deepEqual(
      told.filter((each) => !each.startsWith('LAB ') && /verdict=verified/.test(each)),
      [],
    )
  })

  it('check says the same of every scene', async () => {
    await assertCheckSaysTheSame(haraka)
  })
})
