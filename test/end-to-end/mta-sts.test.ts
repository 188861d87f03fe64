import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import {
  type Haraka,
  type HarakaSettings,
  Lab,
  type PolicyAnswer,
  type PolicyHost,
  policyText,
} from '../support/lab'
import {
  assertNothingLeaked,
  type Domain,
  type HostSettings,
  makeDomain,
  nextAddress,
} from '../support/lab/world'
import { assertCheckSaysTheSame, assertObserveOnlyWatches } from '../support/lab/beside'

const POLICY_HOST = '198.51.100.80'

describe('end to end: MTA-STS', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let policies: PolicyHost
  let settings: HarakaSettings

  before(async () => {
    lab = await Lab.start()
    policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    settings = {
      plugins: ['tls-policy'],
      config: {
        'outbound.ini': 'connect_timeout=2',
        'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\nfetch_timeout=3\n`,
      },
    }
    haraka = await lab.haraka(settings)
  })
  after(() => lab.stop())

  /** A domain of an unsigned zone with an MTA-STS record and the policy host's answer. */
  async function withPolicy(
    name: string,
    answer: PolicyAnswer,
    hosts: readonly HostSettings[],
    records: readonly string[] = [],
  ): Promise<Domain> {
    policies.set(`mta-sts.${name}`, {
      answer,
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    return makeDomain(lab, name, {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`, ...records],
      hosts,
    })
  }
  const enforce = (name: string, ...labels: readonly string[]) =>
    policyText(
      'enforce',
      (labels.length > 0 ? labels : ['mx1']).map((label) => `${label}.${name}`),
    )
  const requests = (name: string) =>
    policies.requests.entries.filter(({ host }) => host === `mta-sts.${name}`).length

  it('SA-02 SD-01 SF-01 SD-20 enforce, all is well -> delivered, verified', async () => {
    const name = 'sts-good.test'
    const domain = await withPolicy(name, enforce(name), [{}])
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls)
    await haraka.waitForLine(
      'the verdict',
      /domain=sts-good\.test .*policy=sts .*verdict=verified reason=sts-matched/,
    )
    assert.equal(domain.hosts[0]?.sessions.entries[0]?.tls?.servername, 'mx1.sts-good.test')
    assertNothingLeaked(...domain.hosts)
  })

  it('SC-03 the second message to the domain asks the policy host nothing', async () => {
    assert.equal((await haraka.deliver('u@sts-good.test')).kind, 'delivered')
    assert.equal(requests('sts-good.test'), 1)
  })

  const refused: readonly (readonly [string, string, HostSettings, string, RegExp])[] = [
    [
      'SA-04 self-signed certificate',
      'sts-self.test',
      { certificate: makeCertificate({ subject: 'x', san: ['mx1.sts-self.test'] }) },
      '4.7.5',
      /pkix-untrusted/,
    ],
    [
      'STLS-06 no STARTTLS',
      'sts-notls.test',
      { fault: 'no-starttls' },
      '4.7.4',
      /starttls-not-offered/,
    ],
    [
      'SA-32 handshake fails',
      'sts-garbage.test',
      { fault: 'garbage-handshake' },
      '4.7.5',
      /tls-handshake-failed/,
    ],
    [
      'STLS-02 STARTTLS answered 554',
      'sts-554.test',
      { fault: 'starttls-554' },
      '4.7.4',
      /starttls-refused/,
    ],
  ]
  for (const [title, name, host, status, reason] of refused) {
    it(`${title} -> deferred, nothing in cleartext`, async () => {
      const domain = await withPolicy(name, enforce(name), [host])
      const outcome = await haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.equal(outcome.dsn.status, status)
      assert.match(outcome.reason, reason)
      assertNothingLeaked(...domain.hosts)
    })
  }

  it('SA-05 certificate for another name -> deferred, naming both', async () => {
    const name = 'sts-name.test'
    const domain = await withPolicy(name, enforce(name), [
      { certificate: lab.certificate('other.test') },
    ])
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.5')
    assert.match(
      outcome.reason,
      /pkix-name-mismatch: expected mx1\.sts-name\.test, presented other\.test/,
    )
    assertNothingLeaked(...domain.hosts)
  })

  it('SA-06 certificate with the name as CN only -> deferred', async () => {
    const name = 'sts-cn.test'
    const domain = await withPolicy(name, enforce(name), [
      { certificate: [makeCertificate({ subject: `mx1.${name}`, issuer: lab.ca }), lab.ca] },
    ])
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /pkix-name-mismatch/)
  })

  it('SA-03 expired certificate -> deferred', async () => {
    const name = 'sts-expired.test'
    const expired = makeCertificate({
      subject: 'x',
      san: [`mx1.${name}`],
      issuer: lab.ca,
      notBefore: new Date(Date.now() - 2 * 86_400_000),
      notAfter: new Date(Date.now() - 86_400_000),
    })
    const domain = await withPolicy(name, enforce(name), [{ certificate: [expired, lab.ca] }])
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /pkix-expired/)
  })

  it('SA-01 SA-16 the first MX is not listed, the second is -> delivered at the second, the first not contacted', async () => {
    const name = 'sts-listed.test'
    const domain = await withPolicy(name, enforce(name, 'mx2'), [{}, {}])
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.host === `mx2.${name}`)
    assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
  })

  it('SA-01 SA-13 no MX is listed -> deferred, with the patterns', async () => {
    const name = 'sts-unlisted.test'
    const domain = await withPolicy(name, enforce(name, 'other', 'another'), [{}])
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.5')
    assert.match(
      outcome.reason,
      /sts-mx-not-listed: .*other\.sts-unlisted\.test another\.sts-unlisted\.test/,
    )
    assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
  })

  it('SD-15 SF-05 the TXT record may be an alias; the policy host stays the domain’s own', async () => {
    const name = 'sts-alias.test'
    await lab.zone('sts-provider.test', {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=7"'],
    })
    policies.set(`mta-sts.${name}`, {
      answer: enforce(name),
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    const domain = await makeDomain(lab, name, {
      security: 'unsigned',
      records: ['_mta-sts CNAME _mta-sts.sts-provider.test.', `mta-sts A ${POLICY_HOST}`],
      hosts: [{}],
    })
    assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
    await haraka.waitForLine('the verdict', /domain=sts-alias\.test .*verdict=verified/)
    assert.equal(requests(name), 1)
  })

  it('SA-07 the certificate must name the MX host, not another that the pattern fits', async () => {
    const name = 'sts-pattern.test'
    const domain = await withPolicy(name, policyText('enforce', [`*.${name}`]), [
      { certificate: lab.certificate(`mx2.${name}`, name) },
    ])
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /pkix-name-mismatch/)
    assertNothingLeaked(...domain.hosts)
  })

  for (const [names, kind] of [
    ['*', 'delivered'],
    ['m*', 'deferred'],
  ] as const) {
    it(`SA-08 a certificate for ${names}.domain -> ${kind}`, async () => {
      const name = `sts-wildcard-${kind}.test`
      const domain = await withPolicy(name, enforce(name), [
        { certificate: lab.certificate(`${names}.${name}`) },
      ])
      assert.equal((await haraka.deliver(domain.recipient)).kind, kind)
    })
  }

  it('SA-25 no connection to the first MX is no failure of the policy: the second takes the mail', async () => {
    const name = 'sts-down.test'
    const domain = await withPolicy(name, enforce(name, 'mx1', 'mx2'), [{}, {}])
    await domain.hosts[0]?.stop()
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.host === `mx2.${name}`)
  })

  it('SA-31 a name in the policy that is no MX host is never contacted', async () => {
    const name = 'sts-backup.test'
    const backup = nextAddress()
    const receiver = await lab.receiver({
      address: backup,
      certificate: lab.certificate(`backup.${name}`),
    })
    const domain = await withPolicy(
      name,
      enforce(name, 'mx1', 'backup'),
      [{ fault: 'no-starttls' }],
      [`backup A ${backup}`],
    )
    assert.equal((await haraka.deliver(domain.recipient)).kind, 'deferred')
    assert.equal(receiver.sessions.entries.length, 0)
  })

  it('SA-12 no MX record: the domain itself must be listed, and is', async () => {
    const name = 'sts-implicit.test'
    const address = nextAddress()
    policies.set(`mta-sts.${name}`, {
      answer: policyText('enforce', [name]),
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    await lab.receiver({ address, certificate: lab.certificate(name) })
    await lab.zone(name, {
      security: 'unsigned',
      records: [`@ A ${address}`, '_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
    })
    const outcome = await haraka.deliver(`u@${name}`)
    assert.ok(outcome.kind === 'delivered' && outcome.tls)
    await haraka.waitForLine('the verdict', /domain=sts-implicit\.test .*verdict=verified/)
  })

  const lenient: readonly (readonly [
    string,
    string,
    (name: string) => PolicyAnswer,
    HostSettings,
    string,
  ])[] = [
    [
      'SA-17 mode testing, bad certificate',
      'sts-testing.test',
      (name) => policyText('testing', [`mx1.${name}`]),
      { certificate: makeCertificate({ subject: 'x' }) },
      'sts-testing',
    ],
    [
      'SA-18 mode none, bad certificate',
      'sts-none.test',
      () => policyText('none', []),
      { certificate: makeCertificate({ subject: 'x' }) },
      'sts-none',
    ],
    [
      'SF-12 SF-06 policy host says 404, nothing cached',
      'sts-404.test',
      () => ({ status: 404 }),
      {},
      'no-policy',
    ],
    [
      'SP-23 invalid policy, nothing cached',
      'sts-invalid.test',
      () => 'version: STSv2\r\n',
      {},
      'no-policy',
    ],
  ]
  for (const [title, name, answer, host, reason] of lenient) {
    it(`${title} -> delivered as without policy`, async () => {
      const domain = await withPolicy(name, answer(name), [host])
      const outcome = await haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
      await haraka.waitForLine(
        'the verdict',
        new RegExp(`domain=${name.replace('.', '\\.')} .*verdict=encrypted reason=${reason} `),
      )
    })
  }

  it('STLS-07 mode testing, no STARTTLS -> delivered in cleartext', async () => {
    const name = 'sts-testing-clear.test'
    const domain = await withPolicy(name, policyText('testing', [`mx1.${name}`]), [
      { fault: 'no-starttls' },
    ])
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && !outcome.tls)
  })

  it('SF-11 SF-12 a policy host that drips: the fetch ends in time, and the mail goes out', async () => {
    const domain = await withPolicy('sts-drip.test', { fault: 'drip' }, [{}])
    const outcome = await haraka.deliver(domain.recipient)
    assert.equal(outcome.kind, 'delivered')
  })

  it('SA-19 XC-08 DANE fails, MTA-STS would pass -> deferred', async () => {
    const name = 'sts-dane-bad.test'
    policies.set(`mta-sts.${name}`, {
      answer: enforce(name),
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    const domain = await makeDomain(lab, name, {
      security: 'signed',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [{ tlsa: [`_25._tcp.mx1 TLSA 3 1 1 ${'00'.repeat(32)}`] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /dane-no-match/)
    assertNothingLeaked(...domain.hosts)
  })

  it('SA-26 XC-06 two recipients, two domains, one MX, different policies -> each judged by its own', async () => {
    const address = nextAddress()
    const receiver = await lab.receiver({
      address,
      certificate: makeCertificate({ subject: 'x', san: ['mx.shared.test'] }),
    })
    await lab.zone('shared.test', { security: 'unsigned', records: [`mx A ${address}`] })
    for (const [name, mode] of [
      ['sts-strict.test', 'enforce'],
      ['sts-lax.test', 'none'],
    ] as const) {
      policies.set(`mta-sts.${name}`, {
        answer: policyText(mode, mode === 'none' ? [] : ['mx.shared.test']),
        certificate: lab.certificate(`mta-sts.${name}`),
      })
      await lab.zone(name, {
        security: 'unsigned',
        records: [
          '@ MX 10 mx.shared.test.',
          '_mta-sts TXT "v=STSv1; id=1"',
          `mta-sts A ${POLICY_HOST}`,
        ],
      })
    }
    await haraka.send({ from: 'a@sender.test', to: ['u@sts-strict.test', 'u@sts-lax.test'] })
    const [strict, lax] = await Promise.all([
      haraka.outcome('u@sts-strict.test'),
      haraka.outcome('u@sts-lax.test'),
    ])
    assert.equal(strict.kind, 'deferred')
    assert.equal(lax.kind, 'delivered')
    assert.equal(receiver.messages.entries.length, 1)
  })

  it('SA-14 an MX host that a cached policy does not list: the id is looked at before the host is given up', async () => {
    const name = 'sts-moved.test'
    const domain = await withPolicy(name, enforce(name, 'old'), [{}])
    assert.equal((await haraka.deliver(domain.recipient)).kind, 'deferred')
    policies.set(`mta-sts.${name}`, {
      answer: enforce(name),
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    await lab.changeRecord(name, '_mta-sts TXT "v=STSv1; id=1"', '_mta-sts TXT "v=STSv1; id=2"')
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    assertNothingLeaked(...domain.hosts)
  })

  it('SA-14 a certificate that does not fit a cached policy: the id is looked at before the host is given up', async () => {
    const name = 'sts-gave-up.test'
    const domain = await withPolicy(name, enforce(name), [{}, {}])
    assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
    const [receiver, second] = domain.hosts
    assert.ok(receiver)
    receiver.certificate = makeCertificate({ subject: 'x', san: [`mx1.${name}`] })
    policies.set(`mta-sts.${name}`, {
      answer: policyText('testing', [`mx1.${name}`]),
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    await lab.changeRecord(name, '_mta-sts TXT "v=STSv1; id=1"', '_mta-sts TXT "v=STSv1; id=2"')
    const outcome = await haraka.deliver(domain.recipient)
    assert.equal(outcome.kind, 'delivered', JSON.stringify(outcome))
    assert.equal(receiver.messages.entries.length, 2)
    assert.equal(second?.sessions.entries.length, 0, 'the better host takes the mail')
  })

  it('SA-14 nothing new is published: one more look, then the next host, then the mail waits', async () => {
    const name = 'sts-stays.test'
    const domain = await withPolicy(
      name,
      enforce(name, 'mx1', 'mx2'),
      [1, 2].map((number) => ({
        certificate: makeCertificate({ subject: 'x', san: [`mx${number}.${name}`] }),
      })),
    )
    const txt = () =>
      lab.resolver.queries.filter((query) => query.name === `_mta-sts.${name}`).length
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /mx1.*pkix-untrusted.*mx2.*pkix-untrusted/)
    assert.equal(txt(), 2)
    assertNothingLeaked(...domain.hosts)
  })

  it('SA-14 at queue expiry the policy is looked at once more, and a new one lets the mail go', async () => {
    const name = 'sts-last.test'
    const impatient = await lab.haraka({
      ...settings,
      port: 2526,
      config: { ...settings.config, 'outbound.ini': 'temp_fail_intervals=none' },
    })
    const domain = await withPolicy(name, enforce(name, 'other'), [{}])
    const bounced = await impatient.deliver(domain.recipient)
    assert.ok(bounced.kind === 'bounced' && bounced.dsn.status === '5.7.5')
    policies.set(`mta-sts.${name}`, {
      answer: policyText('testing', ['other.test']),
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    const [receiver] = domain.hosts
    await lab.changeRecord(name, '_mta-sts TXT "v=STSv1; id=1"', '_mta-sts TXT "v=STSv1; id=2"')
    const outcome = await impatient.deliver(domain.recipient)
    assert.equal(outcome.kind, 'delivered')
    assert.equal(receiver?.messages.entries.length, 1)
    assert.equal(await assertCheckSaysTheSame(impatient, { only: [name] }), 1)
    await impatient.stop()
  })

  it('SC-01 SC-06 SF-13 SD-16 policy fetched, then TXT gone and policy host down -> still enforced, also after a restart', async () => {
    const name = 'sts-kept.test'
    const domain = await withPolicy(name, enforce(name), [{}])
    assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
    await lab.changeRecord(name, '_mta-sts TXT "v=STSv1; id=1"', undefined)
    policies.set(`mta-sts.${name}`, {
      answer: { fault: 'drop' },
      certificate: lab.certificate(`mta-sts.${name}`),
    })
    const [receiver] = domain.hosts
    assert.ok(receiver)
    receiver.certificate = makeCertificate({ subject: 'x', san: [`mx1.${name}`] })
    const before = await haraka.deliver(domain.recipient)
    assert.ok(before.kind === 'deferred')
    assert.match(before.reason, /pkix-untrusted/)
    await haraka.restart()
    const after = await haraka.deliver(domain.recipient)
    assert.ok(after.kind === 'deferred', JSON.stringify(after))
    assert.match(after.reason, /pkix-untrusted/)
    assertNothingLeaked(receiver)
  })

  describe('beside each of these deliveries', function () {
    this.timeout(300_000)

    it('the command says what the delivery does', async () => {
      assert.ok((await assertCheckSaysTheSame(haraka)) > 20)
    })

    it('AUTH-40 mode observe only watches', async () => {
      const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka, {
        except: { 'sts-kept.test': 'only this store has had its policy' },
      })
      assert.ok(recipients > 20 && hosts > 20, `${recipients} recipients, ${hosts} hosts`)
    })
  })
})
