/** doctor on TLSRPT reports: the MX record of their sender, and those that have waited for long. */
import assert from 'node:assert/strict'
import { reportFindings } from '../../../plugins/cli/doctor-reports'
import { readConfig } from '../../../plugins/config'
import type { Store } from '../../../plugins/store'
import { startOfDay } from '../../../plugins/tlsrpt/names'
import { NOTE_MS, reportNote, writeState } from '../../../plugins/tlsrpt/schedule'
import { talliesIn } from '../../../plugins/tlsrpt/tallies'
import { FIRST_DAY, HOUR, ReportsWorld } from '../../support/reports-world'
import {
  failed,
  mx,
  nodata,
  nxdomain,
  type Reply,
  scriptedResolver,
  secure,
} from '../../support/scripted-resolver'
import type { MxRecord } from '../../../plugins/dnssec-stub/types'

const FROM = 'tls@sender.test'

async function texts(
  world: ReportsWorld,
  changes: { reply?: Reply<MxRecord>; store?: Store; from?: string | undefined } = {},
): Promise<readonly string[]> {
  const { reply = secure(mx(10, 'mx.sender.test')), store = world.store } = changes
  const ini = 'from' in changes ? {} : { from: FROM }
  const read = readConfig({ tlsrpt: ini }, () => undefined)
  assert.ok(read.ok)
  const findings = await reportFindings(
    { config: read.config, folder: '/nonexistent' },
    scriptedResolver({ 'sender.test': { MX: reply } }),
    { tallies: talliesIn(store), store, now: world.now },
  )
  assert.ok(findings.every(({ check, level }) => check === 'reports' && level === 'problem'))
  // There is no key, which has tests of its own.
  return findings.map(({ text }) => text).filter((text) => !text.startsWith('no report is mailed'))
}

describe('doctor on reports', () => {
  it('says nothing of reports where they are off', async () => {
    assert.deepEqual(await texts(new ReportsWorld(), { from: undefined, reply: nodata() }), [])
  })

  const records: readonly (readonly [string, Reply<MxRecord>, RegExp | undefined])[] = [
    ['an MX record', secure(mx(10, 'mx.sender.test')), undefined],
    ['none', nodata(), /^sender\.test, from which reports come, has no MX record/],
    ['no such domain', nxdomain(), /has no MX record/],
    ['the null MX', secure(mx(0, '')), /says that it takes no mail/],
    ['a failed lookup', failed('servfail'), /cannot be looked up: servfail$/],
  ]
  for (const [title, reply, expected] of records) {
    it(`the sender's domain has ${title}`, async () => {
      const found = await texts(new ReportsWorld(), { reply })
      assert.equal(found.length, expected === undefined ? 0 : 1)
      if (expected !== undefined) assert.match(found[0] ?? '', expected)
    })
  }

  it('a report that has waited for less than twenty hours is no problem, and a longer one is', async () => {
    const world = new ReportsWorld()
    await world.count('rcpt.test')
    await world.count('gone.test')
    const note = (domain: string, text: string) =>
      world.store.setNote(domain, reportNote(FIRST_DAY), text, NOTE_MS)
    await note('gone.test', writeState({ kind: 'over' }))
    world.now = startOfDay(FIRST_DAY + 1) + 20 * HOUR
    assert.deepEqual(await texts(world), [])
    world.now += 1
    const waited = 'reports that have waited for long: 1; the one to rcpt.test of 2026-11-27: '
    assert.deepEqual(await texts(world), [`${waited}not tried yet`])
    const next = world.now + HOUR
    const why = 'HTTP status 503'
    await note('rcpt.test', writeState({ kind: 'trying', tries: 3, first: 1, next, why }))
    assert.deepEqual(await texts(world), [`${waited}${why}`])
  })
  it('a store that cannot be read', async () => {
    const world = new ReportsWorld()
    const readTally = () => Promise.resolve({ ok: false, detail: 'Redis is away' } as const)
    const found = await texts(world, { store: { ...world.store, readTally } })
    assert.equal(found.length, 1)
    assert.match(found[0] ?? '', /^which reports wait cannot be told: .*Redis is away$/)
  })
})
