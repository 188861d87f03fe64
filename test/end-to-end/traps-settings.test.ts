/** Settings of Haraka that would turn TLS off, or weaken it: they hold where nobody asks for TLS, and nowhere else. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { createClient } from 'redis'
import { makeCertificate, makeKey, type TestCertificate } from '../support/certificates'
import { type Haraka, Lab, type Outcome, type Receiver, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertNothingLeaked, type Domain, makeDomain, nextAddress } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const

/** The group ffdhe2048 (RFC 7919): left without, Haraka's tls plugin would make one of its own, for a minute. */
const DHPARAMS = `-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
`

function assertDeferred(outcome: Outcome, status: string): void {
  assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
  assert.equal(outcome.dsn.status, status)
}

describe('end to end: hosts that Haraka would not use TLS with', function () {
  this.timeout(240_000)
  let lab: Lab
  let plain: Haraka
  let haraka: Haraka
  let redis: ReturnType<typeof createClient>
  let strict: Domain
  let lax: Domain

  before(async () => {
    lab = await Lab.start()
    const server = await lab.redis()
    redis = createClient({ url: server.url })
    await redis.connect()
  })
  after(async () => {
    redis.destroy()
    await lab.stop()
  })

  /** Two domains and two relays. @param tlsIni is made when the domains stand. */
  async function start(name: string, tlsIni: () => string): Promise<void> {
    strict = await makeDomain(lab, `strict-${name}.test`, { hosts: [{ tlsa: [DANE_EE] }] })
    lax = await makeDomain(lab, `lax-${name}.test`, { hosts: [{}] })
    const config = { 'tls.ini': `key=\ncert=\n${tlsIni()}` }
    plain = await lab.haraka({ port: 2526, config })
    haraka = await lab.haraka({ plugins: ['tls-policy'], config })
  }
  afterEach(() => Promise.all([plain.stop(), haraka.stop()]))

  async function assertOnlyPolicyUsesTls(): Promise<void> {
    const [receiver] = strict.hosts
    const underPolicy = await haraka.deliver(strict.recipient)
    assert.ok(underPolicy.kind === 'delivered' && underPolicy.tls, JSON.stringify(underPolicy))
    assertNothingLeaked(receiver)
    for (const relay of [haraka, plain]) {
      const outcome = await relay.deliver(lax.recipient)
      assert.ok(outcome.kind === 'delivered' && !outcome.tls, JSON.stringify(outcome))
    }
    const without = await plain.deliver(strict.recipient)
    assert.ok(without.kind === 'delivered' && !without.tls, JSON.stringify(without))
  }

  for (const [what, list] of [
    ['domain', () => [strict.name, lax.name]],
    ['address', () => [strict, lax].flatMap(({ hosts }) => hosts.map(({ address }) => address))],
  ] as const) {
    it(`STLS-15 tls.ini no_tls_hosts with the ${what}: no policy, no TLS; DANE, TLS all the same`, async () => {
      await start(what, () =>
        ['[outbound]', ...list().map((entry) => `no_tls_hosts[]=${entry}`)].join('\n'),
      )
      await assertOnlyPolicyUsesTls()
      assert.equal(await assertCheckSaysTheSame(haraka), 2)
    })
  }

  it('STLS-15 the host is remembered in Redis as one without TLS: DANE, TLS all the same; and a failure under DANE is not remembered', async () => {
    await start('redis', () => '[redis]\ndisable_for_failed_hosts=true')
    const [strictHost, laxHost] = [strict.hosts[0], lax.hosts[0]]
    assert.ok(strictHost && laxHost)
    for (const { address } of [strictHost, laxHost]) await redis.set(`no_tls|${address}`, 'once')
    await assertOnlyPolicyUsesTls()

    await redis.flushAll()
    for (const host of [strictHost, laxHost]) host.fault = 'garbage-handshake'
    assertDeferred(await haraka.deliver(strict.recipient), '4.7.5')
    for (const fault of ['reset-after-tls', 'reset-in-data'] as const) {
      strictHost.fault = fault
      assert.equal((await haraka.deliver(strict.recipient)).kind, 'deferred')
    }
    assert.deepEqual(await redis.keys('*'), [])
    await haraka.deliver(lax.recipient)
    assert.deepEqual(await redis.keys('*'), [`no_tls|${laxHost.address}`])

    for (const host of [strictHost, laxHost]) host.fault = 'none'
    assert.equal(await assertCheckSaysTheSame(haraka), 2)
  })
})

describe('end to end: outbound.ini enable_tls=false', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: { 'outbound.ini': 'enable_tls=false' },
    })
  })
  after(() => lab.stop())

  it('says at start what that means', async () => {
    await haraka.waitForLine(
      'the warning',
      /\[WARN\].*enable_tls=false: mail to hosts that demand TLS will wait/,
    )
  })

  it('STLS-15 a host with TLSA records: deferred with 4.3.5, and not contacted', async () => {
    const domain = await makeDomain(lab, 'strict.test', { hosts: [{ tlsa: [DANE_EE] }] })
    const outcome = await haraka.deliver(domain.recipient)
    assertDeferred(outcome, '4.3.5')
    assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
  })

  it('XC-08 a host without a policy: cleartext, as plain Haraka', async () => {
    const domain = await makeDomain(lab, 'lax.test', { hosts: [{}] })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && !outcome.tls, JSON.stringify(outcome))
  })

  it('the command says what each of these deliveries does', async () => {
    assert.equal(await assertCheckSaysTheSame(haraka), 2)
  })
})

describe('end to end: client certificates and rejectUnauthorized of tls.ini', function () {
  this.timeout(240_000)
  const client = makeCertificate({
    subject: 'sender.test',
    san: ['sender.test'],
    key: makeKey('rsa'),
  })
  const fingerprint = new X509Certificate(client.der).fingerprint256
  let lab: Lab
  let receiver: Receiver
  let recipient: string
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
  })
  after(() => lab.stop())

  afterEach(() => haraka.stop())

  /** A host whose certificate no CA has signed, and which asks clients for theirs. */
  async function makeWorld(name: string, tlsa: (host: string, own: TestCertificate) => string) {
    const address = nextAddress()
    const own = makeCertificate({ subject: `mx.${name}`, san: [`mx.${name}`] })
    receiver = await lab.receiver({ address, certificate: own, requestCert: true })
    recipient = `u@${name}`
    await lab.zone(name, {
      security: 'signed',
      records: ['@ MX 10 mx', `mx A ${address}`, tlsa('mx', own)],
    })
    return address
  }

  async function start(tlsIni: string): Promise<void> {
    haraka = await lab.haraka({
      plugins: ['tls', 'tls-policy'],
      config: {
        'tls.ini': tlsIni,
        'tls_key.pem': client.keyPem,
        'tls_cert.pem': client.pem,
        'dhparams.pem': DHPARAMS,
      },
    })
  }

  const settings: readonly (readonly [string, (address: string) => string, boolean])[] = [
    ['mutual_tls=true', () => 'mutual_tls=true', true],
    [
      'mutual_auth_hosts',
      (address) => `[mutual_auth_hosts]\n${address}=*\n[outbound]\nkey=\ncert=`,
      true,
    ],
    [
      'mutual_auth_hosts_exclude',
      (address) =>
        `mutual_tls=true\n[mutual_auth_hosts_exclude]\n${address}=true\n[outbound]\nkey=\ncert=`,
      false,
    ],
    [
      'mutual_tls and rejectUnauthorized',
      () => 'mutual_tls=true\nrejectUnauthorized=true\n[outbound]\nrejectUnauthorized=true',
      true,
    ],
  ]
  for (const [index, [what, tlsIni, shown]] of settings.entries()) {
    it(`AUTH-05 ${what}: DANE-EE verifies a self-signed host, and the certificate is ${shown ? 'shown' : 'kept'}`, async () => {
      const address = await makeWorld(`mutual-${index}.test`, (host, own) => tlsaLine(host, own))
      await start(tlsIni(address))
      const outcome = await haraka.deliver(recipient)
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
      await haraka.waitForLine('the verdict', /verdict=verified reason=dane-ee-matched/)
      const { tls } = await receiver.sessions.waitFor('TLS', (session) => !!session.tls)
      assert.equal(tls?.clientFingerprint, shown ? fingerprint : undefined)
      assertNothingLeaked(receiver)
      assert.equal(await assertCheckSaysTheSame(haraka), 1)
    })

    if (!what.includes('rejectUnauthorized')) {
      it(`XC-08 ${what}: to a host without a policy the certificate is ${shown ? 'shown' : 'kept'} as well`, async () => {
        const address = await makeWorld(`lax-${index}.test`, (host) => `${host} TXT "no policy"`)
        await start(tlsIni(address))
        const outcome = await haraka.deliver(recipient)
        assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
        const { tls } = await receiver.sessions.waitFor('TLS', (session) => !!session.tls)
        assert.equal(tls?.clientFingerprint, shown ? fingerprint : undefined)
        assert.equal(await assertCheckSaysTheSame(haraka), 1)
      })
    }

    it(`AUTH-02 ${what}: another key is refused as ever`, async () => {
      const other = makeCertificate({ subject: 'another key' })
      const address = await makeWorld(`refused-${index}.test`, (host) => tlsaLine(host, other))
      await start(tlsIni(address))
      const outcome = await haraka.deliver(recipient)
      assertDeferred(outcome, '4.7.5')
      assertNothingLeaked(receiver)
      assert.doesNotMatch(receiver.sessions.entries[0]?.secured ?? '', /MAIL FROM/)
      assert.equal(await assertCheckSaysTheSame(haraka), 1)
    })
  }
})

describe('end to end: hosts that the operator forces TLS on', function () {
  this.timeout(240_000)
  let lab: Lab

  before(async () => {
    lab = await Lab.start()
  })
  after(() => lab.stop())

  it('no policy of the receiver lowers what force_tls_hosts demands', async () => {
    // Unusable TLSA records alone ask for TLS and no certificate; the operator asks for one.
    const unusable = [[1, 1, 1] as const]
    const wrong = makeCertificate({ subject: 'other.test', san: ['other.test'] })
    const bad = await makeDomain(lab, 'forced-bad.test', {
      hosts: [{ certificate: wrong, tlsa: unusable }],
    })
    const good = await makeDomain(lab, 'forced-good.test', { hosts: [{ tlsa: unusable }] })
    const free = await makeDomain(lab, 'free.test', {
      hosts: [{ certificate: wrong, tlsa: unusable }],
    })
    const dane = await makeDomain(lab, 'forced-dane.test', {
      hosts: [{ certificate: wrong, tlsa: [DANE_EE] }],
    })
    const names = [bad, good, dane].map(({ name }) => `force_tls_hosts[]=${name}`)
    const haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: {
        'tls.ini': `key=\ncert=\n[outbound]\n${names.join('\n')}\n`,
        'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\n`,
      },
    })
    const refused = await haraka.deliver(bad.recipient)
    assertDeferred(refused, '4.7.5')
    assertNothingLeaked(bad.hosts[0])
    for (const domain of [good, free, dane]) {
      const outcome = await haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    }
    await haraka.waitForLine('the verdict', /domain=forced-good\.test .*reason=operator-matched/)
    await haraka.waitForLine('the verdict', /domain=forced-dane\.test .*reason=dane-ee-matched/)
    assert.equal(await assertCheckSaysTheSame(haraka), 4)
    await haraka.stop()
  })
})
