/**
 * The metrics in Prometheus' form, made with prom-client: names, help, labels and buckets (docs/metrics.md is compared with
 * them by a test). Each worker counts for itself; a page shows all workers side by side, told apart by the label `worker`, so
 * that a worker that starts anew looks like one and not like a fall of the sum.
 *
 * Refuses labels that are none of the known words: they become `other`.
 */
import { createRequire } from 'node:module'
import type * as promClient from 'prom-client'
import type { Histogram, Registry } from 'prom-client'
import type { MeasuredSources, Metrics, PolicyCount } from './metrics'
import { isOfTheAddress } from '../reasons/catalogue'
import { TROUBLE_KINDS } from '../store/troubles'
import {
  known,
  knownReason,
  oneOf,
  POLICIES,
  startAtZero,
  STATES,
  VERDICTS,
} from './metrics-labels'
import { reportCounters } from './metrics-reports'

type PromClient = typeof promClient

/** What one worker has counted, fit to be sent to another process. */
export type Snapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

export interface PrometheusMetrics extends Metrics {
  /** This worker's part. Never rejects. */
  snapshot(): Promise<Snapshot>
  /** @param snapshots One for each worker. */
  page(snapshots: readonly Snapshot[]): Promise<string>
  /** The page's media type. */
  readonly contentType: string
}

/** @returns undefined where prom-client is not installed. */
export function findPromClient(): PromClient | undefined {
  try {
    return createRequire(__filename)('prom-client') as PromClient
  } catch {
    return undefined
  }
}

const PREFIX = 'haraka_tls_policy_'
/** Records, so that a new word does not compile until it has its label. */
const DECISION_BUCKETS = [0.0001, 0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 90]
const SESSION_BUCKETS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120]

/** @param worker The worker's number; 0 where Haraka is one process. */
export function prometheusMetrics(client: PromClient, worker: number): PrometheusMetrics {
  const registry = new client.Registry()
  registry.setDefaultLabels({ worker: String(worker) })
  const registers = [registry]
  let sources: MeasuredSources | undefined

  const decisions = new client.Counter({
    name: `${PREFIX}decisions_total`,
    help: 'Decisions on how to deliver to a domain, by outcome.',
    labelNames: ['outcome'],
    registers,
  })
  const decisionSeconds = new client.Histogram({
    name: `${PREFIX}decision_seconds`,
    help: 'Seconds for one decision, with its DNS lookups and policy fetch.',
    buckets: DECISION_BUCKETS,
    registers,
  })
  const verdicts = new client.Counter({
    name: `${PREFIX}verdicts_total`,
    help: 'Verdicts on hosts, as in the log line: one for each host tried or refused.',
    labelNames: ['policy', 'verdict', 'mode'],
    registers,
  })
  const refusals = new client.Counter({
    name: `${PREFIX}refusals_total`,
    help: 'Hosts and domains refused, by reason (docs/reasons.md).',
    labelNames: ['reason', 'mode'],
    registers,
  })
  const undeliverables = new client.Counter({
    name: `${PREFIX}undeliverable_total`,
    help: 'Messages to domains that take no mail, with any policy or none, by reason (docs/reasons.md).',
    labelNames: ['reason', 'mode'],
    registers,
  })
  const preflights = new client.Histogram({
    name: `${PREFIX}preflight_seconds`,
    help: 'Seconds from the greeting to the judgement of a host that must be secured.',
    labelNames: ['result'],
    buckets: SESSION_BUCKETS,
    registers,
  })
  const lookups = new client.Counter({
    name: `${PREFIX}sts_lookups_total`,
    help: 'MTA-STS policies asked for by deliveries, by where the answer came from.',
    labelNames: ['source'],
    registers,
  })
  const problems = new client.Counter({
    name: `${PREFIX}sts_problems_total`,
    help: 'MTA-STS lookups beside whose answer something was wrong, by reason (docs/reasons.md).',
    labelNames: ['reason'],
    registers,
  })
  const unavailable = new client.Counter({
    name: `${PREFIX}sts_unavailable_total`,
    help: 'MTA-STS lookups of domains that publish a policy which cannot be had, while none is known, by reason (docs/reasons.md).',
    labelNames: ['reason'],
    registers,
  })
  const fetches = new client.Counter({
    name: `${PREFIX}sts_fetches_total`,
    help: 'MTA-STS policies fetched over HTTPS, by cause and result.',
    labelNames: ['cause', 'result'],
    registers,
  })
  const fetchSeconds = new client.Histogram({
    name: `${PREFIX}sts_fetch_seconds`,
    help: 'Seconds for one fetch of an MTA-STS policy.',
    buckets: SESSION_BUCKETS,
    registers,
  })
  new client.Gauge({
    name: `${PREFIX}info`,
    help: 'Always 1: version and mode, and where policies and lookups come from.',
    labelNames: ['version', 'mode', 'store', 'resolver'],
    registers,
    collect() {
      this.reset()
      if (sources) this.set({ ...sources.about() }, 1)
    },
  })
  new client.Gauge({
    name: `${PREFIX}exceptions_ended`,
    help: 'Exceptions under [destinations] whose last day is over, and which have no effect any more.',
    registers,
    collect() {
      this.set(sources?.endedExceptions() ?? 0)
    },
  })
  new client.Gauge({
    name: `${PREFIX}resolver_state`,
    help: 'What the last self-test said of DNSSEC validation: 1 for the state that holds.',
    labelNames: ['state'],
    registers,
    collect() {
      const state = sources?.resolverState()
      for (const one of STATES) this.set({ state: one }, one === state ? 1 : 0)
    },
  })
  new client.Gauge({
    name: `${PREFIX}report_parts_pending`,
    help: 'Parts of a day, of 256, whose TLSRPT reports are due and not all sent, as far as the worker knows.',
    aggregator: 'min',
    registers,
    collect() {
      this.set(sources?.reports?.()?.partsPending ?? 0)
    },
  })
  new client.Gauge({
    name: `${PREFIX}report_oldest_pending_seconds`,
    help: 'For how long the oldest of them has been due.',
    aggregator: 'min',
    registers,
    collect() {
      this.set(sources?.reports?.()?.oldestPendingSeconds ?? 0)
    },
  })
  const storeErrors = new client.Counter({
    name: `${PREFIX}store_errors_total`,
    help: 'Calls to the store that failed, by what was wrong.',
    labelNames: ['kind'],
    registers,
  })
  for (const kind of TROUBLE_KINDS) storeErrors.inc({ kind }, 0)
  new client.Gauge({
    name: `${PREFIX}store_trouble`,
    help: 'What is wrong with the store: 1 for each kind that lasts.',
    labelNames: ['kind'],
    registers,
    collect() {
      const lasting = sources?.storeTroubles() ?? []
      for (const kind of TROUBLE_KINDS) this.set({ kind }, lasting.includes(kind) ? 1 : 0)
    },
  })
  policyGauge(client, registers, {
    name: `${PREFIX}sts_policies`,
    help: 'MTA-STS policies in the store that hold now; counted every five minutes.',
    count: async () => (await sources?.policies())?.map(({ mode, held }) => [mode, held]),
  })
  policyGauge(client, registers, {
    name: `${PREFIX}sts_policies_expiring`,
    help: 'Of these, in use and with less than a quarter of their life left.',
    count: async () => (await sources?.policies())?.map(({ mode, expiring }) => [mode, expiring]),
  })
  const reports = reportCounters(client, registers, PREFIX)
  startAtZero({ decisions, refusals, undeliverables, lookups, problems, unavailable, fetches })

  return {
    decided(outcome, seconds) {
      decisions.inc({ outcome })
      observe(decisionSeconds, {}, seconds)
    },
    ended({ mode, policy, require, verdict, reason, session }) {
      if (isOfTheAddress(reason)) {
        undeliverables.inc({ reason, mode })
        return
      }
      const refused = verdict === 'refused'
      // Of a host that was not reached there is no verdict; and one that was lost later on had its own.
      if (reason !== 'connect-failed' && reason !== 'tls-lost') {
        const labels = { policy: known(POLICIES, policy), verdict: known(VERDICTS, verdict) }
        verdicts.inc({ ...labels, mode })
      }
      // Where nothing was demanded, plain Haraka would have come no further either.
      if (refused && require !== 'opportunistic')
        refusals.inc({ reason: knownReason(reason), mode })
      const seconds = session?.seconds
      if (seconds !== undefined && reason !== 'tls-lost') {
        observe(preflights, { result: refused ? 'refused' : 'secured' }, seconds)
      }
    },
    policyLookedUp(source, problem) {
      lookups.inc({ source })
      if (problem !== undefined) problems.inc({ reason: knownReason(problem) })
    },
    policyUnavailable(problem) {
      unavailable.inc({ reason: knownReason(problem) })
    },
    policyFetched(cause, result, seconds) {
      fetches.inc({ cause, result: result === 'ok' ? 'ok' : knownReason(result) })
      observe(fetchSeconds, {}, seconds)
    },
    storeFailed(kind) {
      storeErrors.inc({ kind: oneOf(TROUBLE_KINDS, kind) })
    },
    ...reports,
    measure(measured) {
      sources = measured
    },
    snapshot: () => registry.getMetricsAsJSON(),
    page: (snapshots) => client.AggregatorRegistry.aggregate([...snapshots]).metrics(),
    contentType: registry.contentType,
  }
}

/** A clock that stepped gives no negative time, and no exception in the middle of a delivery. */
function observe<T extends string>(
  histogram: Histogram<T>,
  labels: Partial<Record<T, string>>,
  seconds: number,
): void {
  if (seconds >= 0 && Number.isFinite(seconds)) histogram.observe(labels, seconds)
}

interface PolicyGauge {
  readonly name: string
  readonly help: string
  readonly count: () => Promise<(readonly [PolicyCount['mode'], number])[] | undefined>
}

function policyGauge(
  client: PromClient,
  registers: Registry[],
  { name, help, count }: PolicyGauge,
): void {
  new client.Gauge({
    name,
    help,
    labelNames: ['mode'],
    registers,
    async collect() {
      const counted = await count()
      // No number is honest where none is known; an old one would not be.
      this.reset()
      for (const [mode, value] of counted ?? []) this.set({ mode }, value)
    },
  })
}
