import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import { composeReport, type ReportMail } from '../../../plugins/tlsrpt/mail'
import { fileName, reportId, subject } from '../../../plugins/tlsrpt/names'
import { mailauthsOpinion, makeDkimKey, pythonsOpinion } from '../../support/second-opinion'

const testKey = makeDkimKey()
const key = { domain: 'sender.test', selector: 's1', privateKey: testKey.privateKey }
const KEY_NAME = 's1._domainkey.sender.test'
const DAY = 20_784

function mail(changes: Partial<ReportMail> & { readonly naming?: string } = {}): ReportMail {
  const naming = {
    day: DAY,
    domain: changes.domain ?? 'rcpt.test',
    cluster: 'abcdefgh',
    submitter: 'sender.test',
  }
  return {
    from: 'tlsrpt@sender.test',
    to: 'reports@rcpt.test',
    domain: naming.domain,
    submitter: naming.submitter,
    reportId: reportId(naming),
    subject: subject(naming),
    fileName: fileName(naming),
    date: new Date(1_795_824_000_000),
    text: 'This is an aggregate report.\r\n.\r\nA dot at the start of a line.\r\n',
    gzipped: gzipSync(JSON.stringify({ 'organization-name': 'x' })),
    ...changes,
  }
}

async function composed(report: ReportMail): Promise<string> {
  const result = await composeReport(report, key)
  assert.ok(result.ok, JSON.stringify(result))
  return result.message
}

const LONG = `${Array.from({ length: 4 }, () => 'a'.repeat(60)).join('.')}.test`

describe('a report as a message', function () {
  this.timeout(20_000)

  for (const [what, report] of [
    ['an ordinary domain', mail()],
    ['the longest domain', mail({ domain: LONG })],
    ['a quoted local part with a comma', mail({ to: '"a,b"@rcpt.test' })],
    [
      'a large report',
      mail({
        gzipped: gzipSync(
          JSON.stringify(Array.from({ length: 20_000 }, (_none, n) => `${n * 7919}`)),
        ),
      }),
    ],
  ] as const) {
    it(`TD-06 TD-07 TD-08 TD-09 TD-10 TD-11 TD-13 TD-15 ${what}: two verifiers of other hands find it whole and signed once`, async () => {
      const message = await composed(report)
      const signatures = await mailauthsOpinion(message, testKey.record)
      assert.equal(signatures.length, 1)
      assert.equal(signatures[0]?.result, 'pass', signatures[0]?.comment)
      assert.equal(signatures[0].domain, 'sender.test')
      for (const name of ['from', 'to', 'subject', 'tls-report-domain', 'tls-report-submitter', 'tls-required'])
        assert.ok(signatures[0].signed.includes(name), name)
      assert.doesNotMatch(/^DKIM-Signature:(?:.*\r\n[ \t])*.*/i.exec(message)?.[0] ?? '', /[;\s]l=/)

      const seen = await pythonsOpinion(message, KEY_NAME, testKey.record)
      assert.equal(seen.dkim, true)
      assert.equal(seen.dkimForReports, true)
      assert.deepEqual(seen.defects, [])
      assert.equal(seen.type, 'multipart/report')
      assert.equal(seen.reportType, 'tlsrpt')
      assert.deepEqual(seen.parts, ['text/plain', 'application/tlsrpt+gzip'])
      assert.equal(seen.disposition, 'attachment')
      assert.equal(seen.fileName, report.fileName)
      assert.equal(seen.name, report.fileName)
      assert.equal(seen.headers['TLS-Report-Domain']?.trim(), report.domain)
      assert.equal(seen.headers['TLS-Report-Submitter'], 'sender.test')
      assert.equal(seen.headers['TLS-Required'], 'No')
      assert.equal(seen.headers['Auto-Submitted'], 'auto-generated')
      assert.equal(seen.headers['Subject'], report.subject)
      assert.equal(seen.headers['Message-ID'], `<${report.reportId}>`)
      assert.equal(seen.headers['To'], report.to)
    }) // prettier-ignore
  }

  it('TD-24 the same report gives the same octets', async () => {
    assert.equal(await composed(mail()), await composed(mail()))
    assert.notEqual(await composed(mail()), await composed(mail({ to: 'other@rcpt.test' })))
  })
  it('TD-06 header names stand as the RFC writes them, no line is too long, and all is ASCII', async () => {
    const message = await composed(mail({ domain: LONG }))
    assert.match(message, /^TLS-Report-Domain:/m)
    assert.match(message, /^TLS-Report-Submitter:/m)
    for (const line of message.split('\r\n')) assert.ok(line.length <= 998, line)
    assert.doesNotMatch(message, /[^\t\r\n\x20-\x7e]|\r(?!\n)|(?<!\r)\n/)
  })

  const hostile: readonly (readonly [string, Partial<ReportMail>])[] = [
    ['an address with another header in it', { to: 'a@x.test\r\nBcc: v@y.test' }],
    ['an address that is not ASCII', { to: 'a@münchen.test' }],
    ['a file name with a quote', { fileName: 'a".json.gz' }],
    ['an empty domain', { domain: '' }],
  ]
  for (const [what, changes] of hostile) {
    it(`TD-10 ${what}: no message`, async () => {
      assert.equal((await composeReport({ ...mail(), ...changes }, key)).ok, false)
    })
  }
  it('TD-10 with a key that does not sign there is no message, signed or unsigned', async () => {
    const result = await composeReport(mail(), { ...key, privateKey: 'nonsense' })
    assert.deepEqual(result, { ok: false, detail: 'the report could not be signed' })
  })
})
