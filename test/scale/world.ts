/** What the scale measurements load: domains and policies as they are found in the world, the same in each run. */
import type { PolicyRecord, StoreSettings } from '../../plugins/store/types'

const DAY = 86_400_000

/** What a task measured: seconds, microseconds, octets, or a count, as its name says. */
export type Measured = Readonly<Record<string, number>>

export interface ScaleSettings {
  readonly backend: 'lmdb' | 'redis'
  readonly count: number
  /** Of the LMDB file; with Redis, of this machine's copy. */
  readonly path: string
  readonly redisSocket: string
  /** Milliseconds since the epoch at which everything was loaded. */
  readonly loadedAt: number
}

export function storeSettings(settings: ScaleSettings): StoreSettings {
  const { backend, path, redisSocket } = settings
  return { backend, path, prefix: 'tlspolicy', redis: { socket: redisSocket } }
}

/** A name of usual length; the numbers are scattered, so that neighbours in time are no neighbours in the file. */
export function domainOf(index: number): string {
  const scattered = (Math.imul(index, 0x9e3779b1) >>> 0).toString(36)
  return `company-${scattered}.example${index % 7}.test`
}

/** One to five MX hosts, three on average; about 190 octets. */
export function policyOf(index: number): string {
  const hosts = Array.from(
    { length: 1 + (index % 5) },
    (_, n) => `mx: mx${n + 1}.${domainOf(index)}`,
  )
  return ['version: STSv1', 'mode: enforce', ...hosts, 'max_age: 604800', ''].join('\r\n')
}

/** Fetched at some time within the day before it was loaded, as where each is refreshed once a day. */
export function recordOf(index: number, { count, loadedAt }: ScaleSettings): PolicyRecord {
  const fetchedAt = Math.round(loadedAt - (0.85 * DAY * index) / count)
  const id = `2026080100${String(index % 10_000).padStart(4, '0')}`
  return {
    domain: domainOf(index),
    id,
    text: policyOf(index),
    fetchedAt,
    expiresAt: fetchedAt + 7 * DAY,
  }
}
