/**
 * What follows where the receiver's side of MTA-STS did not give a policy, by what the store holds. Pure.
 *
 * | store   | TXT lookup failed | no TXT record, or a malformed one | fetch failed   |
 * | ------- | ----------------- | --------------------------------- | -------------- |
 * | policy  | it holds          | it holds                          | it holds       |
 * | none    | unknown           | none                              | none           |
 * | unread  | store-unread      | none                              | store-unread   |
 *
 * `unread` is not `none`: another machine, or this one before, may have stored a policy that holds (RFC 8461 §5.1). Where TXT
 * record and policy host do not say either, mail waits. An answer that denies the record is an answer, and a policy that was fetched replaces
 * whatever the store may hold.
 */
import { oneLine } from './one-line'
import type { KnownPolicy, StsLookup, StsProblem } from './types'

/** What the store says of a domain, or this worker's memory in its place. */
export type Held =
  | { readonly kind: 'policy'; readonly known: KnownPolicy }
  | { readonly kind: 'none' }
  /** It could not be read, and this worker remembers no policy. */
  | { readonly kind: 'unread'; readonly detail: string }

export function held(known: KnownPolicy | undefined): Held {
  return known === undefined ? { kind: 'none' } : { kind: 'policy', known }
}

/** @returns undefined for `unread` as well: for those who only use a policy that is there */
export function policyIn(store: Held): KnownPolicy | undefined {
  return store.kind === 'policy' ? store.known : undefined
}

export function txtFailed(store: Held, detail: string): StsLookup {
  const problem: StsProblem = { reason: 'sts-txt-lookup-failed', detail: oneLine(detail) }
  switch (store.kind) {
    case 'policy':
      return { kind: 'policy', known: store.known, source: 'cache', problem }
    case 'none':
      return { kind: 'unknown', problem }
    case 'unread':
      return { kind: 'store-unread', store: oneLine(store.detail), problem }
  }
}

/** No usable TXT record deletes nothing (RFC 8461 §3.3); without a cached policy it is no problem, but plain absence. */
export function withoutRecord(store: Held, detail: string): StsLookup {
  switch (store.kind) {
    case 'policy': {
      const problem: StsProblem = { reason: 'sts-txt-invalid', detail: oneLine(detail) }
      return { kind: 'policy', known: store.known, source: 'cache', problem }
    }
    case 'none':
    case 'unread':
      return { kind: 'none' }
  }
}

export function fetchFailed(store: Held, problem: StsProblem): StsLookup {
  switch (store.kind) {
    case 'policy':
      return { kind: 'policy', known: store.known, source: 'cache', problem }
    case 'none':
      return { kind: 'none', problem }
    case 'unread':
      return { kind: 'store-unread', store: oneLine(store.detail), problem }
  }
}
