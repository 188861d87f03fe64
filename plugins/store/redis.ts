/**
 * The store of a cluster: Redis, over a local store that knows what this machine has seen.
 *
 * Promises: Redis may be down at start or die later; calls then end within the deadline, go on with the local store, and
 * nobody waits, exits or hangs. An error that Redis answers with costs that one call, and reads go on. A policy that may be in
 * Redis, while Redis cannot be read, is not known, which is not none. What Redis lost, the machines that know it put back; what
 * was purged stays purged. Every key has a lifetime, the configured prefix, and a hash tag by domain. What is read is bounded
 * and validated.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { ofText } from '../bounded/octets'
import { createBreaker, Down } from './breaker'
import { DONE, failed, inWords, stored, tell, within } from './outcome'
import { type Commands, connectRedis } from './redis-connect'
import { isAnswer, type RedisTroubleKind, saying, troubleKind, troubleOf } from './redis-errors'
import { examine, type Examined } from './redis-exam'
import { redisTallies } from './redis-tally'
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
import { ACQUIRE, RELEASE, SET_AND_TELL, TAKE_DUE } from './redis-scripts'
import { randomLetters } from './letters'
import { createTroubles } from './troubles'
import type {
  ChangeListener,
  DomainPage,
  PolicyRecord,
  Store,
  Stored,
  StoreSettings,
  StoreTools,
} from './types'
import { holds } from './unread'

/** Milliseconds for one command, and for the few that may return much. */
const DEADLINE = 250
const LIST_DEADLINE = 5_000
/** Octets of memory for policies on their way to Redis, together: some 4,000 ordinary ones. */
const MOST_UNDER_WAY = 8_388_608
/** Milliseconds for which the mark of the last use is kept: the 180 days of the refresh and some. */
const KEEP_USED = 17_280_000_000
const PURGED = /^purged ([0-9]{1,15})$/
/** Domains in a page of the list. */
const PAGE = 1_000
/** How a page of the list is called: where it is from, and the cursor there. */
const PAGE_NAME = /^(remote|local) (.*)$/

/** Milliseconds between two looks at whether Redis does all that it should. */
const PROBE = 10_000
/** Milliseconds for the first try to listen to changes, where somebody asks how Redis is. */
const LISTENING = 1_000
/** The troubles that the breaker tells of. */
const UNREACHABLE: readonly RedisTroubleKind[] = ['redis-unreachable', 'redis-untrusted']

type Answered<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly kind: RedisTroubleKind; readonly detail: string }

/** What Redis holds for a domain. */
type Remote =
  | { readonly kind: 'policy'; readonly record: PolicyRecord }
  | { readonly kind: 'purged'; readonly at: number }
  | { readonly kind: 'none' }

/**
 * @param local the store of this machine; it is closed with this one
 */
export function redisStore(
  { prefix, redis, redisCa }: Pick<StoreSettings, 'prefix' | 'redis' | 'redisCa'>,
  local: Store,
  { log, now, count = () => undefined, probeMs = PROBE }: StoreTools,
): Store {
  const listeners = new Set<ChangeListener>()
  const channel = `${prefix}:changed`
  const index = `${prefix}:domains`
  const key = (domain: string, kind: string): string => `${prefix}:{${domain}}:${kind}`
  let closed = false

  const troubles = createTroubles<RedisTroubleKind>(log)
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
  const connection = connectRedis(redis, redisCa)

  /** Also what kind of trouble it was. */
  const askOpenly = async <T>(
    call: (redis: Commands) => Promise<T>,
    ms = DEADLINE,
  ): Promise<Answered<T>> => {
    try {
      return { ok: true, value: await breaker.run(ms, () => connection.ask(call)) }
    } catch (error) {
      const kind = error instanceof Down ? 'redis-unreachable' : troubleKind(error)
      count(kind)
      const { detail } = failed(inWords(error))
      return { ok: false, kind, detail }
    }
  }
  const ask = async <T>(
    call: (redis: Commands) => Promise<T>,
    ms = DEADLINE,
  ): Promise<Stored<T>> => {
    const answered = await askOpenly(call, ms)
    if (answered.ok) return answered
    const { kind, detail } = answered
    if (!UNREACHABLE.includes(kind) && !closed) {
      troubles.begin(
        troubleOf(kind, detail, 'what it still does is used, and this machine keeps the rest'),
      )
    }
    // Without Redis' own words, which may name its address: it becomes a part of what a sender reads.
    return failed(saying(kind))
  }

  const hear = (domain: string): void => {
    if (isDomain(domain)) tell(listeners, domain)
  }
  let hasListened: () => void = () => undefined
  const listened = new Promise<void>((resolve) => (hasListened = resolve))
  connection.listen(async (client) => {
    while (!closed && client.isReady) {
      try {
        await client.subscribe(channel, hear)
        troubles.over('redis-deaf', 'changes by other machines are heard of at once again')
        // Messages that were missed while the connection was away cannot be asked for again: then anything may have changed.
        tell(listeners, undefined)
        hasListened()
        return
      } catch (error) {
        // A right that is missing may be granted; a connection that is lost is dialled anew elsewhere.
        if (isAnswer(error)) troubles.begin(troubleOf('redis-deaf', inWords(error)))
        hasListened()
        await pause(probeMs, undefined, { ref: false })
      }
    }
  })

  const setAndTell = (redis: Commands, domain: string, text: string, ttl: number) =>
    redis.eval(SET_AND_TELL, {
      keys: [key(domain, 'policy')],
      arguments: [text, String(Math.max(1, Math.round(ttl))), channel, domain],
    })

  /** Tries all that the store needs; what is found wrong begins, and what is found well is over. */
  const look = async (): Promise<Examined> => {
    const examined = await examine({ ask: askOpenly, prefix, channel })
    if (closed) return examined
    for (const trouble of examined) {
      if (!UNREACHABLE.includes(trouble.kind)) troubles.begin(trouble)
    }
    for (const { kind } of troubles.lasting()) {
      const lasts = UNREACHABLE.includes(kind) || kind === 'redis-deaf'
      const isFound = examined.some((trouble) => trouble.kind === kind)
      if (!lasts && !isFound && !isDown(examined))
        troubles.over(kind, `it is over: ${saying(kind)}`)
    }
    return examined
  }
  /** What it finds it tells by itself; what it cannot find out, the next one does. */
  const lookAgain = (): void => {
    look().catch(() => undefined)
  }
  lookAgain()
  // An outage is noticed, and its end, whether or not there is mail.
  const watch = setInterval(lookAgain, probeMs).unref()

  const getRemote = async (domain: string): Promise<Stored<Remote>> => {
    // GETRANGE and not GET: a value of half a gigabyte is not even received.
    const found = await ask((redis) => redis.getRange(key(domain, 'policy'), 0, MAX_RECORD))
    return found.ok ? stored(readRemote(found.value ?? '', domain)) : found
  }
  /** Octets of memory of policies that were sent and are not answered for. */
  let underWay = 0
  const setRemote = (record: PolicyRecord): Promise<Stored<unknown>> => {
    const lifetime = Math.min(Math.max(record.expiresAt - now(), 0), MAX_LIFETIME) + GRACE
    const text = encodeRecord(record)
    const octets = ofText(text)
    if (underWay + octets > MOST_UNDER_WAY) {
      return Promise.resolve(failed('too many policies are on their way to Redis'))
    }
    underWay += octets
    let set: Promise<unknown> = Promise.resolve()
    const over = (): void => {
      underWay -= octets
    }
    return ask((redis) => {
      set = setAndTell(redis, record.domain, text, lifetime)
      return Promise.all([
        set,
        redis.zAdd(index, { score: record.fetchedAt, value: record.domain }),
        redis.pExpire(index, MAX_LIFETIME + GRACE),
      ])
    }).finally(() => {
      // When it is waited for no longer, the connection keeps it still.
      set.then(over, over)
    })
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
        local.setPolicy(remote.record).catch(() => undefined)
      }
      return remote.record
    }
    if (own === undefined) return undefined
    if (remote.kind === 'purged' && own.fetchedAt <= remote.at) {
      local.deletePolicy(domain).catch(() => undefined)
      return undefined
    }
    setRemote(own).catch(() => undefined)
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
    ...redisTallies({ ask, prefix, newName: () => randomLetters(8) }),
    async getPolicy(domain, { passing = false } = {}) {
      if (!isDomain(domain)) return failed('not a domain')
      const [remote, own] = await Promise.all([getRemote(domain), local.getPolicy(domain)])
      // A policy that another machine has put into Redis, or a later one, may be there.
      if (!remote.ok) return own.ok && holds(own.value, now()) ? own : remote
      // Redis may have lost what this machine cannot read just now: that is not known to be no policy.
      if (remote.value.kind === 'none' && !own.ok) return own
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
      const [remote, own] = await Promise.all([purged, local.deletePolicy(domain)])
      // What Redis keeps would come back from there.
      return remote.ok ? own : failed(remote.detail)
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
    async getNote(domain, name, { everywhere = false } = {}) {
      if (!isDomain(domain) || !isNoteName(name)) return failed('not a note')
      const found = await ask((redis) =>
        redis.getRange(key(domain, `note:${name}`), 0, MAX_NOTE * 4),
      )
      if (found.ok && found.value) return stored(found.value.slice(0, MAX_NOTE))
      if (everywhere) return found.ok ? stored(undefined) : found
      return local.getNote(domain, name)
    },
    async setNote(domain, name, text, ttl, { everywhere = false } = {}) {
      if (!isDomain(domain) || !isNoteName(name)) return failed('not a note')
      const set = ask((redis) =>
        redis.set(key(domain, `note:${name}`), text.slice(0, MAX_NOTE), px(ttl)),
      )
      if (everywhere) {
        const alone = await set
        return alone.ok ? DONE : alone
      }
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
    async acquire(name, owner, ttl, { everywhere = false } = {}) {
      const arguments_ = [owner, String(Math.max(1, Math.round(ttl)))]
      const taken = await ask((redis) =>
        redis.eval(ACQUIRE, { keys: [`${prefix}:lease:${name}`], arguments: arguments_ }),
      )
      if (taken.ok) return stored(taken.value === 1)
      return everywhere ? taken : local.acquire(name, owner, ttl)
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
    troubles: () => [...troubles.lasting(), ...local.troubles()],
    async examine() {
      const [examined, own] = await Promise.all([
        look(),
        local.examine(),
        within(LISTENING, listened).catch(() => undefined),
      ])
      // The breaker has told why Redis is not reachable; a look that it did not let through does not know.
      const seen = examined.filter(({ kind }) => !UNREACHABLE.includes(kind))
      const others = troubles.lasting().filter(({ kind }) => !seen.some((one) => one.kind === kind))
      return [...others, ...seen, ...own]
    },
    async close() {
      if (closed) return
      closed = true
      clearInterval(watch)
      listeners.clear()
      connection.leave()
      await local.close()
    },
  }
  return store
}

function isDown(examined: Examined): boolean {
  return examined.some(({ kind }) => UNREACHABLE.includes(kind))
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
