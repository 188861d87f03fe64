/**
 * The store of a cluster: Redis, over a local store that knows what this machine has seen.
 *
 * Promises: Redis may be down at start or die later; calls then end within the deadline, go on with the local store, and
 * nobody waits, exits or hangs. What Redis lost, the machines that know it put back; what was purged stays purged.
 * Every key has a lifetime, the configured prefix, and a hash tag by domain. What is read is bounded and validated.
 */
import { ErrorReply } from 'redis'
import { createBreaker } from './breaker'
import { DONE, failed, stored, tell } from './outcome'
import { type Commands, connectRedis } from './redis-connect'
import {
  decodeRecord,
  encodeRecord,
  GRACE,
  isDomain,
  isFetchedLater,
  isNoteName,
  MAX_LIFETIME,
  MAX_NOTE,
  MAX_RECORD,
  readTime,
  whyUnstorable,
} from './record'
import type {
  ChangeListener,
  DomainPage,
  PolicyRecord,
  Store,
  Stored,
  StoreSettings,
  StoreTools,
} from './types'

/** Milliseconds for one command, and for the few that may return much. */
const DEADLINE = 250
const LIST_DEADLINE = 5_000
/** Milliseconds for which the mark of the last use is kept: the 180 days of the refresh and some. */
const KEEP_USED = 17_280_000_000
const PURGED = /^purged ([0-9]{1,15})$/
/** Takes a lease that is free, or the owner's already. */
const ACQUIRE = `local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1`
/** Deletes a lease if it is still the owner's. */
const RELEASE = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0`

/**
 * Sets a policy, or the mark that it was purged, and tells; one step, so that nobody who is told can still find the old one,
 * also in a Cluster, where the message may go by another node.
 */
const SET_AND_TELL = `redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('publish', ARGV[3], ARGV[4]) return 1`

/** Takes what is due off the agenda, by planning it for later; one step for all workers of the cluster. */
const TAKE_DUE = `local due = redis.call('zrangebyscore', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[4])
for _, domain in ipairs(redis.call('zrangebyscore', KEYS[1], '(' .. ARGV[2], '+inf', 'LIMIT', 0, ARGV[4])) do due[#due + 1] = domain end
for _, domain in ipairs(due) do redis.call('zadd', KEYS[1], ARGV[3], domain) end
return due`
/** Domains in a page of the list. */
const PAGE = 1_000
/** How a page of the list is called: where it is from, and the cursor there. */
const PAGE_NAME = /^(remote|local) (.*)$/

/** What Redis holds for a domain. */
type Remote =
  | { readonly kind: 'policy'; readonly record: PolicyRecord }
  | { readonly kind: 'purged'; readonly at: number }
  | { readonly kind: 'none' }

/**
 * @param local the store of this machine; it is closed with this one
 */
export function redisStore(
  { prefix, redis }: Pick<StoreSettings, 'prefix' | 'redis'>,
  local: Store,
  { log, now }: StoreTools,
): Store {
  const listeners = new Set<ChangeListener>()
  const channel = `${prefix}:changed`
  const index = `${prefix}:domains`
  const key = (domain: string, kind: string): string => `${prefix}:{${domain}}:${kind}`
  let closed = false

  const breaker = createBreaker({
    name: 'Redis',
    meanwhile: 'going on with what this machine knows',
    log,
    now,
    // A key of another type is somebody else's mistake; every other error says that Redis cannot serve us now.
    isAnswer: (error) => error instanceof ErrorReply && /\bWRONGTYPE\b/.test(error.message),
  })
  const connection = connectRedis(redis)
  // Messages that were missed while the connection was away cannot be asked for again: then anything may have changed.
  connection.listen(async (client) => {
    await client.subscribe(channel, (domain) => {
      if (isDomain(domain)) tell(listeners, domain)
    })
    tell(listeners, undefined)
  })

  const ask = <T>(call: (redis: Commands) => Promise<T>, ms = DEADLINE): Promise<Stored<T>> =>
    breaker.run(ms, () => connection.ask(call))
  const setAndTell = (redis: Commands, domain: string, text: string, ttl: number) =>
    redis.eval(SET_AND_TELL, {
      keys: [key(domain, 'policy')],
      arguments: [text, String(Math.max(1, Math.round(ttl))), channel, domain],
    })

  const getRemote = async (domain: string): Promise<Stored<Remote>> => {
    // GETRANGE and not GET: a value of half a gigabyte is not even received.
    const found = await ask((redis) => redis.getRange(key(domain, 'policy'), 0, MAX_RECORD))
    return found.ok ? stored(readRemote(found.value ?? '', domain)) : found
  }
  const setRemote = (record: PolicyRecord): Promise<Stored<unknown>> => {
    const lifetime = Math.min(Math.max(record.expiresAt - now(), 0), MAX_LIFETIME) + GRACE
    return ask((redis) =>
      Promise.all([
        setAndTell(redis, record.domain, encodeRecord(record), lifetime),
        redis.zAdd(index, { score: record.fetchedAt, value: record.domain }),
        redis.pExpire(index, MAX_LIFETIME + GRACE),
      ]),
    )
  }
  /** Brings Redis and this machine to the same record, and says which it is. */
  const reconcile = (
    domain: string,
    remote: Remote,
    own: PolicyRecord | undefined,
    passing: boolean,
  ): PolicyRecord | undefined => {
    if (
      remote.kind === 'policy' &&
      (own === undefined || !isFetchedLater(own, remote.record, now()))
    ) {
      const differs =
        own === undefined ? !passing : encodeRecord(own) !== encodeRecord(remote.record)
      if (differs) {
        void local.setPolicy(remote.record)
      }
      return remote.record
    }
    if (own === undefined) return undefined
    if (remote.kind === 'purged' && own.fetchedAt <= remote.at) {
      void local.deletePolicy(domain)
      return undefined
    }
    void setRemote(own)
    return own
  }

  /** Domains that this machine has, as far as they are not in Redis as well. */
  const ownPage = async (after: string | undefined): Promise<Stored<DomainPage>> => {
    const page = await local.listDomains(after)
    if (!page.ok) return page
    const { domains, next } = page.value
    const scores = await ask(
      (redis) => Promise.all(domains.map((domain) => redis.zScore(index, domain))),
      LIST_DEADLINE,
    )
    return stored({
      domains: scores.ok ? domains.filter((_domain, n) => scores.value[n] === null) : domains,
      next: next === undefined ? undefined : `local ${next}`,
    })
  }

  const followPlan = async (domain: string, at: number): Promise<void> => {
    await store.getPolicy(domain)
    await local.plan(domain, at)
  }

  const store: Store = {
    async getPolicy(domain, { passing = false } = {}) {
      if (!isDomain(domain)) return failed('not a domain')
      const [remote, own] = await Promise.all([getRemote(domain), local.getPolicy(domain)])
      // Redis may have lost what this machine cannot read just now: that is not known to be no policy.
      if (!remote.ok || (remote.value.kind === 'none' && !own.ok)) return own
      return stored(reconcile(domain, remote.value, own.ok ? own.value : undefined, passing))
    },
    async setPolicy(record) {
      const reason = whyUnstorable(record)
      if (reason !== undefined) return failed(reason)
      return either(await Promise.all([setRemote(record), local.setPolicy(record)]))
    },
    async deletePolicy(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      const purged = ask((redis) =>
        Promise.all([
          setAndTell(redis, domain, `purged ${now()}`, MAX_LIFETIME + GRACE),
          redis.del(key(domain, 'used')),
          redis.zRem(index, domain),
        ]),
      )
      return either(await Promise.all([purged, local.deletePolicy(domain)]))
    },
    async listDomains(after = 'remote 0') {
      const [, place, cursor = ''] = PAGE_NAME.exec(after) ?? []
      if (place === 'remote') {
        const page = await ask(
          (redis) => redis.zScan(index, cursor, { COUNT: PAGE }),
          LIST_DEADLINE,
        )
        if (!page.ok) return ownPage(undefined)
        const domains = page.value.members.map(({ value }) => value).filter(isDomain)
        const isLast = page.value.cursor === '0'
        return stored({ domains, next: isLast ? 'local ' : `remote ${page.value.cursor}` })
      }
      return ownPage(cursor === '' ? undefined : cursor)
    },
    async takeDue(due) {
      const own = await local.takeDue(due)
      const ours = own.ok ? own.value : { domains: [], more: false }
      const arguments_ = [due.now, due.beyond, due.until, due.limit].map((number) =>
        String(Math.round(number)),
      )
      const taken = await ask((redis) =>
        Promise.all([
          redis.eval(TAKE_DUE, { keys: [index], arguments: arguments_ }),
          Promise.all(ours.domains.map((domain) => redis.zScore(index, domain))),
        ]),
      )
      if (!taken.ok) return own
      const [remote, scores] = taken.value
      const given = new Set(namesIn(remote))
      const follow = ours.domains.map(async (domain, n) => {
        const planned = scores[n]
        // Redis has lost it: it is looked at for this machine's sake, and so comes back.
        if (planned === null || planned === undefined) given.add(domain)
        // Another worker looks after it. This machine's copy must not grow old beside it.
        else if (!given.has(domain)) await followPlan(domain, Math.max(planned, due.until))
      })
      await Promise.all(follow)
      return stored({
        domains: [...given],
        more: ours.more || (Array.isArray(remote) && remote.length >= due.limit),
      })
    },
    async plan(domain, at) {
      if (!isDomain(domain)) return failed('not a domain')
      const planned = ask((redis): Promise<unknown> =>
        at === undefined
          ? redis.zRem(index, domain)
          : Promise.all([
              redis.zAdd(index, { score: Math.round(at), value: domain }),
              redis.pExpire(index, MAX_LIFETIME + GRACE),
            ]),
      )
      return either(await Promise.all([planned, local.plan(domain, at)]))
    },
    async getNote(domain, name) {
      if (!isDomain(domain) || !isNoteName(name)) return failed('not a note')
      const found = await ask((redis) =>
        redis.getRange(key(domain, `note:${name}`), 0, MAX_NOTE * 4),
      )
      if (found.ok && found.value) return stored(found.value.slice(0, MAX_NOTE))
      return local.getNote(domain, name)
    },
    async setNote(domain, name, text, ttl) {
      if (!isDomain(domain) || !isNoteName(name)) return failed('not a note')
      const set = ask((redis) =>
        redis.set(key(domain, `note:${name}`), text.slice(0, MAX_NOTE), px(ttl)),
      )
      return either(await Promise.all([set, local.setNote(domain, name, text, ttl)]))
    },
    async lastUsed(domain) {
      if (!isDomain(domain)) return failed('not a domain')
      const [remote, own] = await Promise.all([
        ask((redis) => redis.getRange(key(domain, 'used'), 0, 15)),
        local.lastUsed(domain),
      ])
      if (!remote.ok) return own
      const days = [readTime(remote.value), own.ok ? own.value : undefined].filter(
        (day) => day !== undefined,
      )
      return stored(days.length === 0 ? undefined : Math.max(...days))
    },
    async markUsed(domain, day) {
      if (!isDomain(domain)) return failed('not a domain')
      const set = ask((redis) => redis.set(key(domain, 'used'), String(day), px(KEEP_USED)))
      return either(await Promise.all([set, local.markUsed(domain, day)]))
    },
    async acquire(name, owner, ttl) {
      const arguments_ = [owner, String(Math.max(1, Math.round(ttl)))]
      const taken = await ask((redis) =>
        redis.eval(ACQUIRE, { keys: [`${prefix}:lease:${name}`], arguments: arguments_ }),
      )
      return taken.ok ? stored(taken.value === 1) : local.acquire(name, owner, ttl)
    },
    async release(name, owner) {
      const options = { keys: [`${prefix}:lease:${name}`], arguments: [owner] }
      const released = ask((redis) => redis.eval(RELEASE, options))
      return either(await Promise.all([released, local.release(name, owner)]))
    },
    onChange(listener) {
      listeners.add(listener)
      const stop = local.onChange(listener)
      return () => {
        listeners.delete(listener)
        stop()
      }
    },
    async close() {
      if (closed) return
      closed = true
      listeners.clear()
      connection.leave()
      await local.close()
    },
  }
  return store
}

function px(ms: number): { expiration: { type: 'PX'; value: number } } {
  return { expiration: { type: 'PX', value: Math.max(1, Math.round(ms)) } }
}

/** What a script returned, as far as it names domains. */
function namesIn(found: unknown): readonly string[] {
  const items = Array.isArray(found) ? (found as readonly unknown[]) : []
  return items.filter((item): item is string => typeof item === 'string' && isDomain(item))
}

/** One of two places has it: that is enough to go on, and the other is brought up to date when it is next asked. */
function either([remote, own]: readonly [Stored<unknown>, Stored<void>]): Stored<void> {
  return remote.ok || own.ok ? DONE : own
}

function readRemote(text: string, domain: string): Remote {
  const at = readTime(PURGED.exec(text)?.[1])
  if (at !== undefined) return { kind: 'purged', at }
  const record = decodeRecord(text, domain)
  return record === undefined ? { kind: 'none' } : { kind: 'policy', record }
}
