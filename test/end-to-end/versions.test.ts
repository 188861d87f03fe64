/** Every Haraka that the plugin says it knows: what matters most, on each. */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { type Fault, type Haraka, harakaVersions, Lab, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame, assertObserveOnlyWatches } from '../support/lab/beside'
import { assertNothingLeaked, makeDomain } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const

for (const version of harakaVersions) {
  describe(`end to end: Haraka ${version}`, function () {
    this.timeout(240_000)
    let lab: Lab
    let haraka: Haraka

    before(async () => {
      lab = await Lab.start()
      await lab.redis()
      haraka = await lab.haraka({
        version,
        plugins: ['karma', 'lab-meddler', 'tls-policy'],
        config: {
          'meddler.json': JSON.stringify({
            'denies.test': { do: 'denysoft' },
            'throws.test': { do: 'throw' },
            'poison.test': { do: 'poison' },
            'routes.test': { do: 'route', answer: { exchange: 'mx1.mismatch.test' } },
          }),
        },
      })
    })
    after(() => lab.stop())

    it('AUTH-03 DANE-EE matches: verified', async () => {
      const certificate = makeCertificate({ subject: 'other.example', san: ['other.example'] })
      const domain = await makeDomain(lab, 'good.test', {
        hosts: [{ certificate, tlsa: [DANE_EE] }],
      })
      const outcome = await haraka.deliver(domain.recipient)
      assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.host === 'mx1.good.test')
      await haraka.waitForLine('the verdict', /domain=good\.test .*verdict=verified/)
      assertNothingLeaked(...domain.hosts)
    })

    it('AUTH-02 RL-06 another key, by MX and by another plugin’s route: deferred with 4.7.5', async () => {
      const published = makeCertificate({ subject: 'another key' })
      const domain = await makeDomain(lab, 'mismatch.test', {
        hosts: [{ tlsa: [tlsaLine('mx1', published, DANE_EE)] }],
      })
      for (const recipient of [domain.recipient, 'u@routes.test']) {
        const outcome = await haraka.deliver(recipient)
        assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.5')
        assert.match(outcome.reason, /mx1\.mismatch\.test .*\(dane\) dane-no-match: /)
      }
      assertNothingLeaked(...domain.hosts)
    })

    const faults: readonly (readonly [string, Fault, string])[] = [
      ['STLS-01', 'no-starttls', '4.7.4'],
      ['STLS-02', 'starttls-454', '4.7.4'],
      ['STLS-02', 'starttls-554', '4.7.4'],
      ['STLS-03', 'garbage-handshake', '4.7.5'],
      ['STLS-12', 'inject-after-220', '4.7.5'],
    ]
    for (const [id, fault, status] of faults) {
      it(`${id} STLS-16 ${fault}: deferred; with a second MX, delivered there`, async () => {
        const alone = await makeDomain(lab, `${fault}.test`, {
          hosts: [{ fault, tlsa: [DANE_EE] }],
        })
        const first = await haraka.deliver(alone.recipient)
        assert.ok(first.kind === 'deferred', JSON.stringify(first))
        assert.equal(first.dsn.status, status)
        const two = await makeDomain(lab, `${fault}-next.test`, {
          hosts: [{ fault, tlsa: [DANE_EE] }, { tlsa: [DANE_EE] }],
        })
        const second = await haraka.deliver(two.recipient)
        assert.ok(second.kind === 'delivered' && second.tls && second.host === `mx2.${two.name}`)
        assertNothingLeaked(...alone.hosts, ...two.hosts)
      })
    }

    it('XC-03 karma and a get_mx hook that refuses or throws, or our own code throws: nothing leaks', async () => {
      for (const [name, status] of [
        ['denies.test', '4.7.4'],
        ['throws.test', '4.7.4'],
        ['poison.test', '4.3.5'],
      ] as const) {
        const domain = await makeDomain(lab, name, {
          hosts: [{ fault: 'no-starttls', tlsa: [DANE_EE] }],
        })
        const outcome = await haraka.deliver(domain.recipient)
        assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
        assert.equal(outcome.dsn.status, status)
        assertNothingLeaked(...domain.hosts)
      }
    })

    it('STLS-11 STARTTLS again, and SMTPUTF8 only inside TLS', async () => {
      const domain = await makeDomain(lab, 'again.test', {
        hosts: [{ fault: 'starttls-again', tlsa: [DANE_EE] }],
      })
      const mail = { from: 'j\u00fcrgen@sender.test', parameters: 'SMTPUTF8' }
      const outcome = await haraka.deliver(domain.recipient, mail)
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
      const message = await domain.hosts[0]?.nextMessage()
      assert.match(message?.parameters ?? '', /SMTPUTF8/)
      assertNothingLeaked(...domain.hosts)
    })

    it('DNS-27 a null MX: bounced with 5.1.10', async () => {
      await lab.zone('null.test', { security: 'signed', records: ['@ MX 0 .'] })
      const outcome = await haraka.deliver('u@null.test')
      assert.ok(outcome.kind === 'bounced' && outcome.dsn.status === '5.1.10')
    })

    it('XC-08 no policy: TLS where it is offered, cleartext where not', async () => {
      for (const fault of ['none', 'no-starttls'] as const) {
        const domain = await makeDomain(lab, `lax-${fault}.test`, { hosts: [{ fault }] })
        const outcome = await haraka.deliver(domain.recipient)
        assert.ok(outcome.kind === 'delivered' && outcome.tls === (fault === 'none'))
      }
    })

    it('breaks at the end of the session: delivered, and Haraka lives', async () => {
      for (const [name, tlsa] of [
        ['late.test', [DANE_EE]],
        ['late-lax.test', []],
      ] as const) {
        const domain = await makeDomain(lab, name, { hosts: [{ fault: 'reset-at-quit', tlsa }] })
        assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
      }
      const deferred = haraka.outcomes.entries.filter(({ kind }) => kind === 'deferred')
      await haraka.queueHolds(deferred.length)
      assert.ok(haraka.running)
    })

    describe('beside each of these deliveries', function () {
      this.timeout(180_000)
      const except = { 'poison.test': 'our own code throws, which only a delivery sees' }

      it('the command says what the delivery does', async () => {
        const routes = { 'routes.test': ['--host', 'mx1.mismatch.test'] }
        assert.ok((await assertCheckSaysTheSame(haraka, { except, routes })) > 18)
      })

      it('AUTH-40 mode observe only watches', async () => {
        const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka, { except })
        assert.ok(recipients > 18 && hosts > 10, `${recipients} recipients, ${hosts} hosts`)
      })
    })
  })
}
