/**
 * How an attempt ends that sends nothing: a host that is not used, a message that waits or goes back. Says in the log, in the
 * queue and to those who read a notification what happened.
 */
import { endOfPlan, endWithoutHost } from '../delivery/host-end'
import type { HostEnd } from '../delivery/host-end'
import type { Plan, PlanOutcome } from '../delivery/types'
import { wordsOf } from '../telemetry/log-line'
import {
  ascii,
  describeToRecipients,
  domainOf,
  errorText,
  explain,
  failuresOf,
  inPlainWords,
  isLastTry,
  leadingFailure,
} from './attempt'
import type { PlannedAttempt } from './attempt'
import type { HMailItem } from './types'
import type { ReasonCode } from '../reasons/codes'

export interface EndingsOptions {
  readonly ended: (hmail: HMailItem, end: HostEnd) => void
  /** Takes back whatever was decided: nothing may be sent any more. */
  readonly undecide: (hmail: HMailItem) => void
}

export interface Endings {
  /** What became of a host. */
  ofHost(hmail: HMailItem, attempt: PlannedAttempt, end: HostEnd): void
  /** No host is left. @param tempFailWith Haraka's own way to let the message wait, or come back when its time is over. */
  giveUp(hmail: HMailItem, attempt: PlannedAttempt, tempFailWith: (text: string) => unknown): void
  /** No host is left that does what the message demands (RFC 8689 §4.2.1): it goes back at once. */
  returnTagged(hmail: HMailItem, attempt: PlannedAttempt): void
  /** The message goes back at once. */
  refuseForGood(
    hmail: HMailItem,
    plan: Plan & { readonly outcome: Extract<PlanOutcome, { kind: 'bounce' }> },
  ): void
  /** A mistake of ours, or a decision that does not come: the mail waits, and the log says why. Never throws. */
  failClosed(hmail: HMailItem, err: unknown): void
}

function isTagged({ demand }: PlannedAttempt): boolean {
  return demand === 'requiretls'
}

function inBoth(hmail: HMailItem, reason: ReasonCode, asked: boolean): string {
  return `${inPlainWords(hmail, reason, asked)} [${reason}]`
}

export function createEndings({ ended, undecide }: EndingsOptions): Endings {
  function ofHost(hmail: HMailItem, attempt: PlannedAttempt, end: HostEnd): void {
    attempt.ends.push(end)
    ended(hmail, end)
  }

  function refuseForGood(
    hmail: HMailItem,
    plan: Plan & { readonly outcome: Extract<PlanOutcome, { kind: 'bounce' }> },
  ): void {
    const { reason, detail } = plan.outcome
    const text = {
      'null-mx': `${detail} (null MX)`,
      'no-such-domain': `No Such Domain: ${detail}`,
      'no-mail-host': `Nowhere to deliver mail to: ${detail}`,
      'bad-domain': `Nowhere to deliver mail to: ${detail}`,
      'requiretls-no-name': detail,
    }[reason]
    describeToRecipients(hmail, { reason, text: ascii(text) }, 5)
    ended(hmail, endOfPlan(plan, { mode: 'enforce', domain: plan.nextHop }))
    hmail.bounce(wordsOf(text))
  }

  function failClosed(hmail: HMailItem, err: unknown): void {
    const text = ascii(`tls-policy could not decide how to deliver: ${errorText(err)}`)
    hmail.logcrit(`tls-policy: ${err instanceof Error ? (err.stack ?? text) : text}`)
    undecide(hmail)
    // Each step stands for itself: words that cannot be said must not keep the message from being deferred. If that fails as
    // well, it stays in the queue's folder and is taken up at the next start.
    const steps = [
      () => {
        const kind = isLastTry(hmail) ? 5 : 4
        describeToRecipients(hmail, { reason: 'decision-failed', text }, kind)
      },
      () => hmail.temp_fail(wordsOf(text)),
      () => {
        const where = { mode: 'enforce', domain: domainOf(hmail), facts: undefined } as const
        const why = { reason: 'decision-failed', detail: errorText(err) } as const
        ended(hmail, endWithoutHost(where, why))
      },
    ]
    for (const step of steps) {
      try {
        step()
      } catch (worse: unknown) {
        hmail.logcrit(`tls-policy: deferring failed as well: ${errorText(worse)}`)
      }
    }
  }

  function giveUp(
    hmail: HMailItem,
    attempt: PlannedAttempt,
    tempFailWith: (text: string) => unknown,
  ): void {
    const leading = leadingFailure(attempt)
    const text = explain(attempt)
    const asked = isTagged(attempt)
    if (leading) {
      describeToRecipients(hmail, { ...leading, text, asked }, isLastTry(hmail) ? 5 : 4)
    }
    const returns = leading && isLastTry(hmail)
    // With the code, for those who look for it.
    tempFailWith(wordsOf(returns ? inBoth(hmail, leading.reason, asked) : text))
  }

  function returnTagged(hmail: HMailItem, attempt: PlannedAttempt): void {
    const failures = failuresOf(attempt)
    const lacking = failures.find(({ reason }) => reason === 'requiretls-not-offered')
    const leading = lacking ?? leadingFailure(attempt)
    if (!leading) throw new Error('no host has failed')
    // RFC 8689 §4.2.1: the server does not support it, or no TLS session is to be had as it must be.
    const status = lacking ? '5.7.30' : '5.7.10'
    const text = explain(attempt)
    describeToRecipients(hmail, { ...leading, text, status, asked: true }, 5)
    hmail.bounce(wordsOf(inBoth(hmail, leading.reason, true)))
  }

  return { ofHost, giveUp, returnTagged, refuseForGood, failClosed }
}
