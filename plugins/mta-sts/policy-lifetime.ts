/**
 * Between the store's records and policies that can be applied. Pure.
 *
 * Promises: a policy is applied only inside its lifetime (RFC 8461 §5.1), which is at most max_age from its fetch and at
 * most max_age from now, whatever the clock or the store say; its text is parsed anew, never believed.
 */
import type { PolicyRecord } from '../store/types'
import { oneLine } from './one-line'
import { parsePolicy } from './policy'
import type { KnownPolicy, StsPolicy, StsProblem } from './types'
import type { StsProblemReason } from '../reasons/codes'

/** @returns undefined for a record that is expired or whose text is no policy */
export function toKnown(record: PolicyRecord, now: number): KnownPolicy | undefined {
  const parsed = parsePolicy(Buffer.from(record.text))
  if (!parsed.ok) return undefined
  const { domain, id, fetchedAt, expiresAt } = record
  const latest = fetchedAt + parsed.policy.maxAge * 1000
  const known = {
    domain,
    id,
    policy: parsed.policy,
    fetchedAt,
    expiresAt: Math.min(expiresAt, latest),
  }
  return currentPolicy(known, now)
}

/** @returns the policy as it holds now; a clock that was set back shortens it to max_age from now */
export function currentPolicy(known: KnownPolicy, now: number): KnownPolicy | undefined {
  const expiresAt = Math.min(known.expiresAt, now + known.policy.maxAge * 1000)
  if (now >= expiresAt) return undefined
  return expiresAt === known.expiresAt ? known : { ...known, expiresAt }
}

/** A policy just fetched; with max_age 0 it has expired already and holds for the delivery in hand only. */
export function newlyFetched(
  domain: string,
  id: string,
  policy: StsPolicy,
  fetchedAt: number,
): KnownPolicy {
  return { domain, id, policy, fetchedAt, expiresAt: fetchedAt + policy.maxAge * 1000 }
}

const REASONS: Readonly<Record<StsProblemReason, true>> = {
  'sts-txt-lookup-failed': true,
  'sts-txt-invalid': true,
  'sts-policy-fetch-error': true,
  'sts-policy-invalid': true,
  'sts-webpki-invalid': true,
}

/** A problem as the text of a note. */
export function writeProblem({ reason, detail }: StsProblem): string {
  return `${reason} ${detail}`
}

/** A note that others may have written, as a problem. */
export function readProblem(note: string): StsProblem {
  const space = note.indexOf(' ')
  const reason = note.slice(0, space)
  const detail = oneLine(note.slice(space + 1))
  return isReason(reason)
    ? { reason, detail }
    : { reason: 'sts-policy-fetch-error', detail: oneLine(note) }
}

function isReason(text: string): text is StsProblemReason {
  return Object.hasOwn(REASONS, text)
}
