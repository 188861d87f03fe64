/** TLSRPT, wired: the ends of hosts are counted, and the counts get into the store. */
import { randomUUID } from 'node:crypto'
import type { Config } from './config'
import type { HostEnd } from './delivery/host-end'
import type { Logger, TallyStore } from './store'
import type { Metrics } from './telemetry/metrics'
import { createCounting } from './tlsrpt/counting'
import { createTally } from './tlsrpt/tally'

export interface ReportingOptions {
  readonly config: () => Config
  /** Rejects where there is none. */
  readonly store: () => Promise<TallyStore>
  readonly metrics: Metrics
  readonly log: Logger
}

export interface Reporting {
  /** @param mail what is known of the message; reports of ours are not counted (RFC 8460 §3) */
  ended(mail: Queued, end: HostEnd): void
  /** The worker is about to end. Never rejects. */
  retire(): Promise<void>
}

/** A message, with what its queue file tells. */
interface Queued {
  readonly todo?: object
}

export function createReporting({ config, store, metrics, log }: ReportingOptions): Reporting {
  const tally = createTally({
    store,
    worker: randomUUID().replaceAll('-', ''),
    clock: Date.now,
    lost: (why, count) => {
      metrics.reportLost(why, count)
    },
    log,
  })
  const count = createCounting({ tally, isOn: () => config().tlsrpt.enabled, metrics })
  return {
    ended(mail, end) {
      if (!isReport(mail)) count(end)
    },
    retire: () => tally.retire(),
  }
}

/** Marked so when it was put into the queue; the mark is in the queue file. */
function isReport({ todo }: Queued): boolean {
  return valueAt(todo, 'notes', 'tls-policy', 'report') === true
}

function valueAt(from: unknown, ...keys: readonly string[]): unknown {
  return keys.reduce<unknown>(
    (value, key) =>
      typeof value === 'object' && value !== null
        ? (value as Readonly<Record<string, unknown>>)[key]
        : undefined,
    from,
  )
}
