/**
 * Asks Redis. An answer comes within the deadline or is a failure: while Redis does not answer at all, the breaker lets most calls
 * fail at once; an error that it answers with costs that one call. Each kind of trouble is told once, and counted for each call.
 */
import { createBreaker, Down } from './breaker'
import type { Commands, Connection } from './connection'
import { isAnswer, type RedisTroubleKind, saying, troubleKind, troubleOf } from './errors'
import { failed, inWords } from '../outcome'
import type { Troubles } from '../troubles'
import type { Stored, StoreTools } from '../types'

/** Milliseconds for one command, and for the few that may return much. */
const DEADLINE = 250
export const LIST_DEADLINE = 5_000
/** The troubles that the breaker tells of. */
export const UNREACHABLE: readonly RedisTroubleKind[] = ['redis-unreachable', 'redis-untrusted']

export type Answered<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly kind: RedisTroubleKind; readonly detail: string }

export type Ask = <T>(call: (redis: Commands) => Promise<T>, ms?: number) => Promise<Stored<T>>

export interface Asking {
  readonly ask: Ask
  /** Tells no trouble but the breaker's: the kind of each is in the answer. */
  readonly askOpenly: <T>(
    call: (redis: Commands) => Promise<T>,
    ms?: number,
  ) => Promise<Answered<T>>
}

export interface AskingTools extends Pick<StoreTools, 'now' | 'count'> {
  readonly connection: Pick<Connection, 'ask' | 'isWhole'>
  readonly troubles: Troubles<RedisTroubleKind>
  /** Aborted when the store is closed. */
  readonly closed: AbortSignal
}

export function createAsking(tools: AskingTools): Asking {
  const { connection, troubles, closed, now, count = () => undefined } = tools
  const breaker = createBreaker({
    now,
    isAnswer,
    isWhole: () => connection.isWhole(),
    onDown: (error) => {
      const kind = troubleKind(error)
      troubles.begin(troubleOf(kind, inWords(error), 'going on with what this machine knows'))
    },
    onBack: () => {
      for (const kind of UNREACHABLE) troubles.over(kind, 'Redis is back')
    },
  })

  const askOpenly: Asking['askOpenly'] = async (call, ms = DEADLINE) => {
    try {
      return { ok: true, value: await breaker.run(ms, () => connection.ask(call)) }
    } catch (error) {
      const kind = error instanceof Down ? 'redis-unreachable' : troubleKind(error)
      count(kind)
      return { ok: false, kind, detail: failed(inWords(error)).detail }
    }
  }
  const ask: Ask = async (call, ms) => {
    const answered = await askOpenly(call, ms)
    if (answered.ok) return answered
    const { kind, detail } = answered
    if (!UNREACHABLE.includes(kind) && !closed.aborted) {
      const meanwhile = 'what it still does is used, and this machine keeps the rest'
      troubles.begin(troubleOf(kind, detail, meanwhile))
    }
    // Without Redis' own words, which may name its address: it becomes a part of what a sender reads.
    return failed(saying(kind))
  }
  return { ask, askOpenly }
}
