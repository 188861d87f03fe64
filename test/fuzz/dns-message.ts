/**
 * Target `dns-message`: replies of the DNS, truncated and lying about lengths, through the whole of the reader; some of them also
 * over the wire, to a resolver that trusts the server and to one that does not.
 */
import assert from 'node:assert/strict'
import { isIPv4, isIPv6 } from 'node:net'
import { adResolver } from '../../plugins/dnssec-stub/ad'
import { provesExistence } from '../../plugins/dnssec-stub/denial'
import { failureWith } from '../../plugins/dnssec-stub/lookup'
import { canonicalName } from '../../plugins/dnssec-stub/names'
import { interpret, MAX_ALIASES, type Finding } from '../../plugins/dnssec-stub/reply'
import type { FailureCause, RecordType } from '../../plugins/dnssec-stub/types'
import {
  answersQuestion,
  decodeHead,
  decodeMessage,
  type Message,
  type Question,
  type ResourceRecord,
} from '../../plugins/dnssec-stub/wire'
import { dnsServer } from '../support/dns-server'
import { claimSameAsDnsPacket } from './dns-second-opinion'
import { NAMES, reply, TYPES } from './dns-shapes'
import { damage, splice } from './octets'
import type { Random } from './random'
import { claimOneLine, quickly, type Input, type Target } from './target'

const CAUSES: ReadonlySet<FailureCause> = new Set([
  'bogus', 'servfail', 'refused', 'rcode', 'timeout', 'network', 'malformed', 'alias-chain', 'too-large', 'bad-name', 'aborted',
]) // prettier-ignore
const RECORD_TYPES = Object.keys(TYPES) as RecordType[]
/** Of 256 inputs so many go over the wire as well. */
const OVER_THE_WIRE = 1

export async function dnsMessageTarget(): Promise<Target> {
  const wire = await overTheWire()
  return {
    make,
    check: ([message = Buffer.alloc(0), control = Buffer.alloc(3)]) => {
      const question = questionOf(control)
      const outcome = checkMessage(message, question)
      if (control[3] === 1) assert.equal(outcome, 'malformed', 'an octet that belongs to nothing')
      return (control[2] ?? 0) < OVER_THE_WIRE ? wire.check(message, question) : outcome
    },
    close: () => wire.close(),
  }
}

/** The message; and which name and type were asked for, whether to go over the wire, and whether it has an octet too many. */
function make(random: Random): Input {
  const control = Buffer.from([random.below(NAMES.length), random.below(6), random.below(256), 0])
  const question = questionOf(control)
  const asked = { name: question.name, type: TYPES[question.type] }
  const whole = reply(random, asked, random.percent(10))
  if (whole.isOverfull) {
    control[3] = 1
    return [whole.octets, control]
  }
  if (random.percent(15)) return [whole.octets, control]
  if (random.percent(10))
    return [splice(random, whole.octets, reply(random, asked).octets), control]
  return [damage(random, whole), control]
}

function questionOf(control: Buffer): Question {
  const name = canonicalName(NAMES[(control[0] ?? 0) % NAMES.length] || '.')
  return { name: name ?? 'host.test', type: RECORD_TYPES[(control[1] ?? 0) % 6] ?? 'A' }
}

function checkMessage(octets: Buffer, question: Question): string {
  const decoded = quickly('decodeMessage', () => decodeMessage(octets))
  if (!decoded.ok) {
    claimOneLine(decoded.why, 201)
    return 'malformed'
  }
  const { message } = decoded
  assert.deepEqual(message.head, decodeHead(octets))
  // What is read is read to the last octet.
  assert.equal(decodeMessage(Buffer.concat([octets, Buffer.from([0])])).ok, false)
  assert.equal(decodeMessage(octets.subarray(0, octets.length - 1)).ok, false)
  message.answers.forEach(checkRecord)
  message.authorities.forEach(checkRecord)
  for (const { name } of message.questions) checkName(name)
  for (const { code, text } of message.extendedErrors) {
    assert.ok(code >= 0 && code <= 65535)
    claimOneLine(text, 201)
  }
  claimSameAsDnsPacket(octets, message)
  const others = message.answers.slice(0, 3).map(({ name }) => name)
  for (const name of new Set([question.name, ...others])) {
    for (const type of RECORD_TYPES) checkFinding(octets, message, { name, type })
  }
  const { kind } = interpret(message, question)
  return answersQuestion(message, question) ? kind : `${kind}, to another question`
}

function checkName(name: string): void {
  assert.ok(name.length <= 1020, 'a name too long')
  assert.match(name, /^[!-~]*$/)
  assert.equal(name, name.toLowerCase())
}

function checkRecord(record: ResourceRecord): void {
  checkName(record.name)
  assert.ok(record.ttl >= 0 && record.ttl <= 0x7fffffff)
  switch (record.type) {
    case 'A':
      return assert.ok(isIPv4(record.data))
    case 'AAAA':
      return assert.ok(isIPv6(record.data))
    case 'CNAME':
      return checkName(record.data)
    case 'MX':
      assert.ok(record.data.preference >= 0 && record.data.preference <= 65535)
      return checkName(record.data.exchange)
    case 'TLSA': {
      const { malformed, usage, selector, matchingType, data } = record.data
      if (malformed)
        assert.ok(usage === 255 && selector === 255 && matchingType === 255 && data.length < 3)
      return
    }
    case 'SOA':
    case 'TXT':
    case 'other':
      return
  }
}

function checkFinding<T extends RecordType>(
  octets: Buffer,
  message: Message,
  question: Question & { readonly type: T },
): void {
  const finding = quickly('interpret', () => interpret(message, question))
  claimFinding(finding, message, question)
  const withAd = Buffer.from(octets)
  withAd[3] = (withAd[3] ?? 0) ^ 0x20
  const other = decodeMessage(withAd)
  assert.ok(other.ok)
  assert.deepEqual(
    interpret(other.message, question),
    finding,
    'the AD bit changes what a reply says',
  )
  if (finding.kind === 'nxdomain' || finding.kind === 'nodata') {
    const end = finding.aliases.at(-1) ?? question.name
    assert.equal(typeof quickly('provesExistence', () => provesExistence(message, end)), 'boolean')
  }
}

function claimFinding<T extends RecordType>(
  finding: Finding<T>,
  message: Message,
  { name, type }: Question & { readonly type: T },
): void {
  if (finding.kind === 'failed') {
    assert.ok(CAUSES.has(finding.cause))
    const told = failureWith(message, finding.cause, finding.why)
    return claimOneLine(told.detail, 501)
  }
  const { ttl, aliases, kind } = finding
  assert.ok(Number.isInteger(ttl) && ttl >= 0 && ttl <= 0x7fffffff, `TTL ${ttl}`)
  assert.ok(aliases.length <= MAX_ALIASES)
  assert.equal(new Set([name, ...aliases]).size, aliases.length + 1, 'a name twice in the chain')
  let at = name
  for (const alias of aliases) {
    assert.ok(
      message.answers.some((r) => r.type === 'CNAME' && r.name === at && r.data === alias),
      'an alias made up',
    )
    at = alias
  }
  assert.equal(message.rcode, kind === 'nxdomain' ? 3 : 0)
  if (kind === 'onward') return assert.equal(finding.target, at)
  if (kind !== 'answer') return
  const owned = message.answers.filter((record) => record.type === type && record.name === at)
  assert.ok(finding.records.length > 0 && finding.records.length === owned.length)
}

interface Wire {
  check(message: Buffer, question: Question): Promise<string>
  close(): Promise<void>
}

/** A server that answers everything with the message at hand, and two resolvers that ask it. */
async function overTheWire(): Promise<Wire> {
  let message: Buffer = Buffer.alloc(0)
  const server = await dnsServer(({ octets }) => {
    const answer = Buffer.from(message)
    octets.copy(answer, 0, 0, Math.min(2, answer.length))
    return answer
  })
  const resolvers = [true, false].map((trusted) => ({
    trusted,
    resolver: adResolver({
      servers: [{ address: '127.0.0.1', port: server.port, trusted }],
      timeoutMs: 200,
      deadlineMs: 1500,
      concurrency: 8,
      randomId: () => 4711,
    }),
  }))
  return {
    async check(octets, { name, type }) {
      message = octets.length > 8000 ? octets.subarray(0, 8000) : octets
      const head = decodeHead(message)
      // Without EDNS, octets behind the last section are left alone, and nothing is secure.
      const [decodes, counted] = [decodeMessage(message).ok, decodeMessage(message, 'counted').ok]
      const outcomes: string[] = []
      for (const { trusted, resolver } of resolvers) {
        const outcome = await resolver.resolve(name === '' ? '.' : name, type)
        outcomes.push(
          outcome.kind === 'failed' ? outcome.cause : `${outcome.security} ${outcome.kind}`,
        )
        if (outcome.kind === 'failed') {
          assert.ok(CAUSES.has(outcome.cause))
          claimOneLine(outcome.detail, 1100)
          continue
        }
        const isWhole = outcome.security === 'secure' ? decodes : counted
        assert.ok(isWhole, 'an outcome from a malformed message')
        assert.ok(head?.isResponse === true && !head.truncated)
        assert.equal(outcome.security === 'secure', trusted && head.authenticData)
      }
      return `over the wire: ${outcomes.join(', to whom does not trust it: ')}`
    },
    async close() {
      for (const { resolver } of resolvers) resolver.close()
      await server.close()
    },
  }
}
