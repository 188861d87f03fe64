/** A zone as large as Unbound takes it (RRsets of 2,000 records it calls bogus), under as many names as somebody cares to send to: nobody else pays for it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Lab, type Haraka } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertNothingLeaked, makeDomain } from '../support/lab/world'

const HOSTS = 20
const TLSA = 850
const MX = 1500
const TXT = 1500
/** Recipients of one message. */
const TOGETHER = 10
/**
 * Subdomains after which it is measured, first when all code has run and V8 has taken what a turn needs. Kept whole, each would take
 * 5 MiB for good; garbage that has not been collected yet may come to some tens of MiB.
 */
const [FIRST, LAST, MOST_MIB] = [20, 80, 90] as const

describe('end to end: a hostile zone', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka

  before(async () => {
    lab = await Lab.start()
    await lab.zone('evil.test', { security: 'signed', records: evilRecords() })
    haraka = await lab.haraka({ plugins: ['tls-policy'] })
  })
  after(() => lab.stop())

  it('XC-13 what it takes of memory does not grow with its names', async () => {
    await sendTo(0, FIRST)
    const before = memoryMiB()
    await sendTo(FIRST, LAST)
    const grown = memoryMiB() - before
    assert.ok(grown < MOST_MIB, `${grown.toFixed(0)} MiB for ${LAST - FIRST} subdomains`)
  })

  it('XC-13 mail to another domain is delivered as ever, verified', async () => {
    const domain = await makeDomain(lab, 'bystander.test', { hosts: [{ tlsa: [[3, 1, 1]] }] })
    const outcome = await haraka.deliver(domain.recipient)
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    assertNothingLeaked(...domain.hosts)
    assert.equal(await assertCheckSaysTheSame(haraka, { only: ['bystander.test'] }), 1)
  })

  async function sendTo(from: number, to: number): Promise<void> {
    for (let n = from; n < to; n += TOGETHER) {
      const recipients = Array.from({ length: TOGETHER }, (_, k) => `u@d${n + k}.evil.test`)
      await haraka.send({ from: 'sender@sender.test', to: recipients })
      for (const recipient of recipients) {
        const outcome = await haraka.outcome(recipient, { timeout: 60_000 })
        assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
        assert.match(outcome.reason, /tlsa-lookup-failed/)
      }
    }
  }

  /** What the process has for itself alone. */
  function memoryMiB(): number {
    const status = readFileSync(`/proc/${haraka.pid ?? 'self'}/status`, 'utf8')
    return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024
  }
})

function evilRecords(): readonly string[] {
  const records: string[] = []
  for (let host = 0; host < MX; host++) {
    records.push(`* MX ${host < HOSTS ? 10 : 20} ${host.toString(36)}`)
    if (host >= HOSTS) continue
    // Nobody listens there: it would not come to a connection.
    records.push(`${host.toString(36)} A 192.0.2.20`)
    for (let n = 0; n < TLSA; n++) {
      records.push(`_25._tcp.${host.toString(36)} TLSA 3 1 1 ${n.toString(16).padStart(64, '0')}`)
    }
  }
  for (let n = 0; n < TXT; n++) records.push(`* TXT "${n.toString(36)}"`)
  return records
}
