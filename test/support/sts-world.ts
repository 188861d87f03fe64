/**
 * A world for the policy cache: a clock that tests move, a scripted DNS, a store in memory, and a policy host that is a
 * function. The cache in it is the real one.
 */
import type { FetchOutcome } from '../../plugins/mta-sts/fetch'
import { createStsPolicies, type ManagedStsPolicies } from '../../plugins/mta-sts/policies'
import { parsePolicy } from '../../plugins/mta-sts/policy'
import { memoryStore } from '../../plugins/store/memory'
import type { Logger, Store } from '../../plugins/store/types'
import type { StsProblemReason } from '../../plugins/reasons/codes'
import { failed, nxdomain, scriptedResolver, type ScriptedResolver, secure, txt, withTtl } from './scripted-resolver' // prettier-ignore

export const START = 1_800_000_000_000
export const HOUR = 3_600_000
export const DAY = 24 * HOUR

export interface StsWorld {
  readonly resolver: ScriptedResolver
  readonly store: Store
  readonly policies: ManagedStsPolicies
  /** `level text`, in order. */
  readonly log: string[]
  /** How many fetches were begun. */
  fetches(): number
  now(): number
  advance(ms: number): void
  /** The TXT record has this id, or: `gone`, `failing`, or whole records. */
  publish(id: string | readonly string[], ttl?: number): void
  /** What the policy host serves from now on. */
  serve(
    text:
      | string
      | { readonly problem: StsProblemReason }
      | ((domain: string, signal: AbortSignal) => Promise<FetchOutcome>),
  ): void
  /** Another worker: its own memory, the same store, DNS and policy host. */
  worker(): ManagedStsPolicies
}

export function policy(mode = 'enforce', maxAge = 604_800, mx = '*.rcpt.test'): string {
  return `version: STSv1\nmode: ${mode}\nmx: ${mx}\nmax_age: ${maxAge}\n`
}

export function stsWorld({
  wrap = (store) => store,
  leaseMs = 10_000,
  random = () => 0.5,
}: {
  wrap?: (store: Store) => Store
  leaseMs?: number
  random?: () => number
} = {}): StsWorld {
  let time = START
  let served: (domain: string, signal: AbortSignal) => Promise<FetchOutcome> = () =>
    Promise.reject(new Error('nothing served'))
  let fetches = 0
  const log: string[] = []
  const at = (level: string) => (text: string) => void log.push(`${level} ${text}`)
  const logger: Logger = {
    info: at('info'),
    notice: at('notice'),
    warn: at('warn'),
    error: at('error'),
  }
  const resolver = scriptedResolver()
  const clock = (): number => time
  const store = wrap(memoryStore({ now: clock }))
  const worker = (): ManagedStsPolicies =>
    createStsPolicies({
      resolver,
      store,
      fetch: (domain, signal) => {
        fetches += 1
        return served(domain, signal)
      },
      clock,
      random,
      log: logger,
      settings: { fetchTimeoutMs: 60_000, refreshIntervalMs: DAY, leaseMs },
    })
  const world: StsWorld = {
    resolver,
    store,
    policies: worker(),
    log,
    fetches: () => fetches,
    now: clock,
    advance: (ms) => void (time += ms),
    publish(id, ttl = 60) {
      const name = '_mta-sts.rcpt.test'
      if (id === 'gone') resolver.set(name, 'TXT', nxdomain('insecure', ttl))
      else if (id === 'failing') resolver.set(name, 'TXT', failed('servfail'))
      else {
        const records = typeof id === 'string' ? [`v=STSv1; id=${id};`] : id
        resolver.set(name, 'TXT', withTtl(ttl, secure(...records.map((record) => txt(record)))))
      }
    },
    serve(what) {
      if (typeof what === 'function') served = what
      else if (typeof what === 'string') served = () => Promise.resolve(outcomeOf(what))
      else {
        const problem = { reason: what.problem, detail: 'as the test says' }
        served = () => Promise.resolve({ ok: false, problem })
      }
    },
    worker,
  }
  world.publish('1')
  world.serve(policy())
  return world
}

export function outcomeOf(text: string): FetchOutcome {
  const body = Buffer.from(text)
  const parsed = parsePolicy(body)
  if (parsed.ok) return { ok: true, policy: parsed.policy, body }
  return { ok: false, problem: { reason: 'sts-policy-invalid', detail: parsed.detail } }
}
