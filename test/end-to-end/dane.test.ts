import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { type Fault, type Haraka, Lab, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame, assertObserveOnlyWatches } from '../support/lab/beside'
import { assertNothingLeaked, makeDomain, nextAddress } from '../support/lab/world'

const DAY = 86_400_000
const DANE_EE = [3, 1, 1] as const
const DANE_TA = [2, 0, 1] as const

describe('end to end: DANE', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: { 'outbound.ini': 'connect_timeout=2' },
    })
  })
  after(() => lab.stop())

  it('AUTH-03 AUTH-04 AUTH-05 DANE-EE matches: self-signed, expired, another name -> delivered over TLS, verified', async () => {
    const certificate = makeCertificate({
      subject: 'other.example',
      san: ['other.example'],
      notBefore: new Date(Date.now() - 800 * DAY),
      notAfter: new Date(Date.now() - 700 * DAY),
    })
    const domain = await makeDomain(lab, 'ee.test', { hosts: [{ certificate, tlsa: [DANE_EE] }] })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.host === 'mx1.ee.test')
    await haraka.waitForLine(
      'the verdict',
      /domain=ee\.test mx=mx1\.ee\.test .*policy=dane .*verdict=verified reason=dane-ee-matched/,
    )
    await haraka.waitForLine(
      "Haraka's own line on TLS",
      /secured verified=true .*cn=other\.example/,
    )
    const [receiver] = domain.hosts
    assert.equal((await receiver?.nextMessage())?.tls, true)
    assert.equal(receiver?.sessions.entries.length, 1)
    assert.equal(receiver.sessions.entries[0]?.tls?.servername, 'mx1.ee.test')
    assertNothingLeaked(receiver)
  })

  it('AUTH-02 AUTH-42 digest mismatch -> deferred, and no MAIL FROM was seen', async () => {
    const published = makeCertificate({ subject: 'mx1.mismatch.test' })
    const domain = await makeDomain(lab, 'mismatch.test', {
      hosts: [{ tlsa: [tlsaLine('mx1', published, DANE_EE)] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.equal(outcome.dsn.status, '4.7.5')
    assert.match(outcome.reason, /mx1\.mismatch\.test .*\(dane\) dane-no-match: /)
    assertNothingLeaked(domain.hosts[0])
    assert.doesNotMatch(domain.hosts[0]?.sessions.entries[0]?.secured ?? '', /MAIL FROM/i)
  })

  it('STLS-16 XC-07 first MX mismatches, second is fine -> delivered at the second in the same attempt', async () => {
    const published = makeCertificate({ subject: 'x' })
    const domain = await makeDomain(lab, 'second.test', {
      hosts: [{ tlsa: [tlsaLine('mx1', published, DANE_EE)] }, { tlsa: [DANE_EE] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.host === 'mx2.second.test')
    assert.equal(domain.hosts[0]?.sessions.entries.length, 1)
    assertNothingLeaked(...domain.hosts)
  })

  const faults: readonly (readonly [string, Fault, string, RegExp])[] = [
    ['STLS-01 STLS-13', 'no-starttls', '4.7.4', /starttls-not-offered/],
    ['STLS-02', 'starttls-454', '4.7.4', /starttls-refused: .*454/],
    ['STLS-02', 'starttls-554', '4.7.4', /starttls-refused: .*554/],
    ['STLS-03', 'drop-after-220', '4.7.5', /tls-handshake-failed/],
    ['STLS-03', 'garbage-handshake', '4.7.5', /tls-handshake-failed/],
    ['STLS-03', 'hang-handshake', '4.4.2', /smtp-timeout/],
    ['STLS-12', 'inject-after-220', '4.7.5', /starttls-injection/],
    ['STLS-05', 'helo-only', '4.7.4', /starttls-not-offered/],
    ['VER-02', 'tls11-only', '4.7.5', /tls-handshake-failed/],
    ['greeting', 'greeting-554', '4.4.2', /greeting-refused: .*554/],
    ['greeting', 'greeting-junk', '4.4.2', /smtp-malformed-reply/],
    ['greeting', 'greeting-endless', '4.4.2', /smtp-malformed-reply/],
    ['greeting', 'hang-greeting', '4.4.2', /smtp-timeout/],
    ['EHLO', 'ehlo-junk', '4.4.2', /smtp-malformed-reply/],
    ['STARTTLS', 'starttls-hang', '4.4.2', /smtp-timeout/],
    ['STARTTLS', 'starttls-drop', '4.4.2', /smtp-closed/],
    ['connection', 'drop-on-connect', '4.4.2', /smtp-closed/],
  ]
  for (const [ids, fault, status, reason] of faults) {
    it(`${ids} ${fault} with TLSA -> deferred, never a bounce, nothing in cleartext`, async () => {
      const domain = await makeDomain(lab, `${fault}.test`, {
        hosts: [{ fault, tlsa: [DANE_EE] }],
      })
      const outcome = await haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.match(outcome.reason, reason)
      assert.equal(outcome.dsn.status, status)
      assertNothingLeaked(domain.hosts[0])
    })

    it(`${ids} ${fault} with TLSA at the first MX -> the second takes the mail in the same attempt`, async () => {
      const domain = await makeDomain(lab, `${fault}-next.test`, {
        hosts: [{ fault, tlsa: [DANE_EE] }, { tlsa: [DANE_EE] }],
      })
      const outcome = await haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'delivered' && outcome.tls)
      assert.equal(outcome.host, `mx2.${domain.name}`)
      assertNothingLeaked(...domain.hosts)
    })
  }

  it('TLSA-17 DNS-04 bogus TLSA -> the host is not even contacted', async () => {
    const domain = await makeDomain(lab, 'bogus-tlsa.test', {
      hosts: [{ tlsa: [DANE_EE] }],
      brokenSignatures: ['_25._tcp.mx1 TLSA'],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.equal(outcome.dsn.status, '4.7.5')
    assert.match(
      outcome.reason,
      /tlsa-lookup-failed: TLSA lookup of _25\._tcp\.mx1\.bogus-tlsa\.test/,
    )
    assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
  })

  it('DNS-07 bogus MX -> deferred, no connection', async () => {
    const domain = await makeDomain(lab, 'bogus-mx.test', {
      hosts: [{}],
      brokenSignatures: ['@ MX'],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.equal(outcome.dsn.status, '4.4.3')
    assert.match(outcome.reason, /mx-lookup-failed/)
    assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
  })

  it('DNS-38 a wholly bogus zone -> deferred', async () => {
    const domain = await makeDomain(lab, 'bogus-zone.test', { security: 'bogus', hosts: [{}] })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.4.3')
  })

  it('DNS-03 TLSA-15 unsigned zone with TLSA -> ignored', async () => {
    const published = makeCertificate({ subject: 'x' })
    const domain = await makeDomain(lab, 'unsigned.test', {
      security: 'unsigned',
      hosts: [{ tlsa: [tlsaLine('mx1', published, DANE_EE)] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls)
    await haraka.waitForLine(
      'the verdict',
      /domain=unsigned\.test .*verdict=encrypted reason=no-policy/,
    )
  })

  it('USE-01 USE-11 USE-12 only usage 1 -> TLS without authentication', async () => {
    const certificate = makeCertificate({ subject: 'somebody.else', san: ['somebody.else'] })
    const domain = await makeDomain(lab, 'pkix-ee.test', {
      hosts: [{ certificate, tlsa: [[1, 1, 1]] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls)
    await haraka.waitForLine(
      'the verdict',
      /domain=pkix-ee\.test .*verdict=encrypted reason=tls-unauthenticated/,
    )
  })

  it('STLS-04 TLSA-18 only usage 0, no STARTTLS -> deferred', async () => {
    const domain = await makeDomain(lab, 'pkix-ta.test', {
      hosts: [{ fault: 'no-starttls', tlsa: [[0, 0, 1]] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.4')
    assertNothingLeaked(domain.hosts[0])
  })

  it('AUTH-11 AUTH-13 DANE-TA with a private CA, anchor sent in the chain, right name -> verified', async () => {
    const chain = lab.certificate('mx1.ta.test')
    const domain = await makeDomain(lab, 'ta.test', {
      hosts: [{ certificate: chain, tlsa: [tlsaLine('mx1', lab.ca, DANE_TA)] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls)
    await haraka.waitForLine(
      'the verdict',
      /domain=ta\.test .*verdict=verified reason=dane-ta-matched/,
    )
  })

  it('AUTH-14 DANE-TA, certificate names the next-hop domain only -> verified', async () => {
    const domain = await makeDomain(lab, 'ta-domain.test', {
      hosts: [
        {
          certificate: lab.certificate('ta-domain.test'),
          tlsa: [tlsaLine('mx1', lab.ca, DANE_TA)],
        },
      ],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls)
  })

  it('AUTH-13 DANE-TA with a private CA, wrong name -> deferred', async () => {
    const domain = await makeDomain(lab, 'ta-name.test', {
      hosts: [
        { certificate: lab.certificate('foo.test'), tlsa: [tlsaLine('mx1', lab.ca, DANE_TA)] },
      ],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.5')
    assert.match(outcome.reason, /dane-ta-name-mismatch: .*mx1\.ta-name\.test.*foo\.test/)
    assertNothingLeaked(domain.hosts[0])
  })

  it('AUTH-35 a forged leaf beside the genuine CA certificate -> deferred', async () => {
    const forged = makeCertificate({ subject: 'mx1.forged.test', san: ['mx1.forged.test'] })
    const domain = await makeDomain(lab, 'forged.test', {
      hosts: [{ certificate: [forged, lab.ca], tlsa: [tlsaLine('mx1', lab.ca, DANE_TA)] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assertNothingLeaked(domain.hosts[0])
  })

  it('DNS-15 DNS-16 unsigned MX, signed MX host with matching TLSA -> delivered, trusted, not verified', async () => {
    const provider = await makeDomain(lab, 'provider.test', { hosts: [{ tlsa: [DANE_EE] }] })
    await lab.zone('half.test', { security: 'unsigned', records: ['@ MX 10 mx1.provider.test.'] })
    const outcome = await haraka.deliver('u@half.test')
    assert.ok(outcome.kind === 'delivered' && outcome.tls)
    await haraka.waitForLine('the verdict', /domain=half\.test .*policy=dane .*verdict=trusted/)
    assertNothingLeaked(provider.hosts[0])
  })

  it('DNS-09 TLSA-19 no MX: the domain itself is the host, and its TLSA counts', async () => {
    const address = nextAddress()
    const certificate = lab.certificate('implicit.test')
    const receiver = await lab.receiver({ address, certificate })
    await lab.zone('implicit.test', {
      security: 'signed',
      records: [`@ A ${address}`, tlsaLine('@', certificate[0], DANE_EE).replace('.@', '')],
    })
    const outcome = await haraka.deliver('u@implicit.test')
    assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.host === 'implicit.test')
    await haraka.waitForLine('the verdict', /domain=implicit\.test .*verdict=verified/)
    assertNothingLeaked(receiver)
  })

  it('AUTH-43 TLSA-20 wrong key at the first address of a host, right one at the second -> delivered', async () => {
    const [wrong, right] = [nextAddress(), nextAddress()]
    const certificate = lab.certificate('mx.two.test')
    await lab.receiver({ address: wrong, certificate: lab.certificate('mx.two.test') })
    await lab.receiver({ address: right, certificate })
    await lab.zone('two.test', {
      security: 'signed',
      records: ['@ MX 10 mx', `mx A ${wrong}`, `mx A ${right}`, tlsaLine('mx', certificate[0])],
    })
    const outcome = await haraka.deliver('u@two.test')
    assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.ip === right)
  })

  it('STLS-17 TLS lost in the middle of the message -> deferred, and the deferral says so', async () => {
    const domain = await makeDomain(lab, 'lost.test', {
      hosts: [{ fault: 'reset-in-data', tlsa: [DANE_EE] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /tls-lost/)
    assertNothingLeaked(domain.hosts[0])
  })

  it('SA-27 XC-07 an ordinary 550 after a verified session is an ordinary bounce', async () => {
    const domain = await makeDomain(lab, 'rcpt.test', {
      hosts: [{ fault: 'rcpt-550', tlsa: [DANE_EE] }],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'bounced')
    assert.match(outcome.dsn.diagnostic, /550/)
  })

  it('DNS-27 null MX -> bounced with 5.1.10, nobody contacted', async () => {
    const address = nextAddress()
    const receiver = await lab.receiver({ address })
    await lab.zone('null.test', { security: 'signed', records: ['@ MX 0 .', `@ A ${address}`] })
    const outcome = await haraka.deliver('u@null.test')
    assert.ok(outcome.kind === 'bounced' && outcome.dsn.status === '5.1.10')
    assert.equal(receiver.sessions.entries.length, 0)
  })

  it('DNS-08 a domain that does not exist -> bounced with 5.1.2', async () => {
    const outcome = await haraka.deliver('u@nowhere.test')
    assert.ok(outcome.kind === 'bounced' && outcome.dsn.status === '5.1.2')
  })

  it('DNS-32 SNI-06 names in any case and with trailing dots are one name', async () => {
    const address = nextAddress()
    const certificate = lab.certificate('mX1.caSe.test')
    const receiver = await lab.receiver({ address, certificate })
    await lab.zone('case.test', {
      security: 'signed',
      records: ['@ MX 10 MX1.Case.TEST.', `mx1 A ${address}`, tlsaLine('mx1', lab.ca, DANE_TA)],
    })
    const outcome = await haraka.deliver('u@CASE.test')
    assert.ok(outcome.kind === 'delivered' && outcome.tls)
    assert.equal(receiver.sessions.entries[0]?.tls?.servername, 'mx1.case.test')
  })

  it('no mail hangs: the queue holds what was deferred and nothing else', async () => {
    const deferred = haraka.outcomes.entries.filter(({ kind }) => kind === 'deferred')
    await haraka.queueHolds(deferred.length)
    assert.ok(haraka.running)
  })

  describe('beside each of these deliveries', function () {
    this.timeout(300_000)

    it('the command says what the delivery does', async () => {
      assert.ok((await assertCheckSaysTheSame(haraka)) > 40)
    })

    it('AUTH-40 mode observe only watches', async () => {
      const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka, {
        except: {
          'greeting-endless.test': 'by itself, Haraka listens to it for ever',
          'greeting-endless-next.test': 'by itself, Haraka listens to it for ever',
        },
      })
      assert.ok(recipients > 40 && hosts > 40, `${recipients} recipients, ${hosts} hosts`)
    })
  })
})
