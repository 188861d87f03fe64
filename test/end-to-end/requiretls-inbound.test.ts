/** REQUIRETLS as clients meet it: offered where it can be kept, taken or refused, never a success that is forgotten. */
import assert from 'node:assert/strict'
import {
  type Haraka,
  type HarakaSettings,
  harakaVersions,
  Lab,
  type MailClient,
  type Redis,
} from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { startTlsHaraka, TAGGED } from '../support/lab/tagged'
import { makeDomain, nextAddress } from '../support/lab/world'

const OFFERS = ['8BITMIME', 'REQUIRETLS']
/** What the lab's plugin makes of clients. */
const clients = (settings: object) => ({ 'lab.json': JSON.stringify(settings) })

describe('end to end: REQUIRETLS from clients', function () {
  this.timeout(180_000)
  let lab: Lab
  let redis: Redis
  const started: Haraka[] = []

  before(async () => {
    lab = await Lab.start()
    redis = await lab.redis()
  })
  after(() => lab.stop())
  afterEach(() => Promise.all(started.splice(0).map((haraka) => haraka.stop())))

  async function start(settings: HarakaSettings = {}): Promise<Haraka> {
    const haraka = await startTlsHaraka(lab, settings)
    started.push(haraka)
    return haraka
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

  /** What is said to a tagged message, step by step, up to a refusal. */
  const submitTagged = (haraka: Haraka, recipient: string) =>
    haraka
      .send({ from: 'a@sender.test', to: [recipient], ...TAGGED })
      .catch((refusal: unknown) => String(refusal))

  for (const version of harakaVersions) {
    it(`RQ-01 RQ-05 RQ-17 RQ-18 Haraka ${version}: offered inside TLS; what is odd is refused, and the session goes on`, async () => {
      const domain = await makeDomain(lab, `offer-${version}.test`, {
        hosts: [{ securedExtensions: OFFERS }],
      })
      const haraka = await start({ version })
      await withClient(haraka, async (client) => {
        assert.doesNotMatch(client.ehlo, /REQUIRETLS/i)
        for (const parameters of ['REQUIRETLS', 'requiretls', 'SIZE=400 REQUIRETLS']) {
          const reply = await client.say(`MAIL FROM:<a@sender.test> ${parameters}`)
          assert.match(reply, /^530 5\.7\.10 /, parameters)
        }
        await client.startTls()
        assert.match(client.ehlo, /^250[- ]REQUIRETLS$/m)
        assert.match(await client.say('MAIL FROM:<a@sender.test> REQUIRETLS=x'), /^501 5\.5\.4 /)
        assert.match(await client.say('MAIL FROM:<a@sender.test> REQUIRETLS='), /^501[ -]/)
        const long = `${'x'.repeat(64)}@${'y'.repeat(60)}.sender.test`
        const all = 'SIZE=12345678 BODY=8BITMIME REQUIRETLS'
        assert.match(await client.say(`MAIL FROM:<${long}> ${all}`), /^250/)
        await client.say('RSET')
        await client.send({ from: 'a@sender.test', to: [domain.recipient] })
        const tagged = { from: 'a@sender.test', parameters: 'SIZE=400 requiretls' }
        await client.send({ ...tagged, to: [domain.recipient] })
      })
      for (let left = 2; left > 0; left--) {
        assert.equal((await haraka.outcome(domain.recipient)).kind, 'delivered')
      }
      const arrived = domain.hosts[0]?.messages.entries.map(({ parameters }) => parameters)
      assert.deepEqual(arrived?.sort(), ['', 'REQUIRETLS'])
      await assertCheckSaysTheSame(haraka, { asked: 'requiretls' })
    })

    it(`RQ-01 Haraka ${version}: karma makes a success of the refusal, and the message is refused before it is queued`, async () => {
      const haraka = await start({
        version,
        plugins: ['redis', 'karma'],
        config: {
          'redis.ini': `[server]\nhost=${redis.address}\nport=${redis.port}\n`,
          'karma.ini': '[tarpit]\ndelay=0\n',
          ...clients({ public: true }),
        },
      })
      await withClient(haraka, async (client) => {
        assert.match(await client.say('MAIL FROM:<a@sender.test> REQUIRETLS'), /^250/)
        await client.say('RCPT TO:<u@offer-3.3.4.test>')
        await client.say('DATA')
        const reply = await client.say('Subject: x\r\n\r\nx\r\n.')
        assert.match(reply, /^550 5\.7\.30 /)
      })
      assert.deepEqual(await haraka.queue(), [])
    })

    it(`RQ-01 RQ-22 Haraka ${version}: a plugin that takes outgoing mail: not offered, and told`, async () => {
      const address = nextAddress()
      const smarthost = await lab.receiver({ address, certificate: lab.certificate('any.test') })
      const haraka = await start({
        version,
        plugins: ['queue/smtp_forward'],
        config: { 'smtp_forward.ini': `host=${address}\nport=25\nenable_outbound=true\n` },
      })
      await haraka.waitForLine('why', /REQUIRETLS is not offered to clients: the plugin queue/)
      await withClient(haraka, async (client) => {
        await client.startTls()
        assert.doesNotMatch(client.ehlo, /REQUIRETLS/i)
      })
      assert.match(await submitTagged(haraka, 'u@offer-3.3.4.test'), /MAIL: 555 5\.5\.4 /)
      assert.deepEqual(smarthost.messages.entries, [])
    })

    it(`RQ-01 Haraka ${version}: strangers are offered nothing, and another plugin's OK does not hide the tag`, async () => {
      const haraka = await start({
        version,
        plugins: ['queue/test'],
        config: clients({ stranger: true, takesSenders: true, takesRecipients: true }),
      })
      assert.match(await submitTagged(haraka, 'u@local.test'), /MAIL: 555 5\.5\.4 /)
      await haraka.configure('tls-policy.ini', '[requiretls]\noffer=all\n')
      await haraka.restart()
      assert.match(await submitTagged(haraka, 'u@local.test'), /^250 /)
    })
  }

  it('RQ-01 mode=observe, enable_tls=false and offer=no: not offered', async () => {
    for (const config of [
      { 'tls-policy.ini': '[main]\nmode=observe\n' },
      { 'outbound.ini': 'enable_tls=false\n' },
      { 'tls-policy.ini': '[requiretls]\noffer=no\n' },
    ]) {
      const haraka = await start({ config })
      assert.match(await submitTagged(haraka, 'u@x.test'), /MAIL: 555 5\.5\.4 /)
      await haraka.stop()
    }
  })
})
