/**
 * The rows of docs/faults.md on the resolver, each with a real Haraka in the midst of its work: one that delivers, and two workers
 * that have nothing to do and must notice by themselves.
 */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { runCommand } from '../support/cli'
import { fault, wordsOf } from '../support/faults-page'
import { type Haraka, Lab, type Outcome } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { type Oddity, OddResolver } from '../support/lab/odd-resolver'
import { assertNothingLeaked, type Domain, makeDomain, nextAddress } from '../support/lab/world'

const METRICS = '127.0.0.1:8081'
const ODD = '127.0.0.31'
const OTHER = '127.0.0.9'
/** A minute, and what a busy machine takes beside. */
const A_MINUTE = 75_000

describe('end to end: XC-12 faults of the resolver', function () {
  this.timeout(180_000)
  let lab: Lab
  let haraka: Haraka
  let wary: Haraka
  let idle: Haraka
  const pinned: Domain[] = []
  /** Unsigned, and asked for once each. */
  const plain = Array.from({ length: 1000 }, (_, index) => `p${index + 1}.plain.test`)

  const ini = (more: string) => `[mta_sts]\nenabled=false\n[dns]\ntimeout=2\ndeadline=6\n${more}`
  const take = <D>(domains: D[]): D => {
    const domain = domains.shift()
    assert.ok(domain !== undefined, 'one more domain')
    return domain
  }
  const said = (one: Haraka, words: string, from = 0) =>
    one
      .log()
      .slice(from)
      .filter((line) => line.includes(words)).length
  const first = (row: string, index = 0): string => {
    const words = wordsOf(row)[index]
    assert.ok(words !== undefined, row)
    return words
  }
  const waits = (outcome: Outcome, reason: RegExp) => {
    assert.equal(outcome.kind, 'deferred', JSON.stringify(outcome))
    assert.match(outcome.kind === 'deferred' ? outcome.reason : '', reason)
  }
  /** Each worker has said it since, within a minute. */
  const noticed = async (one: Haraka, words: string, from: number, workers = 1) => {
    await one.waitForLine(words, new RegExp(words), { from, timeout: A_MINUTE })
    while (said(one, words, from) < workers) {
      await one.waitForLine(words, new RegExp(words), { from: one.log().length, timeout: A_MINUTE })
    }
  }
  /** Those that wait, if any, were looked up before the file was looked at again. */
  const delivers = async () => {
    let outcome = await haraka.deliver(`u@${take(plain)}`)
    while (outcome.kind !== 'delivered') outcome = await haraka.deliver(`u@${take(plain)}`)
  }
  const state = async () => {
    const text = await (await fetch(`http://${METRICS}/tls-policy/metrics`)).text()
    return /resolver_state\{[^}]*state="(\w+)"[^}]*\} 1$/m.exec(text)?.[1]
  }
  const doctor = async () => (await runCommand(haraka.folder, 'doctor')).stdout

  before(async () => {
    lab = await Lab.start()
    // Their hosts show a certificate that their TLSA records do not name.
    for (let n = 1; n <= 7; n++) {
      const certificate = makeCertificate({ subject: 'x', san: [`mx1.pinned${n}.test`] })
      const tlsa = [`_25._tcp.mx1 TLSA 3 1 1 ${'00'.repeat(32)}`]
      pinned.push(await makeDomain(lab, `pinned${n}.test`, { hosts: [{ certificate, tlsa }] }))
    }
    const address = nextAddress()
    await lab.receiver({ address, certificate: lab.certificate('mx.plain.test') })
    const names = plain.map((name) => `${name}. MX 10 mx`)
    await lab.zone('plain.test', { security: 'unsigned', records: [`mx A ${address}`, ...names] })
    const start = (port: number, settings: string, more: { nodes?: number; http?: string } = {}) =>
      lab.haraka({
        plugins: ['tls-policy'],
        port,
        ...(more.nodes === undefined ? {} : { nodes: more.nodes }),
        config: {
          'tls-policy.ini': ini(settings),
          ...(more.http === undefined ? {} : { 'http.ini': `listen=${more.http}\n` }),
        },
      })
    haraka = await start(2525, '', { http: METRICS })
    wary = await start(2526, '[dane]\nblind_resolver=defer\n')
    idle = await start(2527, '', { nodes: 2 })
    for (const one of [haraka, wary]) await noticed(one, 'DNSSEC is validated', 0)
    await noticed(idle, 'DNSSEC is validated', 0, 2)
  })
  after(() => lab.stop())

  const known = () => pinned[0]?.recipient ?? ''
  it(fault('The resolver stops validating'), async () => {
    const domain = take(pinned)
    pinned.push(domain)
    waits(await haraka.deliver(domain.recipient), /dane-no-match/)
    const from = haraka.log().length
    const [fromWary, fromIdle] = [wary.log().length, idle.log().length]
    await lab.resolver.restart({ validates: false })
    const words = first('The resolver stops validating')
    const cold = take(pinned)
    const outcome = await haraka.deliver(cold.recipient)
    assert.equal(outcome.kind, 'delivered', JSON.stringify(outcome))
    const lines = haraka.log().slice(from)
    const told = lines.findIndex((line) => line.includes(words))
    const delivery = lines.findIndex((line) => line.includes(`domain=${cold.name} `))
    assert.ok(told >= 0 && told < delivery, `told (${told}) before the delivery (${delivery})`)
    assert.equal(said(haraka, words, from), 1)
    assert.equal(await state(), 'blind')
    assert.match(await doctor(), /^problem +resolver +DNSSEC is not validated/m)
    waits(await haraka.deliver(domain.recipient), /dane-no-match/)
    assertNothingLeaked(...domain.hosts)
    const other = take(pinned)
    pinned.push(cold)
    waits(await wary.deliver(other.recipient), /resolver-blind/)
    pinned.push(other)
    assertNothingLeaked(...other.hosts)
    await noticed(wary, words, fromWary)
    await noticed(idle, words, fromIdle, 2)
    assert.equal(said(idle, words, fromIdle), 2)
  })

  it(fault('The resolver validates again'), async () => {
    const from = haraka.log().length
    const fromIdle = idle.log().length
    await lab.resolver.restart({ validates: true })
    const words = first('The resolver validates again')
    await noticed(haraka, words, from)
    await noticed(idle, words, fromIdle, 2)
    assert.equal(await state(), 'validating')
    for (const { recipient } of pinned) waits(await haraka.deliver(recipient), /dane-no-match/)
  })

  it(fault('The resolver stops'), async () => {
    const from = haraka.log().length
    await lab.resolver.stop()
    const words = first('The resolver stops')
    for (let n = 0; n < 5; n++) waits(await haraka.deliver(`u@${take(plain)}`), /mx-lookup-failed/)
    await haraka.waitForLine('the burst to be noticed', new RegExp(words), { from })
    assert.equal(await state(), 'unreachable')
    assert.match(await doctor(), /^problem +resolver +no resolver answers/m)
  })

  it(fault('The resolver is started again'), async () => {
    const from = haraka.log().length
    await lab.resolver.restart({ validates: true })
    assert.equal((await haraka.deliver(`u@${take(plain)}`)).kind, 'delivered')
    await noticed(haraka, first('The resolver is started again'), from)
  })

  it(fault('/etc/resolv.conf names another resolver'), async () => {
    const from = haraka.log().length
    const other = await lab.validator({ address: OTHER, validates: false })
    await lab.resolver.stop()
    await lab.resolvConf(`nameserver ${OTHER}\n`)
    await delivers()
    await noticed(haraka, 'DNSSEC is NOT validated', from)
    await lab.resolver.start()
    const back = haraka.log().length
    await lab.resolvConf('nameserver 127.0.0.1\n')
    await other.stop()
    await delivers()
    await noticed(haraka, 'DNSSEC is validated', back)
    waits(await haraka.deliver(known()), /dane-no-match/)
  })

  it(fault('/etc/resolv.conf is empty at start'), async () => {
    const other = await lab.validator({ address: '127.0.0.10' })
    await lab.resolver.stop()
    await lab.resolvConf('# later\n')
    await haraka.restart()
    waits(await haraka.deliver(`u@${take(plain)}`), /mx-lookup-failed/)
    await lab.resolvConf('nameserver 127.0.0.10\n')
    const from = haraka.log().length
    await delivers()
    await noticed(haraka, 'DNSSEC is validated', from)
    waits(await haraka.deliver(known()), /dane-no-match/)
    await lab.resolver.start()
    await lab.resolvConf('nameserver 127.0.0.1\n')
    await other.stop()
  })

  describe('an odd one', () => {
    /** Mail flows through it, however Haraka has come to ask it. */
    async function through(row: string, oddity: Oddity): Promise<void> {
      const odd = await OddResolver.start(ODD, oddity)
      await lab.resolvConf(`nameserver ${ODD}\n`)
      try {
        await haraka.restart()
        await haraka.waitForLine('the state', new RegExp(first(row)))
        assert.equal((await haraka.deliver(`u@${take(plain)}`)).kind, 'delivered')
        assert.equal(said(haraka, 'so mail waits'), 0)
      } finally {
        await lab.resolvConf('nameserver 127.0.0.1\n')
        await odd.stop()
      }
    }

    it(fault('The resolver takes no EDNS'), async () => {
      const row = 'The resolver takes no EDNS'
      for (const answer of [1, 4, 2, 'silence'] as const) {
        await through(row, ({ takesEdns }) => (takesEdns ? answer : 'pass'))
      }
      await through(row, () => 'junk')
    })

    it(fault('The resolver refuses the root'), async () => {
      const row = 'The resolver refuses the root'
      await through(row, ({ name }) => (name === '' || name === '.' ? 5 : 'pass'))
    })

    it('when it is gone, the command says what the delivery does', async () => {
      await delivers()
      await noticed(haraka, 'DNSSEC is validated', 0)
      const only = [take(pinned).name, take(plain)]
      assert.equal(await assertCheckSaysTheSame(haraka, { only }), 2)
    })
  })
})
