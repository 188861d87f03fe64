/** `waiting`: the destinations whose mail a policy keeps back, as the workers of all machines have put them into the store. */
import type { Config } from '../config'
import { treatmentOf } from '../delivery/planner'
import { sourceOf } from '../reasons/catalogue'
import type { Stored, WaitingRecord, WaitingStore } from '../store'
import { countOf, WAITING_PARTS, waitingPart } from '../store/waiting'
import { curesOf, readKeptBack } from '../waiting/kept-back'
import { normalizeHostName } from '../x509/names'
import type { Finding } from './doctor'
import { fromNow, printable, utc, wrap } from './words'
import type { Style } from './words'

export interface WaitingDestination {
  /** The next-hop domain. */
  readonly domain: string
  readonly host: string | null
  readonly policy: string
  readonly reason: string
  readonly rfc: string
  readonly meaning: string
  /** Of the last time. */
  readonly detail: string
  readonly since: string
  readonly last: string
  readonly messages: number
  /** False: an estimate. */
  readonly messagesExact: boolean
  /** What the receiver is to mend; null: nothing. */
  readonly receiver: string | null
  /** What is to be done here; null: nothing. */
  readonly sender: string | null
}

export interface WaitingReport {
  readonly version: 1
  readonly command: 'waiting'
  /** The one that has waited longest first. */
  readonly destinations: readonly WaitingDestination[]
  readonly problem: string | null
  readonly exitCode: number
}

const EXIT_CODES = { none: 0, some: 1, unknown: 2 } as const

/** @param domain only this one */
export async function waiting(
  store: Pick<WaitingStore, 'readWaiting'>,
  config: Config,
  now: Date,
  domain: string | undefined,
): Promise<WaitingReport> {
  const name = domain === undefined ? undefined : (normalizeHostName(domain) ?? domain)
  const read = await (name === undefined ? readAll(store) : store.readWaiting(waitingPart(name)))
  const records = read.ok ? read.value : []
  const destinations = records
    .filter((record) => name === undefined || record.domain === name)
    .flatMap((record) => reportOf(record, config, now))
    .sort((one, other) => (one.since < other.since ? -1 : 1))
  const problem = read.ok
    ? null
    : `which destinations wait cannot be read: ${printable(read.detail)}`
  const exitCode =
    EXIT_CODES[problem !== null ? 'unknown' : destinations.length > 0 ? 'some' : 'none']
  return { version: 1, command: 'waiting', destinations, problem, exitCode }
}

async function readAll(
  store: Pick<WaitingStore, 'readWaiting'>,
): Promise<Stored<readonly WaitingRecord[]>> {
  const all: WaitingRecord[] = []
  for (let part = 0; part < WAITING_PARTS; part++) {
    const read = await store.readWaiting(part)
    if (!read.ok) return read
    all.push(...read.value)
  }
  return { ok: true, value: all }
}

function reportOf(
  { domain, since, last, marks, text }: WaitingRecord,
  config: Config,
  now: Date,
): readonly WaitingDestination[] {
  const why = readKeptBack(text)
  if (why === undefined) return []
  const { host, policy, reason, detail } = why
  // Since then the operator has let the mail go; but what its author asks is not his to let go.
  if (policy !== 'requiretls' && treatmentOf(config, domain, now) !== 'enforce') return []
  const { meaning, receiver = null, sender = null } = curesOf(reason)
  const { count, exact } = countOf(marks)
  return [
    {
      ...{ domain, host: host === undefined ? null : printable(host), policy, reason },
      ...{ rfc: sourceOf(reason, policy), meaning, detail: printable(detail) },
      ...{ since: new Date(since).toISOString(), last: new Date(last).toISOString() },
      ...{ messages: count, messagesExact: exact, receiver, sender },
    },
  ]
}

/** For `doctor`; nothing where no mail waits. What is wrong with the store has a finding of its own. */
export function waitingFindings({ destinations }: WaitingReport): readonly Finding[] {
  const [first, ...others] = destinations
  if (first === undefined) return []
  const text =
    others.length === 0
      ? `mail to ${first.domain} waits, or came back, because of a policy (${first.reason})`
      : `mail to ${destinations.length} destinations waits, or came back, because of a policy`
  const cure = '"haraka-tls-policy waiting" tells why, and what is to be done.'
  return [{ check: 'waiting', level: 'note', text, cure }]
}

export function waitingText(
  { destinations, problem }: WaitingReport,
  now: number,
  style: Style,
): readonly string[] {
  if (problem !== null) return wrap('', `Problem: ${problem}`)
  if (destinations.length === 0) return ['No mail waits because of a policy.']
  return destinations.flatMap((one, at) => [
    ...(at === 0 ? [] : ['']),
    ...destinationText(one, now, style),
  ])
}

function destinationText(one: WaitingDestination, now: number, style: Style): readonly string[] {
  const when = (at: string) => `${utc(Date.parse(at))} (${fromNow(Date.parse(at), now)})`
  const many = one.messagesExact ? String(one.messages) : `about ${one.messages}`
  return [
    ...wrap('', one.domain, (line) => style.paint(line, 'strong')),
    ...(one.host === null ? [] : wrap('  host      ', one.host)),
    ...wrap('  reason    ', `${one.reason}: ${one.meaning} (${one.rfc})`),
    ...(one.policy === 'none' ? [] : wrap('  policy    ', one.policy)),
    ...(one.detail === '' ? [] : wrap('  detail    ', one.detail)),
    ...wrap('  messages  ', many),
    ...wrap('  since     ', when(one.since)),
    ...(one.last === one.since ? [] : wrap('  last      ', when(one.last))),
    ...(one.receiver === null ? [] : wrap('  receiver  ', one.receiver)),
    ...(one.sender === null ? [] : wrap('  here      ', one.sender)),
  ]
}
