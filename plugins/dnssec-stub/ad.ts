/**
 * The `ad` backend: asks validating resolvers and believes their AD bit where the path to them is trusted (servers.ts).
 * Promises: every lookup ends within its deadline with an outcome; nothing but a well-formed reply to the very question
 * is an answer or a denial; an alias chain is as secure as its weakest link (RFC 7672 §2.1.3). Refuses to be talked
 * down: once a validator said that data is bogus, or where some servers are trusted and others are not, no reply of
 * lesser standing takes the place of the trusted one.
 */
import { exchange, type Exchanged } from './exchange'
import { canonicalName, printable } from './names'
import { extendedErrorOf, interpret, MAX_ALIASES, type Finding } from './reply'
import { serverText, type TrustedServer } from './servers'
import type {
  Failure,
  FailureCause,
  Outcome,
  RecordType,
  ResolveOptions,
  Resolver,
  Security,
} from './types'
import type { Question } from './wire'

export interface AdOptions {
  /** Asked in this order, the one that answered last first. Not empty. */
  readonly servers: readonly TrustedServer[]
  /** For one try at one server, milliseconds. */
  readonly timeoutMs: number
  /** For a whole lookup with all its tries and aliases, milliseconds. */
  readonly deadlineMs: number
  /** Milliseconds of a clock that never steps. */
  readonly now: () => number
  /** A fresh unpredictable number from 0 to 65535. */
  readonly randomId: () => number
}

export interface ClosableResolver extends Resolver {
  /** Ends all pending lookups with failed/aborted, and all later ones. */
  close(): void
}

/** How often a server that kept silent, could not be reached or was not understood is asked in one lookup. */
const TRIES = 2

type Replied<T extends RecordType> = Exclude<Finding<T>, { kind: 'failed' }> & {
  readonly security: Security
}

/** The servers that are asked: where any is trusted, the others are left out, lest silencing one strips security. */
export function serversAsked(servers: readonly TrustedServer[]): readonly TrustedServer[] {
  const trusted = servers.filter((server) => server.trusted)
  return trusted.length > 0 ? trusted : servers
}

/** Makes the resolver; it opens no socket before the first lookup. */
export function adResolver(options: AdOptions): ClosableResolver {
  const { timeoutMs, deadlineMs, now, randomId } = options
  const servers = serversAsked(options.servers)
  const pending = new Set<AbortController>()
  let closed = false
  let firstChoice = 0

  /** One name, one type, no aliases followed: goes through the servers until one says something. */
  const ask = async <T extends RecordType>(
    question: Question & { type: T },
    deadline: number,
    signal: AbortSignal,
  ): Promise<Replied<T> | Failure> => {
    const failures = new Map<TrustedServer, Failure>()
    for (let tries = 0; tries < TRIES; tries++) {
      for (let step = 0; step < servers.length; step++) {
        const index = (firstChoice + step) % servers.length
        const server = servers[index]
        if (server === undefined || !mayAskAgain(failures.get(server))) continue
        if (now() >= deadline) return worst(failures) ?? failure('timeout', 'no time left')

        const exchanged = await exchange(server, question, {
          timeoutMs: () => Math.max(1, Math.min(timeoutMs, deadline - now())),
          signal,
          randomId,
        })
        const reply = judge(server, exchanged, question)
        if (reply.kind === 'failed') {
          if (reply.cause === 'aborted') return reply
          failures.set(server, reply)
          continue
        }
        const bogus = [...failures.values()].find(({ cause }) => cause === 'bogus')
        if (bogus !== undefined && reply.security !== 'secure') return bogus
        firstChoice = index
        return reply
      }
    }
    return worst(failures) ?? failure('network', 'no server to ask')
  }

  const lookUp = async <T extends RecordType>(
    name: string,
    type: T,
    signal: AbortSignal,
  ): Promise<Outcome<T>> => {
    const deadline = now() + deadlineMs
    const aliases: string[] = []
    let security: Security = 'secure'
    let ttl = Number.POSITIVE_INFINITY
    for (let at = name; ;) {
      const reply = await ask({ name: at, type }, deadline, signal)
      if (reply.kind === 'failed') return reply
      if (reply.security === 'insecure') security = 'insecure'
      ttl = Math.min(ttl, reply.ttl)
      for (const alias of reply.aliases) {
        if (alias === name || aliases.includes(alias))
          return failure('alias-chain', `CNAME loop at ${alias}`)
        aliases.push(alias)
      }
      if (aliases.length > MAX_ALIASES)
        return failure('alias-chain', `more than ${MAX_ALIASES} CNAMEs`)

      const known = { security, ttl, aliases }
      if (reply.kind === 'answer') return { kind: 'answer', records: reply.records, ...known }
      if (reply.kind !== 'onward') return { kind: reply.kind, ...known }
      const target = canonicalName(reply.target)
      if (target === undefined)
        return failure('alias-chain', `CNAME to ${reply.target}, which cannot be asked for`)
      at = target
    }
  }

  return {
    async resolve<T extends RecordType>(
      name: string,
      type: T,
      { signal }: ResolveOptions = {},
    ): Promise<Outcome<T>> {
      const canonical = canonicalName(name)
      if (canonical === undefined) return failure('bad-name', `"${name}" cannot be asked for`)
      if (closed || signal?.aborted === true) return failure('aborted', 'aborted')
      const lookup = new AbortController()
      const abort = (): void => lookup.abort()
      pending.add(lookup)
      signal?.addEventListener('abort', abort, { once: true })
      try {
        return await lookUp(canonical, type, lookup.signal)
      } finally {
        pending.delete(lookup)
        signal?.removeEventListener('abort', abort)
      }
    },
    close() {
      closed = true
      for (const lookup of pending) lookup.abort()
    },
  }
}

function judge<T extends RecordType>(
  server: TrustedServer,
  exchanged: Exchanged,
  question: Question & { type: T },
): Replied<T> | Failure {
  if (exchanged.kind === 'failed') {
    return failure(exchanged.cause, `${serverText(server)}: ${exchanged.why}`)
  }
  const { message } = exchanged
  const finding = interpret(message, question)
  if (finding.kind !== 'failed') {
    return {
      ...finding,
      security: server.trusted && message.head.authenticData ? 'secure' : 'insecure',
    }
  }
  const extendedError = extendedErrorOf(message)
  const said = `${serverText(server)}: ${finding.why}`
  if (extendedError === undefined) return failure(finding.cause, said)
  const { code, text } = extendedError
  const detail = `${said}, extended error ${code}${text === '' ? '' : ` (${text})`}`
  return { ...failure(finding.cause, detail), extendedError }
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
  return first === undefined
    ? undefined
    : { ...first, detail: all.map(({ detail }) => detail).join('; ') }
}

function failure(cause: FailureCause, detail: string): Failure {
  return { kind: 'failed', cause, detail: printable(detail, 500) }
}
