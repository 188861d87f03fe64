/** The lab itself, with plain Haraka: what later tests rest on is shown here to be so. */
import assert from 'node:assert/strict'
import { createConnection } from 'node:net'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { get } from 'node:https'
import { text } from 'node:stream/consumers'
import { createClient } from 'redis'
import {
  addresses,
  type Haraka,
  harakaVersions,
  Lab,
  policyText,
  type Receiver,
  tlsaLine,
} from '../support/lab'

const MX = '192.0.2.10'
const mxRecords = ['@ MX 10 mx', `mx A ${MX}`]

describe('the lab', function () {
  this.timeout(240_000)
  let lab: Lab

  before(async () => {
    lab = await Lab.start()
  })

  after(async () => {
    await lab.stop()
  })

  describe('DNS', () => {
    before(async () => {
      const certificate = lab.certificate('mx.mixed.test')
      await lab.zones({
        'good.test': { security: 'signed', records: mxRecords },
        'plain.test': { security: 'unsigned', records: mxRecords },
        'bogus.test': { security: 'bogus', records: mxRecords },
        'mixed.test': {
          security: 'signed',
          records: [...mxRecords, tlsaLine('mx', certificate[0])],
          brokenSignatures: ['_25._tcp.mx TLSA'],
        },
        'silent.test': { security: 'unsigned', server: 'silent' },
        'refuses.test': { security: 'unsigned', server: 'refuses' },
      })
    })

    it('says AD for a signed zone, for answers and for denials', async () => {
      const answer = await lab.ask('good.test', 'MX')
      assert.deepEqual(
        [answer.rcode, answer.authentic, answer.answers.length],
        ['NOERROR', true, 1],
      )
      const denial = await lab.ask('_25._tcp.mx.good.test', 'TLSA')
      assert.deepEqual([denial.rcode, denial.authentic], ['NXDOMAIN', true])
    })

    it('says no AD for an unsigned zone', async () => {
      const answer = await lab.ask('plain.test', 'MX')
      assert.deepEqual(
        [answer.rcode, answer.authentic, answer.answers.length],
        ['NOERROR', false, 1],
      )
    })

    it('fails for a bogus zone', async () => {
      assert.equal((await lab.ask('bogus.test', 'MX')).rcode, 'SERVFAIL')
    })

    it('fails for one broken signature, and not beside it', async () => {
      assert.equal((await lab.ask('mixed.test', 'MX')).authentic, true)
      assert.equal((await lab.ask('_25._tcp.mx.mixed.test', 'TLSA')).rcode, 'SERVFAIL')
    })

    it('fails fast where the name server refuses, and says nothing where it is silent', async () => {
      assert.equal((await lab.ask('refuses.test', 'MX')).rcode, 'SERVFAIL')
      await assert.rejects(lab.ask('silent.test', 'MX', lab.resolver.address, 500), {
        name: 'AbortError',
      })
    })

    it('says no AD from a resolver that does not validate', async () => {
      const blind = await lab.validator({ address: '127.0.0.2', validates: false })
      const answer = await lab.ask('good.test', 'MX', blind.address)
      assert.deepEqual([answer.rcode, answer.authentic], ['NOERROR', false])
    })

    it('serves a changed zone at once, and shows what was asked', async () => {
      await lab.zone('changing.test', { security: 'signed', records: ['@ TXT "one"'] })
      const before = await lab.ask('changing.test', 'TXT')
      await lab.zone('changing.test', { security: 'unsigned', records: ['@ TXT "two"'] })
      const after = await lab.ask('changing.test', 'TXT')
      const data = [before, after].map(({ answers }) => JSON.stringify(answers))
      assert.match(data[0] ?? '', /111,110,101/)
      assert.match(data[1] ?? '', /116,119,111/)
      assert.deepEqual([before.authentic, after.authentic], [true, false])
      const asked = lab.resolver.queries.filter(({ name }) => name === 'changing.test')
      assert.deepEqual(
        asked.map(({ type }) => type),
        ['TXT', 'TXT'],
      )
    })

    it('has a resolver that can stop and come back', async () => {
      await lab.resolver.stop()
      await assert.rejects(lab.ask('good.test', 'MX'))
      await lab.resolver.start()
      assert.equal((await lab.ask('good.test', 'MX')).authentic, true)
    })
  })

  it('serves policies by SNI, over HTTPS', async () => {
    const host = 'mta-sts.good.test'
    const body = policyText('enforce', ['mx.good.test'])
    const policies = await lab.policyHost({
      address: '192.0.2.80',
      hosts: { [host]: { answer: body, certificate: lab.certificate(host) } },
    })
    const request = get({
      host: '192.0.2.80',
      servername: host,
      path: '/.well-known/mta-sts.txt',
      headers: { host },
      ca: lab.ca.pem,
      agent: false,
    })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    assert.equal(response.statusCode, 200)
    assert.equal(await text(response), body)
    assert.deepEqual(policies.requests.entries, [{ host, path: '/.well-known/mta-sts.txt' }])
  })

  it('has a Redis', async () => {
    const redis = await lab.redis()
    const client = createClient({ url: redis.url })
    client.on('error', () => undefined)
    await client.connect()
    assert.equal(await client.ping(), 'PONG')
    client.destroy()
  })

  it('swallows connections to a silent address', async () => {
    const socket = createConnection({ host: addresses.silent.mailServer, port: 25 })
    socket.setTimeout(500)
    await once(socket, 'timeout')
    assert.equal(socket.connecting, true)
    socket.destroy()
  })
})

for (const version of harakaVersions) {
  describe(`the lab with plain Haraka ${version}`, function () {
    this.timeout(240_000)
    let lab: Lab
    let haraka: Haraka
    let receiver: Receiver

    before(async () => {
      lab = await Lab.start()
      await lab.zones({
        'good.test': { security: 'signed', records: mxRecords },
        'postfix.test': { security: 'signed', records: ['@ MX 10 mx', 'mx A 192.0.2.11'] },
        'sender.test': { security: 'signed', records: ['@ MX 10 mx', 'mx A 192.0.2.12'] },
      })
      receiver = await lab.receiver({ address: MX, certificate: lab.certificate('mx.good.test') })
      haraka = await lab.haraka({ version })
    })

    after(async () => {
      await lab.stop()
    })

    it('delivers over opportunistic STARTTLS', async () => {
      const outcome = await haraka.deliver('u@good.test', { body: '.dots\n..stay' })
      assert.ok(outcome.kind === 'delivered', JSON.stringify(outcome))
      assert.deepEqual([outcome.host, outcome.ip, outcome.tls], ['mx.good.test', MX, true])
      const message = await receiver.nextMessage()
      assert.deepEqual(
        [message.from, message.to, message.tls],
        ['sender@sender.test', ['u@good.test'], true],
      )
      assert.match(message.text, /\r\n\r\n\.dots\r\n\.\.stay\r\n/)
      assert.equal(message.session.tls?.servername, 'mx.good.test')
      assert.doesNotMatch(message.session.cleartext, /MAIL FROM/i)
      assert.match(message.session.secured, /MAIL FROM/i)
    })

    it('delivers to Postfix over STARTTLS', async () => {
      const postfix = await lab.postfix({
        address: '192.0.2.11',
        name: 'mx.postfix.test',
        domains: ['postfix.test'],
        certificate: lab.certificate('mx.postfix.test'),
      })
      const outcome = await haraka.deliver('u@postfix.test')
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
      assert.match(await postfix.nextMessage(), /using TLSv1\.3/)
    })

    it('tells a deferral, keeps the message over a restart, and tries again on demand', async () => {
      receiver.fault = 'mail-450'
      const first = await haraka.deliver('later@good.test')
      assert.ok(first.kind === 'deferred', JSON.stringify(first))
      assert.match(first.reason, /450/)
      assert.equal((await haraka.queue()).length, 1)
      haraka.retry()
      assert.equal((await haraka.outcome('later@good.test')).kind, 'deferred')
      receiver.fault = 'none'
      await haraka.restart({ overdue: true })
      assert.equal((await haraka.outcome('later@good.test')).kind, 'delivered')
      assert.deepEqual((await receiver.nextMessage()).to, ['later@good.test'])
    })

    it('tells a bounce, and its notification can be read', async () => {
      const sender = await lab.receiver({ address: '192.0.2.12' })
      receiver.fault = 'rcpt-550'
      const outcome = await haraka.deliver('nobody@good.test')
      receiver.fault = 'none'
      assert.ok(outcome.kind === 'bounced', JSON.stringify(outcome))
      assert.equal(outcome.dsn.status, '5.1.1')
      const notification = await sender.nextMessage()
      assert.equal(notification.from, '')
      assert.match(notification.text, /nobody@good\.test/)
    })

    it('delivers over IPv6', async () => {
      const address = '2001:db8::10'
      const records = ['@ MX 10 mx', `mx AAAA ${address}`]
      await lab.zone('six.test', { security: 'signed', records })
      await lab.receiver({ address })
      const outcome = await haraka.deliver('u@six.test')
      assert.ok(outcome.kind === 'delivered', JSON.stringify(outcome))
      assert.deepEqual([outcome.ip, outcome.tls], [address, false])
    })

    it('keeps a deferred message over a crash', async () => {
      receiver.fault = 'mail-450'
      assert.equal((await haraka.deliver('crash@good.test')).kind, 'deferred')
      receiver.fault = 'none'
      await haraka.restart({ signal: 'SIGKILL', overdue: true })
      assert.equal((await haraka.outcome('crash@good.test')).kind, 'delivered')
    })

    it('runs as a cluster', async () => {
      const cluster = await lab.haraka({ version, nodes: 2, port: 2526 })
      assert.equal((await cluster.deliver('cluster@good.test')).kind, 'delivered')
      assert.deepEqual(await cluster.stop(), { code: 0, signal: null })
    })

    it('ends with code 0 when asked to', async () => {
      assert.deepEqual(await haraka.stop(), { code: 0, signal: null })
    })
  })
}
