/**
 * Tries every command that the store needs on keys of its own, which live for seconds: a right that the user lacks, or a Redis
 * that takes no writes, shows before a policy is lost to it.
 */
import { failed } from '../outcome'
import type { Commands } from './connection'
import { type RedisTroubleKind, troubleOf } from './errors'
import { ACQUIRE, RELEASE, SET_AND_TELL, TAKE_DUE } from './scripts'
import type { StoreTrouble } from '../troubles'

export type Examined = readonly StoreTrouble<RedisTroubleKind>[]

interface ExamTools {
  readonly ask: (
    call: (redis: Commands) => Promise<unknown>,
  ) => Promise<
    | { readonly ok: true }
    | { readonly ok: false; readonly kind: RedisTroubleKind; readonly detail: string }
  >
  readonly prefix: string
  readonly channel: string
}

/** Milliseconds. */
const LIFETIME = 10_000
/** No mail goes to a domain of this name (RFC 2606). */
const TRIAL_DOMAIN = 'doctor.invalid'

interface Trial {
  /** What is lost without it. */
  readonly lost: string
  readonly call: (redis: Commands) => Promise<unknown>
}

/** @returns one trouble for each kind, with all that is lost by it; none where Redis does all that it should */
export async function examine({ ask, prefix, channel }: ExamTools): Promise<Examined> {
  const key = `${prefix}:{${TRIAL_DOMAIN}}:trial`
  const agenda = `${prefix}:{${TRIAL_DOMAIN}}:agenda`
  const lease = `${prefix}:{${TRIAL_DOMAIN}}:lease`
  const lifetime = String(LIFETIME)
  const expiration = { type: 'PX', value: LIFETIME } as const
  const trials: readonly Trial[] = [
    {
      lost: 'reading policies (getrange)',
      call: (redis) => redis.getRange(key, 0, 0),
    },
    {
      lost: 'sharing policies (eval, set, publish)',
      call: (redis) =>
        redis.eval(SET_AND_TELL, { keys: [key], arguments: ['', lifetime, channel, ''] }),
    },
    {
      lost: 'sharing failures and use (set)',
      call: (redis) => redis.set(key, '', { expiration }),
    },
    { lost: 'purging policies (del)', call: (redis) => redis.del(`${key}-none`) },
    {
      lost: 'planning refreshes (zadd, zrem, pexpire)',
      call: (redis) =>
        Promise.all([
          redis.zAdd(agenda, { score: 0, value: TRIAL_DOMAIN }),
          redis.zRem(agenda, TRIAL_DOMAIN),
          redis.pExpire(agenda, LIFETIME),
        ]),
    },
    {
      lost: 'listing policies (zscan, zscore)',
      call: (redis) => Promise.all([redis.zScan(agenda, '0'), redis.zScore(agenda, TRIAL_DOMAIN)]),
    },
    {
      lost: 'dividing refreshes (eval, zrangebyscore, zadd)',
      call: (redis) => redis.eval(TAKE_DUE, { keys: [agenda], arguments: ['0', '0', '0', '1'] }),
    },
    {
      lost: 'fetching once for all machines (eval, get, set, del)',
      call: async (redis) => {
        await redis.eval(ACQUIRE, { keys: [lease], arguments: [TRIAL_DOMAIN, lifetime] })
        await redis.eval(RELEASE, { keys: [lease], arguments: [TRIAL_DOMAIN] })
      },
    },
  ]
  const lost = new Map<RedisTroubleKind, { readonly detail: string; readonly what: string[] }>()
  const outcomes = await Promise.all(trials.map(({ call }) => ask(call)))
  for (const [n, outcome] of outcomes.entries()) {
    if (outcome.ok) continue
    const found = lost.get(outcome.kind) ?? { detail: outcome.detail, what: [] }
    found.what.push(trials[n]?.lost ?? '')
    lost.set(outcome.kind, found)
  }
  return [...lost].map(([kind, { detail, what }]) => {
    const all = what.length === trials.length
    const { text, cure } = troubleOf(kind, detail)
    return {
      kind,
      cure,
      text: all ? text : failed(`${text}; not possible: ${what.join(', ')}`).detail,
    }
  })
}
