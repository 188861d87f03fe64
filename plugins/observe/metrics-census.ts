/**
 * Counts the cached policies for the metrics: seldom, because the store may hold many thousands, and never twice at a time.
 * Who asks gets the last count, and waits for a newer one only briefly. Never rejects.
 */
import type { KnownPolicy } from '../mta-sts/types'
import type { PolicyCount } from './metrics'

export interface CensusOptions {
  /** Every policy that holds now. */
  readonly list: () => Promise<readonly KnownPolicy[]>
  /** Whether mail still goes to a domain: what is in use is refreshed long before it ends. */
  readonly isInUse: (domain: string) => Promise<boolean>
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** Milliseconds between two counts; default five minutes. */
  readonly everyMs?: number
  /** Milliseconds that one who asks waits; default one second. */
  readonly patienceMs?: number
}

const EVERY = 300_000
const PATIENCE = 1000
/** Milliseconds: shorter policies are near their end all the time, and so refreshed by mail rather than ahead of it. */
const SHORTEST = 8 * 3_600_000

export function createCensus(
  options: CensusOptions,
): () => Promise<readonly PolicyCount[] | undefined> {
  const { clock, everyMs = EVERY, patienceMs = PATIENCE } = options
  let last: readonly PolicyCount[] | undefined
  let counting: Promise<void> | undefined
  let countedAt = -Infinity

  const start = (): Promise<void> =>
    count(options)
      .then((counted) => {
        last = counted
      })
      // A store that fails gives no number; the next look asks it again.
      .catch(() => {
        last = undefined
      })
      .finally(() => {
        countedAt = clock()
        counting = undefined
      })

  return async () => {
    const age = clock() - countedAt
    // A clock that was set back must not stop the counting.
    if (age >= everyMs || age < 0) counting ??= start()
    if (counting !== undefined) await atMost(counting, patienceMs)
    return last
  }
}

async function count({ list, isInUse, clock }: CensusOptions): Promise<readonly PolicyCount[]> {
  const modes = ['enforce', 'testing', 'none'] as const
  const held = { enforce: 0, testing: 0, none: 0 }
  const expiring = { enforce: 0, testing: 0, none: 0 }
  for (const known of await list()) {
    const { mode } = known.policy
    held[mode] += 1
    if (isNearItsEnd(known, clock()) && (await isInUse(known.domain))) expiring[mode] += 1
  }
  return modes.map((mode) => ({ mode, held: held[mode], expiring: expiring[mode] }))
}

function isNearItsEnd({ policy, expiresAt }: KnownPolicy, now: number): boolean {
  const lifetime = policy.maxAge * 1000
  return lifetime >= SHORTEST && expiresAt - now < lifetime / 4
}

async function atMost(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  try {
    await Promise.race([work, patience])
  } finally {
    clearTimeout(timer)
  }
}
