/** Ways on which a message with REQUIRETLS could go past the plan: routes, rules and modes that leave other mail alone. */
import assert from 'node:assert/strict'
import { type Haraka, harakaVersions, Lab, type Outcome, type Receiver } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { startTlsHaraka, TAGGED } from '../support/lab/tagged'
import { assertNothingLeaked, makeDomain, nextAddress } from '../support/lab/world'

const OFFERS = ['8BITMIME', 'REQUIRETLS']

for (const version of harakaVersions) {
  describe(`end to end: ways for REQUIRETLS with Haraka ${version}`, function () {
    this.timeout(180_000)
    let lab: Lab
    let haraka: Haraka
    const receivers: Record<string, Receiver> = {}
    const routes: Record<string, unknown> = {}

    before(async () => {
      lab = await Lab.start()
      const add = async (name: string, extensions: readonly string[], certificate?: string) => {
        const address = nextAddress()
        receivers[name] = await lab.receiver({
          address,
          certificate: lab.certificate(certificate ?? `${name}.relay.test`),
          securedExtensions: extensions,
        })
        return `${name} A ${address}`
      }
      const lines = [
        await add('good', OFFERS),
        await add('lacking', ['8BITMIME']),
        await add('named', OFFERS, 'other.name.test'),
        await add('address', OFFERS),
        await add('lmtp', OFFERS),
        await add('allowed', ['8BITMIME']),
        await add('encrypted', OFFERS, 'other.name.test'),
      ]
      await lab.zone('relay.test', { security: 'signed', records: lines })
      const route = (answer: object) => ({ do: 'route', answer })
      const at = (name: string) => receivers[name]?.address
      const login = { auth_user: 'u', auth_pass: 'p', auth_type: 'plain' }
      Object.assign(routes, {
        'good-route.test': route({ exchange: 'good.relay.test', port: 25, priority: 0 }),
        'login-route.test': route({ exchange: 'good.relay.test', port: 25, priority: 0, ...login }),
        'lacking-route.test': route({ exchange: 'lacking.relay.test', port: 25, priority: 0 }),
        'named-route.test': route({ exchange: 'named.relay.test', port: 25, priority: 0 }),
        'address-route.test': route({ exchange: at('address'), port: 25, priority: 0 }),
        'lmtp-route.test': route({ exchange: at('lmtp'), port: 25, using_lmtp: true }),
        'allowed-route.test': route({ exchange: at('allowed'), port: 25, priority: 0 }),
        'encrypted-route.test': route({ exchange: at('encrypted'), port: 25, priority: 0 }),
      })
      haraka = await startTlsHaraka(lab, {
        version,
        plugins: ['lab-meddler'],
        config: {
          'meddler.json': JSON.stringify(routes),
          'tls-policy.ini':
            '[destinations]\noff.test = off\nobserve.test = observe\n' +
            `[requiretls_hops]\n${at('allowed') ?? ''} = if-possible\n${at('encrypted') ?? ''} = tls\n`,
        },
      })
    })
    after(() => lab.stop())

    const bounced = (outcome: Outcome, status: string, reason: string) => {
      assert.equal(outcome.kind, 'bounced', JSON.stringify(outcome))
      assert.equal(outcome.dsn.status, status)
      assert.match(outcome.reason, new RegExp(`\\[${reason}\\]`))
    }
    const parametersAt = (name: string) =>
      receivers[name]?.messages.entries.map(({ parameters }) => parameters)

    it('RQ-22 a route to a host that is verified and offers it, with AUTH and without', async () => {
      for (const domain of ['good-route.test', 'login-route.test']) {
        assert.equal((await haraka.deliver(`u@${domain}`, TAGGED)).kind, 'delivered')
      }
      assert.deepEqual(parametersAt('good'), ['REQUIRETLS', 'REQUIRETLS'])
      assertNothingLeaked(receivers['good'])
    })

    it('RQ-22 a relay that lacks it, or is another one: back to the author', async () => {
      const lacking = await haraka.deliver('u@lacking-route.test', TAGGED)
      bounced(lacking, '5.7.30', 'requiretls-not-offered')
      bounced(await haraka.deliver('u@named-route.test', TAGGED), '5.7.10', 'pkix-name-mismatch')
      assert.deepEqual([parametersAt('lacking'), parametersAt('named')], [[], []])
    })

    it('RQ-22 a route to an address, LMTP elsewhere, an address for a domain: no name to prove', async () => {
      for (const recipient of ['u@address-route.test', 'u@lmtp-route.test']) {
        bounced(await haraka.deliver(recipient, TAGGED), '5.7.10', 'requiretls-no-name')
      }
      const literal = `u@[${receivers['address']?.address ?? ''}]`
      const outcome = await haraka.deliver(literal, TAGGED)
      assert.ok(outcome.kind === 'bounced')
      assert.equal(outcome.dsn.status, '5.7.10')
      for (const name of ['address', 'lmtp'])
        assert.deepEqual(receivers[name]?.sessions.entries, [])
      assert.equal((await haraka.deliver('u@address-route.test')).kind, 'delivered')
    })

    it('RQ-23 next hops of the operator: if possible, and with TLS', async () => {
      assert.equal((await haraka.deliver('u@allowed-route.test', TAGGED)).kind, 'delivered')
      assert.equal((await haraka.deliver('u@encrypted-route.test', TAGGED)).kind, 'delivered')
      assert.deepEqual(parametersAt('allowed'), [''])
      assert.deepEqual(parametersAt('encrypted'), ['REQUIRETLS'])
      assertNothingLeaked(receivers['encrypted'])
    })

    it('RQ-01 rules off and observe leave the receiver’s policies alone, not what the author asks', async () => {
      for (const name of ['off.test', 'observe.test']) {
        const lacking = { securedExtensions: ['8BITMIME'] }
        const domain = await makeDomain(lab, name, { hosts: [lacking] })
        const outcome = await haraka.deliver(domain.recipient, TAGGED)
        bounced(outcome, '5.7.30', 'requiretls-not-offered')
        assert.equal((await haraka.deliver(domain.recipient)).kind, 'delivered')
        assert.deepEqual(
          domain.hosts[0]?.messages.entries.map(({ parameters }) => parameters),
          [''],
        )
      }
    })

    it('RQ-01 mode=observe and enable_tls=false, with tagged mail in the queue: not let go', async () => {
      const domain = await makeDomain(lab, 'queued.test', {
        hosts: [{ fault: 'greeting-421', securedExtensions: ['8BITMIME'] }],
      })
      const [host] = domain.hosts
      assert.ok(host)
      assert.equal((await haraka.deliver(domain.recipient, TAGGED)).kind, 'deferred')
      host.fault = 'none'
      await haraka.configure('outbound.ini', 'enable_tls=false\n')
      await haraka.restart({ overdue: true })
      const waits = await haraka.outcome(domain.recipient)
      assert.ok(waits.kind === 'deferred')
      assert.match(waits.reason, /tls-switched-off/)
      await haraka.configure('outbound.ini', '')
      const ini = `[main]\nmode=observe\n[mta_sts]\nca_file=${lab.caFile}\n`
      await haraka.configure('tls-policy.ini', ini)
      await haraka.restart({ overdue: true })
      bounced(await haraka.outcome(domain.recipient), '5.7.30', 'requiretls-not-offered')
      assertNothingLeaked(host)
    })

    it('check says the same', async () => {
      await assertCheckSaysTheSame(haraka, { only: ['off.test', 'observe.test'] })
    })
  })
}
