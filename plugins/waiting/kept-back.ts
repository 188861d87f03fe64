/**
 * The end of one host as what it says of its destination: that a policy keeps mail back there, or that it took mail. Pure.
 */
import { createHash } from 'node:crypto'
import type { HostEnd } from '../delivery/host-end'
import type { PolicyKind } from '../delivery/types'
import { canonicalName } from '../dnssec-stub/names'
import { isReason, REASONS } from '../reasons/catalogue'
import type { ReasonCode } from '../reasons/codes'
import { isDomain } from '../store/record'
import { WAITING_OCTETS } from '../store/waiting'

/** Why, of the last time. */
export interface KeptBack {
  /** Undefined where it did not come to any host. */
  readonly host: string | undefined
  readonly policy: PolicyKind
  readonly reason: ReasonCode
  /** One line of ASCII. */
  readonly detail: string
}

export type SaidOfDestination =
  | { readonly kind: 'kept-back'; readonly domain: string; readonly why: KeptBack }
  | { readonly kind: 'took-mail'; readonly domain: string }

/** Nobody demanded anything that was not met: plain Haraka would have sent no mail either. */
const OF_REACHABILITY: ReadonlySet<ReasonCode> = new Set([
  ...(['mx-lookup-failed', 'no-such-domain', 'null-mx', 'no-mail-host', 'bad-domain'] as const),
  ...(['mx-loop', 'no-address', 'no-remote-address', 'address-lookup-failed'] as const),
  ...(['bad-route', 'connect-failed', 'greeting-refused'] as const),
  ...(['smtp-malformed-reply', 'smtp-timeout', 'smtp-closed'] as const),
])

/** @returns undefined for what says nothing of it: a host that is not reached, a next hop without a name */
export function saidOfDestination(end: HostEnd): SaidOfDestination | undefined {
  const domain = end.facts?.nextHop ?? canonicalName(end.domain)
  if (domain === undefined || !isDomain(domain)) return undefined
  // Only observed, a policy keeps nothing back.
  const isFree = end.verdict !== 'refused' || end.mode === 'observe'
  if (isFree) return { kind: 'took-mail', domain }
  if (end.require === 'opportunistic' || OF_REACHABILITY.has(end.reason)) return undefined
  const { host, policy, reason } = end
  return { kind: 'kept-back', domain, why: { host, policy, reason, detail: oneLine(end.detail) } }
}

/** One message, in eight hexadecimal digits. */
export function messageMark(id: string): string {
  return createHash('sha256').update(id).digest('hex').slice(0, 8)
}

const MOST_DETAIL = 600

function oneLine(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, MOST_DETAIL)
}

/** As the store keeps it. */
export function writeKeptBack({ host = '', policy, reason, detail }: KeptBack): string {
  const line = [policy, reason, oneLine(host).replaceAll(' ', '?'), detail].join(' ')
  return line.slice(0, WAITING_OCTETS)
}

/** @returns undefined for what is none of ours: whoever else can write to the store may have written anything */
export function readKeptBack(text: string): KeptBack | undefined {
  const [policy = '', reason = '', host = '', ...words] = text.split(' ')
  if (!isPolicyKind(policy) || !isReason(reason)) return undefined
  const detail = oneLine(words.join(' '))
  return { host: host === '' ? undefined : host.slice(0, 255), policy, reason, detail }
}

const POLICY_KINDS: Readonly<Record<PolicyKind, true>> = {
  dane: true,
  sts: true,
  'dane+sts': true,
  operator: true,
  requiretls: true,
  none: true,
}

function isPolicyKind(text: string): text is PolicyKind {
  return Object.hasOwn(POLICY_KINDS, text)
}

/** What is to be done about it, in the words of the catalogue. */
export function curesOf(reason: ReasonCode): {
  readonly meaning: string
  readonly receiver: string | undefined
  readonly sender: string | undefined
} {
  const { meaning, receiver, sender } = REASONS[reason]
  const unlessNothing = (words: string) => (words === 'Nothing.' ? undefined : words)
  return { meaning, receiver: unlessNothing(receiver), sender: unlessNothing(sender) }
}
