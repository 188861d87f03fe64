/**
 * The store: the knowledge that workers, and with Redis machines, have in common. One small interface, which knows names, texts
 * and times, and nothing of MTA-STS.
 *
 * Promises: every call ends within its own deadline and says what happened instead of throwing; short-lived notes live in
 * a space of their own and can never evict or shadow a policy; values that come back have been validated in shape and size.
 * It does not judge expiry (the caller's clock decides, RFC 8461 §5.1), and it does not parse policies: their text is
 * kept as served, so that no parsed form is trusted that others could have written.
 */

import type { TallyBatch, TallyEntry } from './tally'
import type { StoreTrouble, TroubleKind } from './troubles'
import type { WaitingNote, WaitingRecord } from './waiting'

export type { TallyAdd, TallyBatch, TallyEntry, TallyWay } from './tally'

/** How a call ended. After `ok: false` the caller goes on with what it knows itself. */
export type Stored<T> =
  | { readonly ok: true; readonly value: T }
  /** One line for a human, without control characters. */
  | { readonly ok: false; readonly detail: string }

export interface PolicyRecord {
  /** The policy domain: lower case A-labels. */
  readonly domain: string
  /** The TXT record's id under which it was fetched: 1 to 32 letters and digits. */
  readonly id: string
  /** The policy as served. */
  readonly text: string
  /** Milliseconds since the epoch. */
  readonly fetchedAt: number
  readonly expiresAt: number
}

export interface DomainPage {
  readonly domains: readonly string[]
  /** Undefined on the last page. */
  readonly next: string | undefined
}

/** Milliseconds since the epoch. */
export interface Due {
  readonly now: number
  /** Later than any plan: an entry beyond it was planned under another clock, and is due as well. */
  readonly beyond: number
  readonly until: number
  /** About how many domains. */
  readonly limit: number
}

export interface Taken {
  readonly domains: readonly string[]
  /** Whether there may be more, also where none are given now. */
  readonly more: boolean
}

/** @param domain what changed; undefined: anything may have (changes were missed, look again) */
export type ChangeListener = (domain: string | undefined) => void

/**
 * Counts that all who share the store raise together (tally.ts). There is no second place for them: where the shared one cannot be
 * reached, the call fails, also where policies would go on with this machine's own.
 */
export interface TallyStore {
  /** @returns how much of it was lost, as there was no room or the part is sealed */
  addToTally(batch: TallyBatch): Promise<Stored<number>>
  /** From now on the part takes nothing: what is added is lost, and said to be. What it holds stays. */
  sealTally(day: number, part: number): Promise<Stored<void>>
  /** All of a part: at most about a mebioctet. */
  readTally(day: number, part: number): Promise<Stored<readonly TallyEntry[]>>
  /** @param names of the domain's entries, as read */
  dropTally(day: number, domain: string, names: readonly string[]): Promise<Stored<void>>
  /** Eight lower-case letters that tell those who share this store from all others; made once, and kept. */
  clusterName(): Promise<Stored<string>>
}

export type { WaitingNote, WaitingRecord } from './waiting'

/** Destinations whose mail a policy keeps back (waiting.ts). There is no second place for them either. */
export interface WaitingStore {
  /** @returns how many destinations found no room */
  noteWaiting(part: number, notes: readonly WaitingNote[]): Promise<Stored<number>>
  /** All of a part: at most some 1.3 mebioctets. */
  readWaiting(part: number): Promise<Stored<readonly WaitingRecord[]>>
}

/** For what may be done once in the whole cluster. */
export interface Everywhere {
  /** With Redis: this machine's own store does not stand in for it, and the call fails where Redis does not answer. */
  readonly everywhere?: boolean
}

export interface Store extends TallyStore, WaitingStore {
  /**
   * The record of a domain; it may have expired. `ok` without a record means that there is none, for all who share the store;
   * where a part of the store could not be read in which there may be one, the call fails.
   * @param options.passing for a count: with Redis, this machine takes no copy of what it did not have
   */
  getPolicy(
    domain: string,
    options?: { readonly passing?: boolean },
  ): Promise<Stored<PolicyRecord | undefined>>
  /** Replaces the record, for all who share the store, and tells them. */
  setPolicy(record: PolicyRecord): Promise<Stored<void>>
  /** Removes the record wherever it is kept, and tells. */
  deletePolicy(domain: string): Promise<Stored<void>>
  /**
   * The domains that have a record, in no order, some at a time; one may come twice.
   * @param after `next` of the page before; left out: the first page
   */
  listDomains(after?: string): Promise<Stored<DomainPage>>

  /**
   * The agenda: when each domain with a record is to be looked at again, so that those are found
   * without looking at all of them. A record that is set is to be looked at at once. Takes those whose time has come, for this
   * worker: no other is given them before `until`, by which they should have been planned anew.
   */
  takeDue(due: Due): Promise<Stored<Taken>>
  /** @param at milliseconds since the epoch; undefined: takes the domain off the agenda */
  plan(domain: string, at: number | undefined): Promise<Stored<void>>

  /**
   * A short-lived result, as it was set; undefined after its time.
   * @param domain or NO_DOMAIN of record.ts, for what all domains have in common
   */
  getNote(domain: string, name: string, options?: Everywhere): Promise<Stored<string | undefined>>
  /**
   * @param name lower-case words, digits and `-`, then perhaps `/` and an id
   * @param text at most 1000 characters are kept
   * @param ttlMs milliseconds
   */
  setNote(
    domain: string,
    name: string,
    text: string,
    ttlMs: number,
    options?: Everywhere,
  ): Promise<Stored<void>>

  /** The last day on which the domain was asked for (days since the epoch), as far as known. */
  lastUsed(domain: string): Promise<Stored<number | undefined>>
  markUsed(domain: string, day: number): Promise<Stored<void>>

  /**
   * Takes a lease: until it is released, or `ttlMs` have passed, no other owner gets it. Its owner may take it again, and so
   * prolong it.
   * @param owner a text that no other owner uses
   * @param options.everywhere fails where those of other machines cannot be asked; left out: then it is this machine's lease
   * @returns whether it was free, or the owner's
   */
  acquire(
    name: string,
    owner: string,
    ttlMs: number,
    options?: Everywhere,
  ): Promise<Stored<boolean>>
  /** Gives a lease back; without effect when it is no longer the owner's. */
  release(name: string, owner: string): Promise<Stored<void>>

  /**
   * Calls the listener soon after anybody set or deleted a policy, this worker included; perhaps more than once.
   * @returns ends it
   */
  onChange(listener: ChangeListener): () => void

  /** What is wrong with it now. */
  troubles(): readonly StoreTrouble[]
  /** The same, after a trial of all that it needs: rights, room, a connection. */
  examine(): Promise<readonly StoreTrouble[]>

  /** Lets go of files and connections; later calls end with `ok: false`. */
  close(): Promise<void>
}

export interface Logger {
  info(text: string): void
  notice(text: string): void
  warn(text: string): void
  error(text: string): void
}

export interface StoreTools {
  readonly log: Logger
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Milliseconds of a clock that cannot be set; default performance.now. */
  readonly ticks?: () => number
  /** Told of each call that a trouble has cost. */
  readonly count?: (kind: TroubleKind) => void
  /** Milliseconds between two looks at whether Redis does all that it should; default 10 s. */
  readonly probeMs?: number
}

export interface StoreSettings {
  readonly backend: 'lmdb' | 'redis' | 'memory'
  /** The LMDB file; with Redis, the copy that outlives its outages. Its folder must exist. Not used for memory. */
  readonly path: string
  /** Before every key in Redis. */
  readonly prefix: string
  /** What to do where the file cannot be used; default: a general sentence. */
  readonly fileCure?: string
  /** [redis] of tls-policy.ini over redis.ini; see redis/settings.ts. */
  readonly redis: Readonly<Record<string, string | number | boolean>>
  /** PEM roots for Redis' certificate, read from `ca_file` there. */
  readonly redisCa?: string
}
