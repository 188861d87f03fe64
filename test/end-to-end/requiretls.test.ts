/** REQUIRETLS kept from the client to the receiver (RFC 8689): at each host that may have the message, on each way past the plan. */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { type Haraka, harakaVersions, Lab, type Outcome } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { startTlsHaraka, TAGGED } from '../support/lab/tagged'
import { assertNothingLeaked, type Domain, makeDomain } from '../support/lab/world'

const OFFERS = ['8BITMIME', 'SMTPUTF8', 'REQUIRETLS']

/** Parameters of the MAIL commands that arrived, all hosts together. */
const parametersAt = ({ hosts }: Domain) =>
  hosts.flatMap(({ messages }) => messages.entries.map(({ parameters }) => parameters))

const mailsAt = ({ hosts }: Domain) =>
  hosts.flatMap(({ sessions }) =>
    sessions.entries.flatMap(({ cleartext, secured }) =>
      [...(cleartext + secured).matchAll(/^MAIL FROM:.*$/gim)].map(([line]) => line.trim()),
    ),
  )

for (const version of harakaVersions) {
  describe(`end to end: REQUIRETLS with Haraka ${version}`, function () {
    this.timeout(180_000)
    let lab: Lab
    let haraka: Haraka

    before(async () => {
      lab = await Lab.start()
      haraka = await startTlsHaraka(lab, { version })
    })
    after(() => lab.stop())

    const sendTagged = (recipient: string) => haraka.deliver(recipient, TAGGED)

    const bounced = (outcome: Outcome, status: string, reason: string) => {
      assert.equal(outcome.kind, 'bounced', JSON.stringify(outcome))
      assert.equal(outcome.dsn.status, status)
      assert.match(outcome.reason, new RegExp(`\\[${reason}\\]`))
    }

    it('RQ-01 RQ-04 RQ-17 RQ-20 DANE verifies and the host offers it: the parameter is on MAIL, and not on untagged mail', async () => {
      const domain = await makeDomain(lab, 'dane.test', {
        hosts: [
          {
            tlsa: [[3, 1, 1]],
            // DANE-EE: names do not count.
            certificate: lab.certificate('odd.name.test'),
            extensions: ['8BITMIME'],
            securedExtensions: OFFERS,
          },
        ],
      })
      const outcome = await sendTagged(domain.recipient)
      assert.equal(outcome.kind, 'delivered')
      const untagged = await haraka.deliver(domain.recipient)
      assert.equal(untagged.kind, 'delivered')
      assert.deepEqual(parametersAt(domain), ['REQUIRETLS', ''])
      assertNothingLeaked(...domain.hosts)
      // No session more, and no EHLO more, than for any other message.
      assert.deepEqual(
        domain.hosts[0]?.sessions.entries.map(({ greetings }) => greetings.length),
        [2, 2],
      )
      const line = haraka.log().find((text) => text.includes('requiretls=yes'))
      assert.match(line ?? '', /policy=dane .*verdict=verified reason=dane-ee-matched/)
    })

    it('RQ-03 RQ-11 signed MX without TLSA that can be used: a certificate that is trusted will do, and no other', async () => {
      const good = await makeDomain(lab, 'webpki.test', {
        hosts: [{ tlsa: [[1, 1, 1]], securedExtensions: OFFERS }],
      })
      assert.equal((await sendTagged(good.recipient)).kind, 'delivered')
      assert.deepEqual(parametersAt(good), ['REQUIRETLS'])
      const name = 'self-signed.test'
      const own = makeCertificate({ subject: 'own', san: [`mx1.${name}`] })
      const bad = await makeDomain(lab, name, {
        hosts: [{ certificate: own, securedExtensions: OFFERS }],
      })
      bounced(await sendTagged(bad.recipient), '5.7.10', 'pkix-untrusted')
      assert.deepEqual(mailsAt(bad), [])
      assert.equal((await haraka.deliver(bad.recipient)).kind, 'delivered')
    })

    it('RQ-02 unsigned MX and no policy that names it: refused at RCPT, and not even connected to', async () => {
      const domain = await makeDomain(lab, 'unsigned.test', {
        security: 'unsigned',
        hosts: [{ securedExtensions: OFFERS }],
      })
      await assert.rejects(
        haraka.send({ from: 'a@sender.test', to: [domain.recipient], ...TAGGED }),
        /RCPT: 550 5\.7\.10 requiretls-mx-not-validated/,
      )
      assert.deepEqual(domain.hosts[0]?.sessions.entries, [])
    })

    it('RQ-05 RQ-06 RQ-07 RQ-08 what is offered before TLS counts for nothing; the next MX, and none left: it comes back at once', async () => {
      const lacking = { extensions: OFFERS, securedExtensions: ['8BITMIME'] }
      const second = await makeDomain(lab, 'second.test', {
        hosts: [lacking, { securedExtensions: ['requiretls'] }],
      })
      assert.equal((await sendTagged(second.recipient)).kind, 'delivered')
      assert.deepEqual(mailsAt(second), ['MAIL FROM:<sender@sender.test> REQUIRETLS'])
      const [first] = second.hosts
      assert.match(first?.sessions.entries[0]?.secured ?? '', /^EHLO \S+\r\nQUIT\r\n$/)

      const none = await makeDomain(lab, 'lacking.test', { hosts: [lacking, lacking] })
      const outcome = await sendTagged(none.recipient)
      bounced(outcome, '5.7.30', 'requiretls-not-offered')
      assert.match(outcome.kind === 'bounced' ? outcome.reason : '', /^You asked that your message/)
      assert.deepEqual(mailsAt(none), [])
      const cleartext = await makeDomain(lab, 'cleartext.test', {
        hosts: [{ fault: 'no-starttls' }],
      })
      bounced(await sendTagged(cleartext.recipient), '5.7.10', 'starttls-not-offered')
      assertNothingLeaked(...none.hosts, ...cleartext.hosts)
    })

    it('RQ-09 what may be over in an hour lets the message wait', async () => {
      const lacking = { securedExtensions: ['8BITMIME'] }
      for (const fault of ['drop-on-connect', 'starttls-454', 'greeting-421'] as const) {
        const domain = await makeDomain(lab, `${fault}.test`, { hosts: [{ fault }, lacking] })
        const outcome = await sendTagged(domain.recipient)
        assert.equal(outcome.kind, 'deferred', fault)
        assert.deepEqual(mailsAt(domain), [])
      }
    })

    it('RQ-19 two domains of which one can and one cannot: one delivered, one back', async () => {
      const good = await makeDomain(lab, 'can.test', { hosts: [{ securedExtensions: OFFERS }] })
      const bad = await makeDomain(lab, 'cannot.test', {
        hosts: [{ securedExtensions: ['8BITMIME'] }],
      })
      await haraka.send({
        from: 'sender@sender.test',
        to: [good.recipient, bad.recipient],
        ...TAGGED,
      })
      assert.equal((await haraka.outcome(good.recipient)).kind, 'delivered')
      bounced(await haraka.outcome(bad.recipient), '5.7.30', 'requiretls-not-offered')
      assert.deepEqual([parametersAt(good), mailsAt(bad)], [['REQUIRETLS'], []])
    })

    it('RQ-13 NO-10 the demand beats a header that says No', async () => {
      const name = 'both.test'
      const own = makeCertificate({ subject: 'own', san: [`mx1.${name}`] })
      const domain = await makeDomain(lab, name, { hosts: [{ certificate: own }] })
      const outcome = await haraka.deliver(domain.recipient, {
        ...TAGGED,
        headers: ['TLS-Required: No'],
      })
      bounced(outcome, '5.7.10', 'pkix-untrusted')
      assert.deepEqual(mailsAt(domain), [])
    })

    it('RQ-19 SIGKILL in mid-way: the tag is in the queue', async () => {
      const domain = await makeDomain(lab, 'killed.test', {
        hosts: [{ fault: 'greeting-421', securedExtensions: OFFERS }],
      })
      assert.equal((await sendTagged(domain.recipient)).kind, 'deferred')
      const [host] = domain.hosts
      assert.ok(host)
      host.fault = 'none'
      await haraka.restart({ signal: 'SIGKILL', overdue: true })
      assert.equal((await haraka.outcome(domain.recipient)).kind, 'delivered')
      assert.deepEqual(mailsAt(domain), ['MAIL FROM:<sender@sender.test> REQUIRETLS'])
    })

    it('check says the same, of tagged mail and of any other', async () => {
      await assertCheckSaysTheSame(haraka, { asked: 'requiretls' })
      await assertCheckSaysTheSame(haraka)
    })
  })
}
