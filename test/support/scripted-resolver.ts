/**
 * A Resolver that answers from a table, for tests of everything that asks the DNS.
 *
 * It follows CNAMEs of its table with the weakest-link rule, as the real ones do, and notes every question in order.
 * A type that a listed name lacks is a denial (nodata), a name that is not listed is nxdomain; both secure unless told
 * otherwise, because the fixture of the conformance rows is a signed zone.
 */
import type {
  Answer,
  Denial,
  Failure,
  FailureCause,
  MxRecord,
  Outcome,
  RecordData,
  RecordType,
  ResolveOptions,
  Resolver,
  Security,
  TlsaData,
} from '../../plugins/dnssec-stub/types'

type Known<R> = Omit<Answer<RecordType>, 'records'> & { readonly records: readonly R[] }

/** What the table may hold for one name and type. */
export type Reply<R> =
  | Known<R>
  | Denial
  | Failure
  /** Never answers; ends as failed/aborted when the caller's signal fires. */
  | { readonly kind: 'hang' }
  /** One reply for each question in turn; the last one stays. */
  | { readonly kind: 'turns'; readonly replies: readonly Reply<R>[] }
  /** Asked anew each time; it may throw, reject or answer late. */
  | ((question: Question, options: ResolveOptions) => Reply<R> | Promise<Reply<R>>)

export interface Question {
  readonly name: string
  readonly type: RecordType
}

export type Zone = Readonly<Record<string, { readonly [T in RecordType]?: Reply<RecordData[T]> }>>

export interface ScriptedResolver extends Resolver {
  /** Every question as it came in, names lower-cased and without trailing dot. Hops along CNAMEs are not noted. */
  readonly questions: readonly Question[]
  /** The same as `name TYPE`, for comparing whole logs. */
  log(): string[]
  /** How often this was asked. */
  asked(name: string, type: RecordType): number
  /** Changes the table while a test runs. */
  set<T extends RecordType>(name: string, type: T, reply: Reply<RecordData[T]>): void
  /** Forgets the questions so far. */
  forget(): void
}

const DEFAULT_TTL = 300
const MAX_ALIASES = 16

/** A secure answer. */
export function secure<R>(...records: R[]): Known<R> {
  return { kind: 'answer', security: 'secure', ttl: DEFAULT_TTL, aliases: [], records }
}

/** An answer without the AD bit. */
export function insecure<R>(...records: R[]): Known<R> {
  return { kind: 'answer', security: 'insecure', ttl: DEFAULT_TTL, aliases: [], records }
}

export function nodata(security: Security = 'secure', ttl = DEFAULT_TTL): Denial {
  return { kind: 'nodata', security, ttl, aliases: [] }
}

export function nxdomain(security: Security = 'secure', ttl = DEFAULT_TTL): Denial {
  return { kind: 'nxdomain', security, ttl, aliases: [] }
}

export function failed(
  cause: FailureCause = 'servfail',
  extendedError?: { code: number; text: string },
): Failure {
  const detail = `scripted ${cause}`
  return extendedError === undefined
    ? { kind: 'failed', cause, detail }
    : { kind: 'failed', cause, detail, extendedError }
}

export const hang = { kind: 'hang' } as const

export function turns<R>(...replies: Reply<R>[]): Reply<R> {
  return { kind: 'turns', replies }
}

/** The same reply with another TTL. */
export function withTtl<R>(ttl: number, reply: Known<R>): Known<R> {
  return { ...reply, ttl }
}

export function mx(preference: number, exchange: string): MxRecord {
  return { preference, exchange }
}

export function txt(text: string): Buffer {
  return Buffer.from(text)
}

/** @param data octets, or their hex. */
export function tlsa(
  usage: number,
  selector: number,
  matchingType: number,
  data: string | Buffer,
): TlsaData {
  const octets = typeof data === 'string' ? Buffer.from(data.replace(/\s/g, ''), 'hex') : data
  return { malformed: false, usage, selector, matchingType, data: octets }
}

type Table = Map<string, Map<RecordType, Reply<unknown>>>

export function scriptedResolver(
  zone: Zone = {},
  { unlisted = 'secure' }: { unlisted?: Security | 'failed' } = {},
): ScriptedResolver {
  const table: Table = new Map()
  const turnsTaken = new Map<Reply<unknown>, number>()
  const questions: Question[] = []

  const set = (name: string, type: RecordType, reply: Reply<unknown>): void => {
    const key = canonical(name)
    const types = table.get(key) ?? new Map<RecordType, Reply<unknown>>()
    types.set(type, reply)
    table.set(key, types)
  }
  for (const [name, types] of Object.entries(zone)) {
    if (!table.has(canonical(name))) table.set(canonical(name), new Map())
    for (const [type, reply] of Object.entries(types)) set(name, type as RecordType, reply)
  }

  /** What the table holds, down to an outcome. */
  const settle = async (
    reply: Reply<unknown>,
    question: Question,
    options: ResolveOptions,
  ): Promise<Known<unknown> | Denial | Failure> => {
    if (typeof reply === 'function') {
      return settle(await reply(question, options), question, options)
    }
    if (reply.kind === 'hang') return hungUntil(options.signal)
    if (reply.kind !== 'turns') return reply
    const taken = turnsTaken.get(reply) ?? 0
    turnsTaken.set(reply, taken + 1)
    const next = reply.replies[Math.min(taken, reply.replies.length - 1)]
    if (next === undefined) throw new Error('turns() needs at least one reply')
    return settle(next, question, options)
  }

  const denial = (name: string): Denial | Failure => {
    if (unlisted === 'failed') return failed('servfail')
    const exists = [...table.keys()].some((key) => key === name || key.endsWith(`.${name}`))
    return exists ? nodata(unlisted) : nxdomain(unlisted)
  }

  const follow = async (
    question: Question,
    options: ResolveOptions,
    aliases: readonly string[],
  ): Promise<Known<unknown> | Denial | Failure> => {
    const { name, type } = question
    const own = table.get(name)?.get(type)
    if (own !== undefined) return settle(own, question, options)
    const alias = table.get(name)?.get('CNAME')
    if (alias === undefined) return denial(name)
    const link = await settle(alias, { name, type: 'CNAME' }, options)
    if (link.kind !== 'answer') return link
    const target = canonical(String(link.records[0]))
    if (aliases.includes(target) || aliases.length >= MAX_ALIASES) return failed('alias-chain')
    const end = await follow({ name: target, type }, options, [...aliases, target])
    if (end.kind === 'failed') return end
    return {
      ...end,
      security: link.security === 'secure' ? end.security : 'insecure',
      ttl: Math.min(link.ttl, end.ttl),
      aliases: [target, ...end.aliases],
    }
  }

  return {
    questions,
    log: () => questions.map(({ name, type }) => `${name} ${type}`),
    asked: (name, type) =>
      questions.filter((q) => q.name === canonical(name) && q.type === type).length,
    set,
    forget: () => {
      questions.length = 0
    },
    async resolve<T extends RecordType>(name: string, type: T, options: ResolveOptions = {}) {
      const question = { name: canonical(name), type }
      questions.push(question)
      if (options.signal?.aborted === true) return failed('aborted')
      // The table is keyed by type, so what comes out for T was put in for T.
      return (await follow(question, options, [question.name])) as Outcome<T>
    },
  }
}

function canonical(name: string): string {
  return name.toLowerCase().replace(/\.$/, '')
}

function hungUntil(signal: AbortSignal | undefined): Promise<Failure> {
  return new Promise((resolve) => {
    signal?.addEventListener('abort', () => resolve(failed('aborted')), { once: true })
    if (signal?.aborted === true) resolve(failed('aborted'))
  })
}
