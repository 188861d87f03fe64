/**
 * Target `store`: what others wrote into the file or into Redis under a policy's name. A record is believed only as a whole, for its
 * own domain, and within the lifetime that its own text allows.
 */
import assert from 'node:assert/strict'
import {
  currentPolicy,
  readProblem,
  toKnown,
  writeProblem,
} from '../../plugins/mta-sts/policy-lifetime'
import {
  decodeRecord,
  encodeRecord,
  isDomain,
  isNote,
  MAX_LIFETIME,
  whyUnstorable,
} from '../../plugins/store/record'
import { damage, splice, unmarked } from './octets'
import type { Random } from './random'
import { claimOneLine, quickly, type Input, type Target } from './target'

export function storeTarget(): Promise<Target> {
  return Promise.resolve({ make, check })
}

const NOW = 1_800_000_000_000
const DOMAINS = ['rcpt.test', 'other.test', 'xn--bcher-kva.test', '_x.y'] as const
const NOTES = [
  'sts-policy-fetch-error no route',
  'sts-txt-invalid \u202e x',
  '__proto__ x',
  'constructor',
  'sts-webpki-invalid',
] as const

function recordText(random: Random): Buffer {
  const domain = random.pick(DOMAINS)
  const mode = random.pick(['enforce', 'testing', 'none', 'bad'])
  const text = `version: STSv1\r\nmode: ${mode}\r\nmx: *.${domain}\r\nmax_age: ${random.pick([0, 1, 86_400, 31_557_600, 9_999_999_999])}\r\n`
  const fetchedAt = NOW + random.pick([0, -1, 1, -86_400_000, 86_400_000, -NOW])
  const expiresAt =
    fetchedAt + random.pick([0, 1000, 86_400_000, MAX_LIFETIME, MAX_LIFETIME + 1, -1])
  return Buffer.from(
    encodeRecord({
      domain,
      id: random.pick(['1', '20260801', 'x'.repeat(32)]),
      text,
      fetchedAt,
      expiresAt,
    }),
  )
}

/** A record as found, the domain that it was looked for under, and a note. */
function make(random: Random): Input {
  const whole = recordText(random)
  const found = random.percent(70)
    ? damage(random, unmarked(whole))
    : random.percent(50)
      ? splice(random, whole, recordText(random))
      : whole
  const note = Buffer.from(random.pick(NOTES))
  return [
    found,
    Buffer.from(random.pick(DOMAINS)),
    random.percent(70) ? damage(random, unmarked(note)) : note,
  ]
}

function check([
  found = Buffer.alloc(0),
  asked = Buffer.alloc(0),
  noted = Buffer.alloc(0),
]: Input): string {
  const domain = asked.toString()
  const problem = quickly('readProblem', () => readProblem(noted.toString()))
  claimOneLine(problem.detail, 301)
  assert.deepEqual(readProblem(writeProblem(problem)), problem)
  isNote(domain, noted.toString())
  isDomain(noted.toString())

  const record = quickly('decodeRecord', () => decodeRecord(found.toString(), domain))
  if (record === undefined) return 'no record'
  assert.equal(record.domain, domain)
  assert.equal(whyUnstorable(record), undefined)
  assert.deepEqual(decodeRecord(encodeRecord(record), domain), record)
  assert.ok(record.expiresAt - record.fetchedAt <= MAX_LIFETIME)
  const known = quickly('toKnown', () => toKnown(record, NOW))
  if (known === undefined) return 'record that no longer counts'
  const { policy, expiresAt } = known
  assert.ok(expiresAt > NOW, 'an expired policy')
  assert.ok(expiresAt <= NOW + policy.maxAge * 1000, 'held for longer than max_age from now')
  assert.ok(
    expiresAt <= record.fetchedAt + policy.maxAge * 1000,
    'held for longer than max_age from its fetch',
  )
  assert.equal(known.domain, domain)
  assert.deepEqual(currentPolicy(known, NOW), known)
  return 'policy'
}
