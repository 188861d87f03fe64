/**
 * The `ad` backend: asks validating resolvers and believes their AD bit where the path to them is trusted (servers.ts).
 * Promises: nothing but a well-formed reply to the very question is an answer or a denial. Refuses to be talked down:
 * once a validator said that data is bogus, or where some servers are trusted and others are not, no reply of lesser
 * standing takes the place of the trusted one.
 */
import { exchange, type Exchanged } from './exchange'
import {
  failure,
  failureWith,
  resolverOver,
  type Ask,
  type ClosableResolver,
  type Step,
} from './lookup'
import { interpret } from './reply'
import { serverText, type TrustedServer } from './servers'
import type { Failure, FailureCause, RecordType } from './types'
import type { Question } from './wire'

export interface AdOptions {
  /** Asked in this order, the one that answered last first. Not empty. */
  readonly servers: readonly TrustedServer[]
  /** For one try at one server, milliseconds. */
  readonly timeoutMs: number
  /** For a whole lookup with all its tries and aliases, milliseconds. */
  readonly deadlineMs: number
  /** How many lookups may be under way at a time. */
  readonly concurrency: number
  /** A fresh unpredictable number from 0 to 65535. */
  readonly randomId: () => number
}

/** How often a server that kept silent, could not be reached or was not understood is asked one question. */
const TRIES = 2

/** The servers that are asked: where any is trusted, the others are left out, lest silencing one strips security. */
export function serversAsked(servers: readonly TrustedServer[]): readonly TrustedServer[] {
  const trusted = servers.filter((server) => server.trusted)
  return trusted.length > 0 ? trusted : servers
}

/** Makes the resolver; it opens no socket before the first lookup. */
export function adResolver(options: AdOptions): ClosableResolver {
  const { timeoutMs, randomId } = options
  const servers = serversAsked(options.servers)
  let firstChoice = 0

  const ask: Ask = async <T extends RecordType>(
    question: Question & { readonly type: T },
    signal: AbortSignal,
  ): Promise<Step<T>> => {
    const failures = new Map<TrustedServer, Failure>()
    const order = [...servers.slice(firstChoice), ...servers.slice(0, firstChoice)]
    for (let tries = 0; tries < TRIES; tries++) {
      for (const server of order) {
        if (!mayAskAgain(failures.get(server))) continue
        const exchanged = await exchange(server, question, { timeoutMs, signal, randomId })
        const step = judge(server, exchanged, question)
        if (step.kind === 'failed') {
          if (step.cause === 'aborted') return worst(failures) ?? step
          failures.set(server, step)
          continue
        }
        const bogus = [...failures.values()].find(({ cause }) => cause === 'bogus')
        if (bogus !== undefined && step.security !== 'secure') return bogus
        firstChoice = servers.indexOf(server)
        return step
      }
    }
    return worst(failures) ?? failure('network', 'no server to ask')
  }

  return resolverOver(ask, options)
}

function judge<T extends RecordType>(
  server: TrustedServer,
  exchanged: Exchanged,
  question: Question & { readonly type: T },
): Step<T> {
  if (exchanged.kind === 'failed') {
    return failure(exchanged.cause, `${serverText(server)}: ${exchanged.why}`)
  }
  const { message } = exchanged
  const finding = interpret(message, question)
  if (finding.kind !== 'failed') {
    const isSecure = server.trusted && message.head.authenticData
    return { ...finding, security: isSecure ? 'secure' : 'insecure' }
  }
  return failureWith(message, finding.cause, `${serverText(server)}: ${finding.why}`)
}

/** A server that answered has said its word; silence and noise may be accidents of the way. */
function mayAskAgain(earlier: Failure | undefined): boolean {
  return earlier === undefined || ['timeout', 'network', 'malformed'].includes(earlier.cause)
}

/** What to report when all servers failed: the cause that says most about the name asked for. */
const TELLING: readonly FailureCause[] = [
  'bogus',
  'alias-chain',
  'servfail',
  'rcode',
  'refused',
  'malformed',
  'timeout',
  'network',
]

function worst(failures: ReadonlyMap<TrustedServer, Failure>): Failure | undefined {
  const all = [...failures.values()]
  const [first] = all.sort((a, b) => TELLING.indexOf(a.cause) - TELLING.indexOf(b.cause))
  if (first === undefined) return undefined
  return { ...first, detail: all.map(({ detail }) => detail).join('; ') }
}
