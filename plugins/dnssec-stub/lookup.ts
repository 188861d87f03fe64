/**
 * From single questions to lookups: what both backends have in common. Promises: a lookup ends within its deadline, counted
 * from its turn (gate.ts), at its caller's signal or when the resolver is closed, always with an outcome; an alias chain is followed for so many
 * hops and is as secure as its weakest link (RFC 7672 §2.1.3); nothing is asked for a name that the DNS cannot hold.
 */
import { onAbort } from './abort'
import { gate, type GateLimits } from './gate'
import { zoneOf } from './line'
import { canonicalName, printable } from './names'
import { extendedErrorOf, MAX_ALIASES, type Finding } from './reply'
import type {
  Failure,
  FailureCause,
  Outcome,
  RecordType,
  ResolveOptions,
  Resolver,
  Security,
} from './types'
import { lineClock, type LineClock } from './time-limit'
import type { Message, Question } from './wire'

/** What one question came to: one or more links of an alias chain, and perhaps the end. */
export type Step<T extends RecordType> =
  (Exclude<Finding<T>, { kind: 'failed' }> & { readonly security: Security }) | Failure

/**
 * Asks one question, without following aliases any further than the reply does. Ends when the signal fires.
 * @param rest To be awaited before the same server is asked the same once more: in a crowd until it has given the first one up.
 */
export type Ask = <T extends RecordType>(
  question: Question & { readonly type: T },
  signal: AbortSignal,
  rest: () => Promise<void>,
) => Promise<Step<T>>

type AskOnce = <T extends RecordType>(
  question: Question & { readonly type: T },
  signal: AbortSignal,
) => Promise<Step<T>>

export interface LookupOptions {
  /** For a whole lookup with all its tries and aliases, milliseconds; time in line is not counted. */
  readonly deadlineMs: number
  readonly limits: GateLimits
  /** Milliseconds of a clock that never steps; default: node's. */
  readonly now?: () => number
  /** Told of the line. */
  readonly clock?: LineClock
}

export interface ClosableResolver extends Resolver {
  /** Ends all pending lookups with failed/aborted, and all later ones. */
  close(): void
}

/** A resolver that asks by `ask`. */
export function resolverOver(ask: Ask, options: LookupOptions): ClosableResolver {
  const { deadlineMs, now = () => performance.now() } = options
  const entrance = gate(options.limits, options.clock ?? lineClock(now), now)
  const pending = new Set<AbortController>()
  let closed = false

  return {
    async resolve<T extends RecordType>(
      name: string,
      type: T,
      { signal, background = false }: ResolveOptions = {},
    ): Promise<Outcome<T>> {
      const canonical = canonicalName(name)
      if (canonical === undefined) return failure('bad-name', `"${name}" cannot be asked for`)
      if (closed || signal?.aborted === true) return failure('aborted', 'aborted')

      const lookup = new AbortController()
      const abort = (): void => lookup.abort()
      let isLate = false
      let timer: NodeJS.Timeout | undefined
      pending.add(lookup)
      const leaveSignal = signal && onAbort(signal, abort)
      const zone = zoneOf(canonical)
      const leave = await entrance.enter(zone, lookup.signal, background)
      const entered = now()
      const rest = (): Promise<void> => pause(entrance.restMs(zone, entered), lookup.signal)
      let isAnswered = true
      try {
        if (leave === 'full') return failure('network', 'too many lookups wait in this process')
        if (leave !== undefined) {
          timer = setTimeout(() => {
            isLate = true
            lookup.abort()
          }, deadlineMs)
          const asks: AskOnce = (question, end) => ask(question, end, rest)
          const outcome = await follow(canonical, type, asks, lookup.signal)
          isAnswered = outcome.kind !== 'failed' || !UNANSWERED.includes(outcome.cause)
          if (!lookup.signal.aborted) return outcome
          if (isLate && outcome.kind === 'failed' && outcome.cause !== 'aborted') return outcome
        }
        return isLate
          ? failure('timeout', `no outcome within ${deadlineMs} ms`)
          : failure('aborted', 'aborted')
      } finally {
        if (leave !== 'full') leave?.(isAnswered)
        clearTimeout(timer)
        pending.delete(lookup)
        leaveSignal?.()
      }
    },
    close() {
      closed = true
      for (const lookup of pending) lookup.abort()
    },
  }
}

/** The server may have the question still. */
const UNANSWERED: readonly FailureCause[] = ['timeout', 'aborted']

/** Ends early where the signal fires. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  if (milliseconds <= 0 || signal.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', over)
      resolve()
    }
    const timer = setTimeout(over, milliseconds)
    signal.addEventListener('abort', over, { once: true })
  })
}

async function follow<T extends RecordType>(
  name: string,
  type: T,
  ask: AskOnce,
  signal: AbortSignal,
): Promise<Outcome<T>> {
  const aliases: string[] = []
  let security: Security = 'secure'
  let ttl = Number.POSITIVE_INFINITY
  for (let at = name; ;) {
    const step = await ask({ name: at, type }, signal)
    if (step.kind === 'failed') return step
    if (step.security === 'insecure') security = 'insecure'
    ttl = Math.min(ttl, step.ttl)
    for (const alias of step.aliases) {
      if (alias === name || aliases.includes(alias)) {
        return failure('alias-chain', `CNAME loop at ${alias}`)
      }
      aliases.push(alias)
    }
    if (aliases.length > MAX_ALIASES) {
      return failure('alias-chain', `more than ${MAX_ALIASES} CNAMEs`)
    }

    const known = { security, ttl, aliases }
    if (step.kind === 'answer') return { kind: 'answer', records: step.records, ...known }
    if (step.kind !== 'onward') return { kind: step.kind, ...known }
    const target = canonicalName(step.target)
    if (target === undefined) {
      return failure('alias-chain', `CNAME to ${step.target}, which cannot be asked for`)
    }
    at = target
  }
}

/** A failure whose detail is fit for a log line, whatever went into it. */
export function failure(cause: FailureCause, detail: string): Failure {
  return { kind: 'failed', cause, detail: printable(detail, 500) }
}

/** A failure with the reply's extended error, where it has one. */
export function failureWith(message: Message, cause: FailureCause, said: string): Failure {
  const extendedError = extendedErrorOf(message)
  if (extendedError === undefined) return failure(cause, said)
  const { code, text } = extendedError
  const detail = `${said}, extended error ${code}${text === '' ? '' : ` (${text})`}`
  return { ...failure(cause, detail), extendedError }
}
