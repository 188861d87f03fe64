import assert from 'node:assert/strict'
import fc from 'fast-check'
import {
  dayOf,
  fileName,
  isoDay,
  readDay,
  reportId,
  startOfDay,
  subject,
  submitterOf,
} from '../../../plugins/tlsrpt/names'

const naming = {
  day: 20_784,
  domain: 'rcpt.test',
  cluster: 'abcdefgh',
  submitter: 'sender.test',
}

describe('the names of a report', () => {
  it('TJ-05 the id has the shape of a Message-ID, with day, domain, cluster and submitter', () => {
    assert.equal(reportId(naming), '2026-11-27.rcpt.test.abcdefgh@sender.test')
  })

  it('TJ-05 no two days, domains or clusters share an id, and a retry keeps it', () => {
    const label = fc.stringMatching(/^[a-z0-9_-]{1,10}$/)
    const one = fc.record({
      day: fc.nat(40_000),
      domain: fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.')),
      cluster: fc.stringMatching(/^[a-z]{8}$/),
      submitter: fc.constant('sender.test'),
    })
    fc.assert(
      fc.property(one, one, (a, b) => {
        assert.equal(reportId(a), reportId({ ...a }))
        const isSame = a.day === b.day && a.domain === b.domain && a.cluster === b.cluster
        assert.equal(reportId(a) === reportId(b), isSame)
      }),
    )
  })

  it('TD-05 the file is named by submitter, domain, first and last second of the day, and cluster', () => {
    assert.equal(fileName(naming), 'sender.test!rcpt.test!1795737600!1795823999!abcdefgh.json.gz')
    assert.match(fileName(naming, 'json'), /!abcdefgh\.json$/)
  })

  it('TD-09 the subject', () => {
    assert.equal(
      subject(naming),
      'Report Domain: rcpt.test Submitter: sender.test Report-ID: <2026-11-27.rcpt.test.abcdefgh@sender.test>',
    )
  })

  it('TD-08 the submitter is the domain of the contact', () => {
    assert.equal(submitterOf('"a@b"@Sender.Test'), 'sender.test')
  })

  it('TD-01 a day is one of UTC, whatever the zone', () => {
    assert.equal(dayOf(Date.parse('2026-11-27T23:59:59.999Z')), 20_784)
    assert.equal(dayOf(Date.parse('2026-11-28T00:00:00Z')), 20_785)
    assert.equal(isoDay(20_784), '2026-11-27')
    assert.equal(startOfDay(20_784), Date.parse('2026-11-27T00:00:00Z'))
    assert.equal(readDay('2026-11-27'), 20_784)
    for (const text of ['2026-11-31', '2026-1-1', '27.11.2026', '', '2026-11-27T00:00:00Z']) {
      assert.equal(readDay(text), undefined, text)
    }
  })
})
