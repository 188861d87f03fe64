/**
 * What the plugin counts, in its own words; metrics-prometheus.ts turns it into Prometheus metrics (docs/metrics.md).
 *
 * Promises: every label is one of a known few, never a domain, host or address, whatever came from the network; where
 * metrics are off, counting costs nothing and needs nothing. Nothing here throws: no count is worth a delivery.
 */
import type { HostEnd } from '../delivery/host-end'
import type { PlanOutcome } from '../delivery/types'
import type { StsLookup } from '../mta-sts/types'
import type { TroubleKind } from '../store'
import type { StsProblemReason } from '../reasons/codes'
import type { PolicyType, ResultType } from '../tlsrpt/types'

/** `failed`: the decision ended in an exception. */
export type DecisionOutcome = PlanOutcome['kind'] | 'failed'

/** `warm`: this worker knew without asking; otherwise as the lookup says itself. */
export type LookupSource = 'warm' | 'cache' | 'fetched' | 'none' | 'unknown' | 'store-unread'

/** `delivery`: a mail waits for it. */
export type FetchCause = 'delivery' | 'refresh'

/** What is wrong with the store, of a known few kinds. */
export type { TroubleKind }

export type ReportPolicy = PolicyType
/** `bound`: more kinds of failures than there is room for. `store`: it took none for days. */
export type ReportLoss = 'bound' | 'store'

export type ReportGivenUp = 'time' | 'bound' | 'refused'
export type ReportRecordFound = 'record' | 'none' | 'failed'

export type ResolverState = 'validating' | 'blind' | 'unreachable'

/** The policies that hold now, counted. */
export interface PolicyCount {
  readonly mode: 'enforce' | 'testing' | 'none'
  readonly held: number
  /** Of these, in use, and with less than a quarter of their life left: refreshing must have failed for long. */
  readonly expiring: number
}

/** What an instance is: one of a few words each. */
export interface About {
  /** Of this package. */
  readonly version: string
  readonly mode: 'enforce' | 'observe'
  readonly store: 'lmdb' | 'redis' | 'memory'
  /** Which backend answers; `none` until one is chosen. */
  readonly resolver: 'ad' | 'getdns' | 'none'
}

/** What is counted of a host's end. */
export type CountedEnd = Pick<
  HostEnd,
  'mode' | 'policy' | 'require' | 'verdict' | 'reason' | 'session'
>

export interface Metrics {
  decided(outcome: DecisionOutcome, seconds: number): void
  /** One for each line in the log: what became of a host. */
  ended(end: CountedEnd): void
  policyLookedUp(source: LookupSource, problem: StsProblemReason | undefined): void
  /** A TXT record says that there is a policy, and it cannot be had; nor is another one known, so that mail goes without. */
  policyUnavailable(problem: StsProblemReason): void
  policyFetched(cause: FetchCause, result: 'ok' | StsProblemReason, seconds: number): void
  /** A call to the store that one of its troubles has cost. */
  storeFailed(kind: TroubleKind): void
  /** A session counted for a report, or the trouble with a policy that has one. */
  reportSession(policy: ReportPolicy, result: 'success' | 'failure'): void
  /** One of the details of a report. */
  reportFailure(type: ResultType): void
  /** Counts that are in no report. */
  reportLost(why: ReportLoss, count: number): void
  /** A destination was tried; `refused`: trying it again would give the same. */
  reportDone(by: 'mail' | 'https', result: 'sent' | 'failed' | 'refused'): void
  /** `time`: it could not be sent within a day. `bound`: tlsrpt.most_reports. `refused`: no destination takes it. */
  reportGivenUp(why: ReportGivenUp): void
  /** Whether a domain wants a report, by its TXT record. */
  reportRecord(found: ReportRecordFound): void
  /** What is measured when somebody asks, instead of being counted. */
  measure(sources: MeasuredSources): void
}

export interface MeasuredSources {
  readonly about: () => About
  /** Exceptions under [destinations] whose last day is over. */
  readonly endedExceptions: () => number
  readonly resolverState: () => ResolverState
  /** What is wrong with the store now. */
  readonly storeTroubles: () => readonly TroubleKind[]
  /** Parts of a day whose reports are due and not sent, as far as this worker knows; left out: none. */
  readonly reports?: () =>
    { readonly partsPending: number; readonly oldestPendingSeconds: number } | undefined
  /** Must not reject; undefined while it is not known. */
  readonly policies: () => Promise<readonly PolicyCount[] | undefined>
}

/** Metrics are off. */
export const NO_METRICS: Metrics = {
  decided: ignore,
  ended: ignore,
  policyLookedUp: ignore,
  policyUnavailable: ignore,
  policyFetched: ignore,
  storeFailed: ignore,
  reportSession: ignore,
  reportFailure: ignore,
  reportLost: ignore,
  reportDone: ignore,
  reportGivenUp: ignore,
  reportRecord: ignore,
  measure: ignore,
}

function ignore(): void {
  // Nobody counts.
}

/** Where a lookup's outcome came from; `warm` is for the caller to know. */
export function sourceOf(lookup: StsLookup): LookupSource {
  return lookup.kind === 'policy' ? lookup.source : lookup.kind
}
