/**
 * What was counted, out of the names of a tally (lines.ts). Pure. The store may hold anything: an entry that is none of ours is passed
 * over, and no text of it gets into a report that has not the shape of one.
 */
import type { TallyEntry } from '../store'
import { readCount } from '../store/tally'
import { COARSE } from './lines'
import { detailInOrder, policyInOrder } from './report'
import { RESULT_TYPES } from './types'
import type {
  Day,
  Detail,
  DomainDay,
  FailureDetails,
  Policy,
  PolicyResult,
  PolicyType,
  ResultType,
} from './types'

/** @returns the domains of a part, in alphabetical order; one of which nothing can be read is left out */
export function readDomainDays(day: Day, entries: readonly TallyEntry[]): readonly DomainDay[] {
  const byDomain = new Map<string, TallyEntry[]>()
  for (const entry of entries) {
    const others = byDomain.get(entry.domain)
    if (others === undefined) byDomain.set(entry.domain, [entry])
    else others.push(entry)
  }
  return [...byDomain]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([domain, ofDomain]) => ({
      domain,
      day,
      policies: readPolicies(domain, ofDomain),
      names: ofDomain.map(({ name }) => name),
    }))
    .filter(({ policies }) => policies.length > 0)
}

interface Counted {
  success: number
  failure: number
  readonly details: FailureDetails[]
}

function readPolicies(domain: string, entries: readonly TallyEntry[]): readonly PolicyResult[] {
  const texts = new Map(entries.map(({ name, value }) => [name, value]))
  const counted = new Map<string, Counted>()
  for (const { name, value } of entries) {
    const [kind, policy = '', what = ''] = name.split(' ')
    const count = readCount(value)
    if (count === 0 || !isCounter(kind)) continue
    const found = counted.get(policy) ?? { success: 0, failure: 0, details: [] }
    counted.set(policy, found)
    if (kind === 'S') found.success = count
    else if (kind === 'F') found.failure = count
    else {
      const detail = kind === 'C' ? readType(what) : readDetail(texts.get(`T ${what}`))
      if (detail !== undefined) found.details.push({ ...detail, 'failed-session-count': count })
    }
  }
  return [...counted]
    .flatMap(([name, { success, failure, details }]) => {
      const policy = policyOf(name, domain, texts)
      const isEmpty = success === 0 && failure === 0 && details.length === 0
      if (policy === undefined || isEmpty) return []
      return [
        {
          policy,
          summary: {
            'total-successful-session-count': success,
            'total-failure-session-count': failure,
          },
          'failure-details': inOrderOfText(details, (detail) => detail),
        },
      ]
    })
    .map((result) => ({ result, text: JSON.stringify(result.policy) }))
    .sort(
      (one, other) =>
        TYPES.indexOf(one.result.policy['policy-type']) -
          TYPES.indexOf(other.result.policy['policy-type']) || compare(one.text, other.text),
    )
    .map(({ result }) => result)
}

const TYPES: readonly PolicyType[] = ['tlsa', 'sts', 'no-policy-found']

type Counter = 'S' | 'F' | 'C' | 'D' | 'E'

function isCounter(kind: string | undefined): kind is Counter {
  return kind !== undefined && ['S', 'F', 'C', 'D', 'E'].includes(kind)
}

function policyOf(
  name: string,
  domain: string,
  texts: ReadonlyMap<string, string>,
): Policy | undefined {
  const type = TYPES.find((one) => COARSE[one] === name)
  if (type === undefined) return readPolicy(texts.get(`P ${name}`))
  return {
    'policy-type': type,
    ...(type === 'no-policy-found' ? {} : { 'policy-string': [] }),
    'policy-domain': domain,
  }
}

function readPolicy(text: string | undefined): Policy | undefined {
  const found = readObject(text)
  const type = TYPES.find((one) => one === found?.['policy-type'])
  const domain = found?.['policy-domain']
  if (found === undefined || type === undefined || typeof domain !== 'string') return undefined
  const { 'policy-string': lines, 'mx-host': patterns } = found
  if ((lines !== undefined && !isTexts(lines)) || (patterns !== undefined && !isTexts(patterns))) {
    return undefined
  }
  return policyInOrder({
    'policy-type': type,
    ...(lines === undefined ? {} : { 'policy-string': lines }),
    'policy-domain': domain,
    ...(patterns === undefined ? {} : { 'mx-host': patterns }),
  })
}

function readType(text: string): Detail | undefined {
  const type = resultType(text)
  return type === undefined ? undefined : { 'result-type': type }
}

const OPTIONAL = [
  'sending-mta-ip',
  'receiving-mx-hostname',
  'receiving-mx-helo',
  'receiving-ip',
  'failure-reason-code',
] as const

function readDetail(text: string | undefined): Detail | undefined {
  const found = readObject(text)
  const type = resultType(found?.['result-type'])
  if (found === undefined || type === undefined) return undefined
  const present = OPTIONAL.filter((key) => found[key] !== undefined)
  if (present.some((key) => typeof found[key] !== 'string')) return undefined
  return detailInOrder({
    'result-type': type,
    ...Object.fromEntries(present.map((key) => [key, String(found[key])])),
  })
}

function resultType(found: unknown): ResultType | undefined {
  return RESULT_TYPES.find((one) => one === found)
}

function readObject(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  if (text === undefined) return undefined
  try {
    const found: unknown = JSON.parse(text)
    return typeof found === 'object' && found !== null && !Array.isArray(found)
      ? (found as Readonly<Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}

function isTexts(found: unknown): found is readonly string[] {
  return Array.isArray(found) && found.every((one) => typeof one === 'string')
}

function inOrderOfText<T>(items: readonly T[], what: (item: T) => unknown): readonly T[] {
  return items
    .map((item) => ({ item, text: JSON.stringify(what(item)) }))
    .sort((one, other) => compare(one.text, other.text))
    .map(({ item }) => item)
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0
}
