/**
 * Haraka's traps: other plugins, Haraka's own roads around TLS, and our own mistakes. Where plain Haraka falls into a
 * trap, the test shows that as well: a trap that is none proves nothing.
 */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { type Haraka, Lab, type Outcome, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame, assertObserveOnlyWatches } from '../support/lab/beside'
import { assertNothingLeaked, type Domain, makeDomain, nextAddress } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const
/** A record that no certificate of the lab satisfies. */
const mismatch = () => tlsaLine('mx1', makeCertificate({ subject: 'another key' }), DANE_EE)

function assertDeferred(
  outcome: Outcome,
  status: string,
): asserts outcome is Extract<Outcome, { kind: 'deferred' }> {
  assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
  assert.equal(outcome.dsn.status, status)
}

function assertUntouched(...domains: readonly Domain[]): void {
  for (const { hosts } of domains) {
    for (const host of hosts) assert.equal(host.sessions.entries.length, 0)
  }
}

describe('end to end: other plugins', function () {
  this.timeout(240_000)
  const deeds = ['throw', 'deny', 'denysoft', 'hang'] as const
  let lab: Lab
  let plain: Haraka
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    await lab.redis()
    const rules = Object.fromEntries(
      deeds.flatMap((deed) =>
        ['stripped', 'bogus-tlsa', 'bogus-mx'].map((what) => [
          `${what}-${deed}.test`,
          { do: deed },
        ]),
      ),
    )
    const config = {
      'meddler.json': JSON.stringify(rules),
      plugin_timeout: '1',
      'outbound.ini': 'connect_timeout=2',
    }
    plain = await lab.haraka({ port: 2526, plugins: ['karma', 'lab-meddler'], config })
    haraka = await lab.haraka({ plugins: ['karma', 'lab-meddler', 'tls-policy'], config })
  })
  after(() => lab.stop())

  for (const deed of deeds) {
    it(`XC-03 a get_mx hook that answers ${deed}, karma at work: plain Haraka sends in cleartext, the policy does not let it`, async () => {
      const domain = await makeDomain(lab, `stripped-${deed}.test`, {
        hosts: [{ fault: 'no-starttls', tlsa: [DANE_EE] }],
      })
      assertDeferred(await haraka.deliver(domain.recipient), '4.7.4')
      assertNothingLeaked(...domain.hosts)
      const without = await plain.deliver(domain.recipient)
      assert.ok(without.kind === 'delivered' && !without.tls, JSON.stringify(without))
    })

    it(`XC-03 TLSA-17 ... ${deed}, and the TLSA lookup fails: nobody is contacted`, async () => {
      const domain = await makeDomain(lab, `bogus-tlsa-${deed}.test`, {
        hosts: [{ fault: 'no-starttls', tlsa: [DANE_EE] }],
        brokenSignatures: ['_25._tcp.mx1 TLSA'],
      })
      assertDeferred(await haraka.deliver(domain.recipient), '4.7.5')
      assertUntouched(domain)
      const without = await plain.deliver(domain.recipient)
      assert.ok(without.kind === 'delivered' && !without.tls, JSON.stringify(without))
    })
  }

  it('XC-03 DNS-07 ... and the MX lookup fails: nobody is contacted', async () => {
    for (const deed of deeds) {
      const domain = await makeDomain(lab, `bogus-mx-${deed}.test`, {
        hosts: [{}],
        brokenSignatures: ['@ MX'],
      })
      assertDeferred(await haraka.deliver(domain.recipient), '4.4.3')
      assertUntouched(domain)
    }
  })

  it('still runs, and holds what it deferred', async () => {
    await haraka.queueHolds(3 * deeds.length)
    assert.ok(haraka.running)
  })

  describe('beside each of these deliveries', function () {
    this.timeout(180_000)

    it('the command says what the delivery does', async () => {
      assert.ok((await assertCheckSaysTheSame(haraka)) > 11)
    })

    it('AUTH-40 mode observe only watches', async () => {
      const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka)
      assert.ok(recipients > 11 && hosts > 7, `${recipients} recipients, ${hosts} hosts`)
    })
  })
})

describe('end to end: a decision that fails or does not come', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({
      plugins: ['lab-meddler', 'tls-policy'],
      config: {
        'meddler.json': JSON.stringify({
          'poison.test': { do: 'poison' },
          'stall.test': { do: 'stall' },
        }),
        'outbound.ini': 'temp_fail_intervals=5s*9',
        'tls-policy.ini':
          '[dns]\nservers=127.0.0.1\nbackend=ad\ntimeout=1\ndeadline=2\n[mta_sts]\nfetch_timeout=1',
      },
    })
  })
  after(() => lab.stop())

  it('XC-03 our own code throws: deferred with 4.3.5, and delivered once it does not', async () => {
    const domain = await makeDomain(lab, 'poison.test', { hosts: [{ tlsa: [DANE_EE] }] })
    const first = await haraka.deliver(domain.recipient)
    assertDeferred(first, '4.3.5')
    assert.match(first.reason, /could not decide how to deliver: the domain is poisoned/)
    assertUntouched(domain)
    const second = await haraka.outcome(domain.recipient)
    assert.ok(second.kind === 'delivered' && second.tls, JSON.stringify(second))
    await haraka.queueHolds(0)
  })

  it('XC-03 DNS-04 no resolver answers: deferred with 4.4.3, and delivered when DNS is back', async () => {
    const domain = await makeDomain(lab, 'silence.test', { hosts: [{ tlsa: [DANE_EE] }] })
    lab.resolver.pause()
    try {
      const first = await haraka.deliver(domain.recipient)
      assertDeferred(first, '4.4.3')
      assertUntouched(domain)
    } finally {
      lab.resolver.resume()
    }
    const second = await haraka.outcome(domain.recipient, { timeout: 20_000 })
    const last =
      second.kind === 'deferred'
        ? await haraka.outcome(domain.recipient, { timeout: 20_000 })
        : second
    assert.ok(last.kind === 'delivered' && last.tls, JSON.stringify(last))
    assertNothingLeaked(...domain.hosts)
  })

  it('DNS-12 no MX, and the address lookup fails: deferred, not bounced', async () => {
    await lab.zone('no-address.test', {
      security: 'signed',
      records: ['@ A 192.0.2.250'],
      brokenSignatures: ['@ A'],
    })
    assertDeferred(await haraka.deliver('u@no-address.test'), '4.4.3')
  })

  it('DNS-14 this server is an MX: after a better host failed, no worse one is tried', async () => {
    const [better, own, worse] = [nextAddress(), nextAddress(), nextAddress()]
    const certificate = lab.certificate('mx1.loop.test')
    const receivers = await Promise.all(
      [better, own, worse].map((address) => lab.receiver({ address, certificate })),
    )
    await lab.zones({
      'sender.test': { security: 'signed', records: [`@ A ${own}`] },
      'loop.test': {
        security: 'signed',
        records: [
          ...['@ MX 10 mx1', '@ MX 20 sender.test.', '@ MX 30 mx3'],
          ...[`mx1 A ${better}`, `mx3 A ${worse}`],
          mismatch(),
        ],
      },
    })
    assertDeferred(await haraka.deliver('u@loop.test'), '4.7.5')
    const contacted = receivers.map(({ sessions }) => sessions.entries.length > 0)
    assert.deepEqual(contacted, [true, false, false])
    assertNothingLeaked(...receivers)
  })

  it('the command says what each of these deliveries does', async () => {
    const except = { 'poison.test': 'our own code throws, which the command does not see' }
    assert.equal(await assertCheckSaysTheSame(haraka, { except }), 3)
  })

  it('XC-03 the decision never comes: deferred with 4.3.5', async () => {
    const domain = await makeDomain(lab, 'stall.test', { hosts: [{ tlsa: [DANE_EE] }] })
    await haraka.send({ from: 'a@sender.test', to: [domain.recipient] })
    const outcome = await haraka.outcome(domain.recipient, { timeout: 20_000 })
    assertDeferred(outcome, '4.3.5')
    assert.match(outcome.reason, /no decision within 8 seconds/)
    assertUntouched(domain)
  })
})
