/** REQUIRETLS as clients meet it: taken or refused, never a success that is forgotten. */
import assert from 'node:assert/strict'
import { type Haraka, type HarakaSettings, harakaVersions, Lab, MailClient } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { makeDomain } from '../support/lab/world'

describe('end to end: REQUIRETLS from clients', function () {
  this.timeout(120_000)
  let lab: Lab

  before(async () => {
    lab = await Lab.start()
  })
  after(() => lab.stop())

  /** With a certificate, so that clients can say STARTTLS. */
  async function start(settings: HarakaSettings = {}): Promise<Haraka> {
    const { plugins = [], config = {} } = settings
    const [leaf, ca] = lab.certificate('sender.test')
    return lab.haraka({
      ...settings,
      plugins: ['tls', ...plugins, 'tls-policy'],
      config: {
        'tls.ini': 'key=own.key\ncert=own.pem\n',
        'own.key': leaf.keyPem,
        'own.pem': leaf.pem + ca.pem,
        ...config,
      },
    })
  }

  async function withClient<T>(
    haraka: Haraka,
    work: (client: MailClient) => Promise<T>,
  ): Promise<T> {
    const client = await haraka.connect()
    try {
      return await work(client)
    } finally {
      client.cut()
    }
  }
  for (const version of harakaVersions) {
    it(`RQ-01 RQ-17 Haraka ${version}: a tag that is not offered is refused, and the session goes on`, async () => {
      const domain = await makeDomain(lab, `plain-${version}.test`, { hosts: [{}] })
      const haraka = await start({ version })
      await withClient(haraka, async (client) => {
        for (const secure of [false, true]) {
          if (secure) await client.startTls()
          assert.doesNotMatch(client.ehlo, /REQUIRETLS/i)
          const odd = ['REQUIRETLS', 'requiretls', 'SIZE=400 REQUIRETLS BODY=8BITMIME']
          for (const parameters of [...odd, 'REQUIRETLS=x REQUIRETLS']) {
            assert.match(
              await client.say(`MAIL FROM:<a@sender.test> ${parameters}`),
              /^555 5\.5\.4 /,
              parameters,
            )
          }
          assert.match(await client.say('MAIL FROM:<> REQUIRETLS'), /^555 5\.5\.4 /)
          assert.match(await client.say('MAIL FROM:<a@sender.test> REQUIRETLS=x'), /^501 5\.5\.4 /)
          assert.match(await client.say('MAIL FROM:<a@sender.test> REQUIRETLS='), /^501 /)
        }
        await client.send({ from: 'a@sender.test', to: [domain.recipient] })
      })
      const outcome = await haraka.outcome(domain.recipient)
      assert.equal(outcome.kind, 'delivered')
      const [message] = domain.hosts[0]?.messages.entries ?? []
      assert.doesNotMatch(message?.parameters ?? '', /REQUIRETLS/i)
      await assertCheckSaysTheSame(haraka)
      await haraka.stop()
    })
  }
})
