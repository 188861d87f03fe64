/**
 * The policies in Redis, over those that this machine knows. A policy that Redis lost is put back by the machines that know it; one
 * that was purged stays purged.
 */
import { type Ask, LIST_DEADLINE } from './asking'
import type { Commands } from './connection'
import { type Keys, lifetime } from './keys'
import { SET_AND_TELL } from './scripts'
import { ofText } from '../../bounded/octets'
import { either, failed, stored } from '../outcome'
import {
  decodeRecord,
  encodeRecord,
  GRACE,
  isDomain,
  isFetchedLater,
  MAX_LIFETIME,
  MAX_RECORD,
  readTime,
  whyUnstorable,
} from '../record'
import type { DomainPage, PolicyRecord, Store, Stored } from '../types'
import { holds } from '../unread'

/** Octets of memory for policies on their way to Redis, together: some 4,000 ordinary ones. */
const MOST_UNDER_WAY = 8_388_608
/** Domains in a page of the list. */
const PAGE = 1_000
/** How a page of the list is called: where it is from, and the cursor there. */
const PAGE_NAME = /^(remote|local) (.*)$/

/** What Redis holds for a domain. */
type Remote =
  | { readonly kind: 'policy'; readonly record: PolicyRecord }
  | { readonly kind: 'purged'; readonly at: number }
  | { readonly kind: 'none' }

type Policies = Pick<Store, 'getPolicy' | 'setPolicy' | 'deletePolicy' | 'listDomains'>

export function policiesIn(ask: Ask, keys: Keys, local: Store, now: () => number): Policies {
  const { channel, index } = keys
  const setAndTell = (redis: Commands, domain: string, text: string, ttl: number) =>
    redis.eval(SET_AND_TELL, {
      keys: [keys.of(domain, 'policy')],
      arguments: [text, String(lifetime(ttl)), channel, domain],
    })

  const getRemote = async (domain: string): Promise<Stored<Remote>> => {
    // GETRANGE and not GET: a value of half a gigabyte is not even received.
    const found = await ask((redis) => redis.getRange(keys.of(domain, 'policy'), 0, MAX_RECORD))
    return found.ok ? stored(readRemote(found.value ?? '', domain)) : found
  }
  /** Octets of memory of policies that were sent and are not answered for. */
  let underWay = 0
  const setRemote = (record: PolicyRecord): Promise<Stored<unknown>> => {
    const ttl = Math.min(Math.max(record.expiresAt - now(), 0), MAX_LIFETIME) + GRACE
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
      set = setAndTell(redis, record.domain, text, ttl)
      return Promise.all([
        set,
        redis.zAdd(index, { score: record.fetchedAt, value: record.domain }),
        redis.pExpire(index, MAX_LIFETIME + GRACE),
      ])
    }).finally(() => {
      // The connection keeps the text until it is answered, also when the call has been given up.
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
      if (differs) local.setPolicy(remote.record).catch(() => undefined)
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

  return {
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
          redis.del(keys.of(domain, 'used')),
          redis.zRem(index, domain),
        ]),
      )
      const [remote, own] = await Promise.all([purged, local.deletePolicy(domain)])
      // A policy that Redis keeps would come back from there.
      return remote.ok ? own : failed(remote.detail)
    },
    async listDomains(after = 'remote 0') {
      const [, place, cursor = ''] = PAGE_NAME.exec(after) ?? []
      if (place !== 'remote') return ownPage(cursor === '' ? undefined : cursor)
      const page = await ask((redis) => redis.zScan(index, cursor, { COUNT: PAGE }), LIST_DEADLINE)
      if (!page.ok) return ownPage(undefined)
      const domains = page.value.members.map(({ value }) => value).filter(isDomain)
      const isLast = page.value.cursor === '0'
      return stored({ domains, next: isLast ? 'local ' : `remote ${page.value.cursor}` })
    },
  }
}

const PURGED = /^purged ([0-9]{1,15})$/

function readRemote(text: string, domain: string): Remote {
  const at = readTime(PURGED.exec(text)?.[1])
  if (at !== undefined) return { kind: 'purged', at }
  const record = decodeRecord(text, domain)
  return record === undefined ? { kind: 'none' } : { kind: 'policy', record }
}
