/** Workers that share a store and a clock, whose reports are delivered into a list. */
import { memoryStore } from '../../plugins/store/memory'
import { createLeases } from '../../plugins/store/leases'
import { partOf } from '../../plugins/store/tally'
import type { Store, Stored } from '../../plugins/store'
import type { Delivered } from '../../plugins/tlsrpt/deliver'
import { dayOf, startOfDay } from '../../plugins/tlsrpt/names'
import type { RecordFound } from '../../plugins/tlsrpt/one-report'
import { createRounds, type Rounds } from '../../plugins/tlsrpt/rounds'
import type { Day, DomainDay, Tallies } from '../../plugins/tlsrpt/types'

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
  readonly counts = new Map<string, DomainDay>()
  /** The part of each domain that was counted. */
  private readonly parts = new Map<string, number>()
  readonly store: Store

  constructor(store?: Store) {
    this.store = store ?? memoryStore({ now: () => this.now })
  }

  count(domain: string, day = dayOf(this.now)): void {
    this.parts.set(domain, partOf(domain))
    this.counts.set(`${day} ${domain}`, {
      domain,
      day,
      policies: [
        {
          policy: { 'policy-type': 'no-policy-found', 'policy-domain': domain },
          summary: { 'total-successful-session-count': 1, 'total-failure-session-count': 0 },
          'failure-details': [],
        },
      ],
      names: ['S n'],
    })
  }

  worker(number = 1): Rounds {
    const ask = <T>(call: () => Promise<Stored<T>>): Promise<Stored<T>> =>
      this.away ? Promise.resolve({ ok: false, detail: 'away' }) : call()
    const store: Store = {
      ...this.store,
      getNote: (...args) => ask(() => this.store.getNote(...args)),
      acquire: (...args) => ask(() => this.store.acquire(...args)),
      setNote: async (domain, name, text, ttl, options) => {
        this.at(`before note ${text.split(' ')[0]}`, domain, number)
        const noted = await ask(() => this.store.setNote(domain, name, text, ttl, options))
        this.at(`after note ${text.split(' ')[0]}`, domain, number)
        return noted
      },
    }
    const tallies: Tallies = {
      cluster: () => ask(() => Promise.resolve({ ok: true, value: 'abcdefgh' })),
      readPart: (day, part) =>
        ask(() => {
          const all = [...this.counts.values()]
          const value = all.filter(
            (each) => each.day === day && this.parts.get(each.domain) === part,
          )
          return Promise.resolve({ ok: true, value })
        }),
      readDomain: (day, domain) =>
        ask(() => Promise.resolve({ ok: true, value: this.counts.get(`${day} ${domain}`) })),
      drop: ({ day, domain }) => {
        this.at('before drop', domain, number)
        return ask(() => {
          this.counts.delete(`${day} ${domain}`)
          return Promise.resolve({ ok: true, value: undefined })
        })
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
          this.sent.push({ domain, day, at: this.now, firstTried, cluster, worker: number })
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
