/**
 * Lookups that begin when a message is queued: done once, early, and only for mail that goes out. Haraka holds its deliveries back
 * (outbound.ini disabled), so that whatever is asked meanwhile is asked ahead.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { type Haraka, Lab, type PolicyHost, policyText } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { type Domain, makeDomain } from '../support/lab/world'

const POLICY_HOST = '198.51.100.81'
/** Octets of a message that Haraka takes. */
const MOST_OCTETS = 2000

describe('end to end: looking ahead', function () {
  this.timeout(240_000)
  let lab: Lab
  let policies: PolicyHost
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    const connectionIni = await readFile('node_modules/Haraka/config/connection.ini', 'utf8')
    haraka = await lab.haraka({
      plugins: ['queue/discard', 'tls-policy'],
      config: {
        'connection.ini': connectionIni.replace(/^bytes=.*$/m, `bytes=${MOST_OCTETS}`),
        'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n`,
      },
    })
  })
  beforeEach(() => hold(true))
  after(() => lab.stop())

  async function hold(held: boolean): Promise<void> {
    await haraka.configure('outbound.ini', `disabled=${held}`)
  }

  /** With secure TLSA records and an MTA-STS policy. */
  async function withPolicies(name: string): Promise<Domain> {
    const certificate = lab.certificate(`mta-sts.${name}`)
    policies.set(`mta-sts.${name}`, { answer: policyText('enforce', [`mx1.${name}`]), certificate })
    return makeDomain(lab, name, {
      security: 'signed',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [{ tlsa: [[3, 1, 1]] }],
    })
  }

  /** What the resolver was asked about these names up to now: its log tells of this question after all before it. */
  let marks = 0
  async function asked(domain: string): Promise<readonly string[]> {
    const mark = `mark-${++marks}.test`
    await lab.ask(mark, 'A')
    const until = Date.now() + 10_000
    while (!lab.resolver.queries.some(({ name }) => name === mark)) {
      assert.ok(Date.now() < until, 'the resolver keeps no log')
      await new Promise((resolve) => setImmediate(resolve))
    }
    return lab.resolver.queries
      .filter(({ name }) => `.${name}`.endsWith(`.${domain}`))
      .map(({ name, type }) => `${name} ${type}`)
  }

  it('XC-04 all is looked up while the message waits, and nothing again for its delivery', async () => {
    const name = 'ahead.test'
    const { recipient } = await withPolicies(name)
    await haraka.send({ from: 'sender@sender.test', to: [recipient] })
    await policies.requests.waitFor('the fetch', ({ host }) => host === `mta-sts.${name}`)
    const ahead = await asked(name)
    assert.deepEqual([...ahead].sort(), [
      `_25._tcp.mx1.${name} TLSA`,
      `_mta-sts.${name} TXT`,
      `${name} MX`,
      `mta-sts.${name} A`,
      `mta-sts.${name} AAAA`,
      `mx1.${name} A`,
      `mx1.${name} AAAA`,
    ])
    await hold(false)
    const outcome = await haraka.outcome(recipient)
    assert.equal(outcome.kind, 'delivered')
    assert.deepEqual(await asked(name), ahead)
    assert.equal(policies.requests.entries.filter(({ host }) => host.endsWith(name)).length, 1)
  })

  it('mail that is refused at its end is looked up by nobody', async () => {
    const { recipient } = await withPolicies('refused.test')
    const body = 'Too much.\n'.repeat(MOST_OCTETS / 5)
    const mail = { from: 'sender@sender.test', to: [recipient], body }
    await assert.rejects(haraka.send(mail), /550 Message too big/)
    assert.deepEqual(await asked('refused.test'), [])
  })

  it('mail that another plugin takes is looked up by nobody', async () => {
    const { recipient } = await withPolicies('taken.test')
    const taking = await lab.haraka({
      port: 2526,
      plugins: ['queue/discard', 'tls-policy'],
      env: { YES_REALLY_DO_DISCARD: '1' },
    })
    await taking.send({ from: 'sender@sender.test', to: [recipient] })
    assert.deepEqual(await asked('taken.test'), [])
  })

  it('RFC 8461 section 3.4: where a plugin may route mail, no recipient domain is looked up ahead', async () => {
    const { recipient } = await withPolicies('routed.test')
    const routing = await lab.haraka({
      port: 2527,
      plugins: ['lab-meddler', 'tls-policy'],
      config: {
        'outbound.ini': 'disabled=true',
        'meddler.json': '{}',
        'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n`,
      },
    })
    await routing.send({ from: 'sender@sender.test', to: [recipient] })
    assert.deepEqual(await asked('routed.test'), [])
    await routing.configure('outbound.ini', '')
    assert.equal((await routing.outcome(recipient)).kind, 'delivered')
    assert.equal(await assertCheckSaysTheSame(routing), 1)
  })

  it('the command says what the delivery does', async () => {
    await hold(false)
    assert.equal(await assertCheckSaysTheSame(haraka, { only: ['ahead.test', 'refused.test'] }), 2)
  })
})
