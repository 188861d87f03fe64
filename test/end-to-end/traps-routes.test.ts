/**
 * Mail that another plugin routes (its get_mx answers) and mail to an address literal. A host by name is a destination with
 * DANE of its own, at the port that is dialled; an address, a socket and LMTP are nobody's policy, and nothing is asked.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { makeCertificate } from '../support/certificates'
import { type Haraka, Lab, type Receiver, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame, assertObserveOnlyWatches } from '../support/lab/beside'
import type { ReceiverSettings } from '../support/lab/receiver'
import { assertNothingLeaked, nextAddress } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const
const PORT = 2587

/** Where the meddler sends mail, as the command is told. */
const routes = Object.fromEntries(
  ['good', 'bad', 'bogus', 'login'].map((name) => [
    `to-${name}.test`,
    ['--host', `mx.${name}.test`, '--port', String(PORT)],
  ]),
)

describe('end to end: routes', function () {
  this.timeout(240_000)
  const literal = nextAddress()
  const lmtpAddress = nextAddress()
  let lab: Lab
  let plain: Haraka
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    const rules = Object.fromEntries(
      Object.entries({
        'to-good.test': { exchange: 'mx.good.test', port: PORT },
        'to-good-by-text.test': `mx.good.test:${PORT}`,
        'to-bad.test': { exchange: 'mx.bad.test', port: PORT },
        'to-bogus.test': { exchange: 'mx.bogus.test', port: PORT },
        'to-two.test': [
          { exchange: 'mx.bad.test', port: PORT, priority: 10 },
          { exchange: 'mx.good.test', port: PORT, priority: 20 },
        ],
        'to-two-reversed.test': [
          { exchange: 'mx.good.test', port: PORT, priority: 20 },
          { exchange: 'mx.bad.test', port: PORT, priority: 10 },
        ],
        'to-nowhere.test': { exchange: 'mx.nowhere.test' },
        'to-address.test': { exchange: literal, port: PORT },
        'to-lmtp.test': { exchange: 'mx.lmtp.test', port: PORT, using_lmtp: true },
        'to-socket.test': { path: join(lab.folder, 'socket'), using_lmtp: true },
        'to-login.test': {
          ...{ exchange: 'mx.login.test', port: PORT },
          ...{ auth_user: 'user', auth_pass: 'secret', auth_type: 'PLAIN' },
        },
      }).map(([domain, answer]) => [domain, { do: 'route', answer }]),
    )
    const config = { 'meddler.json': JSON.stringify(rules) }
    haraka = await lab.haraka({ plugins: ['tls-policy', 'lab-meddler'], config })
    plain = await lab.haraka({ port: 2526, plugins: ['lab-meddler'], config })
  })
  after(() => lab.stop())

  /** What `work` makes Haraka ask, beside the addresses of hosts. */
  async function policyQueries(work: () => Promise<unknown>): Promise<readonly string[]> {
    const before = lab.resolver.queries.length
    await work()
    return lab.resolver.queries
      .slice(before)
      .filter(({ type }) => type !== 'A' && type !== 'AAAA')
      .map(({ name, type }) => `${name} ${type}`)
  }

  async function makeRelay(
    zone: string,
    lines: (own: ReturnType<Lab['certificate']>[0]) => readonly string[],
    settings: Partial<ReceiverSettings> = {},
    brokenSignatures: readonly string[] = [],
  ): Promise<Receiver> {
    const address = nextAddress()
    const certificate = lab.certificate(`mx.${zone}`)
    const receiver = await lab.receiver({ address, port: PORT, certificate, ...settings })
    const records = [`mx A ${address}`, ...lines(certificate[0])]
    await lab.zone(zone, { security: 'signed', records, brokenSignatures })
    return receiver
  }

  const other = makeCertificate({ subject: 'another key' })
  const ok = (own: Parameters<typeof tlsaLine>[1]) => [
    tlsaLine('mx', own, DANE_EE, PORT),
    tlsaLine('mx', other, DANE_EE, 25),
  ]
  const mismatch = (own: Parameters<typeof tlsaLine>[1]) => [
    tlsaLine('mx', other, DANE_EE, PORT),
    tlsaLine('mx', own, DANE_EE, 25),
  ]

  it('TLSA-02 RL-01 RL-02 RL-06 a host and a port: the TLSA records of that port count, and the recipient domain is not asked', async () => {
    const receiver = await makeRelay('good.test', ok)
    for (const domain of ['to-good.test', 'to-good-by-text.test']) {
      const queries = await policyQueries(async () => {
        const outcome = await haraka.deliver(`u@${domain}`)
        assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
        assert.equal(outcome.port, PORT)
      })
      assert.deepEqual(
        queries.filter((query) => query.includes('to-good')),
        [],
      )
      await haraka.waitForLine(
        'the verdict',
        /domain=to-good\S*\.test mx=mx\.good\.test .*verdict=verified reason=dane-ee-matched/,
      )
    }
    assertNothingLeaked(receiver)
  })

  it('RL-02 RL-06 another key than published for that port: deferred', async () => {
    const receiver = await makeRelay('bad.test', mismatch)
    const outcome = await haraka.deliver('u@to-bad.test')
    assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.5')
    assertNothingLeaked(receiver)
    const without = await plain.deliver('u@to-bad.test')
    assert.equal(without.kind, 'delivered')
  })

  it('RL-06 TLSA-17 the TLSA lookup fails: deferred, nobody contacted', async () => {
    const receiver = await makeRelay('bogus.test', ok, {}, [`_${PORT}._tcp.mx TLSA`])
    const outcome = await haraka.deliver('u@to-bogus.test')
    assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.5')
    assert.equal(receiver.sessions.entries.length, 0)
  })

  for (const [domain, why] of [
    ['to-two.test', 'the first is refused'],
    ['to-two-reversed.test', 'the order is the list, not the priority'],
  ] as const) {
    it(`STLS-16 a list of two, ${why}: delivered at the good one, as plain Haraka orders them`, async () => {
      const outcome = await haraka.deliver(`u@${domain}`)
      assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.host === 'mx.good.test')
    })
  }

  it('RL-06 a host without an address: deferred', async () => {
    const outcome = await haraka.deliver('u@to-nowhere.test')
    assert.equal(outcome.kind, 'deferred')
  })

  it('STLS-11 STLS-13 a password for the host is said inside TLS only', async () => {
    const receiver = await makeRelay('login.test', ok, { extensions: ['AUTH PLAIN'] })
    const outcome = await haraka.deliver('u@to-login.test')
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    assert.match(receiver.sessions.entries[0]?.secured ?? '', /^AUTH PLAIN /m)
    assertNothingLeaked(receiver)
  })

  it('RL-05 an address: as plain Haraka, and nothing is asked', async () => {
    await lab.receiver({ address: literal, port: PORT, fault: 'no-starttls' })
    const queries = await policyQueries(async () => {
      const outcome = await haraka.deliver('u@to-address.test')
      assert.ok(outcome.kind === 'delivered' && !outcome.tls, JSON.stringify(outcome))
    })
    assert.deepEqual(queries, [])
  })

  it('RL-10 LMTP to a host with TLSA records of another key: as plain Haraka, and nothing is asked', async () => {
    const certificate = lab.certificate('mx.lmtp.test')
    await lab.receiver({ address: lmtpAddress, port: PORT, certificate })
    await lab.zone('lmtp.test', {
      security: 'signed',
      records: [`mx A ${lmtpAddress}`, ...mismatch(certificate[0])],
    })
    const queries = await policyQueries(async () => {
      const outcome = await haraka.deliver('u@to-lmtp.test')
      assert.equal(outcome.kind, 'delivered', JSON.stringify(outcome))
    })
    assert.deepEqual(queries, [])
  })

  it('RL-10 a Unix socket: as plain Haraka, and nothing is asked', async () => {
    const receiver = await lab.receiver({ address: 'socket', path: join(lab.folder, 'socket') })
    const queries = await policyQueries(async () => {
      const outcome = await haraka.deliver('u@to-socket.test')
      assert.equal(outcome.kind, 'delivered', JSON.stringify(outcome))
    })
    assert.deepEqual(queries, [])
    assert.equal((await receiver.nextMessage()).tls, false)
  })

  it('DNS-33 u@[address]: as plain Haraka, and nothing is asked', async () => {
    const address = nextAddress()
    await lab.receiver({ address, fault: 'no-starttls' })
    const recipient = `u@[${address}]`
    // Haraka looks for an MX of the literal, finds none and lets the mail wait.
    const without = await plain.deliver(recipient)
    const queries = await policyQueries(async () => {
      const { kind, dsn } = { dsn: undefined, ...(await haraka.deliver(recipient)) }
      assert.deepEqual(
        { kind, dsn },
        { kind: without.kind, dsn: 'dsn' in without ? without.dsn : undefined },
      )
    })
    assert.deepEqual(
      queries.filter((query) => !query.endsWith(' MX')),
      [],
    )
  })

  describe('in whatever form a plugin names them', () => {
    const ports: readonly (readonly [unknown, 'as 25' | 'refused'])[] = [
      ...['', 0, false, null, 25, '25', '025', ' 25', '25.0', '0x19'].map(
        (port) => [port, 'as 25'] as const,
      ),
      ...['0', ' ', 'smtp', -25, 70_000, 25.5, true, [25], {}].map(
        (port) => [port, 'refused'] as const,
      ),
    ]
    const others = [
      [],
      {},
      null,
      { exchange: 'no host' },
      { exchange: 'mx.strip.test', bind: 'nowhere' },
    ]
    const nameOf = (index: number) => `form-${index}.test`
    let anyForm: Haraka
    let strip: Receiver

    before(async () => {
      const address = nextAddress()
      const certificate = lab.certificate('mx.strip.test')
      strip = await lab.receiver({ address, certificate, fault: 'no-starttls' })
      await lab.zone('strip.test', {
        security: 'signed',
        records: [`mx A ${address}`, tlsaLine('mx', certificate[0])],
      })
      const answers = [...ports.map(([port]) => ({ exchange: 'mx.strip.test', port })), ...others]
      const rules = answers.map(
        (answer, index) => [nameOf(index), { do: 'route', answer }] as const,
      )
      anyForm = await lab.haraka({
        port: 2527,
        plugins: ['tls-policy', 'lab-meddler'],
        config: { 'meddler.json': JSON.stringify(Object.fromEntries(rules)) },
      })
    })
    after(() => anyForm.stop())
    afterEach(() => {
      assertNothingLeaked(strip)
    })

    for (const [index, [port, what]] of ports.entries()) {
      it(`XC-10 a port that is ${JSON.stringify(port)}: ${what}, and nothing in cleartext`, async () => {
        const outcome = await anyForm.deliver(`u@${nameOf(index)}`)
        assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
        assert.equal(outcome.dsn.status, what === 'as 25' ? '4.7.4' : '4.3.5')
        const reason = what === 'as 25' ? 'starttls-not-offered' : 'bad-route'
        await anyForm.waitForLine('why', new RegExp(`domain=${nameOf(index)} .* reason=${reason} `))
      })
    }
    for (const [offset, answer] of others.entries()) {
      it(`XC-10 a route to ${JSON.stringify(answer)}: refused with a reason`, async () => {
        const name = nameOf(ports.length + offset)
        const outcome = await anyForm.deliver(`u@${name}`)
        assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
        assert.equal(outcome.dsn.status, '4.3.5')
        assert.match(outcome.reason, / bad-route: another plugin|which another plugin gave/)
        await anyForm.waitForLine('why', new RegExp(`domain=${name} .* reason=bad-route `))
      })
    }

    it('the command says what these deliveries do', async () => {
      const only = ports.flatMap(([, what], index) => (what === 'as 25' ? [nameOf(index)] : []))
      const told = Object.fromEntries(only.map((name) => [name, ['--host', 'mx.strip.test']]))
      assert.equal(await assertCheckSaysTheSame(anyForm, { only, routes: told }), only.length)
    })
  })

  it('XC-05 a route while the resolver is blind and mail shall wait for it: the mail says so', async () => {
    const blind = await lab.haraka({
      port: 2527,
      plugins: ['tls-policy', 'lab-meddler'],
      config: {
        'tls-policy.ini': '[dns]\ntrust_ad=never\n[dane]\nblind_resolver=defer\n',
        'meddler.json': JSON.stringify({
          'to-blind.test': { do: 'route', answer: { exchange: 'mx.good.test', port: PORT } },
        }),
      },
    })
    const outcome = await blind.deliver('u@to-blind.test')
    assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
    assert.match(outcome.reason, /: mx\.good\.test resolver-blind: /)
    assert.match(outcome.dsn.status ?? '', /^4\./)
    await blind.waitForLine(
      'why',
      /domain=to-blind\.test mx=mx\.good\.test .*reason=resolver-blind /,
    )
    await blind.stop()
  })

  describe('beside each of these deliveries', function () {
    this.timeout(180_000)
    const except = {
      'to-two.test': 'a list of hosts, and the command is told one',
      'to-two-reversed.test': 'the same',
      'to-lmtp.test': 'over LMTP',
      'to-socket.test': 'over a socket',
    }

    it('the command says what the delivery does', async () => {
      const all = {
        ...routes,
        'to-good-by-text.test': routes['to-good.test'] ?? [],
        'to-nowhere.test': ['--host', 'mx.nowhere.test'],
        'to-address.test': ['--host', literal, '--port', String(PORT)],
      }
      assert.equal(await assertCheckSaysTheSame(haraka, { except, routes: all }), 8)
    })

    it('AUTH-40 mode observe only watches', async () => {
      const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka)
      assert.ok(recipients > 10 && hosts > 5, `${recipients} recipients, ${hosts} hosts`)
    })
  })
})
