/**
 * Tallies in Redis: one hash a part of a day, so that a day of a million domains is 256 keys, each with a lifetime. What cannot be
 * counted in Redis is counted nowhere else: two machines that each sent their own half of a day would both be wrong.
 */
import type { Ask } from './asking'
import type { Keys } from './keys'
import { randomLetters } from '../letters'
import { failed, stored } from '../outcome'
import {
  DOMAIN_OCTETS,
  FIELD_OCTETS,
  fieldsOf,
  isDay,
  isPart,
  isTallyName,
  KEPT_DAYS,
  MOST_NAMES,
  PART_OCTETS,
  partOf,
  readFields,
  SEAL,
  type TallyBatch,
  whyNoBatch,
  workerField,
} from '../tally'
import { isDomain } from '../record'
import type { TallyStore } from '../types'

/** Milliseconds for a part that is read as a whole: at most a mebioctet. */
const READ_DEADLINE = 2_000
const DAY = 86_400_000
const LIFETIME = KEPT_DAYS * DAY
const NAME_LIFETIME = 400 * DAY
/** Fields of a part that are read at most: as many as fit into its octets. */
const MOST_FIELDS = Math.ceil(PART_OCTETS.all / FIELD_OCTETS)

/** addBatch of tally.ts in one step. A count that is none, which others must have written, is left as it is. */
const ADD = `local key, args = KEYS[1], ARGV
local function number(field) return tonumber(redis.call('hget', key, field) or 0) or 0 end
local sequence, before = string.match(redis.call('hget', key, args[1]) or '', '^(%d+) (%d+)$')
if sequence and tonumber(sequence) >= tonumber(args[2]) then return tonumber(before) end
local bounds = { texts = tonumber(args[4]), all = tonumber(args[5]), domain = tonumber(args[6]), field = tonumber(args[7]) }
local most, at = {}, 9
for _ = 1, tonumber(args[8]) do most[args[at]] = tonumber(args[at + 1]) at = at + 2 end
local octets, lost, isSealed = number('.'), 0, redis.call('hexists', key, '!') == 1
local function take(domain, by, counter, texts)
  local fresh, textual, more = {}, 0, 0
  local function look(name, text)
    if redis.call('hexists', key, domain .. ' ' .. name) == 1 then return true end
    local group = most[string.sub(name, 1, 1)] and string.match(name, '^(.*) ')
    if group and number(domain .. ' #' .. group) >= most[string.sub(name, 1, 1)] then return false end
    fresh[#fresh + 1] = { name = name, text = text, group = group }
    more = more + #domain + 1 + #name + bounds.field + #(text or '')
    textual = textual + #(text or '')
    return true
  end
  local isTextual = false
  for _, text in ipairs(texts) do if not look(text[1], text[2]) then return false end end
  isTextual = #fresh > 0
  if not look(counter) then return false end
  local room = isTextual and bounds.texts or bounds.all
  if more > 0 and octets + more > room then return false end
  if isTextual then
    local ofDomain = number(domain .. ' #') + textual
    if ofDomain > bounds.domain then return false end
    redis.call('hset', key, domain .. ' #', ofDomain)
  end
  for _, one in ipairs(fresh) do
    if one.group then redis.call('hincrby', key, domain .. ' #' .. one.group, 1) end
    if one.text then redis.call('hset', key, domain .. ' ' .. one.name, one.text) end
  end
  octets = octets + more
  redis.pcall('hincrby', key, domain .. ' ' .. counter, by)
  return true
end
while args[at] do
  local domain, by, ways, taken = args[at], tonumber(args[at + 1]), tonumber(args[at + 2]), false
  at = at + 3
  for _ = 1, ways do
    local counter, texts = args[at], {}
    local count = tonumber(args[at + 1])
    at = at + 2
    for n = 1, count do texts[n] = { args[at], args[at + 1] } at = at + 2 end
    if not taken and not isSealed then taken = take(domain, by, counter, texts) end
  end
  if not taken then lost = lost + by end
end
redis.call('hset', key, '.', octets, args[1], args[2] .. ' ' .. lost)
if redis.call('pttl', key) < 0 then redis.call('pexpire', key, args[3]) end
return lost`

/** A hash that no part can have become is not sent over. */
const READ = `if redis.call('hlen', KEYS[1]) > tonumber(ARGV[1]) then return redis.error_reply('ERR the part is too large') end
local all, octets = redis.call('hgetall', KEYS[1]), 0
for _, text in ipairs(all) do octets = octets + #text end
if octets > tonumber(ARGV[2]) then return redis.error_reply('ERR the part is too large') end
return all`

const SEALED = `redis.call('hset', KEYS[1], ARGV[1], 1)
if redis.call('pttl', KEYS[1]) < 0 then redis.call('pexpire', KEYS[1], ARGV[2]) end
return 1`

const DROP = `for n = 1, #ARGV do redis.call('hdel', KEYS[1], ARGV[n]) end return 1`

/** Sets the name of the cluster, unless it has one. It lives as long as it is asked for: reports are told apart by it. */
const NAME = `if redis.call('exists', KEYS[1]) == 0 then redis.call('set', KEYS[1], ARGV[1]) end
redis.call('pexpire', KEYS[1], ARGV[2]) return redis.call('getrange', KEYS[1], 0, 20)`

export function talliesIn(ask: Ask, keys: Keys): TallyStore {
  return {
    async addToTally(batch) {
      const reason = whyNoBatch(batch)
      if (reason !== undefined) return failed(reason)
      const options = { keys: [keys.tally(batch.day, batch.part)], arguments: argumentsOf(batch) }
      const added = await ask((redis) => redis.eval(ADD, options))
      return added.ok ? stored(Number(added.value) || 0) : added
    },
    async sealTally(day, part) {
      if (!isDay(day) || !isPart(part)) return failed('not a part of a day')
      const options = { keys: [keys.tally(day, part)], arguments: [SEAL, String(LIFETIME)] }
      const sealed = await ask((redis) => redis.eval(SEALED, options))
      return sealed.ok ? stored(undefined) : sealed
    },
    async readTally(day, part) {
      if (!isDay(day) || !isPart(part)) return failed('not a part of a day')
      const bounds = [String(MOST_FIELDS), String(2 * PART_OCTETS.all)]
      const read = await ask(
        (redis) => redis.eval(READ, { keys: [keys.tally(day, part)], arguments: bounds }),
        READ_DEADLINE,
      )
      return read.ok ? stored(readFields(pairsIn(read.value))) : read
    },
    async dropTally(day, domain, names) {
      if (!isDay(day) || !isDomain(domain) || !names.every(isTallyName))
        return failed('not a tally')
      const options = {
        keys: [keys.tally(day, partOf(domain))],
        arguments: [...fieldsOf(domain, names)],
      }
      const dropped = await ask((redis) => redis.eval(DROP, options))
      return dropped.ok ? stored(undefined) : dropped
    },
    async clusterName() {
      const options = {
        keys: [keys.cluster],
        arguments: [randomLetters(8), String(NAME_LIFETIME)],
      }
      const named = await ask((redis) => redis.eval(NAME, options))
      if (!named.ok) return named
      const name: unknown = named.value
      return typeof name === 'string' && /^[a-z]{8}$/.test(name)
        ? stored(name)
        : failed('the name of the cluster is none')
    },
  }
}

function argumentsOf({ worker, sequence, adds }: TallyBatch): string[] {
  const limits = Object.entries(MOST_NAMES)
  return [
    workerField(worker),
    sequence,
    LIFETIME,
    PART_OCTETS.withTexts,
    PART_OCTETS.all,
    DOMAIN_OCTETS,
    FIELD_OCTETS,
    limits.length,
    ...limits.flat(),
    ...adds.flatMap(({ domain, by, ways }) => [
      domain,
      by,
      ways.length,
      ...ways.flatMap(({ counter, texts = [] }) => [counter, texts.length, ...texts.flat()]),
    ]),
  ].map(String)
}

/** A hash as a script returns it: field, value, field, value. */
function pairsIn(found: unknown): readonly (readonly [string, unknown])[] {
  const items = Array.isArray(found) ? (found as readonly unknown[]) : []
  const pairs: (readonly [string, unknown])[] = []
  for (let n = 0; n + 1 < items.length; n += 2) pairs.push([String(items[n]), items[n + 1]])
  return pairs
}
