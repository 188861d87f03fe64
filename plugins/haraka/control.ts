/**
 * Leads Haraka's outbound code through one delivery: decides where Haraka would ask the DNS, hands it a list of hosts with
 * their addresses, and tells what happened when no host was left. Connections are the gate's business (gate.ts).
 * Fails closed everywhere: until a decision stands, and for every entry that did not come out of one, nothing is opened.
 */
import { isIP } from 'node:net'
import { cont, deny, denysoft, ok } from 'haraka-constants'
import { endOfPlan, endWithoutHost } from '../delivery/host-end'
import type { HostEnd } from '../delivery/host-end'
import { inTime } from '../delivery/in-time'
import type { Planner, Treatment } from '../delivery/planner'
import type { Plan } from '../delivery/types'
import type { MessageDemand } from '../requiretls/demand'
import { secondRound } from './anyhow'
import {
  domainOf,
  errorText,
  failedForGood,
  forgetStatus,
  isLastTry,
  leavesAHostOut,
  MARK,
  policyHadAPart,
  stsHadAPart,
} from './attempt'
import type { Attempt, Mark, MarkedMx, PlannedAttempt } from './attempt'
import { createConnector } from './connection'
import { createEndings } from './endings'
import { createEntries } from './entries'
import { createGate } from './gate'
import { demandOfMail } from './notification'
import { createRoutes } from './routes'
import type { Seam, SeamHandlers } from './seam'
import { createSecondLook } from './second-look'
import type { ContextSettings, ContextSource } from './tls-context'
import type { GetClientCallback, HarakaMx, HMailItem } from './types'
import { watchPlan } from './watch'
import { planOfLiteral } from './without-name'
import type { HopRule } from './without-name'

export interface ControlOptions {
  readonly planner: Planner
  readonly treatment: (domain: string) => Treatment
  readonly harakaMx: Seam['HarakaMx']
  readonly contexts: ContextSource
  /** For sessions that Haraka holds by itself. */
  readonly contextSettings: () => ContextSettings
  readonly now: () => Date
  /** Milliseconds after which a decision that has not come is none. */
  readonly decisionTimeoutMs: () => number
  /** Milliseconds, in all, in which lookups stood in line, which no decision is late for; default: none. */
  readonly stoodInLineMs?: () => number
  /** `[tls_required] honour`. */
  readonly honourTlsRequiredNo: () => boolean
  /** The operator's word on REQUIRETLS at a host or address (`[requiretls_hops]`). */
  readonly requiretlsHop: (host: string) => HopRule | undefined
  /** Told what became of each host: once, and once more where its session is lost later on. */
  readonly ended: (hmail: HMailItem, end: HostEnd) => void
}

type Respond = (retval: number, mx: unknown) => unknown

export function createControl(options: ControlOptions): SeamHandlers {
  const { planner, treatment, stoodInLineMs = () => 0 } = options
  const attempts = new WeakMap<HMailItem, Attempt>()
  const ended = harmlessly(options.ended)
  const undecide = (hmail: HMailItem) => attempts.set(hmail, { kind: 'undecided' })
  const endings = createEndings({ ended, undecide })
  const entries = createEntries({ ...options, endings })
  const connect = createConnector({ ...options, endings, refused: giveHostUp })
  const gate = createGate({ ...options, ended, attemptOf: (hmail) => attempts.get(hmail), connect })
  const soon = (plan: Promise<Plan>) => inTime(plan, options.decisionTimeoutMs(), stoodInLineMs)
  const lookedAt = (hmail: HMailItem, plan: Promise<Plan>) =>
    watchPlan(plan, domainOf(hmail), (end) => {
      ended(hmail, end)
    })
  const followNewer = createSecondLook({
    planAnew: (domain, demand) => soon(planner.planForDomain(domain, { recheck: true, demand })),
    beginAgain: (hmail, { resume, demand }, plan) =>
      follow(hmail, plannedAttempt(hmail, plan.nextHop, [plan], demand, resume, true), plan),
  })
  const demandOf = (hmail: HMailItem) => demandOfMail(hmail, options.honourTlsRequiredNo())
  const routes = createRoutes({
    harakaMx: options.harakaMx,
    treatment,
    planForRoute: (route, demand) => planner.planForRoute(route, { demand }),
    requiretlsHop: options.requiretlsHop,
    inTime: soon,
    lookedAt,
    wouldRefuse: (hmail, detail) => {
      const where = { mode: 'observe', domain: domainOf(hmail), facts: undefined } as const
      ended(hmail, endWithoutHost(where, { reason: 'bad-route', detail }))
    },
  })

  async function getMxRespond(
    hmail: HMailItem,
    retval: number,
    answer: unknown,
    original: Respond,
  ): Promise<void> {
    undecide(hmail)
    try {
      // Another plugin deferred or denied the mail: nothing will be connected to.
      if (retval === deny || retval === denysoft) {
        attempts.set(hmail, { kind: 'untouched' })
        await original(retval, answer)
      } else if (retval === ok) {
        await routeByPlugin(hmail, answer, original)
      } else {
        await routeByDns(hmail, original)
      }
    } catch (err: unknown) {
      endings.failClosed(hmail, err)
    }
  }

  async function routeByDns(hmail: HMailItem, original: Respond): Promise<void> {
    const domain = domainOf(hmail)
    const demand = demandOf(hmail)
    if (isAddressLiteral(domain) && demand === 'requiretls') {
      endings.refuseForGood(hmail, planOfLiteral(domain))
      return
    }
    switch (isAddressLiteral(domain) ? 'off' : treatmentUnder(demand, treatment(domain))) {
      case 'off':
        attempts.set(hmail, { kind: 'untouched' })
        await original(cont, undefined)
        return
      case 'observe': {
        const plan = lookedAt(hmail, planner.planForDomain(domain))
        attempts.set(hmail, { kind: 'watched', plan })
        await original(cont, undefined)
        return
      }
      case 'enforce': {
        const plan = await soon(planner.planForDomain(domain, { demand }))
        const attempt = plannedAttempt(hmail, plan.nextHop, [plan], demand, original)
        if (leavesAHostOut(plan) && (await followNewer(hmail, attempt))) return
        await follow(hmail, attempt, plan)
      }
    }
  }

  async function follow(hmail: HMailItem, attempt: PlannedAttempt, plan: Plan): Promise<void> {
    const { outcome } = plan
    switch (outcome.kind) {
      case 'bounce':
        endings.refuseForGood(hmail, { ...plan, outcome })
        return
      case 'defer': {
        const where = { mode: 'enforce', domain: plan.nextHop } as const
        endings.ofHost(hmail, attempt, endOfPlan({ ...plan, outcome }, where))
        giveUp(hmail, attempt, (text) => hmail.temp_fail(text))
        return
      }
      case 'hosts':
        await goOn(hmail, attempt, entries.ofHosts(hmail, attempt, plan, outcome.hosts))
    }
  }

  async function goOn(
    hmail: HMailItem,
    attempt: PlannedAttempt,
    list: readonly HarakaMx[],
  ): Promise<void> {
    if (list.length > 0) await attempt.resume(ok, list)
    else if (!beginSecondRound(hmail, attempt)) {
      giveUp(hmail, attempt, (text) => hmail.temp_fail(text))
    }
  }

  /** When no host has taken a message that would rather go with less (anyhow.ts). @returns whether there is anything to try */
  function beginSecondRound(hmail: HMailItem, attempt: PlannedAttempt): boolean {
    const [plan] = attempt.plans
    if (attempt.secondRound || !plan) return false
    attempt.secondRound = true
    const hosts = secondRound(plan, attempt.ends)
    if (hosts.length === 0) return false
    // Haraka has written there that all hosts were tried.
    for (const recipient of hmail.todo.rcpt_to) forgetStatus(recipient)
    const list = entries.ofHosts(hmail, attempt, plan, hosts)
    Promise.resolve(attempt.resume(ok, list)).catch((err: unknown) => {
      endings.failClosed(hmail, err)
    })
    return true
  }

  /** Hosts that another plugin names are the operator's: DANE and MTA-STS of the host itself apply (RFC 8461 §3.4). */
  async function routeByPlugin(
    hmail: HMailItem,
    answer: unknown,
    original: Respond,
  ): Promise<void> {
    const demand = demandOf(hmail)
    const found = await routes.plan(hmail, answer, demand)
    if (found === undefined) {
      attempts.set(hmail, { kind: 'untouched' })
      await original(ok, answer)
      return
    }
    const plans = found.flatMap((route) => (route.kind === 'planned' ? [route.plan] : []))
    const attempt = plannedAttempt(hmail, domainOf(hmail), plans, demand, original)
    await goOn(hmail, attempt, entries.ofRoutes(hmail, attempt, found))
  }

  function tempFail(
    hmail: HMailItem,
    err: unknown,
    extra: unknown,
    original: (err: unknown, extra: unknown) => unknown,
  ): unknown {
    const attempt = attempts.get(hmail)
    const letWait = (why: unknown) => {
      forget(hmail)
      return original(why, extra)
    }
    if (err !== 'Tried all MXs' || attempt?.kind !== 'planned') return letWait(err)
    if (beginSecondRound(hmail, attempt)) return undefined
    if (!policyHadAPart(attempt)) return letWait(err)
    giveUp(hmail, attempt, letWait)
    return undefined
  }

  /**
   * Haraka keeps the object of a message that waits, for hours and for each message of the queue: nothing of the attempt must stay
   * with it. Without a decision nothing is sent, until the next attempt has made its own.
   */
  function forget(hmail: HMailItem): void {
    undecide(hmail)
    for (const mx of (hmail.mxlist ?? []) as readonly MarkedMx[]) delete mx[MARK]
  }

  /** No host is left. Before mail comes back because of a policy, the policy is looked at once more (RFC 8461 §5.1). */
  function giveUp(
    hmail: HMailItem,
    attempt: PlannedAttempt,
    tempFailWith: (text: string) => unknown,
  ): void {
    const isForGood = failedForGood(attempt)
    const finish = () => {
      if (isForGood) endings.returnTagged(hmail, attempt)
      else endings.giveUp(hmail, attempt, tempFailWith)
    }
    const comesBack = isForGood || isLastTry(hmail)
    if (comesBack && stsHadAPart(attempt)) followNewerOr(hmail, attempt, finish)
    else finish()
  }

  /** Where a certificate does not fit an MTA-STS policy, a newer one may be out. Otherwise Haraka takes the next host. */
  function giveHostUp(
    { hmail, attempt }: Extract<Mark, { kind: 'planned' }>,
    why: string,
    callback: GetClientCallback,
  ): void {
    const goOnToNext = () => {
      callback(why, null)
    }
    const { policy, reason } = attempt.ends.at(-1) ?? {}
    const byPolicy = (policy === 'sts' || policy === 'dane+sts') && reason?.startsWith('pkix-')
    if (byPolicy) followNewerOr(hmail, attempt, goOnToNext)
    else goOnToNext()
  }

  function followNewerOr(hmail: HMailItem, attempt: PlannedAttempt, otherwise: () => void): void {
    followNewer(hmail, attempt)
      .then((followed) => {
        if (!followed) otherwise()
      })
      .catch((err: unknown) => {
        // The plan may have been handed over already: without a decision nothing is sent.
        endings.failClosed(hmail, err)
      })
  }

  function plannedAttempt(
    hmail: HMailItem,
    domain: string,
    plans: readonly Plan[],
    demand: MessageDemand | undefined,
    resume: Respond,
    rechecked = false,
  ): PlannedAttempt {
    const attempt: PlannedAttempt = {
      kind: 'planned',
      ...{ domain, plans, ends: [], demand, resume, rechecked },
      secondRound: false,
    }
    attempts.set(hmail, attempt)
    return attempt
  }

  return { ...gate, getMxRespond, tempFail }
}

/** What the author asks is no policy of the receiver's: no exception for the receiver lets it go. */
function treatmentUnder(demand: MessageDemand | undefined, treatment: Treatment): Treatment {
  return demand === undefined || demand === 'tls-required-no' ? treatment : 'enforce'
}

/** It is told in the midst of Haraka's own calls: no line and no count is worth a delivery, or Haraka's life. */
function harmlessly(ended: ControlOptions['ended']): ControlOptions['ended'] {
  return (hmail, end) => {
    try {
      ended(hmail, end)
    } catch (err: unknown) {
      hmail.logcrit(`tls-policy: what became of a host could not be told: ${errorText(err)}`)
    }
  }
}

/** `user@[192.0.2.1]`: no name, no policy (RFC 7672 §2.2, RFC 8461 §3.4). */
function isAddressLiteral(domain: string): boolean {
  return domain.startsWith('[') || isIP(domain) !== 0
}
