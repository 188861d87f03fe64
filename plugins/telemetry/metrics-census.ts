/**
 * Counts the cached policies for the metrics: seldom, because the store may hold millions, and never twice at a time, in the
 * whole cluster: who has counted leaves the numbers for the others. The longer a count takes, the longer it holds.
 * Who asks gets the last count, and waits for a newer one only briefly. Never rejects.
 */
import type { KnownPolicy } from '../mta-sts/types'
import type { PolicyCount } from './metrics'

export interface CensusOptions {
  /** Every policy that holds now. */
  readonly each: () => AsyncIterable<KnownPolicy>
  /** Whether mail still goes to a domain: what is in use is refreshed long before it ends. */
  readonly isInUse: (domain: string) => Promise<boolean>
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** Milliseconds between two counts; default five minutes. */
  readonly everyMs?: number
  /** Milliseconds that one who asks waits; default one second. */
  readonly patienceMs?: number
  /** What the workers of the cluster have in common; default: nothing. */
  readonly common?: CommonCount
}

/** Never rejects. */
export interface CommonCount {
  /** What anybody has left, as long as it holds. */
  recall(): Promise<string | undefined>
  leave(numbers: string, ms: number): Promise<void>
  /** @returns whether it is this worker's turn; nobody else's for so long, unless it is given back */
  claim(ms: number): Promise<boolean>
  giveBack(): Promise<void>
}

/** Each worker for itself. */
const ALONE: CommonCount = {
  recall: () => Promise.resolve(undefined),
  leave: () => Promise.resolve(),
  claim: () => Promise.resolve(true),
  giveBack: () => Promise.resolve(),
}

const EVERY = 300_000
const PATIENCE = 1000
/** Milliseconds: shorter policies are near their end all the time, and so refreshed by mail rather than ahead of it. */
const SHORTEST = 8 * 3_600_000
/** A count takes at most this share of the time. */
const SHARE = 1 / 100
/** Milliseconds until another worker counts, when the one that began has died. */
const CLAIM = 3_600_000
const MODES = ['enforce', 'testing', 'none'] as const
const NUMBERS = /^[0-9]{1,12}(?: [0-9]{1,12}){5}$/

export function createCensus(
  options: CensusOptions,
): () => Promise<readonly PolicyCount[] | undefined> {
  const { clock, everyMs = EVERY, patienceMs = PATIENCE, common = ALONE } = options
  let last: readonly PolicyCount[] | undefined
  let counting: Promise<void> | undefined
  let countedAt = -Infinity
  let holdsMs = everyMs

  const countAnew = async (): Promise<void> => {
    const left = readNumbers(await common.recall())
    if (left !== undefined) {
      last = left
      return
    }
    // Another worker is counting: what was known until now does for so long.
    if (!(await common.claim(CLAIM))) return
    const started = clock()
    try {
      last = await count(options)
      holdsMs = Math.max(everyMs, (clock() - started) / SHARE)
      await common.leave(writeNumbers(last), holdsMs)
    } finally {
      await common.giveBack()
    }
  }
  const start = (): Promise<void> => {
    holdsMs = everyMs
    return (
      countAnew()
        // A store that fails gives no number; the next look asks it again.
        .catch(() => {
          last = undefined
        })
        .finally(() => {
          countedAt = clock()
          counting = undefined
        })
    )
  }

  return async () => {
    const age = clock() - countedAt
    // A clock that was set back must not stop the counting.
    if (age >= holdsMs || age < 0) counting ??= start()
    if (counting !== undefined) await atMost(counting, patienceMs)
    return last
  }
}

async function count({ each, isInUse, clock }: CensusOptions): Promise<readonly PolicyCount[]> {
  const held = { enforce: 0, testing: 0, none: 0 }
  const expiring = { enforce: 0, testing: 0, none: 0 }
  for await (const known of each()) {
    const { mode } = known.policy
    held[mode] += 1
    if (isNearItsEnd(known, clock()) && (await isInUse(known.domain))) expiring[mode] += 1
  }
  return MODES.map((mode) => ({ mode, held: held[mode], expiring: expiring[mode] }))
}

function writeNumbers(counts: readonly PolicyCount[]): string {
  return counts.flatMap(({ held, expiring }) => [held, expiring]).join(' ')
}

/** What others have left is a line of numbers, or nothing. */
function readNumbers(text: string | undefined): readonly PolicyCount[] | undefined {
  if (text === undefined || !NUMBERS.test(text)) return undefined
  const numbers = text.split(' ').map(Number)
  return MODES.map((mode, n) => ({
    mode,
    held: numbers[2 * n] ?? 0,
    expiring: numbers[2 * n + 1] ?? 0,
  }))
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
