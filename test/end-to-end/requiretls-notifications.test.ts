/** Notifications of messages that ask something of their way (RFC 8689 §5): what is in them, and how they go. */
import assert from 'node:assert/strict'
import { type Haraka, harakaVersions, Lab, type ReceivedMessage } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { startTlsHaraka, TAGGED } from '../support/lab/tagged'
import { type Domain, type HostSettings, makeDomain } from '../support/lab/world'

const OFFERS = ['8BITMIME', 'REQUIRETLS']

for (const version of harakaVersions) {
  describe(`end to end: notifications with Haraka ${version}`, function () {
    this.timeout(180_000)
    let lab: Lab
    let haraka: Haraka
    let lacking: Domain

    before(async () => {
      lab = await Lab.start()
      const words = 'Subject: failed\n\n{extended_reason}\n'
      haraka = await startTlsHaraka(lab, { version, config: { 'outbound.bounce_message': words } })
      lacking = await makeDomain(lab, 'lacking.test', {
        hosts: [{ securedExtensions: ['8BITMIME'] }],
      })
    })
    after(() => lab.stop())

    /** An author whose message cannot be delivered. @returns the notification */
    async function authorOf(
      name: string,
      host: HostSettings,
      mail: Parameters<Haraka['deliver']>[1] = TAGGED,
      recipient = lacking.recipient,
    ): Promise<ReceivedMessage> {
      const author = await makeDomain(lab, name, { hosts: [host] })
      const outcome = await haraka.deliver(recipient, {
        from: author.recipient,
        body: 'the body is a secret',
        ...mail,
      })
      assert.equal(outcome.kind, 'bounced')
      const [mx] = author.hosts
      assert.ok(mx)
      return mx.nextMessage()
    }

    it('RQ-08 RQ-14 RQ-15 the author’s host offers it: tagged, verified, headers only, with its Status', async () => {
      const notification = await authorOf('offers.test', {
        tlsa: [[3, 1, 1]],
        securedExtensions: OFFERS,
      })
      assert.equal(notification.from, '')
      assert.equal(notification.parameters, 'REQUIRETLS')
      assert.ok(notification.tls)
      const { text } = notification
      assert.match(text, /^Status: 5\.7\.30 \(550 /m)
      assert.match(text, /^Content-Type: text\/rfc822-headers/m)
      assert.doesNotMatch(text, /the body is a secret/)
      assert.match(text, /You asked that your message go over protected connections only/)
      assert.match(text, /Please send it again without that request/)
    })

    it('RQ-16 it lacks the extension: verified, and without the parameter', async () => {
      const notification = await authorOf('plain.test', {
        tlsa: [[3, 1, 1]],
        securedExtensions: ['8BITMIME'],
      })
      assert.deepEqual([notification.parameters, notification.tls], ['', true])
      const lines = haraka.log().filter((line) => line.includes('domain=plain.test'))
      assert.match(lines.at(-1) ?? '', /verdict=verified reason=dane-ee-matched/)
    })

    it('RQ-16 it has no TLS at all: delivered all the same', async () => {
      const notification = await authorOf('bare.test', { fault: 'no-starttls' })
      assert.deepEqual([notification.parameters, notification.tls], ['', false])
    })

    it('NO-13 TLS-Required: No is copied, and heeded', async () => {
      const gone = await makeDomain(lab, 'refuses.test', { hosts: [{ fault: 'rcpt-550' }] })
      const host = { tlsa: [[3, 1, 1]], fault: 'no-starttls' } as const
      const mail = { headers: ['TLS-Required: no'] }
      const notification = await authorOf('copied.test', host, mail, gone.recipient)
      assert.match(notification.text, /^TLS-Required: No\r\n/m)
      assert.equal(notification.tls, false)
    })

    it('RQ-17 a message that asks for nothing has an ordinary one', async () => {
      const gone = await makeDomain(lab, 'refuses-too.test', { hosts: [{ fault: 'rcpt-550' }] })
      const host = { securedExtensions: OFFERS }
      const notification = await authorOf('ordinary.test', host, {}, gone.recipient)
      assert.deepEqual([notification.parameters, notification.tls], ['', true])
      assert.doesNotMatch(notification.text, /TLS-Required/)
      assert.match(notification.text, /^Status: 5\.1\.1/m)
    })

    it('check says the same', async () => {
      const only = ['offers.test', 'plain.test', 'bare.test', 'lacking.test']
      await assertCheckSaysTheSame(haraka, { only })
    })
  })
}
