/**
 * One line for one attempt on a host, always the same keys in the same order, so that operators can grep and count. No value can
 * add to them, whatever it says: it is quoted, and has neither control characters nor an equals sign. Pure.
 */
import type { HostEnd } from '../delivery/host-end'
import { wordsOf } from '../mta-sts/one-line'
import { sourceOf } from '../reasons/catalogue'

export { wordsOf }

const MOST_VALUE = 600

export function logLine(end: HostEnd): string {
  const { domain, host, address, policy, require, verdict, reason, mode, session, detail } = end
  const pairs: readonly (readonly [string, string | undefined])[] = [
    ['domain', domain],
    ['mx', host],
    ['ip', address],
    ['policy', policy],
    ['require', require],
    ['verdict', verdict],
    ['reason', reason],
    ['rfc', sourceOf(reason, policy)],
    ['mode', mode === 'observe' ? mode : undefined],
    ['tls', session?.tls && `${session.tls.protocol} ${session.tls.cipher}`],
    ['requiretls', session?.requiretls && 'yes'],
    ['unmet', unmetOf(end)],
    ['detail', detail === '' ? undefined : detail],
  ]
  return pairs
    .filter((pair): pair is readonly [string, string] => pair[1] !== undefined)
    .map(([key, value]) => `${key}=${quoted(value)}`)
    .join(' ')
}

/** Policies that are not insisted on, and were not met. */
function unmetOf({ byPolicy }: HostEnd): string | undefined {
  const unmet = byPolicy.filter(({ enforced, met }) => !enforced && !met)
  if (unmet.length === 0) return undefined
  return unmet.map(({ policy, reason }) => `${policy}:${reason}`).join(',')
}

function quoted(value: string): string {
  const words = wordsOf(value).slice(0, MOST_VALUE)
  return /[ ;]/.test(words) || words === '' ? `"${words}"` : words
}
