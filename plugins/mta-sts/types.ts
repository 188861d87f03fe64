/** The shapes of MTA-STS (RFC 8461) that other rooms see. Pure. */
import type { StsProblemReason } from '../reasons/codes'

export type StsMode = 'enforce' | 'testing' | 'none'

export interface StsPolicy {
  readonly mode: StsMode
  /** Lower case A-labels, `*.` allowed as first label; empty only for mode none. */
  readonly mx: readonly string[]
  /** Seconds, at most 31557600 (RFC 8461 §3.2). */
  readonly maxAge: number
  /** The policy body's lines without terminators, for reports. */
  readonly lines: readonly string[]
}

export interface StsProblem {
  readonly reason: StsProblemReason
  /** One line for a human. No control characters. */
  readonly detail: string
}

export interface KnownPolicy {
  readonly domain: string
  /** The TXT record's id under which the policy was fetched. */
  readonly id: string
  readonly policy: StsPolicy
  /** Milliseconds since the epoch. */
  readonly fetchedAt: number
  readonly expiresAt: number
}

/** What MTA-STS says about one policy domain now. */
export type StsLookup =
  /** `problem`: something failed on the way, and the cached policy holds nevertheless (RFC 8461 §3.3). */
  | {
      readonly kind: 'policy'
      readonly known: KnownPolicy
      readonly source: 'cache' | 'fetched'
      readonly problem?: StsProblem
    }
  /** No policy: none published, or it could not be had and none was ever known (RFC 8461 §3.3). */
  | { readonly kind: 'none'; readonly problem?: StsProblem }
  /** The TXT lookup failed and nothing is cached; whether to go on is the operator's (`txt_failure`). */
  | { readonly kind: 'unknown'; readonly problem: StsProblem }
  /** The store could not be read, why it says `store`, and TXT lookup or fetch failed as well: there may be a policy, so mail waits. */
  | { readonly kind: 'store-unread'; readonly store: string; readonly problem: StsProblem }

export interface StsLookupOptions {
  readonly signal?: AbortSignal
  /** Look at the TXT record even where a warm copy of its outcome is at hand (RFC 8461 §5.1, before giving up). */
  readonly recheck?: boolean
}

/** What a delivery asks of MTA-STS. Never rejects: trouble is a problem beside the outcome. */
export interface StsPolicies {
  lookup(domain: string, options?: StsLookupOptions): Promise<StsLookup>
  /** The same without I/O, where a warm answer is at hand. */
  peek?(domain: string): StsLookup | undefined
}
