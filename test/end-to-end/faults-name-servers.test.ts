/**
 * The rows of docs/faults.md on receivers' name servers. No domain pays for another with its time: a thousand domains whose name
 * servers never answer are looked up beside a healthy one, and that one is delivered to as by plain Haraka.
 */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { fault, wordsOf } from '../support/faults-page'
import { type Haraka, Lab } from '../support/lab'
import type { ResolverRoom } from '../support/lab/dns'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { makeDomain, nextAddress } from '../support/lab/world'

const DEAD = 1000
/** Each of them counts as a zone of its own, as below co.uk. */
const DEAD_PARENT = 'co.zz'
/** Recipients of one message. */
const OF_ONE = 50
/** Milliseconds that the plugin may take longer than plain Haraka, on a busy machine. */
const LONGER = 1000
/** Milliseconds after which a question counts as lost: dns.timeout. */
const TXT_TIME = 5000

/** Each of the row's words is in a line about the domain. */
function saysOf(haraka: Haraka, domain: string, row: string): void {
  const lines = haraka.log().filter((line) => line.includes(`domain=${domain} `))
  for (const words of wordsOf(row)) {
    assert.ok(
      lines.some((line) => line.includes(words)),
      `${words} in\n${lines.join('\n')}`,
    )
  }
}

describe('end to end: XC-13 no domain waits for another', function () {
  this.timeout(180_000)
  let lab: Lab
  let plain: Haraka
  let haraka: Haraka
  const servers: ReturnType<typeof createSocket>[] = []

  before(async () => {
    lab = await Lab.start()
    // Each has a server of its own that hears and never answers.
    const silent = Array.from({ length: DEAD }, () => nextAddress())
    for (const address of silent) {
      const server = createSocket('udp4')
      server.bind(53, address)
      await once(server, 'listening')
      servers.push(server)
    }
    const lines = silent.map((address, n) => [`n${n} NS ns.n${n}`, `ns.n${n} A ${address}`])
    await lab.zones({ [DEAD_PARENT]: { security: 'signed', records: lines.flat() } })
    plain = await lab.haraka({ port: 2526 })
    haraka = await lab.haraka({ plugins: ['tls-policy'] })
  })
  after(async () => {
    for (const server of servers) server.close()
    await lab.stop()
  })

  async function sendToTheDead(relay: Haraka): Promise<void> {
    for (let n = 0; n < DEAD; n += OF_ONE) {
      const to = Array.from({ length: OF_ONE }, (_, k) => `u@n${n + k}.${DEAD_PARENT}`)
      await relay.send({ from: 'sender@sender.test', to })
    }
  }

  /** @returns milliseconds, undefined where it was deferred */
  async function firstMessage(
    relay: Haraka,
    name: string,
    room: ResolverRoom,
  ): Promise<number | undefined> {
    // Else it would still be busy with the questions of the one before, and know which servers are dead.
    await lab.resolver.restart({ validates: true, room })
    const fresh = await makeDomain(lab, name, { hosts: [{ tlsa: [[3, 1, 1]] }] })
    await sendToTheDead(relay)
    const began = Date.now()
    const outcome = await relay.deliverApart(fresh.recipient, { timeout: 60_000 })
    return outcome.kind === 'delivered' ? Date.now() - began : undefined
  }

  for (const [room, resolver] of [
    ['defaults', 'a resolver as it comes'],
    ['advised', 'a resolver with the room that the docs advise'],
  ] as const) {
    it(`${fault('A thousand domains have dead name servers')}, at ${resolver}`, async () => {
      const byPlain = await firstMessage(plain, `plain.${room}.test`, room)
      const withPlugin = await firstMessage(haraka, `${room}.test`, room)
      assert.ok(withPlugin !== undefined, 'it was deferred')
      // Plain Haraka may find no room at all.
      assert.ok(withPlugin < (byPlain ?? 0) + LONGER, `${withPlugin} ms, plain ${byPlain} ms`)
      const verdict = new RegExp(`domain=${room}\\.test .*verdict=verified`)
      await haraka.waitForLine('the verdict', verdict)
    })
  }

  it('Each of them costs the resolver no more questions than by plain Haraka', () => {
    const asked = lab.resolver.queries.filter(({ name }) => name.endsWith(`.${DEAD_PARENT}`))
    const forPolicies = asked.filter(({ type }) => type === 'TXT').length
    assert.ok(forPolicies <= DEAD / 10, `${forPolicies} of ${asked.length} were for TXT records`)
  })

  it('A dead domain itself waits, and says of which lookup', async () => {
    const outcome = await haraka.outcome(`u@n0.${DEAD_PARENT}`, { timeout: 60_000 })
    assert.ok(outcome.kind === 'deferred')
    assert.equal(outcome.dsn.status, '4.4.3')
    saysOf(haraka, `n0.${DEAD_PARENT}`, 'A thousand domains have dead name servers')
  })

  it('the command says what the deliveries did', async () => {
    const only = ['defaults.test', 'advised.test', `n0.${DEAD_PARENT}`]
    assert.equal(await assertCheckSaysTheSame(haraka, { only }), 3)
  })
})

describe('end to end: servers that drop the question for _mta-sts', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({ plugins: ['tls-policy'] })
  })
  after(() => lab.stop())

  it(fault('Name servers drop the question for the TXT record'), async () => {
    const domain = await makeDomain(lab, 'drop.test', {
      security: 'unsigned',
      records: ['_mta-sts NS ns-silent.test.'],
      hosts: [{}],
    })
    const took = async () => {
      const began = Date.now()
      const outcome = await haraka.deliverApart(domain.recipient, { timeout: 30_000 })
      assert.equal(outcome.kind, 'delivered', JSON.stringify(outcome))
      return Date.now() - began
    }
    let waited = 0
    for (let n = 0; n < 5; n += 1) if ((await took()) >= TXT_TIME) waited++
    assert.ok(waited <= 1, `${waited} of 5 waited`)
    saysOf(haraka, domain.name, 'Name servers drop the question for the TXT record')
  })

  it('the command says what the delivery did', async () => {
    assert.equal(await assertCheckSaysTheSame(haraka), 1)
  })
})
