/** Mail that waits: workers that die, notifications, and the end of the queue's patience. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { makeCertificate } from '../support/certificates'
import { type Haraka, Lab, type Outcome, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertNothingLeaked, type Domain, makeDomain } from '../support/lab/world'

const DANE_EE = [3, 1, 1] as const
/** What an operator copies who wants people to understand notifications; without it they have no text for humans. */
const BOUNCE_MESSAGE = 'node_modules/Haraka/config/outbound.bounce_message'

/** A domain whose host has another key than the published one. */
function makeMismatch(lab: Lab, name: string): Promise<Domain> {
  const published = makeCertificate({ subject: 'another key' })
  return makeDomain(lab, name, { hosts: [{ tlsa: [tlsaLine('mx1', published, DANE_EE)] }] })
}

describe('end to end: two workers', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  let good: Domain
  let bad: Domain

  before(async () => {
    lab = await Lab.start()
    good = await makeDomain(lab, 'good.test', { hosts: [{ tlsa: [DANE_EE] }] })
    bad = await makeMismatch(lab, 'bad.test')
    haraka = await lab.haraka({ nodes: 2, plugins: ['tls-policy'] })
  })
  after(() => lab.stop())

  /** The worker that took and delivers a message stands in the name of its queue file. */
  const workerOf = ({ file }: Outcome) => Number(file.split('_')[3])

  /** Mail to each domain in turns, until the right workers were seen to keep to the policies. */
  async function enforcingWorkers(wanted: (seen: ReadonlySet<number>) => boolean) {
    const seen = new Set<number>()
    for (let turn = 0; !wanted(seen); turn += 1) {
      assert.ok(turn < 40, `only ${[...seen].join(', ')} had mail`)
      const refused = await haraka.deliver(bad.recipient)
      assert.ok(refused.kind === 'deferred' && refused.dsn.status === '4.7.5')
      seen.add(workerOf(refused))
      const delivered = await haraka.deliver(good.recipient)
      assert.ok(delivered.kind === 'delivered' && delivered.tls)
      seen.add(workerOf(delivered))
    }
    assertNothingLeaked(...good.hosts, ...bad.hosts)
    return seen
  }

  it('AUTH-02 both enforce; and so does the one that comes when one is killed', async () => {
    const first = await enforcingWorkers((seen) => seen.size === 2)
    const [victim = 0, survivor = 0] = first
    const readyBefore = haraka.log().filter((line) => line.includes('"ready"')).length
    process.kill(victim, 'SIGKILL')
    await haraka.workersReady(readyBefore + 1)
    const then = await enforcingWorkers((seen) => [...seen].some((pid) => !first.has(pid)))
    assert.ok(!then.has(victim) && [...then].every((pid) => pid === survivor || !first.has(pid)))
  })

  it('the command says what each of these deliveries does', async () => {
    assert.equal(await assertCheckSaysTheSame(haraka), 2)
  })
})

describe('end to end: notifications', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    haraka = await lab.haraka({
      plugins: ['tls-policy'],
      config: {
        'outbound.ini': 'temp_fail_intervals=5s',
        'outbound.bounce_message': await readFile(resolve(BOUNCE_MESSAGE), 'utf8'),
      },
    })
  })
  after(() => lab.stop())

  it('SA-28 a notification (null sender) to a domain with a bad TLSA record waits as other mail does', async () => {
    const domain = await makeMismatch(lab, 'null-sender.test')
    const outcome = await haraka.deliver(domain.recipient, { from: '' })
    assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.5')
    assertNothingLeaked(...domain.hosts)
  })

  it('DNS-38 MAND-07 the queue ends: bounced with 5.7.5, and the sender reads which host, what was expected, what was presented', async () => {
    const author = await makeDomain(lab, 'author.test', { hosts: [{ tlsa: [DANE_EE] }] })
    const published = makeCertificate({ subject: 'another key' })
    const presented = makeCertificate({ subject: 'mx1.ends.test', san: ['mx1.ends.test'] })
    const domain = await makeDomain(lab, 'ends.test', {
      hosts: [{ certificate: presented, tlsa: [tlsaLine('mx1', published, DANE_EE)] }],
    })
    const first = await haraka.deliver(domain.recipient, { from: author.recipient })
    assert.ok(first.kind === 'deferred' && first.dsn.status === '4.7.5')
    const last = await haraka.outcome(domain.recipient)
    assert.ok(last.kind === 'bounced', JSON.stringify(last))
    assert.equal(last.dsn.status, '5.7.5')
    assert.equal(domain.hosts[0]?.sessions.entries.length, 2)
    assertNothingLeaked(...domain.hosts)

    const { from, text } = (await author.hosts[0]?.nextMessage()) ?? { from: 'nobody', text: '' }
    assert.equal(from, '')
    const spki = (certificate: typeof presented) =>
      createHash('sha256')
        .update(certificate.certificate.publicKey.export({ format: 'der', type: 'spki' }))
        .digest('hex')
    const [human = '', machine = ''] = text.split(/^Content-type: message\/delivery-status/im)
    for (const part of [human, machine]) {
      assert.match(part, /mx1\.ends\.test/)
      assert.ok(part.includes(spki(published).slice(0, 16)), `no expected digest in\n${part}`)
      assert.ok(part.includes(spki(presented).slice(0, 16)), `no presented digest in\n${part}`)
    }
    assert.match(human, /RFC 7672/)
    // The author reads first what he can understand.
    const [plain] = human.slice(human.indexOf('Failure Reason')).split('dane-no-match')
    assert.match(plain ?? '', /Mail to ends\.test must be protected on its way/)
    assert.match(
      plain ?? '',
      /This is not your mistake\. Please reach the recipient in another way/,
    )
    assert.match(machine, /^Action: failed\r$/m)
    assert.match(machine, /^Status: 5\.7\.5 /m)
    assert.match(machine, /^Remote-MTA: dns; ?mx1\.ends\.test\r$/m)
    // What is not ASCII, or longer than a line may be, some reader will not show (RFC 5322 section 2.1.1).
    for (const line of text.split('\r\n')) assert.match(line, /^[\t\x20-\x7e]{0,998}$/)
  })

  it('the command says what each of these deliveries does, the notification’s own included', async () => {
    assert.equal(await assertCheckSaysTheSame(haraka), 3)
  })
})
