/**
 * The words that labels of metrics may have; everything else is `other`. And the counters that begin with each of their words at zero.
 */
import type { Counter } from 'prom-client'
import type { HostEnd } from '../delivery/host-end'
import { isOfTheAddress, REASONS } from '../reasons/catalogue'
import type { ReasonCode } from '../reasons/codes'
import type { LookupSource, ResolverState } from './metrics'

export const POLICIES: Readonly<Record<HostEnd['policy'], true>> = {
  dane: true,
  sts: true,
  'dane+sts': true,
  operator: true,
  requiretls: true,
  none: true,
}
export const VERDICTS: Readonly<Record<HostEnd['verdict'], true>> = {
  verified: true,
  trusted: true,
  encrypted: true,
  cleartext: true,
  refused: true,
}
export const SOURCES: readonly LookupSource[] = [
  'warm',
  'cache',
  'fetched',
  'none',
  'unknown',
  'store-unread',
]
export const STATES: readonly ResolverState[] = ['validating', 'blind', 'unreachable']

interface ZeroCounters {
  readonly decisions: Counter<'outcome'>
  readonly refusals: Counter<'reason' | 'mode'>
  readonly undeliverables: Counter<'reason' | 'mode'>
  readonly lookups: Counter<'source'>
  readonly problems: Counter<'reason'>
  readonly unavailable: Counter<'reason'>
  readonly fetches: Counter<'cause' | 'result'>
}

/** A counter that begins with its first event hides that event from `increase()`. */
export function startAtZero(counters: ZeroCounters): void {
  const { decisions, refusals, undeliverables, lookups, problems, unavailable, fetches } = counters
  for (const outcome of ['hosts', 'defer', 'bounce', 'failed']) decisions.inc({ outcome }, 0)
  for (const source of SOURCES) lookups.inc({ source }, 0)
  for (const [reason, { status }] of Object.entries(REASONS)) {
    const refused = isOfTheAddress(reason) ? undeliverables : refusals
    if (status !== undefined) refused.inc({ reason, mode: 'enforce' }, 0)
    if (!isStsProblem(reason)) continue
    problems.inc({ reason }, 0)
    // Without a record there is no policy to be had.
    if (!reason.startsWith('sts-txt-')) unavailable.inc({ reason }, 0)
    for (const cause of ['delivery', 'refresh']) fetches.inc({ cause, result: reason }, 0)
  }
  for (const cause of ['delivery', 'refresh']) fetches.inc({ cause, result: 'ok' }, 0)
}

const STS_PROBLEM = /^sts-(?:policy-|webpki-|txt-)/

function isStsProblem(reason: string): boolean {
  return STS_PROBLEM.test(reason)
}

export function known(words: Readonly<Record<string, true>>, word: string): string {
  return Object.hasOwn(words, word) ? word : 'other'
}

export function oneOf(words: readonly string[], word: string): string {
  return words.includes(word) ? word : 'other'
}

export function knownReason(reason: ReasonCode): string {
  return Object.hasOwn(REASONS, reason) ? reason : 'other'
}
