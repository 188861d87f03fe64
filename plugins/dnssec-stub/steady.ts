/**
 * A resolver that stays one while what is behind it changes. Promises: an insecure answer, or a failure, of servers that were
 * left while it was under way, or whose word on security is worth more or less since, is not handed out; the question is asked
 * anew. And trouble is noticed where it shows first: many lookups in a row that fail, or one that does not while nobody was
 * thought to answer.
 */
import { failure } from './lookup'
import type { FailureCause, Outcome, RecordType, ResolveOptions, Resolver } from './types'

export interface SteadyOptions {
  /** Another number whenever other servers are asked, or what they say of security is worth something else. */
  readonly era: () => number
  /** Before each question. */
  readonly beforeAsking: () => void
  /** Lookups fail, one after the other. */
  readonly onTrouble: () => void
  /** A lookup has not failed. */
  readonly onAnswer: () => void
}

/** So many failures in a row are trouble, each time. */
const BURST = 5
/** What says something of the servers, and not of the name alone. */
const TELLING: readonly FailureCause[] = [
  'servfail',
  'refused',
  'rcode',
  'timeout',
  'network',
  'malformed',
]
/** A resolver that changes faster than it answers is none. */
const MOST_ROUNDS = 4

export function steady(resolver: Resolver, options: SteadyOptions): Resolver {
  const { era, beforeAsking, onTrouble, onAnswer } = options
  let failed = 0

  const note = (outcome: Outcome<RecordType>): void => {
    if (outcome.kind !== 'failed') {
      failed = 0
      onAnswer()
    } else if (TELLING.includes(outcome.cause)) {
      failed++
      if (failed % BURST === 0) onTrouble()
    }
  }

  return {
    async resolve<T extends RecordType>(
      name: string,
      type: T,
      how: ResolveOptions = {},
    ): Promise<Outcome<T>> {
      for (let round = 0; round < MOST_ROUNDS; round++) {
        beforeAsking()
        const begun = era()
        const outcome = await resolver.resolve(name, type, how)
        note(outcome)
        const isSecure = outcome.kind !== 'failed' && outcome.security === 'secure'
        if (isSecure || era() === begun || how.signal?.aborted === true) return outcome
      }
      return failure('servfail', 'the servers changed while they were asked, again and again')
    },
  }
}
