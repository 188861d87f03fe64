/**
 * Facts that rest on no insecure answer of a resolver that has gone blind since it was last tested. Such a resolver says insecure
 * of everything, and everything would look as if it had no DANE. So the first insecure answer starts a self-test, which runs
 * beside the lookups that are still to come; only what follows from these is waited for. Secure answers carry their proof.
 */
import type { Failure, Outcome, RecordType, Resolver } from '../dnssec-stub/types'
import type { Facts } from './types'

export interface Confirmation {
  readonly resolver: Resolver
  /** @returns why insecure answers up to now cannot be believed */
  readonly confirm: () => Promise<Failure | undefined>
  /** Milliseconds of a clock that never steps. */
  readonly ticks: () => number
}

/** For so long after a test has begun, what comes in insecurely needs no further one: no resolver is restarted in less. */
const GOOD_FOR_MS = 1000

/**
 * @param work Asks through the resolver that it is given, and through no other.
 * @returns The facts; without any host, and with the MX lookup failed, where the answers cannot be believed.
 */
export async function confirmed(
  { resolver, confirm, ticks }: Confirmation,
  work: (resolver: Resolver) => Promise<Facts>,
): Promise<Facts> {
  const tests: Promise<Failure | undefined>[] = []
  let began = Number.NEGATIVE_INFINITY

  const note = (outcome: Outcome<RecordType>): void => {
    if (outcome.kind === 'failed' || outcome.security === 'secure') return
    if (ticks() - began < GOOD_FOR_MS) return
    began = ticks()
    tests.push(confirm())
  }
  const facts = await work({
    async resolve(name, type, options) {
      const outcome = await resolver.resolve(name, type, options)
      note(outcome)
      return outcome
    },
  })
  const failure = (await Promise.all(tests)).find((one) => one !== undefined)
  return failure ? { ...facts, mx: { kind: 'failed', failure }, hosts: [] } : facts
}
