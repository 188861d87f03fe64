/**
 * Puts the sending of TLSRPT reports together: rounds over what was counted, the record of each domain, the operator's key, mail by
 * Haraka's queue and HTTPS by ourselves. For the plugin; the command only reads, and leaves its wishes in the store.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Config } from './config'
import type { Resolver } from './dnssec-stub'
import { rememberTrust } from './https/open'
import { createLeases } from './store/leases'
import type { Logger, Store } from './store'
import type { Metrics } from './telemetry/metrics'
import { deliverReport } from './tlsrpt/deliver'
import type { OutgoingMail, Sent } from './tlsrpt/deliver'
import { findKey, type KeySource } from './tlsrpt/key'
import { createLeftAlone } from './tlsrpt/left-alone'
import { loadWriter } from './tlsrpt/mail'
import { submitterOf } from './tlsrpt/names'
import type { RecordFound } from './tlsrpt/one-report'
import { postReport } from './tlsrpt/post'
import type { Posted } from './tlsrpt/post'
import { parseReportRecord, reportName } from './tlsrpt/record'
import { createRounds } from './tlsrpt/rounds'
import type { RoundsState } from './tlsrpt/rounds'
import type { TlsrptSettings } from './tlsrpt/settings'
import type { DomainDay, Tallies } from './tlsrpt/types'
import { errorText } from './x509/trouble'

export interface ReportsOptions {
  readonly config: () => Config
  readonly log: Logger
  readonly store: Store
  readonly tallies: Tallies
  readonly resolver: Resolver
  /** PEM roots; undefined: Node's own. */
  readonly ca: () => string | undefined
  readonly key: KeySource
  /** Puts a message into Haraka's queue. */
  readonly send: (mail: OutgoingMail) => Promise<Sent>
  /** Where reports are left instead of being sent (tlsrpt.dry_run). */
  readonly folder: string
  readonly metrics: Pick<Metrics, 'reportDone' | 'reportGivenUp' | 'reportRecord'>
}

/** What is asked for at start; the rest is there when the store is open. */
export interface Reports {
  start(): void
  /** Begins nothing any more. */
  stop(): void
  /** A report to the address came back. */
  cameBack(address: string): void
  state(): RoundsState
}

/** Milliseconds for which a worker that died keeps the others from its part of a day. */
const LEASE_MS = 60_000
/** Milliseconds between two reports of a worker. */
const APART_MS = 100
const LOOKUP_MS = 20_000
const POST_MS = 60_000

export function wireReports(options: ReportsOptions): Reports {
  const { config, log, store, tallies, resolver, metrics } = options
  const settings = (): TlsrptSettings => config().tlsrpt
  const leftAlone = createLeftAlone(store, Date.now)
  const trust = rememberTrust()
  let turns: Promise<unknown> = Promise.resolve()
  let saidNoKey = 0

  const key = () => {
    const found = findKey(submitterOf(settings().from ?? ''), options.key)
    if (!found.ok && Date.now() - saidNoKey > SAY_AGAIN_MS) {
      saidNoKey = Date.now()
      log.warn(`no report is mailed: ${found.detail}. See docs/tlsrpt.md`)
    }
    return found
  }
  const post = (url: string, body: Buffer): Promise<Posted> =>
    postReport({
      url,
      body,
      mediaType: 'application/tlsrpt+gzip',
      resolver,
      allowPrivate: settings().httpsPrivate,
      ca: options.ca(),
      trust,
      timeoutMs: POST_MS,
    })

  const rounds = createRounds({
    tallies,
    store,
    leases: createLeases(store, LEASE_MS),
    rounds: () => settings(),
    isWanted: (counted) => isWanted(counted, settings()),
    findRecord: (domain) => findRecord(resolver, domain),
    deliver: (report, destinations) => {
      const { from = '', organization, https, bcc, never, dryRun } = settings()
      const { domain, day } = report.counted
      return deliverReport(report, destinations, {
        settings: { from, organization: organization ?? submitterOf(from), https, bcc, never },
        key,
        send: dryRun ? leaveInFolder(options.folder, `${day}-${domain}.eml`) : options.send,
        post: dryRun
          ? (_url, body) =>
              Promise.resolve(asPosted(write(options.folder, `${day}-${domain}.json.gz`, body)))
          : post,
        isLeftAlone: (address) => leftAlone.isLeftAlone(address),
        count: (by, result) => {
          metrics.reportDone(by, result)
        },
      })
    },
    turn: () => {
      const mine = turns.then(() => pause(APART_MS, undefined, { ref: false }))
      turns = mine
      return mine
    },
    givenUp: (why, domain, detail) => {
      metrics.reportGivenUp(why)
      if (why !== 'bound') log.notice(`the report to ${domain} is given up (${why}): ${detail}`)
    },
    recordFound: (kind) => {
      metrics.reportRecord(kind)
    },
    clock: Date.now,
    random: Math.random,
    log,
  })

  return {
    start() {
      rounds.start()
    },
    stop() {
      rounds.stop()
    },
    cameBack(address) {
      log.notice(`a report came back from ${address}; the address is left alone for some days`)
      leftAlone.cameBack(address).catch((err: unknown) => {
        log.error(`it could not be noted that a report came back: ${String(err)}`)
      })
    },
    state: () => rounds.state(),
  }
}

const SAY_AGAIN_MS = 3_600_000

/**
 * Loads what writes reports, where they are wanted. To be called while there is still the right to read our code: Haraka drops it as
 * soon as it listens. Settings that want reports later may come too late, which is said.
 */
export function prepareReports({ tlsrpt }: Config, log: Pick<Logger, 'warn'>): void {
  if (!tlsrpt.enabled) return
  try {
    loadWriter()
  } catch (err: unknown) {
    log.warn(`no report is mailed: nodemailer cannot be loaded (${oneLine(err)}). ${LOAD_CURE}`)
  }
}

const LOAD_CURE = 'Restart Haraka, or let its user read the package'

/** Node's word on a module that is not found names the stack of those who want it. */
function oneLine(err: unknown): string {
  return errorText(err).split('\n', 1).join('')
}

/** Whether a report on these counts is to be sent. */
export function isWanted({ domain, policies }: DomainDay, settings: TlsrptSettings): boolean {
  if (settings.never.includes(domain)) return false
  const failed = policies.some(
    (each) => each.summary['total-failure-session-count'] > 0 || each['failure-details'].length > 0,
  )
  return failed || !settings.onlyFailures
}

/** What the domain's record says now (RFC 8460 §3). */
async function findRecord(resolver: Resolver, domain: string): Promise<RecordFound> {
  const signal = AbortSignal.timeout(LOOKUP_MS)
  const found = await resolver.resolve(reportName(domain), 'TXT', { signal, background: true })
  switch (found.kind) {
    case 'failed':
      return { kind: 'failed', detail: `${reportName(domain)}: ${found.cause}` }
    case 'nodata':
    case 'nxdomain':
      return { kind: 'none' }
    case 'answer': {
      const record = parseReportRecord(found.records)
      return record.kind === 'record' ? record : { kind: 'none' }
    }
  }
}

/** Each destination's report over the one before: they say the same. */
function leaveInFolder(folder: string, name: string): (mail: OutgoingMail) => Promise<Sent> {
  return ({ message }) => Promise.resolve(write(folder, name, message))
}

function write(folder: string, name: string, contents: string | Buffer): Sent {
  try {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, name), contents)
    return { ok: true }
  } catch (err: unknown) {
    return { ok: false, detail: `tlsrpt.dry_run: ${String(err)}` }
  }
}

function asPosted(written: Sent): Posted {
  return written.ok ? { kind: 'taken', verified: true } : { kind: 'failed', detail: written.detail }
}
