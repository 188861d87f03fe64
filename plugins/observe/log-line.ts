/**
 * One line for one attempt on a host, always the same keys in the same order, so that operators can grep and count.
 * Values from the network are quoted and stripped of control characters. Pure.
 */
import { REASONS } from './reasons'
import type { ReasonCode } from './reasons'

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
    ['rfc', REASONS[reason].rfc],
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
  const clean = value
    .replace(/[^\x20-\x7e]/g, '?')
    .replace(/"/g, "'")
    .slice(0, MOST_VALUE)
  return /[ =;]/.test(clean) || clean === '' ? `"${clean}"` : clean
}
