import assert from 'node:assert/strict'
import { readConfig } from '../../../plugins/config'
import type { HostEnd } from '../../../plugins/delivery/host-end'
import { createReporting } from '../../../plugins/reporting'
import { memoryStore } from '../../../plugins/store/memory'
import { NO_METRICS } from '../../../plugins/telemetry/metrics'
import { dayOf } from '../../../plugins/tlsrpt/names'
import { talliesIn } from '../../../plugins/tlsrpt/tallies'
import { facts, host } from '../../support/facts'
import { hostEnd, session } from '../../support/session-ends'

const MAIL = { todo: { notes: {} } }

function setUp(ini: Readonly<Record<string, string>> = { from: 'r@sender.test' }) {
  const store = memoryStore({ now: Date.now })
  const told: string[] = []
  const read = readConfig({ main: {}, tlsrpt: ini }, () => undefined)
  assert.ok(read.ok)
  const silent = () => undefined
  const reporting = createReporting({
    config: () => read.config,
    store: () => Promise.resolve(store),
    metrics: {
      ...NO_METRICS,
      reportSession: (policy, result) => told.push(`${policy} ${result}`),
      reportFailure: (type) => told.push(type),
    },
    log: { info: silent, notice: silent, warn: silent, error: silent },
  })
  /** Sessions and details of a domain, by policy. */
  const counts = async (domain = 'rcpt.test') => {
    await reporting.retire()
    const found = await talliesIn(store).readDomain(dayOf(Date.now()), domain)
    assert.ok(found.ok)
    return (found.value?.policies ?? []).map(({ policy, summary, 'failure-details': details }) =>
      [
        policy['policy-type'],
        summary['total-successful-session-count'],
        summary['total-failure-session-count'],
        ...details.map((detail) => `${detail['result-type']} ${detail['failed-session-count']}`),
      ].join(' '),
    )
  }
  return { reporting, counts, told }
}

describe('counting the ends of hosts', () => {
  it('TT-24 TT-31 each session counts, in the report and in the metrics', async () => {
    const { reporting, counts, told } = setUp()
    reporting.ended(MAIL, hostEnd())
    reporting.ended({}, hostEnd({ verdict: 'cleartext', session: session({ stage: 'ehlo' }) }))
    assert.deepEqual(await counts(), ['no-policy-found 1 1 starttls-not-supported 1'])
    assert.deepEqual(told, [
      'no-policy-found success',
      'no-policy-found failure',
      'starttls-not-supported',
    ])
  })

  it('TR-11 what DANE says of hosts elsewhere counts for the next-hop domain, and no other hears of it', async () => {
    const { reporting, counts } = setUp()
    const facts = { ...hostEnd().facts, nextHop: 'rcpt.test' } as NonNullable<HostEnd['facts']>
    const end = { facts, host: 'mx.elsewhere.test', domain: 'rcpt.test' }
    reporting.ended(MAIL, hostEnd(end))
    assert.deepEqual(await counts('mx.elsewhere.test'), [])
    assert.deepEqual(await counts('elsewhere.test'), [])
    assert.deepEqual(await counts('rcpt.test'), ['no-policy-found 1 0'])
  })

  it('TD-16 TD-17 a report of ours is not counted', async () => {
    const { reporting, counts, told } = setUp()
    const marked = { todo: { notes: { 'tls-policy': { report: true } } } }
    reporting.ended(marked, hostEnd())
    assert.deepEqual([await counts(), told], [[], []])
    // Only that very mark is one.
    for (const notes of [
      undefined,
      null,
      { 'tls-policy': 'report' },
      { 'tls-policy': { report: 1 } },
    ]) {
      reporting.ended({ todo: { notes } }, hostEnd())
    }
    assert.deepEqual(await counts(), ['no-policy-found 4 0'])
  })

  it('TT-27 TT-28 trouble with a policy counts once for a plan, however many hosts it has', async () => {
    const { reporting, counts } = setUp()
    const problem = { reason: 'sts-policy-fetch-error', detail: 'HTTP status 500' } as const
    const plan = () =>
      facts({
        hosts: [host(), host({ host: 'mx2.rcpt.test' })],
        sts: { kind: 'none', problem },
      })
    for (const one of [plan(), plan()]) {
      reporting.ended(MAIL, hostEnd({ facts: one }))
      reporting.ended(MAIL, hostEnd({ facts: one, host: 'mx2.rcpt.test' }))
    }
    assert.deepEqual(await counts(), ['sts 0 2 sts-policy-fetch-error 2', 'no-policy-found 4 0'])
  })

  it('nothing is counted where reports are off', async () => {
    for (const ini of [{}, { from: 'r@sender.test', enabled: 'false' }]) {
      const { reporting, counts, told } = setUp(ini)
      reporting.ended(MAIL, hostEnd())
      assert.deepEqual([await counts(), told], [[], []])
    }
  })

  it('mail that is routed to an address is in nobody’s report', async () => {
    const { reporting, told } = setUp()
    const to = (nextHop: string): HostEnd => hostEnd({ facts: facts({ nextHop }) })
    for (const nextHop of ['192.0.2.1', '2001:db8::1', '', 'a b', 'x'.repeat(300)]) {
      reporting.ended(MAIL, to(nextHop))
    }
    assert.deepEqual(told, [])
    await reporting.retire()
  })
})
