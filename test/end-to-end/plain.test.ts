/**
 * Promise 9: where no policy is published, mail goes as plain Haraka sends it. Each case is run through both, one after the
 * other, against the same hosts: same result, same words, same connections, same octets.
 */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { type Fault, type Haraka, Lab, type Outcome, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertSame, type Pair, startPair } from '../support/lab/comparison'
import { type HostSettings, makeDomain, nextAddress } from '../support/lab/world'

const everyFault: readonly Fault[] = [
  'none',
  'no-starttls',
  'drop-on-connect',
  'hang-greeting',
  'greeting-421',
  'greeting-554',
  'greeting-junk',
  'helo-only',
  'ehlo-junk',
  'starttls-454',
  'starttls-554',
  'starttls-drop',
  'drop-after-220',
  'garbage-handshake',
  'reset-after-tls',
  'starttls-again',
  'mail-450',
  'mail-550',
  'rcpt-450',
  'rcpt-550',
  'rcpt-450-but-one',
  'data-command-451',
  'data-451',
  'data-554',
  'reset-in-data',
  'reset-at-quit',
]
const fewFaults: readonly Fault[] = ['none', 'no-starttls', 'starttls-454', 'rcpt-450-but-one']

for (const [version, faults] of [
  ['3.3.4', everyFault],
  ['3.2.1', fewFaults],
  ['3.1.6', fewFaults],
] as const) {
  describe(`end to end: without a policy as plain Haraka ${version}`, function () {
    this.timeout(240_000)
    let lab: Lab
    let pair: Pair

    before(async () => {
      lab = await Lab.start()
      pair = await startPair(lab, version)
    })
    after(() => lab.stop())

    for (const fault of faults) {
      it(`XC-08 ${fault}: the same, with one MX and with two`, async () => {
        const own = makeCertificate({ subject: 'self-signed' })
        const alone = await makeDomain(lab, `${fault}.test`, {
          hosts: [{ fault, certificate: own }],
        })
        await assertSame(pair, [`a@${alone.name}`, `b@${alone.name}`], alone.hosts)
        const two = await makeDomain(lab, `${fault}-two.test`, { hosts: [{ fault }, {}] })
        await assertSame(pair, [two.recipient], two.hosts)
      })
    }

    it('the command says what each of these deliveries does', async function () {
      this.timeout(240_000)
      assert.ok((await assertCheckSaysTheSame(pair.haraka)) >= 2 * faults.length)
    })
  })
}

describe('end to end: hosts and addresses without a policy', function () {
  this.timeout(240_000)
  let lab: Lab
  let pair: Pair

  before(async () => {
    lab = await Lab.start()
    pair = await startPair(lab, '3.3.4')
  })
  after(() => lab.stop())

  const self = (): HostSettings => ({ certificate: makeCertificate({ subject: 'self-signed' }) })

  it('STLS-08 self-signed: over TLS; no STARTTLS: in cleartext', async () => {
    for (const [fault, tls] of [
      ['none', true],
      ['no-starttls', false],
    ] as const) {
      const { name, recipient } = await makeDomain(lab, `plain-${fault}.test`, {
        hosts: [{ ...self(), fault }],
      })
      for (const relay of [pair.plain, pair.haraka]) {
        const outcome = await relay.deliver(recipient)
        assert.ok(
          outcome.kind === 'delivered' && outcome.tls === tls && outcome.host === `mx1.${name}`,
        )
      }
    }
  })

  it('the first MX is down, the second takes it; all are down, it waits', async () => {
    const [down, alsoDown] = [nextAddress(), nextAddress()]
    const up = await lab.receiver({ address: nextAddress(), certificate: lab.certificate('up') })
    await lab.zones({
      'half-down.test': {
        security: 'signed',
        records: ['@ MX 10 a', `a A ${down}`, '@ MX 20 b', `b A ${up.address}`],
      },
      'down.test': {
        security: 'signed',
        records: ['@ MX 10 a', `a A ${down}`, '@ MX 20 b', `b A ${alsoDown}`],
      },
    })
    await assertSame(pair, ['u@half-down.test'], [up])
    const { outcomes } = await assertSame(pair, ['u@down.test'], [up])
    assert.equal((outcomes[0] as Outcome).kind, 'deferred')
  })

  for (const [setting, expected] of [
    ['', ['v6', 'v4']],
    ['inet_prefer=v4', ['v4', 'v6']],
    ['inet_prefer=v6', ['v6', 'v4']],
  ] as const) {
    it(`IPv6 and IPv4, ${setting || 'no setting'}: ${expected.join(' before ')}`, async () => {
      const name = `family-${expected[0]}-${setting.length}.test`
      const four = nextAddress()
      const six = `2001:db8::${four.split('.').at(-1) ?? ''}`
      // Both refuse, so that both are tried.
      const receivers = [
        await lab.receiver({ address: four, fault: 'drop-on-connect' }),
        await lab.receiver({ address: six, fault: 'drop-on-connect' }),
      ]
      await lab.zone(name, {
        security: 'signed',
        records: ['@ MX 10 mx', `mx A ${four}`, `mx AAAA ${six}`],
      })
      const special = setting === '' ? pair : await startOther(setting)
      const tried = async (relay: Haraka) => {
        const order: string[] = []
        for (const [index, family] of ['v4', 'v6'].entries()) {
          const { sessions } = receivers[index] ?? assert.fail()
          void sessions
            .waitFor('a session', () => true, { from: sessions.entries.length })
            .then(() => order.push(family))
        }
        assert.equal((await relay.deliver(`u@${name}`)).kind, 'deferred')
        return order
      }
      assert.deepEqual(await tried(special.plain), expected)
      assert.deepEqual(await tried(special.haraka), expected)
      assert.equal(await assertCheckSaysTheSame(special.haraka, { only: [name] }), 1)
      if (special !== pair) await Promise.all([special.plain.stop(), special.haraka.stop()])
    })
  }

  async function startOther(setting: string): Promise<Pair> {
    const config = { 'outbound.ini': setting }
    return {
      plain: await lab.haraka({ port: 2528, config }),
      haraka: await lab.haraka({ port: 2527, plugins: ['tls-policy'], config }),
    }
  }

  it('DNS-24 an MX host without an address: the next one', async () => {
    const up = await lab.receiver({ address: nextAddress(), certificate: lab.certificate('up') })
    await lab.zone('no-address.test', {
      security: 'signed',
      records: ['@ MX 10 a', 'a TXT nothing', '@ MX 20 b', `b A ${up.address}`],
    })
    await assertSame(pair, ['u@no-address.test'], [up])
  })

  it('DNS-10 no MX host has an address, the domain has one: it waits, and the domain is not contacted', async () => {
    const own = await lab.receiver({ address: nextAddress() })
    await lab.zone('unused.test', {
      security: 'signed',
      records: ['@ MX 10 a', 'a TXT nothing', `@ A ${own.address}`],
    })
    for (const relay of [pair.plain, pair.haraka]) {
      assert.equal((await relay.deliver('u@unused.test')).kind, 'deferred')
    }
    assert.equal(own.sessions.entries.length, 0)
  })

  it('DNS-34 an MX record that names an address: delivered there, as by plain Haraka', async () => {
    const up = await lab.receiver({ address: nextAddress(), certificate: lab.certificate('up') })
    await lab.zone('by-address.test', { security: 'signed', records: [`@ MX 10 ${up.address}.`] })
    for (const relay of [pair.plain, pair.haraka]) {
      const outcome = await relay.deliver('u@by-address.test')
      assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.ip === up.address)
    }
    assert.equal(up.sessions.entries.length, 2)
  })

  it('DNS-08 a domain that does not exist: bounced by both', async () => {
    for (const relay of [pair.plain, pair.haraka]) {
      assert.equal((await relay.deliver('u@nowhere.test')).kind, 'bounced')
    }
  })

  it('DNS-24 a domain with neither MX hosts nor an address: bounced by both, as 5.1.2', async () => {
    await lab.zone('text-only.test', { security: 'unsigned', records: ['@ TXT nothing'] })
    for (const relay of [pair.plain, pair.haraka]) {
      const outcome = await relay.deliver('u@text-only.test')
      assert.ok(
        outcome.kind === 'bounced' && outcome.dsn.status === '5.1.2',
        JSON.stringify(outcome),
      )
    }
  })

  it('DNS-28 a sole "." with another preference is a null MX', async () => {
    await lab.zone('null.test', { security: 'signed', records: ['@ MX 10 .'] })
    const outcome = await pair.haraka.deliver('u@null.test')
    assert.ok(
      outcome.kind === 'bounced' && outcome.dsn.status === '5.1.10',
      JSON.stringify(outcome),
    )
  })

  it('DNS-29 a "." beside another host is nothing', async () => {
    const up = await lab.receiver({ address: nextAddress(), certificate: lab.certificate('up') })
    await lab.zone('dot.test', {
      security: 'signed',
      records: ['@ MX 0 .', '@ MX 10 mx', `mx A ${up.address}`],
    })
    await assertSame(pair, ['u@dot.test'], [up])
  })

  it('XC-01 XC-06 SA-26 one message to two domains at one host, which only one of them may trust: delivered there, the other waits', async () => {
    const address = nextAddress()
    const certificate = lab.certificate('first.test')
    const receiver = await lab.receiver({ address, certificate })
    await lab.zones({
      'shared.test': {
        security: 'signed',
        records: [`mx A ${address}`, tlsaLine('mx', lab.ca, [2, 0, 1])],
      },
      'first.test': { security: 'signed', records: ['@ MX 10 mx.shared.test.'] },
      'second.test': { security: 'signed', records: ['@ MX 10 mx.shared.test.'] },
    })
    const to = ['u@first.test', 'u@second.test']
    await pair.haraka.send({ from: 'a@sender.test', to })
    const kinds = await Promise.all(to.map(async (one) => (await pair.haraka.outcome(one)).kind))
    assert.deepEqual(kinds, ['delivered', 'deferred'])
    assert.deepEqual(
      receiver.messages.entries.map((message) => message.to),
      [['u@first.test']],
    )
  })

  it('the command says what each of these deliveries does', async function () {
    this.timeout(240_000)
    assert.ok((await assertCheckSaysTheSame(pair.haraka)) > 12)
  })
})
