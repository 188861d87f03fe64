/**
 * Additions as names of a tally. Pure.
 *
 * | name       | counts or says                                                  |
 * | ---------- | --------------------------------------------------------------- |
 * | `S p`      | successful sessions under a policy                              |
 * | `F p`      | failed ones                                                     |
 * | `E p d`    | failures of one kind, with the name that the server gave itself |
 * | `D p d`    | failures of one kind, without it                                |
 * | `C p type` | failures by their result type alone                             |
 * | `P p`      | the policy, `T d` the failure; both as JSON                     |
 *
 * `p` and `d` are digests of the texts. Where a domain has too many policies or kinds of failures, what is counted gets coarser, and
 * the sums stay right: `n` is no policy, `t` and `s` any TLSA or MTA-STS policy.
 */
import { createHash } from 'node:crypto'
import type { TallyAdd, TallyWay } from '../store'
import { TEXT_OCTETS } from '../store/tally'
import { detailInOrder, policyInOrder } from './report'
import type { Addition, Detail, Policy, PolicyType } from './types'

/** Any policy of its type. */
export const COARSE: Readonly<Record<PolicyType, string>> = {
  tlsa: 't',
  sts: 's',
  'no-policy-found': 'n',
}
/** Octets of a policy's lines, and of its patterns, as JSON; what is beyond is left out, whole lines at a time. */
const MOST_LINES = 5_000
const MOST_PATTERNS = 2_500

/** @param domain the next-hop domain: whose report it goes into */
export function toAdds(domain: string, addition: Addition): readonly TallyAdd[] {
  const { policy, success, failure, detail } = addition
  const adds: TallyAdd[] = []
  const named = nameOf(policy)
  if (success > 0) adds.push({ domain, by: success, ways: under(named, 'S') })
  if (failure > 0) adds.push({ domain, by: failure, ways: under(named, 'F') })
  if (detail !== undefined) adds.push({ domain, by: 1, ways: waysOf(named, detail) })
  return adds
}

interface Named {
  readonly name: string
  readonly coarse: string
  /** Undefined where the name alone says it. */
  readonly text: string | undefined
}

function nameOf(policy: Policy): Named {
  const coarse = COARSE[policy['policy-type']]
  if (policy['policy-type'] === 'no-policy-found') return { name: coarse, coarse, text: undefined }
  const text = JSON.stringify(policyInOrder(shortened(policy)))
  return Buffer.byteLength(text) > TEXT_OCTETS
    ? { name: coarse, coarse, text: undefined }
    : { name: digest(text), coarse, text }
}

function shortened(policy: Policy): Policy {
  const { 'policy-string': lines, 'mx-host': patterns } = policy
  return {
    ...policy,
    ...(lines === undefined ? {} : { 'policy-string': upTo(MOST_LINES, lines) }),
    ...(patterns === undefined ? {} : { 'mx-host': upTo(MOST_PATTERNS, patterns) }),
  }
}

function upTo(octets: number, texts: readonly string[]): readonly string[] {
  let left = octets
  return texts.filter((text) => {
    left -= Buffer.byteLength(JSON.stringify(text)) + 1
    return left >= 0
  })
}

function under({ name, coarse, text }: Named, counter: 'S' | 'F'): readonly TallyWay[] {
  const texts = textsOf(name, text)
  return text === undefined
    ? [{ counter: `${counter} ${name}` }]
    : [{ counter: `${counter} ${name}`, texts }, { counter: `${counter} ${coarse}` }]
}

function waysOf({ name, coarse, text }: Named, detail: Detail): readonly TallyWay[] {
  const policy = textsOf(name, text)
  const { 'receiving-mx-helo': helo, ...withoutHelo } = detail
  const kinds: readonly (readonly ['E' | 'D', Detail])[] =
    helo === undefined
      ? [['D', detail]]
      : [
          ['E', detail],
          ['D', withoutHelo],
        ]
  const type = detail['result-type']
  const fine = kinds.map(([kind, one]) => {
    const json = JSON.stringify(detailInOrder(one))
    const name_ = digest(json)
    return {
      counter: `${kind} ${name} ${name_}`,
      texts: [...policy, [`T ${name_}`, json] as const],
    }
  })
  return [
    ...fine,
    { counter: `C ${name} ${type}`, texts: policy },
    ...(name === coarse ? [] : [{ counter: `C ${coarse} ${type}` }]),
  ]
}

function textsOf(name: string, text: string | undefined): readonly (readonly [string, string])[] {
  return text === undefined ? [] : [[`P ${name}`, text]]
}

/** Only tells texts of one domain and day apart. */
function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 10)
}
