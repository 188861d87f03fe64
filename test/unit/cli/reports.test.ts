import assert from 'node:assert/strict'
import { reportsShow, reportsToday, reportsTodayText } from '../../../plugins/cli/reports'
import { partOf } from '../../../plugins/store/tally'
import type { DomainDay, Report, Tallies } from '../../../plugins/tlsrpt/types'
import { readTlsrpt } from '../../../plugins/tlsrpt/settings'
import type { TlsrptSettings } from '../../../plugins/tlsrpt/settings'

const DAY = 20_784
const NOW = (DAY + 0.5) * 86_400_000

const counted = (domain: string, day = DAY): DomainDay => ({
  domain,
  day,
  names: [],
  policies: [
    {
      policy: { 'policy-type': 'no-policy-found', 'policy-domain': domain },
      summary: { 'total-successful-session-count': 5, 'total-failure-session-count': 1 },
      'failure-details': [
        {
          'result-type': 'starttls-not-supported',
          'receiving-mx-hostname': `mx1.${domain}`,
          'receiving-ip': '192.0.2.1',
          'failure-reason-code': 'smtp-454',
          'failed-session-count': 1,
        },
      ],
    },
  ],
})

const all = [counted('b.test'), counted('a.test'), counted('old.test', DAY - 1)]

const tallies: Tallies = {
  close: () => Promise.resolve({ ok: true, value: undefined }),
  readPart: (day, part) =>
    Promise.resolve({
      ok: true,
      value: all.filter((one) => one.day === day && partOf(one.domain) === part),
    }),
  readDomain: (day, domain) =>
    Promise.resolve({
      ok: true,
      value: all.find((one) => one.day === day && one.domain === domain),
    }),
  drop: () => Promise.resolve({ ok: true, value: undefined }),
  cluster: () => Promise.resolve({ ok: true, value: 'abcdefgh' }),
}
const away = () => Promise.resolve({ ok: false, detail: 'Redis is away' } as const)
const unread: Tallies = { close: away, readPart: away, readDomain: away, drop: away, cluster: away }

function settings(ini: Readonly<Record<string, string>>): TlsrptSettings {
  return readTlsrpt({
    text: (key) => ini[key],
    freeText: (key) => ini[key],
    boolean: (key, otherwise) => (ini[key] === undefined ? otherwise : ini[key] === 'true'),
    wholeNumber: (_key, _least, _most, otherwise) => otherwise,
    list: () => [],
    wrong: (key) => assert.fail(key),
  })
}
const on = settings({ from: 'tls-reports@sender.test' })
const off = settings({})

describe('reports today', () => {
  it('TR-16 tells all domains of the day, in order', async () => {
    const report = await reportsToday(tallies, on, NOW, undefined)
    assert.deepEqual(
      report.domains.map(({ domain }) => domain),
      ['a.test', 'b.test'],
    )
    assert.deepEqual(
      [report.day, report.counting, report.problem, report.exitCode],
      ['2026-11-27', true, null, 0],
    )
    assert.deepEqual(reportsTodayText(report).slice(0, 3), [
      'a.test',
      '  no-policy-found a.test: 5 successful, 1 failed',
      '                  1 starttls-not-supported (smtp-454) mx1.a.test [192.0.2.1]',
    ])
  })

  it('tells one, however it is written', async () => {
    const report = await reportsToday(tallies, on, NOW, 'B.Test.')
    assert.deepEqual(
      report.domains.map(({ domain }) => domain),
      ['b.test'],
    )
  })

  it('says that nothing is counted, or was', async () => {
    const report = await reportsToday(tallies, off, NOW, 'none.test')
    assert.equal(report.counting, false)
    assert.deepEqual(reportsTodayText(report), [
      'Nothing is counted: [tlsrpt] in tls-policy.ini has no from=.',
      'Nothing was counted on 2026-11-27.',
    ])
  })

  it('says that the store cannot be read', async () => {
    for (const domain of [undefined, 'a.test']) {
      const report = await reportsToday(unread, on, NOW, domain)
      assert.equal(report.exitCode, 1)
      assert.deepEqual(reportsTodayText(report), [
        'Problem: the counts cannot be read: Redis is away',
      ])
    }
  })
})

describe('reports show', () => {
  it('TJ-02 TJ-04 is the report and nothing else, of the running day or of another', async () => {
    const today = await reportsShow(tallies, on, NOW, 'A.test', undefined)
    assert.ok(today.ok)
    const report = JSON.parse(today.json) as Report
    assert.equal(report['report-id'], '2026-11-27.a.test.abcdefgh@sender.test')
    assert.equal(report['organization-name'], 'sender.test')
    assert.equal(report['contact-info'], 'tls-reports@sender.test')
    const named = settings({ from: 'r@sender.test', organization: 'Sender' })
    const before = await reportsShow(tallies, named, NOW, 'old.test', '2026-11-26')
    assert.ok(before.ok)
    const { 'organization-name': name } = JSON.parse(before.json) as Report
    assert.equal(name, 'Sender')
  })

  it('says why there is none', async () => {
    const why = async (from: Tallies, by: TlsrptSettings, domain: string) => {
      const shown = await reportsShow(from, by, NOW, domain, undefined)
      return shown.ok ? 'shown' : shown.problem
    }
    assert.match(await why(tallies, off, 'a.test'), /no from=/)
    assert.match(
      await why(tallies, on, 'old.test'),
      /nothing was counted of old\.test on 2026-11-27/,
    )
    assert.match(await why(unread, on, 'a.test'), /cannot be read: Redis is away/)
  })
})
