/** One report to several destinations: which are used, in which order, and when it counts as delivered. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { gunzipSync } from 'node:zlib'
import { isWanted } from '../../../plugins/reports'
import {
  deliverReport,
  type DeliverTools,
  type OutgoingMail,
} from '../../../plugins/tlsrpt/deliver'
import type { Posted } from '../../../plugins/tlsrpt/post'
import type { Destination } from '../../../plugins/tlsrpt/record'
import { makeReport, reportJson } from '../../../plugins/tlsrpt/report'
import type { DomainDay, Report } from '../../../plugins/tlsrpt/types'

const counted: DomainDay = {
  domain: 'rcpt.test',
  day: 20_784,
  names: [],
  policies: [
    {
      policy: { 'policy-type': 'no-policy-found', 'policy-domain': 'rcpt.test' },
      summary: { 'total-successful-session-count': 3, 'total-failure-session-count': 0 },
      'failure-details': [],
    },
  ],
}
const mail = (address: string): Destination => ({ kind: 'mailto', address })
const https = (url: string): Destination => ({ kind: 'https', url })
const { privateKey } = generateKeyPairSync('rsa', {
  modulusLength: 1024,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
})

interface World {
  readonly posted?: (url: string) => Posted
  readonly queued?: (to: string) => boolean
  readonly leftAlone?: readonly string[]
  readonly storeAway?: boolean
  readonly noKey?: boolean
  readonly settings?: Partial<DeliverTools['settings']>
}

async function deliver(destinations: readonly Destination[], world: World = {}, of = counted) {
  const tried: string[] = []
  const counts: string[] = []
  const mails: OutgoingMail[] = []
  const outcome = await deliverReport(
    { counted: of, cluster: 'abcdefgh', firstTried: Date.UTC(2026, 10, 28, 1) },
    destinations,
    {
      settings: {
        from: 'reports@sender.test',
        organization: 'Sender',
        https: true,
        bcc: undefined,
        never: [],
        ...world.settings,
      },
      key: () =>
        world.noKey
          ? { ok: false, detail: 'there is no DKIM key' }
          : { ok: true, key: { domain: 'sender.test', selector: 's1', privateKey } },
      send: (message) => {
        tried.push(message.to)
        mails.push(message)
        const ok = world.queued?.(message.to) ?? true
        return Promise.resolve(ok ? { ok } : { ok, detail: 'the queue is full' })
      },
      post: (url) => {
        tried.push(url)
        return Promise.resolve(world.posted?.(url) ?? { kind: 'taken', verified: true })
      },
      isLeftAlone: (address) =>
        Promise.resolve(
          world.storeAway
            ? { ok: false, detail: 'Redis is away' }
            : { ok: true, value: world.leftAlone?.includes(address) ?? false },
        ),
      count: (by, result) => counts.push(`${by} ${result}`),
    },
  )
  return { outcome, tried, counts, mails }
}

const BUSY: Posted = { kind: 'failed', detail: 'HTTP status 503' }
const GONE: Posted = { kind: 'refused', detail: 'HTTP status 404' }

describe('a report to its destinations', () => {
  it('TD-22 is delivered as soon as one has taken it, whatever became of the others', async () => {
    const destinations = [https('https://busy.test/'), mail('r@rcpt.test')]
    const { outcome, tried, counts } = await deliver(destinations, { posted: () => BUSY })
    assert.deepEqual(outcome, { kind: 'taken' })
    // Mail first: by the signature its receiver knows from whom it is.
    assert.deepEqual(tried, ['r@rcpt.test', 'https://busy.test/'])
    assert.deepEqual(counts, ['mail sent', 'https failed'])
  })

  const ends: readonly (readonly [string, readonly Destination[], World, string])[] = [
    ['TD-22 not delivered while none has taken it, and one may yet', [https('https://a.test/'), https('https://b.test/')], { posted: (url) => (url.includes('a.test') ? BUSY : GONE) }, 'failed'],
    ['given up where none ever will', [https('https://a.test/')], { posted: () => GONE }, 'refused'],
    ['given up where there is nobody to send it to', [], {}, 'refused'],
    ['given up at an address at which reports came back', [mail('r@rcpt.test')], { leftAlone: ['r@rcpt.test'] }, 'refused'],
    ['not mailed while the store cannot say whether they came back', [mail('r@rcpt.test')], { storeAway: true }, 'failed'],
    ['TD-10 not mailed without a key', [mail('r@rcpt.test')], { noKey: true }, 'failed'],
    ['not delivered by a queue that does not take it', [mail('r@rcpt.test')], { queued: () => false }, 'failed'],
    ['not sent where the operator never wants it: an address', [mail('R@rcpt.test')], { settings: { never: ['r@rcpt.test'] } }, 'refused'],
    ['not sent where the operator never wants it: a domain', [mail('r@rcpt.test'), https('https://RCPT.test/x')], { settings: { never: ['rcpt.test'] } }, 'refused'],
    ['not posted where the operator wants none posted', [https('https://a.test/')], { settings: { https: false } }, 'refused'],
  ] // prettier-ignore
  for (const [title, destinations, world, kind] of ends) {
    it(title, async () => {
      const { outcome, mails } = await deliver(destinations, world)
      assert.equal(outcome.kind, kind)
      if (world.queued === undefined) assert.deepEqual(mails, [])
      assert.ok('detail' in outcome && outcome.detail !== '')
    })
  }

  it('a copy of the operator’s own that fails is no reason to send it again', async () => {
    const settings = { bcc: 'copy@sender.test' }
    const { outcome, tried } = await deliver([mail('r@rcpt.test')], {
      settings,
      queued: (to) => to === 'r@rcpt.test',
    })
    assert.deepEqual([outcome.kind, ...tried], ['taken', 'r@rcpt.test', 'copy@sender.test'])
  })

  it('TD-23 TD-05 TD-09 subject, file name, header and contents speak of the same report', async () => {
    const { mails } = await deliver([mail('r@rcpt.test')])
    const message = mails[0]?.message ?? ''
    const unfolded = message.replace(/\r\n[ \t]+/g, ' ')
    const id = '2026-11-27.rcpt.test.abcdefgh@sender.test'
    assert.match(
      unfolded,
      new RegExp(`Subject: Report Domain: rcpt.test Submitter: sender.test Report-ID: <${id}>`),
    )
    assert.match(unfolded, new RegExp(`Message-ID: <${id}>`, 'i'))
    assert.match(unfolded, /TLS-Report-Domain: rcpt\.test\r\n/)
    assert.match(unfolded, /TLS-Report-Submitter: sender\.test\r\n/)
    assert.match(unfolded, /filename="sender\.test!rcpt\.test!1795737600!1795823999!abcdefgh\.json\.gz"/)
    const [, base64 = ''] = /application\/tlsrpt\+gzip[^]*?\r\n\r\n([A-Za-z0-9+/=\r\n]+)/.exec(message) ?? []
    const json = gunzipSync(Buffer.from(base64, 'base64')).toString()
    const source = { counted, organization: 'Sender', contact: 'reports@sender.test', cluster: 'abcdefgh' }
    assert.equal(json, reportJson(makeReport(source)))
    const report = JSON.parse(json) as Report
    assert.equal(report['report-id'], id)
    assert.equal(report['contact-info'], 'reports@sender.test')
  }) // prettier-ignore

  it('RL-09 a domain in letters of its own is named by A-labels everywhere', async () => {
    const idn = { ...counted, domain: 'xn--bcher-kva.test' }
    const { mails } = await deliver([mail('r@rcpt.test')], {}, idn)
    const unfolded = (mails[0]?.message ?? '').replace(/\r\n[ \t]+/g, ' ')
    assert.match(unfolded, /TLS-Report-Domain: xn--bcher-kva\.test\r\n/)
    assert.match(unfolded, /Subject: Report Domain: xn--bcher-kva\.test /)
    assert.match(unfolded, /filename="sender\.test!xn--bcher-kva\.test!/)
  })

  it('TD-24 each try has the same octets', async () => {
    const [one, two] = await Promise.all([
      deliver([mail('r@rcpt.test')]),
      deliver([mail('r@rcpt.test')]),
    ])
    assert.equal(one.mails[0]?.message, two.mails[0]?.message)
  })
})

describe('which days are reported', () => {
  const settings = { never: [], onlyFailures: false } as unknown as Parameters<typeof isWanted>[1]

  it('TD-03 those on which all went well, too, unless the operator wants failures only', () => {
    assert.equal(isWanted(counted, settings), true)
    assert.equal(isWanted(counted, { ...settings, onlyFailures: true }), false)
  })

  it('none of a domain that the operator never wants to report to', () => {
    assert.equal(isWanted(counted, { ...settings, never: ['rcpt.test'] }), false)
  })
})
