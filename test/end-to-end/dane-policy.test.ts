import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate, setTimeout } from 'node:timers/promises'
import type { WaitingReport } from '../../plugins/cli/waiting'
import { runCommand } from '../support/cli'
import { makeCertificate, makeChain, type TestCertificate, tlsaData } from '../support/certificates'
import { type Haraka, Lab, type Mail, type Outcome, type Receiver, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame, assertObserveOnlyWatches } from '../support/lab/beside'
import type { ReceiverSettings } from '../support/lab/receiver'
import {
  assertNothingLeaked,
  type Domain,
  type HostSettings,
  makeDomain,
  nextAddress,
} from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const
const DANE_TA = [2, 0, 1] as const
const QUICK = 'connect_timeout=2'

/** Is never served: "TLSA bad". */
const strange = makeCertificate({ subject: 'strange.test' })
const bad = tlsaLine('mx1', strange, DANE_EE)

interface Sent {
  readonly outcome: Outcome
  readonly domain: Domain
  readonly receiver: Receiver
}

function assertDeferred({ outcome, domain }: Sent, reason: RegExp, status?: string): void {
  assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
  assert.match(outcome.reason, reason)
  if (status !== undefined) assert.equal(outcome.dsn.status, status)
  assertNothingLeaked(...domain.hosts)
}

function assertDelivered({ outcome }: Sent, tls = true): void {
  assert.ok(outcome.kind === 'delivered' && outcome.tls === tls, JSON.stringify(outcome))
}

/** Sends to a fresh domain with one host. */
async function sendTo(
  lab: Lab,
  haraka: Haraka,
  name: string,
  host: HostSettings,
  more: {
    readonly security?: 'signed' | 'unsigned'
    readonly headers?: readonly string[]
    readonly records?: readonly string[]
  } = {},
): Promise<Sent> {
  const { headers = [], ...zone } = more
  const domain = await makeDomain(lab, name, { ...zone, hosts: [host] })
  const outcome = await haraka.deliver(domain.recipient, { headers })
  const [receiver] = domain.hosts
  assert.ok(receiver)
  return { outcome, domain, receiver }
}

function said(haraka: Haraka, domain: string, pattern: string): Promise<string> {
  const line = new RegExp(`tls-policy: domain=${domain.replaceAll('.', '\\.')} .*${pattern}`)
  return haraka.waitForLine(`${domain}: ${pattern}`, line)
}

let asking = 0

/** How often a name was asked for: the resolver's log is awaited up to a question of our own. */
async function timesAsked(lab: Lab, name: string, type: string): Promise<number> {
  const own = `mark-${++asking}.test`
  await lab.ask(own, 'A')
  while (!lab.resolver.queries.some((query) => query.name === own)) await setImmediate()
  return lab.resolver.queries.filter((query) => query.name === name && query.type === type).length
}

describe('end to end: what the operator says', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: {
        'outbound.ini': QUICK,
        'tls-policy.ini': [
          '[mta_sts]',
          `ca_file=${lab.caFile}`,
          '[destinations]',
          '.only.test=dane-only',
          '.verified.test=verify',
          '.named.test=verify match=hub.example,.hubs.example',
          'expires.test=dane-only',
          '.watched.test=observe',
          'for-now.watching.test=observe until 2099-12-31',
          'was.watching.test=observe until 2020-01-01',
          '.off.test=off',
          'for-now.exempt.test=off until 2099-12-31',
          'was.exempt.test=off until 2020-01-01',
          '',
        ].join('\n'),
      },
    })
  })
  after(() => lab.stop())

  it('MAND-07 DNS-38 XC-06 XC-07 a failure defers at every attempt, at the ordinary intervals, and bounces at expiry only', async () => {
    const domain = await makeDomain(lab, 'expires.test', { hosts: [{ tlsa: [bad] }] })
    let outcome = await haraka.deliver(domain.recipient)
    for (let attempt = 1; attempt <= 3; attempt++) {
      assert.ok(outcome.kind === 'deferred', `attempt ${attempt}: ${JSON.stringify(outcome)}`)
      assert.equal(outcome.delay, 3600)
      assert.equal(outcome.dsn.status, '4.7.5')
      haraka.retry()
      outcome = await haraka.outcome(domain.recipient)
    }
    assert.ok(outcome.kind === 'bounced', JSON.stringify(outcome))
    assert.equal(outcome.dsn.status, '5.7.5')
    assert.match(outcome.reason, /dane-no-match/)
    assert.equal(domain.hosts[0]?.sessions.entries.length, 4)
    assertNothingLeaked(...domain.hosts)
  })

  // Workers give over what they know of destinations every ten seconds; other scenes fill that time.
  const MENDED = 'mended.verified.test'
  let kept: Sent
  const waiting = async () => {
    const { stdout } = await runCommand(haraka.folder, 'waiting', MENDED, '--json')
    return JSON.parse(stdout) as WaitingReport
  }

  describe('what waits: kept back', () => {
    it('a policy keeps mail back, which is to be told from outside', async () => {
      kept = await sendTo(lab, haraka, MENDED, { fault: 'no-starttls' })
      assertDeferred(kept, /starttls-not-offered/)
    })
  })

  describe('dane-only', () => {
    it('MAND-01 secure MX, matching record: delivered, verified', async () => {
      const sent = await sendTo(lab, haraka, 'ok.only.test', { tlsa: [DANE_EE] })
      assertDelivered(sent)
      await said(haraka, 'ok.only.test', 'policy=dane .*verdict=verified')
    })

    it('MAND-02 TLSA-22 insecure MX, signed host with a matching record: deferred, not contacted', async () => {
      const provider = await makeDomain(lab, 'provider02.test', { hosts: [{ tlsa: [DANE_EE] }] })
      await lab.zone('mx.only.test', {
        security: 'unsigned',
        records: ['@ MX 10 mx1.provider02.test.'],
      })
      const outcome = await haraka.deliver('u@mx.only.test')
      assert.ok(outcome.kind === 'deferred')
      assert.match(outcome.reason, /dane-required: the MX records of mx\.only\.test are not secure/)
      assert.equal(provider.hosts[0]?.sessions.entries.length, 0)
    })

    it('MAND-03 no records: deferred, not contacted', async () => {
      const sent = await sendTo(lab, haraka, 'none.only.test', {})
      assertDeferred(sent, /mx1\.none\.only\.test \(operator\) dane-required/)
      assert.equal(sent.receiver.sessions.entries.length, 0)
    })

    it('MAND-04 unusable records alone: deferred, not contacted', async () => {
      const sent = await sendTo(lab, haraka, 'unusable.only.test', { tlsa: [[1, 1, 1]] })
      assertDeferred(sent, /tlsa-unusable/)
      assert.equal(sent.receiver.sessions.entries.length, 0)
    })

    it('MAND-05 the first host has no records: the second takes the mail', async () => {
      const domain = await makeDomain(lab, 'second.only.test', {
        hosts: [{}, { tlsa: [DANE_EE] }],
      })
      const outcome = await haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'delivered' && outcome.host === 'mx2.second.only.test')
      await said(haraka, 'second.only.test', 'mx=mx1\\.second.* reason=dane-required')
      assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
    })

    it('MAND-08 the message says "TLS-Required: No": the operator’s word stands, deferred', async () => {
      const sent = await sendTo(
        lab,
        haraka,
        'header.only.test',
        { tlsa: [bad] },
        { headers: ['TLS-Required: No'] },
      )
      assertDeferred(sent, /dane-no-match/)
      const without = await sendTo(
        lab,
        haraka,
        'header2.only.test',
        {},
        { headers: ['TLS-Required: No'] },
      )
      assertDeferred(without, /dane-required/)
      assert.equal(without.receiver.sessions.entries.length, 0)
    })
  })

  describe('what waits: told and mended', () => {
    it('the command tells that the mail waits, with host, reason and cure; then the receiver mends it', async () => {
      let report = await waiting()
      while (report.exitCode === 0) report = await waiting()
      assert.equal(report.exitCode, 1, report.problem ?? '')
      const [one, ...others] = report.destinations
      assert.ok(one && others.length === 0)
      const { domain, host, policy, reason, messages, receiver } = one
      assert.deepEqual(
        { domain, host, policy, reason, messages },
        {
          ...{ domain: MENDED, host: `mx1.${MENDED}`, policy: 'operator' },
          ...{ reason: 'starttls-not-offered', messages: 1 },
        },
      )
      assert.match(receiver ?? '', /^Offer STARTTLS/)

      kept.receiver.fault = 'none'
      haraka.retry()
      assert.equal((await haraka.outcome(kept.domain.recipient)).kind, 'delivered')
    })
  })

  describe('verify', () => {
    const unsigned = { security: 'unsigned' } as const

    it('MAND-09 nothing published, a public certificate with the MX name: delivered, trusted', async () => {
      assertDelivered(await sendTo(lab, haraka, 'ok.verified.test', {}, unsigned))
      const line = 'policy=operator require=authenticate verdict=trusted reason=operator-matched'
      await said(haraka, 'ok.verified.test', line)
    })

    const names = (name: string) => [`mx1.${name}`]
    const wrong: readonly (readonly [
      string,
      string,
      (name: string) => HostSettings,
      RegExp,
      string,
    ])[] = [
      [
        'another name',
        'name.verified.test',
        () => ({ certificate: lab.certificate('mx1.other.example') }),
        /\(operator\) pkix-name-mismatch: expected mx1\.name\.verified\.test, presented mx1\.other/,
        '4.7.5',
      ],
      [
        'self-signed',
        'self.verified.test',
        (name) => ({ certificate: makeCertificate({ subject: name, san: names(name) }) }),
        /pkix-untrusted/,
        '4.7.5',
      ],
      [
        'expired',
        'expired.verified.test',
        (name) => ({
          certificate: [
            makeCertificate({
              ...{ subject: name, san: names(name), issuer: lab.ca },
              notBefore: new Date(Date.now() - 10 * 86_400_000),
              notAfter: new Date(Date.now() - 86_400_000),
            }),
            lab.ca,
          ],
        }),
        /pkix-expired/,
        '4.7.5',
      ],
      [
        'STARTTLS taken away',
        'stripped.verified.test',
        () => ({ fault: 'no-starttls' }),
        /starttls-not-offered/,
        '4.7.4',
      ],
      [
        'a matching TLSA record, and a certificate of no trusted CA',
        'dane.verified.test',
        (name) => ({
          certificate: makeCertificate({ subject: name, san: names(name) }),
          tlsa: [DANE_EE],
        }),
        /pkix-untrusted/,
        '4.7.5',
      ],
      [
        'the name of the host alone, where the operator gives others',
        'host.named.test',
        () => ({}),
        /expected one of your own, hub\.example \.hubs\.example, presented mx1\.host\.named\.test/,
        '4.7.5',
      ],
    ]
    for (const [title, name, host, reason, status] of wrong) {
      it(`MAND-09 ${title}: deferred, nothing in cleartext, whatever the message would rather`, async () => {
        const headers = ['TLS-Required: No']
        assertDeferred(await sendTo(lab, haraka, name, host(name), { headers }), reason, status)
      })
    }

    it('MAND-09 one of the operator’s names: delivered, verified, whatever names the host', async () => {
      for (const [name, presented] of [
        ['one.named.test', 'hub.example'],
        ['two.named.test', 'a.b.hubs.example'],
      ] as const) {
        const host = { certificate: lab.certificate(presented) }
        assertDelivered(await sendTo(lab, haraka, name, host, unsigned))
        await said(haraka, name, 'verdict=verified reason=operator-matched')
      }
    })
  })

  describe('exceptions', () => {
    it('AUTH-40 observe: delivered in spite of a mismatch, and the log says what enforcing would do', async () => {
      for (const name of ['a.watched.test', 'for-now.watching.test']) {
        assertDelivered(await sendTo(lab, haraka, name, { tlsa: [bad] }))
        await said(haraka, name, 'verdict=refused reason=dane-no-match .*mode=observe')
      }
    })

    it('AUTH-40 observe, where TLS is not offered: delivered in cleartext, and said', async () => {
      const sent = await sendTo(lab, haraka, 'b.watched.test', {
        fault: 'no-starttls',
        tlsa: [DANE_EE],
      })
      assertDelivered(sent, false)
      await said(
        haraka,
        'b.watched.test',
        'verdict=refused reason=starttls-not-offered .*mode=observe',
      )
    })

    it('AUTH-40 observe, all is well: verified, and said', async () => {
      assertDelivered(await sendTo(lab, haraka, 'c.watched.test', { tlsa: [DANE_EE] }))
      await said(haraka, 'c.watched.test', 'verdict=verified .*mode=observe')
    })

    it('AUTH-41 off: delivered in spite of a mismatch, nothing is looked up or said', async () => {
      for (const name of ['a.off.test', 'for-now.exempt.test']) {
        assertDelivered(await sendTo(lab, haraka, name, { tlsa: [bad] }))
        assert.equal(await timesAsked(lab, `_25._tcp.mx1.${name}`, 'TLSA'), 0)
        assert.ok(!haraka.log().some((line) => line.includes(`tls-policy: domain=${name}`)))
      }
    })

    it('AUTH-40 AUTH-41 past its last day an exception is none: deferred, with a warning at start', async () => {
      for (const name of ['was.watching.test', 'was.exempt.test']) {
        assertDeferred(await sendTo(lab, haraka, name, { tlsa: [bad] }), /dane-no-match/)
        const warning = new RegExp(`the exception ${name}=\\w+ until 2020-01-01 is over`)
        assert.ok(haraka.log().some((line) => warning.test(line)))
      }
    })
  })

  describe('what waits: over', () => {
    it('what has been mended waits no more', async () => {
      let report = await waiting()
      while (report.exitCode === 1) report = await waiting()
      assert.deepEqual(report, { ...report, exitCode: 0, destinations: [], problem: null })
    })
  })

  describe('beside each of these deliveries', function () {
    this.timeout(300_000)

    it('the command says what the delivery does', async () => {
      assert.ok((await assertCheckSaysTheSame(haraka)) > 8)
    })

    it('AUTH-40 mode observe only watches', async () => {
      const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka)
      assert.ok(recipients > 8 && hosts > 2, `${recipients} recipients, ${hosts} hosts`)
    })
  })

  // Last: it leaves other settings behind.
  describe('settings', () => {
    it('are loaded anew, each time; a file with mistakes changes nothing', async () => {
      const domain = await makeDomain(lab, 'reload.test', { hosts: [{ tlsa: [bad] }] })
      const deliver = () => haraka.deliver(domain.recipient)
      const reload = async (text: string, told: RegExp) => {
        const from = haraka.log().length
        await haraka.configure('tls-policy.ini', text)
        await haraka.waitForLine('the reload', told, { from, timeout: 20_000 })
      }
      assert.equal((await deliver()).kind, 'deferred')
      await reload('[destinations]\nreload.test=off\n', /the settings were loaded anew/)
      assert.equal((await deliver()).kind, 'delivered')
      await reload('[destinations]\nreload.test=of\n', /the settings stay as they were/)
      assert.equal((await deliver()).kind, 'delivered')
      await reload('[destinations]\nreload.test=dane-only\n', /the settings were loaded anew/)
      assert.equal((await deliver()).kind, 'deferred')
      // Nothing that was sent before knows a rule of the operator's any more.
      assert.ok((await assertCheckSaysTheSame(haraka)) > 8)
    })
  })
})

describe('end to end: DANE switched', function () {
  this.timeout(240_000)
  let lab: Lab

  before(async () => {
    lab = await Lab.start()
  })
  after(() => lab.stop())

  const withSettings = (...lines: readonly string[]) =>
    lab.haraka({
      plugins: ['tls-policy'],
      config: { 'outbound.ini': QUICK, 'tls-policy.ini': `${lines.join('\n')}\n` },
    })

  /** As its end each Haraka says once more what it does, beside the command. */
  async function compareAndStop(haraka: Haraka, recipients: number): Promise<void> {
    assert.equal(await assertCheckSaysTheSame(haraka), recipients)
    await haraka.stop()
  }

  it('AUTH-41 [dane] enabled=false: a mismatch means nothing, nobody asks; dane-only holds all the same', async () => {
    const haraka = await withSettings(
      '[dane]',
      'enabled=false',
      '[destinations]',
      'strict.test=dane-only',
    )
    assertDelivered(await sendTo(lab, haraka, 'disabled.test', { tlsa: [bad] }))
    assert.equal(await timesAsked(lab, '_25._tcp.mx1.disabled.test', 'TLSA'), 0)
    assertDeferred(await sendTo(lab, haraka, 'strict.test', { tlsa: [bad] }), /dane-no-match/)
    await compareAndStop(haraka, 2)
  })

  it('DNS-15 USE-17 VER-02 insecure_mx=ignore, digests=sha512, min_version=TLSv1.3', async () => {
    const haraka = await withSettings(
      '[dane]',
      'insecure_mx=ignore',
      'digests=sha512',
      '[tls]',
      'min_version=TLSv1.3',
    )
    const provider = await makeDomain(lab, 'provider15.test', { hosts: [{ tlsa: [bad] }] })
    await lab.zone('half15.test', {
      security: 'unsigned',
      records: ['@ MX 10 mx1.provider15.test.'],
    })
    const half = await haraka.deliver('u@half15.test')
    assert.ok(half.kind === 'delivered' && half.tls)
    assert.equal(await timesAsked(lab, '_25._tcp.mx1.provider15.test', 'TLSA'), 0)
    const whole = await haraka.deliver(provider.recipient)
    assert.ok(whole.kind === 'delivered' && whole.tls)
    await said(haraka, 'provider15.test', 'verdict=encrypted reason=tls-unauthenticated')
    assertDelivered(await sendTo(lab, haraka, 'sha512.test', { tlsa: [[3, 1, 2]] }))
    await said(haraka, 'sha512.test', 'verdict=verified')

    const address = nextAddress()
    const certificate = makeCertificate({ subject: 'mx1.old.test' })
    const old = await lab.receiver({ address, certificate, tls: { maxVersion: 'TLSv1.2' } })
    await lab.zone('old.test', {
      security: 'signed',
      records: ['@ MX 10 mx1', `mx1 A ${address}`, tlsaLine('mx1', certificate, [3, 1, 2])],
    })
    const outcome = await haraka.deliver('u@old.test')
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /tls-handshake-failed/)
    assertNothingLeaked(old)
    await compareAndStop(haraka, 4)
  })

  it('DNS-01 a validating resolver beyond loopback: not believed, said once, mail flows; listed: believed', async () => {
    const far = await lab.validator({ address: '192.0.2.60' })
    const domain = await makeDomain(lab, 'dns01.test', { hosts: [{ tlsa: [bad] }] })
    assert.ok((await lab.ask('dns01.test', 'MX', far.address)).authentic)
    const asked = ['[dns]', `servers=${far.address}`, 'backend=ad']

    const wary = await withSettings(...asked)
    const flows = await wary.deliver(domain.recipient)
    assert.ok(flows.kind === 'delivered' && flows.tls)
    await said(wary, 'dns01.test', 'verdict=encrypted reason=no-policy')
    await wary.waitForLine('the warning', /WARN.*DNSSEC is NOT validated, so DANE is off/)
    assert.equal(wary.log().filter((line) => line.includes('NOT validated')).length, 1)
    await compareAndStop(wary, 1)

    const trusting = await withSettings(...asked, 'trust_ad=listed')
    const held = await trusting.deliver(domain.recipient)
    assert.ok(held.kind === 'deferred')
    assert.match(held.reason, /dane-no-match/)
    await compareAndStop(trusting, 1)
  })

  it('DNS-01 blind_resolver=defer: mail waits for a resolver that validates; MTA-STS alone does not', async () => {
    const address = '192.0.2.61'
    const blind = await lab.validator({ address, validates: false })
    const domain = await makeDomain(lab, 'blind.test', { hosts: [{ tlsa: [DANE_EE] }] })
    const other = await makeDomain(lab, 'not-dane.test', { hosts: [{}] })
    const haraka = await withSettings(
      '[dns]',
      `servers=${address}`,
      'trust_ad=listed',
      '[dane]',
      'blind_resolver=defer',
      '[destinations]',
      'not-dane.test=sts',
    )
    const held = await haraka.deliver(domain.recipient)
    assert.ok(held.kind === 'deferred')
    assert.match(held.reason, /resolver-blind/)
    assert.equal(held.dsn.status, '4.4.3')
    assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
    assert.equal((await haraka.deliver(other.recipient)).kind, 'delivered')
    await blind.stop()
    await lab.validator({ address })
    await haraka.restart()
    assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
    await said(haraka, domain.name, 'verdict=verified')
    await compareAndStop(haraka, 2)
  })
})

describe('end to end: records, TLS and sessions', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({ plugins: ['tls-policy'], config: { 'outbound.ini': QUICK } })
  })
  after(() => lab.stop())

  describe('records', () => {
    const line = (record: string) => `_25._tcp.mx1 TLSA ${record}`
    const other = (usage: number, selector: number, type: number) =>
      line(
        `${usage} ${selector} ${type} ${tlsaData(strange, usage, selector, type).data.toString('hex')}`,
      )
    type Records = readonly (readonly [number, number, number] | string)[]
    const junk = 'ab'.repeat(40)
    const cases: readonly (readonly [string, Records, 'verified' | 'encrypted' | 'refused'])[] = [
      ['USE-02 1 1 1 that does not match', [other(1, 1, 1)], 'encrypted'],
      ['USE-03 unknown usage beside a good record', [line(`255 1 1 ${junk}`), DANE_EE], 'verified'],
      ['USE-04 unknown selector', [line(`3 2 1 ${'ab'.repeat(32)}`)], 'encrypted'],
      ['USE-05 SHA2-512', [[3, 1, 2]], 'verified'],
      ['USE-05 unknown matching type', [line(`3 1 255 ${junk}`)], 'encrypted'],
      ['USE-06 digest of 31 octets', [line(`3 1 1 ${'ab'.repeat(31)}`)], 'encrypted'],
      [
        'USE-06 digest of 31 octets beside a record that does not match',
        [line(`3 1 1 ${'ab'.repeat(31)}`), bad],
        'refused',
      ],
      ['USE-07 no certificate in 3 0 0', [line(`3 0 0 ${junk}`)], 'encrypted'],
      ['USE-08 no key in 2 1 0', [line(`2 1 0 ${junk}`)], 'encrypted'],
      ['USE-10 a matching 1 1 1 beside a 3 1 1 that does not match', [[1, 1, 1], bad], 'refused'],
      ['USE-13 a matching 3 1 1 below another’s 3 1 2', [DANE_EE, other(3, 1, 2)], 'refused'],
      ['USE-14 a matching 3 0 1 beside another’s 3 1 2', [[3, 0, 1], other(3, 1, 2)], 'verified'],
      [
        'USE-15 a matching 3 1 1 below a broken 3 1 2',
        [DANE_EE, line(`3 1 2 ${'ab'.repeat(63)}`)],
        'verified',
      ],
      ['USE-16 a matching 3 1 0 beside another’s 3 1 2', [[3, 1, 0], other(3, 1, 2)], 'verified'],
      [
        'USE-19 DNS-37 40 records, one of them right',
        [
          ...Array.from({ length: 39 }, (_, i) =>
            line(`3 1 1 ${i.toString(16).padStart(2, '0').repeat(32)}`),
          ),
          DANE_EE,
        ],
        'verified',
      ],
      ['USE-20 AUTH-01 a record of the old key beside one of the new', [bad, DANE_EE], 'verified'],
      ['AUTH-07 a match under usage 3 beside another’s CA', [DANE_EE, other(2, 0, 1)], 'verified'],
    ]
    for (const [index, [title, tlsa, verdict]] of cases.entries()) {
      it(`${title} -> ${verdict}`, async () => {
        const name = `use${index}.test`
        const sent = await sendTo(lab, haraka, name, { tlsa })
        if (verdict === 'refused') assertDeferred(sent, /dane-no-match/)
        else assertDelivered(sent)
        await said(haraka, name, `verdict=${verdict}`)
      })
    }

    it('DNS-37 AUTH-32 a certificate as record, too large for UDP: asked for over TCP, and used', async () => {
      const { root, leaf } = makeChain(2, {
        subject: 'mx1.large.test',
        san: [
          'mx1.large.test',
          ...Array.from({ length: 60 }, (_, i) => `a-long-name-to-fill-the-certificate-${i}.test`),
        ],
      })
      const large = makeCertificate({
        subject: 'Large CA',
        ca: true,
        key: root.key,
        extensions: [{ oid: '1.3.6.1.4.1.99999.1', value: Buffer.alloc(2000, 4) }],
      })
      const issued = makeCertificate({
        subject: 'mx1.large.test',
        san: ['mx1.large.test'],
        issuer: large,
      })
      assert.ok(leaf.der.length > 1232)
      for (const [name, served, record] of [
        ['large.test', issued, tlsaLine('mx1', large, [2, 0, 0])],
        ['large-ee.test', leaf, tlsaLine('mx1', leaf, [3, 0, 0])],
      ] as const) {
        const sent = await sendTo(lab, haraka, name, { certificate: served, tlsa: [record] })
        // What a datagram can hold of it is nothing.
        assert.deepEqual((await lab.ask(`_25._tcp.mx1.${name}`, 'TLSA')).answers, [])
        assertDelivered(sent)
        await said(haraka, name, 'verdict=verified')
      }
    })

    it('DNS-36 record and key change together: after the TTL the new ones count', async () => {
      const withTtl = (certificate: TestCertificate) =>
        tlsaLine('mx1', certificate).replace(' TLSA', ' 1 TLSA')
      const [before, after] = [lab.certificate('mx1.ttl.test'), lab.certificate('mx1.ttl.test')]
      const sent = await sendTo(lab, haraka, 'ttl.test', {
        certificate: before,
        tlsa: [withTtl(before[0])],
      })
      assertDelivered(sent)
      const { receiver } = sent
      receiver.certificate = after
      await lab.zone('ttl.test', {
        security: 'signed',
        records: ['@ MX 10 mx1', `mx1 A ${receiver.address}`, withTtl(after[0])],
      })
      await setTimeout(1100)
      const outcome = await haraka.deliver('u@ttl.test')
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
      assert.equal(await timesAsked(lab, '_25._tcp.mx1.ttl.test', 'TLSA'), 2)
    })

    it('DNS-23 address in an unsigned zone whose TLSA lookups fail: nobody asks, mail flows', async () => {
      await lab.zone('_tcp.mx1.dns23.test', { security: 'unsigned', server: 'refuses' })
      const sent = await sendTo(lab, haraka, 'dns23.test', {}, { security: 'unsigned' })
      assertDelivered(sent)
      assert.equal(await timesAsked(lab, '_25._tcp.mx1.dns23.test', 'TLSA'), 0)
    })

    it('DNS-25 one address family answers, the other is bogus: verified over the one that answers', async () => {
      const address = nextAddress()
      const certificate = lab.certificate('mx1.dns25.test')
      await lab.receiver({ address, certificate })
      await lab.zone('dns25.test', {
        security: 'signed',
        records: [
          '@ MX 10 mx1',
          `mx1 A ${address}`,
          'mx1 AAAA 2001:db8::25',
          tlsaLine('mx1', certificate[0]),
        ],
        brokenSignatures: ['mx1 AAAA'],
      })
      const outcome = await haraka.deliver('u@dns25.test')
      assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.ip === address)
      await said(haraka, 'dns25.test', 'verdict=verified')
    })
  })

  describe('TLS', () => {
    /** A domain whose host does TLS in its own way, and has a record that matches its certificate. */
    async function deliverTo(
      name: string,
      settings: Partial<ReceiverSettings>,
      {
        certificate = makeCertificate(),
        mail = {},
      }: { readonly certificate?: TestCertificate; readonly mail?: Partial<Mail> } = {},
    ) {
      const address = nextAddress()
      const receiver = await lab.receiver({ address, certificate, ...settings })
      await lab.zone(name, {
        security: 'signed',
        records: ['@ MX 10 mx1', `mx1 A ${address}`, tlsaLine('mx1', certificate)],
      })
      const outcome = await haraka.deliver(`u@${name}`, mail)
      assertNothingLeaked(receiver)
      return { outcome, receiver }
    }

    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      it(`VER-01 a server that speaks ${version} alone: verified`, async () => {
        const name = `${version.toLowerCase().replace('.', '')}.test`
        const { outcome, receiver } = await deliverTo(name, {
          tls: { minVersion: version, maxVersion: version },
        })
        assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
        assert.equal(receiver.sessions.entries[0]?.tls?.protocol, version)
        await said(haraka, name, `verdict=verified .*tls="${version} `)
      })
    }

    it('AUTH-44 VER-06 a server with anonymous ciphers alone: the handshake fails, deferred', async () => {
      const { outcome, receiver } = await deliverTo('anonymous.test', {
        tls: { ciphers: 'aNULL:@SECLEVEL=0', maxVersion: 'TLSv1.2', dhparam: 'auto' },
      })
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.match(outcome.reason, /tls-handshake-failed/)
      assert.equal(receiver.sessions.entries[0]?.tls, undefined)
    })

    it('VER-07 a key that the TLS library refuses, though its digest is published: deferred', async () => {
      const key = generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey
      const { outcome } = await deliverTo(
        'weak.test',
        { tls: { ciphers: 'ALL:@SECLEVEL=0' } },
        { certificate: makeCertificate({ key }) },
      )
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.match(outcome.reason, /tls-handshake-failed/)
      assert.equal(outcome.dsn.status, '4.7.5')
    })

    it('VER-07 a key that the TLS library refuses only where it verifies chains: deferred as well', async () => {
      const key = generateKeyPairSync('rsa', { modulusLength: 768 }).privateKey
      const { outcome } = await deliverTo(
        'weaker.test',
        { tls: { ciphers: 'ALL:@SECLEVEL=0' } },
        { certificate: makeCertificate({ key }) },
      )
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.equal(outcome.dsn.status, '4.7.5')
    })

    it('STLS-11 what EHLO offers before TLS is forgotten, what it offers inside TLS is used', async () => {
      const mail = { from: 'sender@bücher.test', parameters: 'SMTPUTF8' }
      const before = await deliverTo(
        'before.test',
        { extensions: ['SMTPUTF8'], securedExtensions: [] },
        { mail },
      )
      const first = await before.receiver.nextMessage()
      assert.deepEqual([first.from, first.parameters], ['sender@xn--bcher-kva.test', ''])
      const inside = await deliverTo(
        'inside.test',
        { extensions: [], securedExtensions: ['SMTPUTF8'] },
        { mail },
      )
      assert.equal((await inside.receiver.nextMessage()).parameters, 'SMTPUTF8')
    })

    it('VER-04 VER-05 VER-06 AUTH-08 XC-02 what ClientHello offers: nothing old, weak or anonymous, no resumption', async () => {
      const sent = await sendTo(lab, haraka, 'hello.test', {
        fault: 'garbage-handshake',
        tlsa: [DANE_EE],
      })
      assertDeferred(sent, /tls-handshake-failed/)
      const hello = readClientHello(sent.receiver.sessions.entries[0]?.cleartext ?? '')
      assert.equal(hello.version, 0x0303)
      assert.deepEqual(hello.supportedVersions, [0x0304, 0x0303])
      assert.ok(hello.suites.length > 3)
      const known = cipherSuites()
      for (const suite of hello.suites) {
        if (suite === RENEGOTIATION_INFO) continue
        const { name, authentication, encryption } = known.get(suite) ?? {}
        assert.ok(name !== undefined, `unknown suite ${suite.toString(16)}`)
        assert.notEqual(authentication, 'None', name)
        assert.doesNotMatch(encryption ?? '', /None|DES|RC4|RC2|IDEA/, name)
        assert.doesNotMatch(name, /EXP|NULL|MD5/)
      }
      assert.ok(!hello.extensions.has(EXTENSION.serverCertificateType))
      assert.ok(!hello.extensions.has(EXTENSION.preSharedKey))
      assert.equal(hello.extensions.get(EXTENSION.sessionTicket)?.length ?? 0, 0)
    })

    it('STLS-10 after a failed handshake not one plain octet follows on that connection, with a policy or without', async () => {
      for (const [name, tlsa] of [
        ['dead.test', [DANE_EE]],
        ['dead-too.test', []],
      ] as const) {
        const sent = await sendTo(lab, haraka, name, { fault: 'garbage-handshake', tlsa })
        assert.equal(sent.outcome.kind, 'deferred')
        const [session] = sent.receiver.sessions.entries
        assert.ok(session?.cleartext.includes('\x16\x03'))
        assertNothingLeaked(sent.receiver)
      }
    })

    it('STLS-08 no policy, no STARTTLS: delivered in cleartext', async () => {
      const sent = await sendTo(lab, haraka, 'clear.test', { fault: 'no-starttls' })
      assertDelivered(sent, false)
      await said(haraka, 'clear.test', 'policy=none .*verdict=cleartext reason=no-policy')
    })

    it('STLS-18 status codes of deferrals: 4.7.4 where TLS is withheld, 4.7.5 where it proves nothing', async () => {
      const withheld = await sendTo(lab, haraka, 'c474.test', {
        fault: 'no-starttls',
        tlsa: [DANE_EE],
      })
      assertDeferred(withheld, /starttls-not-offered/, '4.7.4')
      assertDeferred(await sendTo(lab, haraka, 'c475.test', { tlsa: [bad] }), /no-match/, '4.7.5')
      const domain = await makeDomain(lab, 'c475-dns.test', {
        hosts: [{ tlsa: [DANE_EE] }],
        brokenSignatures: ['_25._tcp.mx1 TLSA'],
      })
      const outcome = await haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.5')
    })
  })

  describe('sessions', () => {
    it('XC-01 two domains, one host, one message: each is judged by its own names', async () => {
      const shared = await makeDomain(lab, 'shared01.test', {
        hosts: [
          {
            certificate: lab.certificate('a01.test'),
            tlsa: [tlsaLine('mx1', lab.ca, DANE_TA)],
          },
        ],
      })
      const mx = { security: 'signed', records: ['@ MX 10 mx1.shared01.test.'] } as const
      await lab.zones({ 'a01.test': mx, 'b01.test': mx })
      await haraka.send({ from: 'sender@sender.test', to: ['u@a01.test', 'u@b01.test'] })
      const [a, b] = [await haraka.outcome('u@a01.test'), await haraka.outcome('u@b01.test')]
      assert.ok(a.kind === 'delivered' && a.tls, JSON.stringify(a))
      assert.ok(b.kind === 'deferred', JSON.stringify(b))
      assert.match(b.reason, /dane-ta-name-mismatch/)
      assert.equal(shared.hosts[0]?.messages.entries.length, 1)
      assertNothingLeaked(...shared.hosts)
    })

    it('XC-02 a session with tickets was held without authentication; then a record demands it: no resumption, deferred', async () => {
      const ttl = (record: string) => record.replace(' TLSA', ' 1 TLSA')
      const sent = await sendTo(lab, haraka, 'tickets.test', {
        tlsa: [ttl(tlsaLine('mx1', strange, [1, 1, 1]))],
      })
      assertDelivered(sent)
      await said(haraka, 'tickets.test', 'verdict=encrypted')
      const { receiver } = sent
      assert.equal(receiver.sessions.entries[0]?.tls?.protocol, 'TLSv1.3')
      await lab.zone('tickets.test', {
        security: 'signed',
        records: ['@ MX 10 mx1', `mx1 A ${receiver.address}`, ttl(bad)],
      })
      await setTimeout(1100)
      const again = await haraka.deliver('u@tickets.test')
      assert.ok(again.kind === 'deferred', JSON.stringify(again))
      assert.match(again.reason, /dane-no-match/)
      assert.equal(receiver.messages.entries.length, 1)

      receiver.fault = 'garbage-handshake'
      await haraka.deliver('u@tickets.test')
      const hello = readClientHello(receiver.sessions.entries.at(-1)?.cleartext ?? '')
      assert.ok(!hello.extensions.has(EXTENSION.preSharedKey))
      assert.equal(hello.extensions.get(EXTENSION.sessionTicket)?.length ?? 0, 0)
    })

    it('XC-04 /etc/hosts names another address: the one that was looked up and judged is used', async () => {
      const [trap, ...names] = [
        await lab.receiver({ address: nextAddress() }),
        'a04.test',
        'b04.test',
      ]
      const hosts = join(lab.folder, 'hosts')
      writeFileSync(
        hosts,
        names
          .flatMap((name) => [name, `mx1.${name}`])
          .map((name) => `${trap.address} ${name}\n`)
          .join(''),
      )
      execFileSync('mount', ['--bind', hosts, '/etc/hosts'])
      try {
        const daneHost = await sendTo(lab, haraka, 'a04.test', { tlsa: [DANE_EE] })
        const plainHost = await sendTo(lab, haraka, 'b04.test', {}, { security: 'unsigned' })
        for (const sent of [daneHost, plainHost]) {
          assertDelivered(sent)
          assert.ok(sent.outcome.kind === 'delivered' && sent.outcome.ip === sent.receiver.address)
        }
        assert.equal(trap.sessions.entries.length, 0)
      } finally {
        execFileSync('umount', ['/etc/hosts'])
      }
    })

    it('XC-05 one line a host: policy, what was demanded, verdict, why, the record that matched', async () => {
      const lineOf = async (name: string, host: HostSettings, security?: 'unsigned') => {
        await sendTo(lab, haraka, name, host, security ? { security } : {})
        return said(haraka, name, 'verdict=')
      }
      assert.match(
        await lineOf('verified05.test', { tlsa: [DANE_EE] }),
        /mx=mx1\.verified05\.test ip=198[.\d]+ policy=dane require=authenticate verdict=verified reason=dane-ee-matched rfc=.* tls="TLSv1\.3 \S+" detail="TLSA 3 1 1 at mx1\.verified05\.test matches"/,
      )
      assert.match(
        await lineOf('encrypted05.test', { tlsa: [[0, 0, 1]] }),
        /policy=dane require=encrypt verdict=encrypted reason=tls-unauthenticated/,
      )
      assert.match(
        await lineOf('clear05.test', { fault: 'no-starttls' }, 'unsigned'),
        /policy=none require=opportunistic verdict=cleartext reason=no-policy/,
      )
      const digest = tlsaData(strange, 3, 1, 1).data.toString('hex')
      assert.match(
        await lineOf('refused05.test', { tlsa: [bad] }),
        new RegExp(
          `policy=dane require=authenticate verdict=refused reason=dane-no-match .* tls="TLSv1.3 .*${digest.slice(0, 16)}`,
        ),
      )
    })

    it('XC-06 one message to a domain that fails and one that is well: the second is delivered now', async () => {
      const failing = await makeDomain(lab, 'a06.test', { hosts: [{ tlsa: [bad] }] })
      const well = await makeDomain(lab, 'b06.test', { hosts: [{ tlsa: [DANE_EE] }] })
      await haraka.send({ from: 'sender@sender.test', to: [failing.recipient, well.recipient] })
      const [held, delivered] = [
        await haraka.outcome(failing.recipient),
        await haraka.outcome(well.recipient),
      ]
      assert.ok(held.kind === 'deferred' && held.delay === 3600)
      assert.ok(delivered.kind === 'delivered' && delivered.tls)
    })

    it('XC-06 of two recipients at one verified host, the one that is put off waits alone', async () => {
      const domain = await makeDomain(lab, 'split06.test', {
        hosts: [{ fault: 'rcpt-450-but-one', tlsa: [DANE_EE] }],
      })
      await haraka.send({ from: 'sender@sender.test', to: ['a@split06.test', 'b@split06.test'] })
      const [a, b] = [
        await haraka.outcome('a@split06.test'),
        await haraka.outcome('b@split06.test'),
      ]
      assert.deepEqual([a.kind, b.kind], ['delivered', 'deferred'])
      assertNothingLeaked(...domain.hosts)
    })
  })

  describe('beside each of these deliveries', function () {
    this.timeout(300_000)

    it('the command says what the delivery does', async () => {
      assert.ok((await assertCheckSaysTheSame(haraka)) > 15)
    })

    it('AUTH-40 mode observe only watches', async () => {
      const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka)
      assert.ok(recipients > 15 && hosts > 10, `${recipients} recipients, ${hosts} hosts`)
    })
  })
})

/** RFC 5746 §3.3: a signal, and no suite. */
const RENEGOTIATION_INFO = 0x00ff
const EXTENSION = {
  serverCertificateType: 20,
  sessionTicket: 35,
  preSharedKey: 41,
  supportedVersions: 43,
} as const

interface ClientHello {
  readonly version: number
  readonly suites: readonly number[]
  readonly extensions: ReadonlyMap<number, Buffer>
  readonly supportedVersions: readonly number[]
}

/** @param session what a client sent: commands, and then one TLS record with a ClientHello (RFC 8446 §4.1.2); latin1. */
function readClientHello(session: string): ClientHello {
  const start = session.indexOf('\x16\x03')
  assert.ok(start >= 0, 'no TLS record')
  const record = Buffer.from(session.slice(start), 'latin1')
  let at = 5
  const take = (count: number): Buffer => {
    assert.ok(at + count <= record.length, 'the ClientHello is cut off')
    at += count
    return record.subarray(at - count, at)
  }
  const number = (octets: number) => take(octets).readUIntBE(0, octets)
  assert.equal(number(1), 1, 'no ClientHello')
  take(3)
  const version = number(2)
  take(32)
  take(number(1))
  const suites = pairs(take(number(2)))
  take(number(1))
  const end = number(2) + at
  const extensions = new Map<number, Buffer>()
  while (at < end) {
    const type = number(2)
    extensions.set(type, take(number(2)))
  }
  const versions = extensions.get(EXTENSION.supportedVersions) ?? Buffer.alloc(1)
  return { version, suites, extensions, supportedVersions: pairs(versions.subarray(1)) }
}

function pairs(octets: Buffer): readonly number[] {
  return Array.from({ length: octets.length / 2 }, (_, i) => octets.readUInt16BE(2 * i))
}

/** What OpenSSL says of every suite that it knows, by number. */
function cipherSuites() {
  const text = execFileSync('openssl', ['ciphers', '-V', 'ALL:COMPLEMENTOFALL:@SECLEVEL=0'], {
    encoding: 'utf8',
  })
  return new Map(
    [...text.matchAll(/0x(\w\w),0x(\w\w) - (\S+) .*Au=(\S+)\s+Enc=(\S+)/g)].map(
      ([, high = '', low = '', name = '', authentication = '', encryption = '']) => [
        Number.parseInt(high + low, 16),
        { name, authentication, encryption },
      ],
    ),
  )
}
