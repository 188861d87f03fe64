/**
 * Is this resolver's word on security worth anything (RFC 7672 §2.1.1)? A signed name must come back secure, and a name
 * whose signatures are known to be broken must not come back at all. A resolver that cannot do this is blind: that is
 * its own fault and never a domain's.
 */
import { turns } from './turns'
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
      cause: signed.cause,
      detail: `cannot look up the signed name "${signedName}": ${signed.detail}`,
    }
  }
  if (signed.security === 'insecure') {
    const detail = `the signed name "${signedName}" does not come back secure`
    return { state: 'blind', cause: 'not-validating', detail }
  }
  if (bogusName === undefined) {
    return { state: 'validating', detail: `the signed name "${signedName}" comes back secure` }
  }
  const bogus = await resolver.resolve(bogusName, 'A')
  if (bogus.kind !== 'failed') {
    const detail = `the bogus name "${bogusName}" is taken for good`
    return { state: 'blind', cause: 'takes-bogus', detail }
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
  /** Milliseconds of a clock that never steps. */
  readonly now: () => number
  /** Between two tests, milliseconds. */
  readonly intervalMs?: number
  /** Told of the first result and of each change of state. */
  readonly onChange?: (health: Health, before: Health | undefined) => void
}

export interface Monitor {
  /** The latest result; undefined before the first. */
  health(): Health | undefined
  /** The latest result where its test began no more than a minute ago; otherwise a new one's. Never rejects. */
  recent(): Health | Promise<Health>
  /** Tests now, or joins the test that is under way. Never rejects. */
  check(): Promise<Health>
  /** A test that begins after this call. Never rejects. */
  again(): Promise<Health>
  stop(): void
}

/** A test that comes to nothing takes up to twenty seconds; what it finds is to be known within the minute. */
const INTERVAL_MS = 40_000
const MOST_AGE_MS = 60_000

/** Runs a self-test at once and then for ever, until stopped. */
export function monitor(test: () => Promise<Health>, options: MonitorOptions): Monitor {
  const { timers, now, intervalMs = INTERVAL_MS, onChange } = options
  let latest: Health | undefined
  let latestBegan = Number.NEGATIVE_INFINITY
  let timer: unknown
  let stopped = false

  /** A listener that throws must not end the monitor, or the process. */
  const tell = (health: Health, before: Health | undefined): void => {
    try {
      onChange?.(health, before)
    } catch (error: unknown) {
      latest = { ...health, detail: `${health.detail} (telling it failed: ${String(error)})` }
    }
  }

  /** It rejects for nothing that a resolver does (outcomeOf). */
  const testAgain = (): void => {
    tests.join().catch(() => undefined)
  }

  const tests = turns(async (): Promise<Health> => {
    const began = now()
    const health = await outcomeOf(test)
    if (stopped) return health
    const before = latest
    latest = health
    latestBegan = began
    timers.clear(timer)
    timer = timers.set(testAgain, intervalMs)
    if (before?.state !== health.state) tell(health, before)
    return health
  })

  testAgain()
  return {
    health: () => latest,
    recent: () =>
      latest !== undefined && now() - latestBegan <= MOST_AGE_MS ? latest : tests.join(),
    check: () => tests.join(),
    again: () => tests.anew(),
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
