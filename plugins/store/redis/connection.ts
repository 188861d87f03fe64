/**
 * The connections of the store in Redis: one over which it asks, one over which it hears of changes.
 *
 * Promises: making them waits for no answer. A connection that is lost is found again by itself, also at another address. After
 * `leave` nothing stays.
 */
import type { Client } from './kept-client'

/** The commands that the store uses; each names one key, or none. */
export type Commands = Pick<
  Client,
  'getRange' | 'set' | 'del' | 'zAdd' | 'zRem' | 'zScore' | 'zScan' | 'pExpire' | 'eval'
>

export interface Connection {
  /** Asks Redis; rejects at once where there is no connection. Waits for the very first attempt to connect. */
  ask<T>(call: (redis: Commands) => Promise<T>): Promise<T>
  /** @param onReady called with each new connection of its own, to any server that passes messages on */
  listen(onReady: (client: Client) => Promise<unknown>): void
  /** Whether all servers that we know of are there. */
  isWhole(): boolean
  leave(): void
}
