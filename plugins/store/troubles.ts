/**
 * What is wrong with the store, of a known few kinds: each is logged when it begins and when it is over, counted for each call
 * that it cost, and can be asked for by metrics and doctor as long as it lasts.
 */
import type { Logger } from './types'

/** The labels of the metrics (docs/metrics.md). */
export const TROUBLE_KINDS = [
  'file-closed',
  'file-read-only',
  'file-full',
  'file-cut',
  'redis-unreachable',
  'redis-untrusted',
  'redis-login',
  'redis-rights',
  'redis-deaf',
  'redis-full',
  'redis-read-only',
  'redis-disk',
  'redis-replicas',
  'redis-loading',
  'redis-no-master',
  'redis-busy',
  'redis-wrong-type',
  'redis-error',
  'redis-settings',
] as const

export type TroubleKind = (typeof TROUBLE_KINDS)[number]

export interface StoreTrouble<K extends TroubleKind = TroubleKind> {
  readonly kind: K
  /** One line for a human, without control characters. */
  readonly text: string
  /** What to do. */
  readonly cure: string
}

export interface Troubles<K extends TroubleKind> {
  /** Logs it, unless it lasts already. */
  begin(trouble: StoreTrouble<K>): void
  /** @param notice logged, where it lasted */
  over(kind: K, notice: string): void
  lasting(): readonly StoreTrouble<K>[]
}

export function createTroubles<K extends TroubleKind>(
  log: Pick<Logger, 'warn' | 'notice'>,
): Troubles<K> {
  const now = new Map<K, StoreTrouble<K>>()
  return {
    begin(trouble) {
      if (now.has(trouble.kind)) return
      now.set(trouble.kind, trouble)
      log.warn(`${trouble.text}. ${trouble.cure}`)
    },
    over(kind, notice) {
      if (now.delete(kind)) log.notice(notice)
    },
    lasting: () => [...now.values()],
  }
}
