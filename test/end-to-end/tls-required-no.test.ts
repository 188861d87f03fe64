/** `TLS-Required: No` (RFC 8689 §3, §4.2.2): policies are tried, judged and told of, and stop nothing. */
import assert from 'node:assert/strict'
import { makeCertificate } from '../support/certificates'
import { type Fault, type Haraka, harakaVersions, Lab } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { startTlsHaraka } from '../support/lab/tagged'
import { assertNothingLeaked, type Domain, makeDomain } from '../support/lab/world'

const NO = { headers: ['TLS-Required: No'] }

const saidOf = (haraka: Haraka, { name }: Domain) =>
  haraka.log().filter((line) => line.includes(`tls-policy: domain=${name} `))

for (const version of harakaVersions) {
  describe(`end to end: TLS-Required: No with Haraka ${version}`, function () {
    this.timeout(240_000)
    let lab: Lab
    let haraka: Haraka
    const other = makeCertificate({ subject: 'another key' })

    before(async () => {
      lab = await Lab.start()
      haraka = await startTlsHaraka(lab, { version })
    })
    after(() => lab.stop())

    it('NO-04 NO-11 NO-15 a TLSA record that does not match: delivered over TLS at that very host, and told', async () => {
      const domain = await makeDomain(lab, 'mismatch.test', {
        hosts: [{ tlsa: [[3, 1, 1]], certificate: other }, {}],
      })
      const [host, second] = domain.hosts
      assert.ok(host && second)
      host.certificate = lab.certificate('mx1.mismatch.test')
      const outcome = await haraka.deliver(domain.recipient, NO)
      assert.equal(outcome.kind, 'delivered')
      const message = await host.nextMessage()
      assert.ok(message.tls)
      assert.match(message.text, /^TLS-Required: No\r\n/m)
      assert.deepEqual(second.sessions.entries, [])
      assert.equal(host.sessions.entries.length, 1)
      const said = saidOf(haraka, domain).at(-1) ?? ''
      assert.match(said, /policy=dane .*verdict=encrypted reason=tls-required-no /)
      assert.match(said, /detail="not insisted on: dane-no-match: /)
      // Where it is met, it counts as ever.
      host.certificate = other
      await haraka.deliver(domain.recipient, NO)
      assert.match(saidOf(haraka, domain).at(-1) ?? '', /verdict=verified reason=dane-ee-matched/)
    })

    it('NO-05 a TLSA lookup that fails', async () => {
      const domain = await makeDomain(lab, 'servfail.test', {
        hosts: [{ tlsa: [[3, 1, 1]] }],
        brokenSignatures: ['_25._tcp.mx1 TLSA'],
      })
      assert.equal((await haraka.deliver(domain.recipient)).kind, 'deferred')
      assert.equal((await haraka.deliver(domain.recipient, NO)).kind, 'delivered')
      assert.ok((await domain.hosts[0]?.nextMessage())?.tls)
      assert.match(saidOf(haraka, domain).at(-1) ?? '', /not insisted on: tlsa-lookup-failed: /)
    })

    const broken: readonly Fault[] = [
      ...(['no-starttls', 'starttls-454', 'starttls-554', 'starttls-drop'] as const),
      ...(['garbage-handshake', 'tls11-only', 'inject-after-220'] as const),
    ]
    for (const fault of broken) {
      it(`NO-07 ${fault}: in cleartext, with a policy and without`, async () => {
        for (const tlsa of [[], [[3, 1, 1]]] as const) {
          const name = `${fault}-${tlsa.length}.test`
          const domain = await makeDomain(lab, name, { hosts: [{ fault, tlsa }] })
          assert.equal((await haraka.deliver(domain.recipient, NO)).kind, 'delivered', name)
          const [host] = domain.hosts
          assert.equal((await host?.nextMessage())?.tls, false)
          assert.equal(host?.sessions.entries.length, 2)
          await haraka.waitForLine(
            'the second round',
            new RegExp(
              `domain=${name} .*require=opportunistic verdict=cleartext reason=tls-required-no`,
            ),
          )
        }
      })
    }

    it('NO-08 NO-15 a second host with TLS goes before cleartext at the first', async () => {
      const domain = await makeDomain(lab, 'second.test', {
        hosts: [{ fault: 'no-starttls', tlsa: [[3, 1, 1]] }, { tlsa: [[3, 1, 1]] }],
      })
      assert.equal((await haraka.deliver(domain.recipient, NO)).kind, 'delivered')
      assertNothingLeaked(...domain.hosts)
      assert.equal(domain.hosts[1]?.messages.entries.length, 1)
    })

    it('NO-12 what is no matter of TLS is tried once, and waits', async () => {
      for (const fault of ['drop-on-connect', 'greeting-421'] as const) {
        const domain = await makeDomain(lab, `${fault}.test`, { hosts: [{ fault }] })
        assert.equal((await haraka.deliver(domain.recipient, NO)).kind, 'deferred')
        assert.equal(domain.hosts[0]?.sessions.entries.length, 1)
      }
    })

    it('NO-09 a server that insists on TLS and has none: back to the author with its words', async () => {
      const domain = await makeDomain(lab, 'insists.test', {
        hosts: [{ fault: 'mail-550', tlsa: [[3, 1, 1]] }],
      })
      const [host] = domain.hosts
      assert.ok(host)
      host.certificate = undefined
      const outcome = await haraka.deliver(domain.recipient, NO)
      assert.ok(outcome.kind === 'bounced')
      assert.match(outcome.dsn.diagnostic, /550 .*not from you/)
      assert.doesNotMatch(JSON.stringify(outcome.dsn), /Tried all MXs/)
    })

    it('NO-02 NO-03 other values, and No beside Yes: the policy holds', async () => {
      const domain = await makeDomain(lab, 'yes.test', {
        hosts: [{ fault: 'no-starttls', tlsa: [[3, 1, 1]] }],
      })
      for (const headers of [
        ['TLS-Required: Yes'],
        ['TLS-Required: No', 'TLS-Required: Yes'],
        ['X-TLS-Required: No'],
      ]) {
        assert.equal((await haraka.deliver(domain.recipient, { headers })).kind, 'deferred')
      }
      const body = 'TLS-Required: No'
      assert.equal((await haraka.deliver(domain.recipient, { body })).kind, 'deferred')
      assertNothingLeaked(...domain.hosts)
    })

    it('MAND-08 NO-01 rules of the operator’s stay; and so do all policies with honour=no', async () => {
      const strict = await startTlsHaraka(lab, {
        version,
        port: 2527,
        config: {
          'tls-policy.ini': '[tls_required]\nhonour=no\n',
        },
      })
      const floored = await startTlsHaraka(lab, {
        version,
        port: 2528,
        config: {
          'tls-policy.ini': '[destinations]\nfloor.test = encrypt\nfloor2.test = dane-only\n',
          'tls.ini':
            'key=own.key\ncert=own.pem\ndhparam=dhparams.pem\n' +
            '[outbound]\nforce_tls_hosts[]=forced.test\nforce_tls_hosts[]=mx1.forced-host.test\n',
        },
      })
      const hosts = [{ fault: 'no-starttls', tlsa: [[3, 1, 1]] }] as const
      const one = await makeDomain(lab, 'floor.test', { hosts })
      const two = await makeDomain(lab, 'floor2.test', { hosts })
      const three = await makeDomain(lab, 'strict.test', { hosts })
      const four = await makeDomain(lab, 'forced.test', { hosts: [{ fault: 'no-starttls' }] })
      const five = await makeDomain(lab, 'forced-host.test', {
        hosts: [{ tlsa: [[3, 1, 1]], certificate: other }],
      })
      const [host] = five.hosts
      assert.ok(host)
      host.certificate = lab.certificate('mx1.forced-host.test')
      assert.equal((await floored.deliver(one.recipient, NO)).kind, 'deferred')
      assert.equal((await floored.deliver(two.recipient, NO)).kind, 'deferred')
      assert.equal((await strict.deliver(three.recipient, NO)).kind, 'deferred')
      for (const { recipient } of [four, five])
        assert.equal((await floored.deliver(recipient, NO)).kind, 'deferred')
      assertNothingLeaked(...one.hosts, ...two.hosts, ...three.hosts, ...four.hosts, ...five.hosts)
      await Promise.all([strict.stop(), floored.stop()])
    })

    it('check says the same', async () => {
      const except = {
        'insists.test': 'refused inside the second round, of which the log tells at its end',
      }
      await assertCheckSaysTheSame(haraka, { asked: 'tls-required-no', except })
    })
  })
}
