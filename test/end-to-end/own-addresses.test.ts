/**
 * Haraka's default local_mx_ok=false, which production runs with: an address that leads back to this machine costs itself and
 * nothing else, as in plain Haraka; a loop is this server's own name or address (RFC 5321 §5.1). Three generations of Haraka.
 */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { Lab, type Outcome, type Receiver, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertSame, type Pair, startPair } from '../support/lab/comparison'
import { nextAddress } from '../support/lab/world'

/** The interface's own; the lab's receivers have others of its network. */
const OWN = '198.18.0.1'

/** Lines of a zone for a good address; `it` stands for the address that is not. */
const NOT_REMOTE = [
  ['link-local, IPv6', 'AAAA fe80::d250:99ff:feda:9100'],
  ['link-local', 'A 169.254.1.1'],
  ['loopback', 'A 127.0.0.2'],
  ['loopback, IPv6', 'AAAA ::1'],
  ['unique local', 'AAAA fd12:3456::1'],
] as const

for (const version of ['3.3.4', '3.2.1', '3.1.6'] as const) {
  describe(`end to end: addresses of this machine, Haraka ${version}`, function () {
    this.timeout(240_000)
    let lab: Lab
    let pair: Pair
    let up: Receiver
    let down: Receiver
    const certificate = makeCertificate({ subject: 'mx' })

    before(async () => {
      lab = await Lab.start()
      up = await lab.receiver({ address: nextAddress(), certificate })
      down = await lab.receiver({ address: nextAddress(), fault: 'drop-on-connect' })
      pair = await startPair(lab, version)
    })
    after(() => lab.stop())

    async function zone(name: string, ...records: readonly string[]): Promise<string> {
      await lab.zone(name, { security: 'signed', records })
      return `u@${name}`
    }

    for (const [index, [what, line]] of NOT_REMOTE.entries()) {
      it(`${what} beside a good address: delivered there, as plain Haraka does`, async () => {
        const to = await zone(
          `beside-${index}.test`,
          '@ MX 10 mx',
          `mx A ${up.address}`,
          `mx ${line}`,
        )
        const { outcomes } = await assertSame(pair, [to], [up])
        assert.equal((outcomes[0] as Outcome).kind, 'delivered')
      })

      it(`${what} beside a good address, with DANE: verified there`, async () => {
        const name = `dane-${index}.test`
        const records = ['@ MX 10 mx', `mx A ${up.address}`, `mx ${line}`]
        const to = await zone(name, ...records, tlsaLine('mx', certificate, [3, 1, 1]))
        assert.equal((await pair.haraka.deliver(to)).kind, 'delivered')
        await pair.haraka.waitForLine('the verdict', new RegExp(`domain=${name} .*verified`))
      })

      it(`${what} alone at the best host: the next host, as plain Haraka does`, async () => {
        const records = ['@ MX 10 mx1', `mx1 ${line}`, '@ MX 20 mx2', `mx2 A ${up.address}`]
        const to = await zone(`before-${index}.test`, ...records)
        const { outcomes } = await assertSame(pair, [to], [up])
        assert.equal((outcomes[0] as Outcome).kind, 'delivered')
      })

      it(`${what} alone at a worse host: the better one first, then the one behind`, async () => {
        const records = [
          ...['@ MX 10 mx1', `mx1 A ${down.address}`],
          ...['@ MX 20 mx2', `mx2 ${line}`],
          ...['@ MX 30 mx3', `mx3 A ${up.address}`],
        ]
        const to = await zone(`behind-${index}.test`, ...records)
        const { outcomes } = await assertSame(pair, [to], [down, up])
        assert.equal((outcomes[0] as Outcome).kind, 'delivered')
      })

      it(`${what} and nothing else: it waits, and the reason is told`, async () => {
        const to = await zone(`only-${index}.test`, '@ MX 10 mx', `mx ${line}`)
        assert.equal((await pair.plain.deliver(to)).kind, 'deferred')
        const outcome = await pair.haraka.deliver(to)
        assert.ok(outcome.kind === 'deferred')
        assert.equal(outcome.dsn.status, '4.4.4')
        const address = line.split(' ')[1] ?? ''
        assert.ok(outcome.reason.includes('no-remote-address'), outcome.reason)
        assert.ok(outcome.reason.includes(address), outcome.reason)
      })
    }

    it('DNS-14 an address of our own interface is a loop: neither it nor a worse host is tried', async () => {
      const records = ['@ MX 10 mx1', `mx1 A ${OWN}`, '@ MX 20 mx2', `mx2 A ${up.address}`]
      const outcome = await pair.haraka.deliver(await zone('loop.test', ...records))
      assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.4.6')
      assert.match(outcome.reason, /mx-loop: this server is the best MX host of loop\.test/)
    })

    it('DNS-14 our own name is a loop, wherever its addresses lead', async () => {
      await zone('sender.test', `@ A ${nextAddress()}`)
      const records = ['@ MX 10 sender.test.', '@ MX 20 mx2', `mx2 A ${up.address}`]
      const outcome = await pair.haraka.deliver(await zone('loop-name.test', ...records))
      assert.ok(outcome.kind === 'deferred')
      assert.match(outcome.reason, /mx-loop: /)
    })

    it('the command says what each of these deliveries does', async () => {
      assert.equal(await assertCheckSaysTheSame(pair.haraka), 5 * NOT_REMOTE.length + 2)
    })

    it('local_mx_ok=true: this machine is meant', async () => {
      const config = { 'outbound.ini': 'local_mx_ok=true' }
      const own = await lab.receiver({ address: OWN, certificate })
      const local = await lab.haraka({ version, port: 2527, plugins: ['tls-policy'], config })
      for (const domain of ['loop.test', 'loop-name.test']) {
        const outcome = await local.deliver(`u@${domain}`)
        assert.equal(outcome.kind, 'delivered', JSON.stringify(outcome))
      }
      assert.equal(await assertCheckSaysTheSame(local), 2)
      await own.stop()
    })
  })
}

describe('end to end: how often this server looks its own name up', function () {
  this.timeout(240_000)
  let lab: Lab

  before(async () => {
    lab = await Lab.start()
  })
  after(() => lab.stop())

  it('XC-13 once for all addresses of all hosts', async () => {
    const up = await lab.receiver({ address: nextAddress(), certificate: lab.certificate('mx') })
    const hosts = Array.from({ length: 15 }, (_, host) => [
      `@ MX ${10 + host} mx${host}`,
      `mx${host} A ${up.address}`,
      ...Array.from({ length: 9 }, (_, n) => `mx${host} A 198.18.77.${10 * host + n}`),
    ])
    await lab.zone('many.test', { security: 'unsigned', records: hosts.flat() })
    const asked = () => lab.resolver.queries.filter(({ name }) => name === 'sender.test').length
    const told = async () => {
      const mark = `told-${asked()}.test`
      await lab.ask(mark, 'A')
      const until = Date.now() + 10_000
      while (!lab.resolver.queries.some(({ name }) => name === mark)) {
        assert.ok(Date.now() < until, 'the resolver keeps no log')
        await new Promise((resolve) => setImmediate(resolve))
      }
      return asked()
    }
    const { plain, haraka } = await startPair(lab, '3.3.4')
    const before = await told()
    assert.equal((await plain.deliver('u@many.test')).kind, 'delivered')
    const byPlain = (await told()) - before
    assert.equal((await haraka.deliver('u@many.test')).kind, 'delivered')
    const withPlugin = (await told()) - before - byPlain
    // A and AAAA once more than Haraka itself, which looks at each address that it tries.
    assert.ok(withPlugin <= byPlain + 2, `${withPlugin} questions, plain Haraka ${byPlain}`)
    assert.equal(await assertCheckSaysTheSame(haraka, { only: ['many.test'] }), 1)
  })
})
