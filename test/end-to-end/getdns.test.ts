/**
 * DANE without a validating resolver: getdns validates in a process beside Haraka, over a resolver that proves nothing. That
 * process may die or hang: mail then waits, and Haraka does not notice otherwise.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { getdnsModule } from '../support/dns-getdns'
import { type Haraka, Lab, type Outcome, tlsaLine } from '../support/lab'
import type { Validator } from '../support/lab/dns'
import { makeCertificate } from '../support/certificates'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertNothingLeaked, makeDomain } from '../support/lab/world'

const RESOLVER = '192.0.2.62'
const DANE_EE = [3, 1, 1] as const

function assertDelivered(outcome: Outcome): void {
  assert.equal(outcome.kind, 'delivered', JSON.stringify(outcome))
}

describe('end to end: getdns', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let resolver: Validator

  before(async () => {
    lab = await Lab.start()
    resolver = await lab.validator({ address: RESOLVER, validates: false })
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      env: { NODE_PATH: dirname(getdnsModule()) },
      config: {
        // Retried here until the process is back.
        'outbound.ini': 'connect_timeout=2\ntemp_fail_intervals=1h*1000',
        'tls-policy.ini': [
          '[dns]',
          'backend=auto',
          `servers=${RESOLVER}`,
          `trust_anchor=${lab.anchor}`,
          'timeout=3',
          'deadline=6',
          '',
        ].join('\n'),
      },
    })
    await haraka.waitForLine('the choice', /DNSSEC is validated, DANE is on/)
  })
  after(() => lab.stop())

  /** Process ids of the getdns children of this Haraka. */
  function children(): readonly number[] {
    const { stdout } = spawnSync('ps', ['-o', 'pid=,args=', '--ppid', String(haraka.pid)])
    return stdout
      .toString()
      .split('\n')
      .filter((line) => line.includes('getdns-child'))
      .map((line) => Number.parseInt(line, 10))
  }

  it('DNS-01 a matching record: verified, though the resolver validates nothing', async () => {
    const domain = await makeDomain(lab, 'good.test', { hosts: [{ tlsa: [DANE_EE] }] })
    assert.equal((await lab.ask('good.test', 'MX', RESOLVER)).authentic, false)
    assertDelivered(await haraka.deliver(domain.recipient))
    await haraka.waitForLine('the verdict', /domain=good\.test .*verdict=verified/)
  })

  it('AUTH-02 another key: deferred', async () => {
    const tlsa = tlsaLine('mx1', makeCertificate({ subject: 'x' }))
    const domain = await makeDomain(lab, 'other.test', { hosts: [{ tlsa: [tlsa] }] })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /dane-no-match/)
    assertNothingLeaked(...domain.hosts)
  })

  it('TLSA-17 bogus records: the host is not even contacted', async () => {
    const domain = await makeDomain(lab, 'bogus.test', {
      hosts: [{ tlsa: [DANE_EE] }],
      brokenSignatures: ['_25._tcp.mx1 TLSA'],
    })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'deferred')
    assert.match(outcome.reason, /tlsa-lookup-failed/)
    assert.equal(domain.hosts[0]?.sessions.entries.length, 0)
  })

  it('an unsigned zone with records: they count for nothing', async () => {
    const domain = await makeDomain(lab, 'unsigned.test', {
      security: 'unsigned',
      hosts: [{ tlsa: [tlsaLine('mx1', makeCertificate({ subject: 'x' }))] }],
    })
    assertDelivered(await haraka.deliver(domain.recipient))
  })

  for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGSTOP'] as const) {
    it(`DNS-04 ${signal} to the process in the middle of a lookup: deferred, started again, delivered`, async () => {
      const name = `${signal.toLowerCase()}.test`
      const domain = await makeDomain(lab, name, { hosts: [{ tlsa: [DANE_EE] }] })
      const [child] = children()
      assert.ok(child, 'there is a child')
      resolver.pause()
      await haraka.send({ from: 'sender@sender.test', to: [domain.recipient] })
      process.kill(child, signal)
      let outcome = await haraka.outcome(domain.recipient)
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      resolver.resume()
      while (outcome.kind !== 'delivered') {
        assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
        assert.match(outcome.reason, /mx-lookup-failed/)
        // A failed lookup is remembered for some seconds, of whose end nobody tells.
        await setTimeout(250)
        haraka.retry()
        outcome = await haraka.outcome(domain.recipient)
      }
      await haraka.waitForLine('the verdict', new RegExp(`domain=${name} .*verdict=verified`))
      assertNothingLeaked(...domain.hosts)
      assert.notDeepEqual(children(), [child])
      assert.ok(haraka.running)
    })
  }

  it('the command says what each of these deliveries does', async () => {
    assert.equal(await assertCheckSaysTheSame(haraka), 7)
  })
})
