/**
 * One line for one attempt on a host, always the same keys in the same order, so that operators can grep and count. No value can
 * add to them, whatever it says: it is quoted, and has neither control characters nor an equals sign. Pure.
 */
import { wordsOf } from '../mta-sts/one-line'
import { sourceOf } from '../reasons/catalogue'
import type { ReasonCode } from '../reasons/codes'

export { wordsOf }

export interface LogFields {
  readonly domain: string
  readonly mx?: string
  readonly ip?: string
  readonly policy: string
  readonly require: string
  readonly verdict: string
  readonly reason: ReasonCode
  readonly mode?: 'observe'
  readonly tls?: string
  readonly detail?: string
}

const MOST_VALUE = 600

export function logLine(fields: LogFields): string {
  const { domain, mx, ip, policy, require, verdict, reason, mode, tls, detail } = fields
  const pairs: readonly (readonly [string, string | undefined])[] = [
    ['domain', domain],
    ['mx', mx],
    ['ip', ip],
    ['policy', policy],
    ['require', require],
    ['verdict', verdict],
    ['reason', reason],
    ['rfc', sourceOf(reason, policy)],
    ['mode', mode],
    ['tls', tls],
    ['detail', detail],
  ]
  return pairs
    .filter((pair): pair is readonly [string, string] => pair[1] !== undefined)
    .map(([key, value]) => `${key}=${quoted(value)}`)
    .join(' ')
}

function quoted(value: string): string {
  const words = wordsOf(value).slice(0, MOST_VALUE)
  return /[ ;]/.test(words) || words === '' ? `"${words}"` : words
}
