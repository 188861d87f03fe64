/**
 * The session after the hand-over: Haraka's own code runs it inside the TLS that was verified. It must see what the server
 * says there and nothing from before; and whatever breaks, however late, Haraka lives.
 */
import assert from 'node:assert/strict'
import { type Fault, type Haraka, Lab, type Outcome, type Receiver, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame, assertObserveOnlyWatches } from '../support/lab/beside'
import type { ReceiverSettings } from '../support/lab/receiver'
import { assertNothingLeaked, type Domain, makeDomain, nextAddress } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const
/** What becomes of a message that meets the fault: that the host has taken it, Haraka may or may not hear before the reset. */
const endsOf = (fault: Fault): readonly Outcome['kind'][] => {
  if (fault === 'reset-at-quit') return ['delivered']
  return fault === 'reset-after-stored' ? ['delivered', 'deferred'] : ['deferred']
}

describe('end to end: the session behind the facade', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({
      plugins: ['tls-policy', 'lab-meddler'],
      config: {
        'meddler.json': JSON.stringify({
          'auth.test': {
            do: 'route',
            answer: {
              exchange: 'mx.auth.test',
              auth_user: 'user',
              auth_pass: 'secret',
              auth_type: 'PLAIN',
            },
          },
        }),
      },
    })
  })
  after(() => lab.stop())

  async function makeReceiver(
    name: string,
    settings: Omit<ReceiverSettings, 'address'>,
  ): Promise<Receiver> {
    const address = nextAddress()
    const certificate = lab.certificate(`mx.${name}`)
    const receiver = await lab.receiver({ address, certificate, ...settings })
    await lab.zone(name, {
      security: 'signed',
      records: ['@ MX 10 mx', `mx A ${address}`, tlsaLine('mx', certificate[0])],
    })
    return receiver
  }

  it('STLS-11 STARTTLS is offered again inside TLS: it is not asked for again', async () => {
    const receiver = await makeReceiver('again.test', { fault: 'starttls-again' })
    const outcome = await haraka.deliver('u@again.test')
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    assert.doesNotMatch(receiver.sessions.entries[0]?.secured ?? '', /STARTTLS/)
    assertNothingLeaked(receiver)
  })

  it('a greeting of several lines is a greeting', async () => {
    const banner = ['we are a mail server', '', 'be nice']
    const receiver = await makeReceiver('banner.test', { banner })
    const outcome = await haraka.deliver('u@banner.test')
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    assertNothingLeaked(receiver)
  })

  it('each EHLO names this server', async () => {
    const receiver = await makeReceiver('helo.test', {})
    await haraka.deliver('u@helo.test')
    assert.deepEqual(receiver.sessions.entries[0]?.greetings, ['sender.test', 'sender.test'])
  })

  const sender = 'j\u00fcrgen@sender.test'
  for (const [where, extensions, securedExtensions, used] of [
    ['only inside TLS', [], ['SMTPUTF8', '8BITMIME'], true],
    ['only before TLS', ['SMTPUTF8', '8BITMIME', 'SIZE 1'], [], false],
  ] as const) {
    it(`STLS-11 SMTPUTF8 ${where}: it is ${used ? '' : 'not '}used`, async () => {
      const name = `utf8-${used ? 'inside' : 'before'}.test`
      const receiver = await makeReceiver(name, { extensions, securedExtensions })
      const outcome = await haraka.deliver(`u@${name}`, { from: sender, parameters: 'SMTPUTF8' })
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
      assert.equal((await receiver.nextMessage()).parameters.includes('SMTPUTF8'), used)
    })
  }

  it('STLS-11 AUTH only before TLS: the password is not sent', async () => {
    const receiver = await makeReceiver('auth.test', {
      extensions: ['AUTH PLAIN'],
      securedExtensions: ['8BITMIME'],
    })
    const outcome = await haraka.deliver('u@auth.test')
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    assert.doesNotMatch(receiver.sessions.entries[0]?.secured ?? '', /AUTH/)
    assertNothingLeaked(receiver)
  })

  it('a message of 5 MB arrives whole', async () => {
    const receiver = await makeReceiver('large.test', {})
    const body = `${'0123456789'.repeat(7)}\n`.repeat(72_000).trimEnd()
    const outcome = await haraka.deliver('u@large.test', { body })
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    const { text } = await receiver.nextMessage()
    assert.ok(text.endsWith(`${body.replaceAll('\n', '\r\n')}\r\n`), `${text.length} octets came`)
    assertNothingLeaked(receiver)
  })

  it('a host that falls silent inside TLS is told as silent', async () => {
    const impatient = await lab.haraka({
      port: 2531,
      plugins: ['tls-policy'],
      config: { 'outbound.ini': 'connect_timeout=2' },
    })
    const receiver = await makeReceiver('silent.test', { fault: 'hang-after-data' })
    const outcome = await impatient.deliver('u@silent.test')
    assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
    assert.match(outcome.reason, /tls-lost: socket timeout waiting on dot/)
    assertNothingLeaked(receiver)
    await impatient.stop()
  })

  it('SA-27 of three recipients one is refused: it alone bounces', async () => {
    const to = ['a', 'b', 'c'].map((user) => `${user}@three.test`)
    const receiver = await makeReceiver('three.test', { unknownRecipients: ['b@three.test'] })
    await haraka.send({ from: 'a@sender.test', to })
    const outcomes = await Promise.all(to.map((recipient) => haraka.outcome(recipient)))
    assert.deepEqual(
      outcomes.map(({ kind }) => kind),
      ['delivered', 'bounced', 'delivered'],
    )
    assert.deepEqual((await receiver.nextMessage()).to, ['a@three.test', 'c@three.test'])
    assert.equal(receiver.sessions.entries.length, 1)
  })

  describe('beside each of these deliveries', function () {
    this.timeout(180_000)

    it('the command says what the delivery does', async () => {
      assert.ok(
        (await assertCheckSaysTheSame(haraka, {
          routes: { 'auth.test': ['--host', 'mx.auth.test'] },
        })) > 7,
      )
    })

    it('AUTH-40 mode observe only watches', async () => {
      const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka)
      assert.ok(recipients > 8 && hosts > 8, `${recipients} recipients, ${hosts} hosts`)
    })
  })
})

describe('end to end: connections that break late', function () {
  this.timeout(240_000)
  const faults: readonly Fault[] = [
    'reset-on-connect',
    'reset-after-tls',
    'reset-at-mail',
    'reset-in-data',
    'close-in-data',
    'refuse-in-data',
    'garbage-in-data',
    'reset-after-stored',
    'reset-at-quit',
    'starttls-drop',
    'drop-after-220',
    'garbage-handshake',
    'inject-after-220',
  ]
  const ROUND = 6
  /** More than the buffers between Haraka and the receiver hold. */
  const body = `${'0123456789'.repeat(7)}\n`.repeat(4_000)
  let lab: Lab
  let haraka: Haraka
  let domains: readonly Domain[]

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({ plugins: ['tls-policy'] })
    domains = [
      await makeDomain(lab, 'late-strict.test', { hosts: [{ tlsa: [DANE_EE] }] }),
      await makeDomain(lab, 'late-lax.test', { hosts: [{}] }),
    ]
  })
  after(() => lab.stop())

  for (const fault of faults) {
    it(`${fault}, ${ROUND} times with a policy and ${ROUND} times without: Haraka lives, and no mail is lost`, async () => {
      for (const { hosts } of domains) for (const host of hosts) host.fault = fault
      const recipients = domains.flatMap(({ name }) =>
        Array.from({ length: ROUND }, (_, i) => `${fault}-${i}@${name}`),
      )
      await Promise.all(
        recipients.map((recipient) =>
          haraka.send({ from: 'a@sender.test', to: [recipient], body }),
        ),
      )
      for (const recipient of recipients) {
        const { kind } = await haraka.outcome(recipient)
        assert.ok(endsOf(fault).includes(kind), `${recipient}: ${kind}`)
      }
      assert.ok(haraka.running)
      assertNothingLeaked(domains[0]?.hosts[0])
    })
  }

  it('and then delivers as ever', async () => {
    for (const { hosts, recipient } of domains) {
      for (const host of hosts) host.fault = 'none'
      const outcome = await haraka.deliver(recipient)
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    }
    await haraka.queueHolds(
      haraka.outcomes.entries.filter(({ kind }) => kind === 'deferred').length,
    )
    assert.ok(haraka.running)
  })

  it('the command cannot know it before, and says how far it came', async () => {
    const beside = await lab.haraka({ port: 2526, plugins: ['tls-policy'] })
    // A reset at once comes before Haraka has heard of the connection, or after it: that is a race.
    const known = faults.filter((fault) => fault !== 'reset-on-connect')
    for (const fault of known) {
      for (const tlsa of [[DANE_EE], []]) {
        const kind = tlsa.length > 0 ? 'strict' : 'lax'
        const { recipient } = await makeDomain(lab, `${fault}-${kind}.test`, {
          hosts: [{ fault, tlsa }],
        })
        await beside.deliver(recipient)
      }
    }
    assert.equal(await assertCheckSaysTheSame(beside), 2 * known.length)
    await beside.stop()
  })
})
