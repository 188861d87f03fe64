/**
 * The `ad` backend: asks validating resolvers and believes their AD bit where the path to them is trusted (servers.ts).
 * Promises: nothing but a well-formed reply to the very question is an answer or a denial. Refuses to be talked down:
 * once a validator said that data is bogus, or where some servers are trusted and others are not, no reply of lesser
 * standing takes the place of the trusted one.
 */
import { limits } from './gate'
import { failure, resolverOver, type Ask, type ClosableResolver, type Step } from './lookup'
import type { TrustedServer } from './servers'
import type { Failure, FailureCause, Health, RecordType } from './types'
import type { LineClock } from './time-limit'
import { udpSockets } from './udp-sockets'
import { roomForReplies, upstream, type UpstreamOptions } from './upstream'
import type { Question } from './wire'

export interface AdOptions extends UpstreamOptions {
  /** Asked in this order, the one that answered last first. Not empty. */
  readonly servers: readonly TrustedServer[]
  /** For a whole lookup with all its tries and aliases, milliseconds; time in line is not counted. */
  readonly deadlineMs: number
  /** How many lookups may be under way at a time. */
  readonly concurrency: number
  /** How often a server that kept silent, could not be reached or was not understood is asked one question; default 2. */
  readonly attempts?: number
  /** Begin with another server each time. */
  readonly rotate?: boolean
  /** Milliseconds of a clock that never steps; default: node's. */
  readonly now?: () => number
  /** Told of the line. */
  readonly clock?: LineClock
}

export interface AdResolver extends ClosableResolver {
  /** Self-tests of each server that is asked, which begin after this call. Never rejects. */
  test(): Promise<readonly Health[]>
  /**
   * What self-tests say that began after the latest insecure answer of each server. A server that gave none since its last
   * test is not tested.
   */
  confirm(): Promise<readonly Health[]>
}

const ATTEMPTS = 2

/** A burst larger than this was seen to overflow the socket of a resolver on the same machine. */
const ABREAST = 128
/** Longer than the way to a resolver and back; what is in its cache has been answered by then. */
const ASIDE_MS = 25
/** Unbound was seen to try name servers that never answer for about eleven seconds. */
const HELD_MS = 12_000

/** The servers that are asked: where any is trusted, the others are left out, lest silencing one strips security. */
export function serversAsked(servers: readonly TrustedServer[]): readonly TrustedServer[] {
  const trusted = servers.filter((server) => server.trusted)
  return trusted.length > 0 ? trusted : servers
}

/** Makes the resolver; it opens no socket before the first lookup. */
export function adResolver(options: AdOptions): AdResolver {
  const { attempts = ATTEMPTS, rotate = false } = options
  const [sockets, room] = [udpSockets(), roomForReplies()]
  const upstreams = serversAsked(options.servers).map((server) =>
    upstream(server, { ...options, sockets, room }),
  )
  let firstChoice = 0

  const ask: Ask = async <T extends RecordType>(
    question: Question & { readonly type: T },
    signal: AbortSignal,
    rest: () => Promise<void>,
  ): Promise<Step<T>> => {
    const failures = new Map<TrustedServer, Failure>()
    const order = [...upstreams.slice(firstChoice), ...upstreams.slice(0, firstChoice)]
    if (rotate) firstChoice = (firstChoice + 1) % Math.max(1, upstreams.length)
    for (let tries = 0; tries < attempts; tries++) {
      for (const one of order) {
        const { server } = one
        const earlier = failures.get(server)
        if (!mayAskAgain(earlier)) continue
        if (earlier?.cause === 'timeout') await rest()
        const step = await one.ask(question, signal, { again: tries > 0 })
        if (step.kind === 'failed') {
          if (step.cause === 'aborted') return worst(failures) ?? step
          failures.set(server, step)
          continue
        }
        const bogus = [...failures.values()].find(({ cause }) => cause === 'bogus')
        if (bogus !== undefined && step.security !== 'secure') return bogus
        if (!rotate) firstChoice = upstreams.indexOf(one)
        return step
      }
    }
    return worst(failures) ?? failure('network', 'no server to ask')
  }

  const resolver = resolverOver(ask, {
    ...options,
    limits: limits(options.concurrency, {
      abreast: ABREAST,
      asideMs: ASIDE_MS,
      background: 32,
      heldMs: HELD_MS,
    }),
  })
  return {
    resolve: (name, type, resolveOptions) => resolver.resolve(name, type, resolveOptions),
    test: () => Promise.all(upstreams.map((one) => one.test())),
    confirm: () => Promise.all(upstreams.flatMap((one) => one.confirm() ?? [])),
    close() {
      resolver.close()
      for (const one of upstreams) one.close()
    },
  }
}

/** A server that answered has said its word; silence and noise may be accidents of the way. */
function mayAskAgain(earlier: Failure | undefined): boolean {
  return earlier === undefined || ['timeout', 'network', 'malformed'].includes(earlier.cause)
}

/** What to report when all servers failed: the cause that says most about the name asked for. */
const TELLING: readonly FailureCause[] = [
  'bogus',
  'alias-chain',
  'too-large',
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
