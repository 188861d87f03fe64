/**
 * Destinations whose mail is kept back, in Redis: one hash a part, with a lifetime. Mail that goes out costs one question a part, as
 * long as nothing waits. There is no second place for it: what one machine alone knows would not be the state of the cluster.
 */
import type { Ask } from './asking'
import type { Keys } from './keys'
import { failed, stored } from '../outcome'
import type { WaitingStore } from '../types'
import {
  isWaitingPart,
  MOST_MARKS,
  MOST_WAITING,
  readRecords,
  WAITING_LIFE,
  WAITING_OCTETS,
  type WaitingNote,
  whyNoNotes,
} from '../waiting'

/** Milliseconds for a part that is read as a whole: at most some 1.3 mebioctets. */
const READ_DEADLINE = 2_000
/** Octets of a record, with its name. */
const RECORD_OCTETS = 2 * WAITING_OCTETS + 300
const AHEAD = 86_400_000

/** applyNotes of waiting.ts in one step. */
const NOTE = `local key, args = KEYS[1], ARGV
local now, life, ahead, mostMarks, most = tonumber(args[1]), tonumber(args[2]), tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
local longest = tonumber(args[6])
local function alive(text)
  if not text or #text > 2 * longest then return nil end
  local since, last, digits, words = string.match(text, '^(%d+) (%d+) ([0-9a-f]+) ([ -~]*)$')
  if not since or #since > 15 or #last > 15 or #digits % 8 ~= 0 or #digits > 8 * mostMarks or #words > longest then return nil end
  if tonumber(since) > tonumber(last) then return nil end
  for at = 9, #digits, 8 do
    if string.sub(digits, at, at + 7) <= string.sub(digits, at - 8, at - 1) then return nil end
  end
  if tonumber(last) + life <= now or tonumber(last) > now + ahead then return nil end
  return { since = since, last = last, digits = digits, words = words }
end
local function join(one, other)
  local known, marks = {}, {}
  for _, digits in ipairs({ one, other }) do
    for mark in string.gmatch(digits, '........') do
      if not known[mark] then known[mark] = true marks[#marks + 1] = mark end
    end
  end
  table.sort(marks)
  return table.concat(marks, '', 1, math.min(#marks, mostMarks))
end
local function full()
  local count = redis.call('hlen', key)
  if count < most then return false end
  if count > 2 * most then redis.call('del', key) return false end
  local all = redis.call('hgetall', key)
  for at = 1, #all, 2 do
    if not alive(all[at + 1]) then redis.call('hdel', key, all[at]) count = count - 1 end
  end
  return count >= most
end
local lost, wrote = 0, false
for at = 7, #args, 6 do
  local domain, ended, since, last, digits, words = args[at], args[at + 1], args[at + 2], args[at + 3], args[at + 4], args[at + 5]
  local before = redis.call('hget', key, domain)
  local left = alive(before)
  if left and ended ~= '' and tonumber(left.last) <= tonumber(ended) then left = nil end
  local after
  if since == '' then
    if left then after = before end
  elseif not left then
    after = since .. ' ' .. last .. ' ' .. digits .. ' ' .. words
  else
    local first = tonumber(left.since) <= tonumber(since) and left.since or since
    local isLater = tonumber(last) >= tonumber(left.last)
    after = first .. ' ' .. (isLater and last or left.last) .. ' ' .. join(left.digits, digits) .. ' ' .. (isLater and words or left.words)
  end
  if not after then
    if before then redis.call('hdel', key, domain) end
  elseif after ~= before then
    if not before and full() then lost = lost + 1
    else redis.call('hset', key, domain, after) wrote = true end
  end
end
if wrote then redis.call('pexpire', key, life) end
return lost`

/** A hash that no part can have become is not sent over. */
const READ = `if redis.call('hlen', KEYS[1]) > tonumber(ARGV[1]) then return redis.error_reply('ERR the part is too large') end
local all, octets = redis.call('hgetall', KEYS[1]), 0
for _, text in ipairs(all) do octets = octets + #text end
if octets > tonumber(ARGV[2]) then return redis.error_reply('ERR the part is too large') end
return all`

const EXISTS = `return redis.call('exists', KEYS[1])`

export function waitingIn(ask: Ask, keys: Keys, now: () => number): WaitingStore {
  return {
    async noteWaiting(part, notes) {
      const reason = whyNoNotes(part, notes)
      if (reason !== undefined) return failed(reason)
      const key = keys.waiting(part)
      if (notes.every(({ held }) => held === undefined)) {
        const there = await ask((redis) => redis.eval(EXISTS, { keys: [key] }))
        if (!there.ok) return there
        if (!there.value) return stored(0)
      }
      const options = { keys: [key], arguments: argumentsOf(notes, now()) }
      const noted = await ask((redis) => redis.eval(NOTE, options))
      return noted.ok ? stored(Number(noted.value) || 0) : noted
    },
    async readWaiting(part) {
      if (!isWaitingPart(part)) return failed('not a part')
      const bounds = [String(2 * MOST_WAITING), String(MOST_WAITING * RECORD_OCTETS)]
      const read = await ask(
        (redis) => redis.eval(READ, { keys: [keys.waiting(part)], arguments: bounds }),
        READ_DEADLINE,
      )
      return read.ok ? stored(readRecords(pairsIn(read.value), now())) : read
    },
  }
}

function argumentsOf(notes: readonly WaitingNote[], now: number): string[] {
  return [
    ...[now, WAITING_LIFE, AHEAD, MOST_MARKS, MOST_WAITING, WAITING_OCTETS],
    ...notes.flatMap(({ domain, endedAt = '', held }) => [
      domain,
      endedAt,
      ...(held ? [held.since, held.last, held.marks.join(''), held.text] : ['', '', '', '']),
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
