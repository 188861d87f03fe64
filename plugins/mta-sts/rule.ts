/**
 * What follows from the TXT record beside the cached policy (RFC 8461 §3.1, §3.3, §5.1). Pure.
 *
 * | cached         | TXT lookup failed | no TXT record, or a malformed one | record with the same id | with another id |
 * | -------------- | ----------------- | --------------------------------- | ----------------------- | --------------- |
 * | policy         | answer            | answer                            | keep                    | fetch           |
 * | of mode `none` | answer            | forget                            | keep                    | fetch           |
 * | none           | answer            | answer                            |                         | fetch           |
 * | unread         | answer            | answer                            |                         | fetch           |
 *
 * The answers are in conclude.ts.
 */
import { type Held, policyIn, txtFailed, withoutRecord } from './conclude'
import type { TxtVerdict } from './discover'
import type { KnownPolicy, StsLookup } from './types'

export type Step =
  /** @param ttlMs for how long it may be repeated; undefined: the next lookup asks again */
  | { readonly act: 'answer'; readonly lookup: StsLookup; readonly ttlMs: number | undefined }
  /** Deletes the cached policy, and answers that there is none. */
  | { readonly act: 'forget'; readonly ttlMs: number }
  | { readonly act: 'keep'; readonly known: KnownPolicy; readonly ttlMs: number }
  | { readonly act: 'fetch'; readonly id: string; readonly ttlMs: number }

/** @param unknownForMs for how long a TXT lookup that failed slowly is not tried again */
export function nextStep(cached: Held, txt: TxtVerdict, unknownForMs: number): Step {
  const known = policyIn(cached)
  switch (txt.kind) {
    case 'failed':
      return {
        act: 'answer',
        lookup: txtFailed(cached, txt.detail),
        ttlMs: txt.slow ? unknownForMs : undefined,
      }
    case 'none':
    case 'invalid':
      // Mode none enforced nothing, and no record claims a policy any more: there is nothing left to keep.
      if (known?.policy.mode === 'none') return { act: 'forget', ttlMs: txt.ttlMs }
      return { act: 'answer', lookup: withoutRecord(cached, txt.detail), ttlMs: txt.ttlMs }
    case 'record':
      if (known?.id === txt.id) return { act: 'keep', known, ttlMs: txt.ttlMs }
      return { act: 'fetch', id: txt.id, ttlMs: txt.ttlMs }
  }
}
