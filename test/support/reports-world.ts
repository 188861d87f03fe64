/** Workers that share a store and a clock, whose reports are delivered into a list. */
import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import { memoryStore } from '../../plugins/store/memory'
import { createLeases } from '../../plugins/store/leases'
import { partOf } from '../../plugins/store/tally'
import type { Store, Stored } from '../../plugins/store'
import type { Delivered } from '../../plugins/tlsrpt/deliver'
import { toAdds } from '../../plugins/tlsrpt/lines'
import { dayOf, startOfDay } from '../../plugins/tlsrpt/names'
import type { RecordFound } from '../../plugins/tlsrpt/one-report'
import { createRounds, type Rounds } from '../../plugins/tlsrpt/rounds'
import { makeReport, reportJson } from '../../plugins/tlsrpt/report'
import { talliesIn } from '../../plugins/tlsrpt/tallies'
import { PARTS, type Day, type DomainDay, type Tallies } from '../../plugins/tlsrpt/types'

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY_MS = 24 * HOUR
export const FIRST_DAY: Day = 20_784
/** Seconds. */
const SPREAD = 14_400
const LEASE = 60_000

export interface SentReport {
  readonly domain: string
  readonly day: Day
  readonly at: number
  readonly firstTried: number
  readonly cluster: string
  readonly worker: number
  /** Of all tries; those of which the answer was lost as well. */
  readonly id: string
  readonly octets: string
}

export class Killed extends Error {}

export class ReportsWorld {
  now = startOfDay(FIRST_DAY) + 12 * HOUR
  readonly sent: SentReport[] = []
  readonly looked: string[] = []
  readonly givenUp: string[] = []
  readonly said: string[] = []
  /** No call of the store answers. */
  away = false
  mostReports = 50_000
  record: (domain: string) => RecordFound = () => ({
    kind: 'record',
    destinations: [{ kind: 'mailto', address: 'r@rcpt.test' }],
  })
  outcome: (domain: string) => Delivered = () => ({ kind: 'taken' })
  /** May throw Killed: the worker dies there, and nothing of what it would have done is done. */
  at: (step: string, domain: string, worker: number) => void = () => undefined
  /** Counted too late, which is told. */
  lost = 0
  private sequence = 0
  readonly store: Store

  constructor(store?: Store) {
    this.store = store ?? memoryStore({ now: () => this.now })
  }

  /** One successful session. */
  async count(domain: string, day = dayOf(this.now), store = this.store): Promise<void> {
    this.sequence += 1
    const added = await store.addToTally({
      day,
      part: partOf(domain),
      worker: 'w1',
      sequence: this.sequence,
      adds: toAdds(domain, {
        policy: { 'policy-type': 'no-policy-found', 'policy-domain': domain },
        success: 1,
        failure: 0,
      }),
    })
    assert.ok(added.ok, added.ok ? '' : added.detail)
    this.lost += added.value
  }

  /** What is still in the store. */
  async left(): Promise<readonly DomainDay[]> {
    const found: DomainDay[] = []
    for (let day = dayOf(this.now) - 3; day <= dayOf(this.now); day++) {
      for (let part = 0; part < PARTS; part++) {
        const read = await talliesIn(this.store).readPart(day, part)
        assert.ok(read.ok)
        found.push(...read.value)
      }
    }
    return found
  }

  /** @param own its connection to what all share */
  worker(number = 1, own = this.store): Rounds {
    const ask = <T>(call: () => Promise<Stored<T>>): Promise<Stored<T>> =>
      this.away ? Promise.resolve({ ok: false, detail: 'away' }) : call()
    const store: Store = {
      ...own,
      getNote: (...args) => ask(() => own.getNote(...args)),
      acquire: (...args) => ask(() => own.acquire(...args)),
      setNote: async (domain, name, text, ttl, options) => {
        this.at(`before note ${text.split(' ')[0]}`, domain, number)
        const noted = await ask(() => own.setNote(domain, name, text, ttl, options))
        this.at(`after note ${text.split(' ')[0]}`, domain, number)
        return noted
      },
    }
    const counts = talliesIn(own)
    const tallies: Tallies = {
      cluster: () => ask(() => counts.cluster()),
      close: async (day, part) => {
        this.at('before close', '', number)
        const closed = await ask(() => counts.close(day, part))
        this.at('after close', '', number)
        return closed
      },
      readPart: (day, part) => ask(() => counts.readPart(day, part)),
      readDomain: (day, domain) => ask(() => counts.readDomain(day, domain)),
      drop: (read) => {
        this.at('before drop', read.domain, number)
        return ask(() => counts.drop(read))
      },
    }
    return createRounds({
      tallies,
      store,
      leases: createLeases(store, LEASE),
      rounds: () => ({ enabled: true, spreadSeconds: SPREAD, mostReports: this.mostReports }),
      isWanted: () => true,
      findRecord: (domain) => {
        this.looked.push(domain)
        return Promise.resolve(this.record(domain))
      },
      deliver: ({ counted, cluster, firstTried }) => {
        const { domain, day } = counted
        const outcome = this.outcome(domain)
        if (outcome.kind === 'taken') {
          const from = { organization: 'Sender', contact: 'tls@sender.test', cluster }
          const report = makeReport({ counted, ...from })
          const octets = gzipSync(reportJson(report)).toString('base64')
          const id = report['report-id']
          this.sent.push({
            domain,
            day,
            at: this.now,
            firstTried,
            cluster,
            worker: number,
            id,
            octets,
          })
        }
        this.at('delivered', domain, number)
        return Promise.resolve(outcome)
      },
      turn: () => Promise.resolve(),
      givenUp: (why, domain) => void this.givenUp.push(`${why} ${domain}`),
      recordFound: () => undefined,
      clock: () => this.now,
      random: () => 0.5,
      log: {
        info: (text) => void this.said.push(text),
        notice: (text) => void this.said.push(text),
        warn: (text) => void this.said.push(text),
        error: (text) => void this.said.push(text),
      },
    })
  }

  /** Lets the time pass, with a look of each worker every few minutes. */
  async pass(ms: number, workers: readonly Rounds[], step = 10 * MINUTE): Promise<void> {
    for (const end = this.now + ms; this.now < end; this.now += step) {
      await Promise.all(workers.map((worker) => worker.look()))
    }
  }
}
