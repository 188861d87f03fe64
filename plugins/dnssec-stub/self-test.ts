/**
 * Is this resolver's word on security worth anything (RFC 7672 §2.1.1)? A signed name must come back secure, and a name
 * whose signatures are known to be broken must not come back at all. A resolver that cannot do this is blind: that is
 * its own fault and never a domain's.
 */
import type { Health, Resolver } from './types'

export interface SelfTestNames {
  /** A name in a signed zone; `.` needs no third party. */
  readonly signedName: string
  /** A name whose data a validator must reject. */
  readonly bogusName?: string
}

/** Asks now; never rejects as long as the resolver keeps its promise. */
export async function selfTest(
  resolver: Resolver,
  { signedName, bogusName }: SelfTestNames,
): Promise<Health> {
  // Either an answer or a denial will do: a secure "no such records" takes the same signatures.
  const signed = await resolver.resolve(signedName, 'MX')
  if (signed.kind === 'failed') {
    return {
      state: 'unreachable',
      detail: `cannot look up the signed name "${signedName}": ${signed.detail}`,
    }
  }
  if (signed.security === 'insecure') {
    return { state: 'blind', detail: `the signed name "${signedName}" does not come back secure` }
  }
  if (bogusName === undefined) {
    return { state: 'validating', detail: `the signed name "${signedName}" comes back secure` }
  }
  const bogus = await resolver.resolve(bogusName, 'A')
  if (bogus.kind !== 'failed') {
    return { state: 'blind', detail: `the bogus name "${bogusName}" is taken for good` }
  }
  return {
    state: 'validating',
    detail: `the signed name "${signedName}" comes back secure, the bogus name "${bogusName}" fails`,
  }
}

/** The part of node's timers that a monitor uses. */
export interface Timers {
  readonly set: (run: () => void, milliseconds: number) => unknown
  readonly clear: (timer: unknown) => void
}

export interface MonitorOptions {
  readonly timers: Timers
  /** Between tests while all is well; milliseconds, or what says so after each test. */
  readonly intervalMs?: number | (() => number)
  /** Until the next test after a bad one: the resolver may only have started later than we. */
  readonly retryMs?: number
  /** Told of the first result and of each change of state. */
  readonly onChange?: (health: Health, before: Health | undefined) => void
}

export interface Monitor {
  /** The latest result; undefined before the first. */
  health(): Health | undefined
  /** Tests now, or joins the test that is under way. Never rejects. */
  check(): Promise<Health>
  stop(): void
}

const HOUR_MS = 3_600_000
const RETRY_MS = 60_000

/** Runs a self-test at once and then for ever, until stopped. */
export function monitor(test: () => Promise<Health>, options: MonitorOptions): Monitor {
  const { timers, intervalMs = HOUR_MS, retryMs = RETRY_MS, onChange } = options
  let latest: Health | undefined
  let underWay: Promise<Health> | undefined
  let timer: unknown
  let stopped = false

  /** Whoever is told must not be able to end the monitor, or the process, by throwing. */
  const tell = (health: Health, before: Health | undefined): void => {
    try {
      onChange?.(health, before)
    } catch (error: unknown) {
      latest = { ...health, detail: `${health.detail} (telling it failed: ${String(error)})` }
    }
  }

  const interval = (): number => {
    if (typeof intervalMs === 'number') return intervalMs
    try {
      return intervalMs()
    } catch {
      return HOUR_MS
    }
  }

  const run = async (): Promise<Health> => {
    const health = await outcomeOf(test)
    underWay = undefined
    if (stopped) return health
    const before = latest
    latest = health
    timers.clear(timer)
    timer = timers.set(() => void check(), health.state === 'validating' ? interval() : retryMs)
    if (before?.state !== health.state) tell(health, before)
    return health
  }
  const check = (): Promise<Health> => (underWay ??= run())

  void check()
  return {
    health: () => latest,
    check,
    stop() {
      stopped = true
      timers.clear(timer)
    },
  }
}

async function outcomeOf(test: () => Promise<Health>): Promise<Health> {
  try {
    return await test()
  } catch (error: unknown) {
    const why = error instanceof Error ? error.message : 'unknown error'
    return { state: 'unreachable', detail: `the self-test failed: ${why}` }
  }
}

/** node's timers; they keep no process alive. */
export const systemTimers: Timers = {
  set: (run, milliseconds) => setTimeout(run, milliseconds).unref(),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout | undefined),
}
