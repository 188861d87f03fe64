/**
 * What one delivery attempt knows of itself: the plan, and why each host was not used. Out of that come the words of a
 * deferral or bounce: who asked for protection, which host failed how, what was expected and what was presented.
 */
import type { HostEnd } from '../delivery/host-end'
import { demandsTls } from '../delivery/requirement'
import type { Plan, PlannedHost, Requirement } from '../delivery/types'
import { isForGood, plainWords, REASONS, sourceOf, statusCode } from '../reasons/catalogue'
import { troubleText } from '../x509/trouble'
import type { MessageDemand } from '../requiretls/demand'
import type { HarakaMx, HMailItem, Recipient } from './types'
import type { ReasonCode } from '../reasons/codes'

export type Attempt =
  /** No decision has been reached; nothing may be sent. */
  | { readonly kind: 'undecided' }
  /** The plugin has no business here: an address literal, or `off`. */
  | { readonly kind: 'untouched' }
  /** Haraka delivers as ever, and is watched. */
  | { readonly kind: 'watched'; readonly plan: Promise<Plan> }
  | {
      readonly kind: 'planned'
      /** The recipients' domain. */
      readonly domain: string
      readonly plans: readonly Plan[]
      /** What became of each host, in the order in which it happened. */
      readonly ends: HostEnd[]
      /** Whether another look at the policy has been taken, because it stood in the way (RFC 8461 §5.1). */
      rechecked: boolean
      /** What the message itself asks (RFC 8689). */
      readonly demand: MessageDemand | undefined
      /** Whether the hosts have their second turn (anyhow.ts). */
      secondRound: boolean
      /** Haraka's own answer to "these are the MX hosts". */
      readonly resume: (retval: number, mx: unknown) => unknown
    }

export type PlannedAttempt = Extract<Attempt, { kind: 'planned' }>

/** Marks an entry of Haraka's MX list with what we know of it. Symbols survive Haraka's copying and its JSON. */
export const MARK: unique symbol = Symbol('tls-policy')

/** With the message that the entry is for: no step has to find it by other means. */
export type Mark = { readonly hmail: HMailItem } & (
  | {
      readonly kind: 'planned'
      readonly attempt: PlannedAttempt
      readonly plan: Plan
      readonly planned: PlannedHost
      /** Haraka itself insists on TLS with the host (tls.ini force_tls_hosts). */
      readonly forced: boolean
    }
  | { readonly kind: 'untouched' }
  | { readonly kind: 'watched'; readonly plan: Promise<Plan> }
)

export type MarkedMx = HarakaMx & { [MARK]?: Mark }

type HostFailure = HostEnd & { readonly verdict: 'refused' }

/** The hosts that were not used, as far as is known. */
export function failuresOf({ ends }: Pick<PlannedAttempt, 'ends'>): readonly HostFailure[] {
  return ends.filter((end): end is HostFailure => end.verdict === 'refused')
}

const MOST_FAILURES_TOLD = 5
/** A line of mail has at most 998 octets (RFC 5322 §2.1.1): the address, the words for the author, and this. */
const MOST_RETURNED = 480

/** Where no policy demanded anything, a failure is Haraka's to tell. */
export function policyHadAPart(attempt: PlannedAttempt): boolean {
  const failures = failuresOf(attempt)
  if (failures.some((end) => end.require !== 'opportunistic' && end.reason !== 'connect-failed')) {
    return true
  }
  const demanded = attempt.plans.some(
    ({ outcome }) =>
      outcome.kind === 'hosts' && outcome.hosts.some(({ requirement }) => isStrict(requirement)),
  )
  return failures.length > 0 && demanded
}

function isStrict(requirement: Requirement): boolean {
  if (requirement.level === 'encrypt' && requirement.reason === 'tls-required-no') return false
  return demandsTls(requirement) || requirement.level === 'refuse'
}

/**
 * Has every host failed in what REQUIRETLS demands, so that the message comes back at once (RFC 8689 §4.2.1)? A failure that may
 * be over in an hour lets it wait.
 */
export function failedForGood(attempt: PlannedAttempt): boolean {
  const { demand, plans } = attempt
  const failures = failuresOf(attempt)
  const hasSecondRound = plans.some(({ outcome }) => outcome.kind === 'hosts' && outcome.then)
  if (demand !== 'requiretls' || hasSecondRound || failures.length === 0) return false
  return failures.every(({ reason, session }) => {
    return isForGood(reason) && !session?.code?.startsWith('smtp-4')
  })
}

/** Did an MTA-STS policy keep the mail back? Then a new one may let it go (RFC 8461 §5.1). */
export function stsHadAPart({ plans }: PlannedAttempt): boolean {
  return plans.some(
    ({ facts: { sts } }) => sts.kind === 'policy' && sts.known.policy.mode === 'enforce',
  )
}

/** Does an MTA-STS policy keep mail from a host before it is even contacted? */
export function leavesAHostOut({ outcome }: Plan): boolean {
  return (
    outcome.kind === 'hosts' &&
    outcome.hosts.some(
      ({ requirement }) =>
        requirement.level === 'refuse' && requirement.reason === 'sts-mx-not-listed',
    )
  )
}

/** The policy that a plan rests on, as far as a new one would show (RFC 8461 §5.1). */
export function policyId({ facts: { sts } }: Plan): string {
  if (sts.kind !== 'policy') return sts.kind
  const { id, policy } = sts.known
  return [id, policy.mode, ...policy.mx].join(' ')
}

/** One line, ASCII, for log, queue and DSN. */
export function explain(attempt: Pick<PlannedAttempt, 'domain' | 'ends'>): string {
  const failures = failuresOf(attempt)
  const told = failures.slice(0, MOST_FAILURES_TOLD).map(explainFailure)
  const rest = failures.length - told.length
  const more = rest > 0 ? `; and ${rest} more` : ''
  return ascii(`No mail host of ${attempt.domain} could be used safely: ${told.join('; ')}${more}`)
}

function explainFailure({ host, address, policy, reason, detail }: HostFailure): string {
  const by = policy === 'none' ? '' : ` (${policy})`
  if (host === undefined) return `${reason}${by}: ${detail}`
  const where = address === undefined || address === host ? host : `${host} [${address}]`
  return `${where}${by} ${reason}: ${detail}`
}

/** The failure that the status code speaks of: one of security before one of reachability. */
export function leadingFailure(attempt: Pick<PlannedAttempt, 'ends'>): HostFailure | undefined {
  const failures = failuresOf(attempt)
  const ofSecurity = failures.find(
    ({ require, reason }) =>
      require !== 'opportunistic' && REASONS[reason].status?.startsWith('7.'),
  )
  return ofSecurity ?? failures[0]
}

/**
 * Writes the truth into what a DSN will say of each recipient.
 * @param kind 4: the mail waits. 5: it comes back.
 */
export function describeToRecipients(
  hmail: HMailItem,
  told: Pick<HostEnd, 'reason' | 'host'> &
    Partial<Pick<HostEnd, 'policy'>> & {
      readonly text: string
      /** Default: that of the reason. */
      readonly status?: string
      /** The author asked for protection. */
      readonly asked?: boolean
    },
  kind: 4 | 5,
): void {
  const { status = statusCode(told.reason, kind) } = told
  const text = kind === 4 ? told.text : shortened(told.text)
  for (const recipient of hmail.todo.rcpt_to) {
    recipient.dsn_status = status
    recipient.dsn_code = kind === 4 ? 450 : 550
    recipient.dsn_msg = text
    recipient.dsn_action = kind === 4 ? 'delayed' : 'failed'
    recipient.reason = `${text} (${status}; ${sourceOf(told.reason, told.policy)})`
    if (told.host !== undefined) recipient.dsn_remote_mta = `dns;${told.host}`
  }
  if (kind === 4) return
  // Mail that comes back is read by its author first.
  const plain = inPlainWords(hmail, told.reason, told.asked)
  for (const recipient of hmail.todo.rcpt_to) {
    recipient.reason = `${plain} For those who can: ${recipient.reason ?? text}`
  }
}

export function forgetStatus(recipient: Recipient): void {
  delete recipient.dsn_status
  delete recipient.dsn_code
  delete recipient.dsn_msg
  delete recipient.dsn_action
}

/** The recipients' domain, as in their addresses. */
export function domainOf({ todo }: Pick<HMailItem, 'todo'>): string {
  return String(todo.domain)
}

/** What tells a message from all others, at each of its tries. */
export function messageId({ todo }: Pick<HMailItem, 'todo'>): string {
  return String(todo.uuid)
}

/** One line, ASCII. */
export function inPlainWords(hmail: HMailItem, reason: ReasonCode, asked = false): string {
  return ascii(plainWords(reason, domainOf(hmail), asked))
}

function shortened(text: string): string {
  return text.length > MOST_RETURNED ? `${text.slice(0, MOST_RETURNED - 3)}...` : text
}

/** Will the next temporary failure be the last? Haraka's queue ends with its list of intervals. */
export function isLastTry(hmail: HMailItem): boolean {
  return hmail.num_failures + 1 > hmail.cfg.temp_fail_intervals.length
}

export function ascii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 1500)
}

/** What went wrong, in one line of at most 300 characters. */
export function errorText(err: unknown): string {
  return ascii(troubleText(err))
}
