/**
 * Leads Haraka's outbound code through one delivery: decides where Haraka would ask the DNS, hands it a list of hosts with
 * their addresses, secures the connection where that is owed, and tells what happened when no host was left.
 * Fails closed everywhere: until a decision stands, and for every entry that did not come out of one, nothing is opened.
 */
import { isIP } from 'node:net'
import { cont, deny, denysoft, ok } from 'haraka-constants'
import { raiseToOperatorsFloor } from '../delivery/decide'
import { inTime } from '../delivery/in-time'
import type { Planner, Treatment } from '../delivery/planner'
import type { Plan, PlannedHost, Requirement } from '../delivery/types'
import type { LogFields } from '../telemetry/log-line'
import {
  domainOf,
  errorText,
  isLastTry,
  leavesAHostOut,
  MARK,
  policyHadAPart,
  policyId,
  policyOf,
  stsHadAPart,
} from './attempt'
import type { Attempt, Mark, PlannedAttempt } from './attempt'
import { createConnector } from './connection'
import { createEndings } from './endings'
import { createEntries } from './entries'
import type { MarkedMx } from './entries'
import { guardLateErrors } from './facade'
import { createRoutes } from './routes'
import type { Seam, SeamHandlers } from './seam'
import type { ContextSettings, ContextSource } from './tls-context'
import type { GetClient, GetClientCallback, HarakaMx, HarakaSocket, HMailItem } from './types'
import { plannedFor, watch } from './watch'

export interface ControlOptions {
  readonly planner: Planner
  readonly treatment: (domain: string) => Treatment
  readonly harakaMx: Seam['HarakaMx']
  readonly contexts: ContextSource
  /** For sessions that are only watched. */
  readonly contextSettings: () => ContextSettings
  readonly now: () => Date
  /** Milliseconds after which a decision that has not come is none. */
  readonly decisionTimeoutMs: () => number
  /** Milliseconds, in all, in which lookups stood in line, which no decision is late for; default: none. */
  readonly stoodInLineMs?: () => number
  readonly report: (hmail: HMailItem, fields: LogFields) => void
  /** Told of each pre-flight: whether the host was secured, and the seconds it took. */
  readonly preflightDone: (secured: boolean, seconds: number) => void
}

export interface Control extends SeamHandlers {
  /** For the `delivered` hook: the verdict of sessions that were left to Haraka. */
  delivered(hmail: HMailItem, host: string, ip: string, secured: boolean): void
}

export function createControl(options: ControlOptions): Control {
  const { planner, report, stoodInLineMs = () => 0 } = options
  const attempts = new WeakMap<HMailItem, Attempt>()
  const owners = new WeakMap<HarakaMx, HMailItem>()
  /** The latest session of a message that is only watched. */
  const watched = new WeakMap<HMailItem, { readonly mx: HarakaMx; readonly plan: Promise<Plan> }>()
  const endings = createEndings({
    report,
    undecide: (hmail) => attempts.set(hmail, { kind: 'undecided' }),
  })
  const entries = createEntries({ ...options, endings })
  const connect = createConnector({ ...options, endings, refused: giveHostUp })
  const routes = createRoutes({
    harakaMx: options.harakaMx,
    treatment: options.treatment,
    planForRoute: (route) => planner.planForRoute(route),
    inTime: (plan) => inTime(plan, options.decisionTimeoutMs(), stoodInLineMs),
    lookedAt,
    wouldRefuse: (hmail, detail) => {
      wouldRefuse(hmail, {
        domain: domainOf(hmail),
        policy: 'none',
        reason: 'bad-route',
        detail,
      })
    },
  })

  async function getMxRespond(
    hmail: HMailItem,
    retval: number,
    answer: unknown,
    original: (retval: number, mx: unknown) => unknown,
  ): Promise<void> {
    attempts.set(hmail, { kind: 'undecided' })
    try {
      // Another plugin's word that the mail must wait or go back opens no connection.
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

  async function routeByDns(
    hmail: HMailItem,
    original: (retval: number, mx: unknown) => unknown,
  ): Promise<void> {
    const domain = domainOf(hmail)
    switch (isAddressLiteral(domain) ? 'off' : options.treatment(domain)) {
      case 'off':
        attempts.set(hmail, { kind: 'untouched' })
        await original(cont, undefined)
        return
      case 'observe':
        attempts.set(hmail, {
          kind: 'watched',
          plan: lookedAt(hmail, planner.planForDomain(domain)),
        })
        await original(cont, undefined)
        return
      case 'enforce': {
        const plan = await inTime(
          planner.planForDomain(domain),
          options.decisionTimeoutMs(),
          stoodInLineMs,
        )
        const attempt = plannedAttempt(hmail, plan.nextHop, [plan], false, original)
        if (leavesAHostOut(plan) && (await followNewer(hmail, attempt))) return
        await follow(hmail, attempt, plan)
      }
    }
  }

  /** In mode observe: says at once where enforcing would have opened no connection at all. Mail is never waiting for it. */
  function lookedAt(hmail: HMailItem, plan: Promise<Plan>): Promise<Plan> {
    plan
      .then(
        ({ nextHop, outcome }) => {
          if (outcome.kind === 'hosts') return
          const { reason, detail } = outcome
          wouldRefuse(hmail, { domain: nextHop, policy: policyOf(outcome), reason, detail })
        },
        (err: unknown) => {
          const detail = errorText(err)
          const domain = domainOf(hmail)
          wouldRefuse(hmail, { domain, policy: 'none', reason: 'decision-failed', detail })
        },
      )
      .catch(ignore)
    return plan
  }

  function wouldRefuse(
    hmail: HMailItem,
    fields: Pick<LogFields, 'domain' | 'policy' | 'reason' | 'detail'>,
  ): void {
    report(hmail, { ...fields, require: 'refuse', verdict: 'refused', mode: 'observe' })
  }

  async function follow(hmail: HMailItem, attempt: PlannedAttempt, plan: Plan): Promise<void> {
    const { outcome } = plan
    switch (outcome.kind) {
      case 'bounce':
        endings.refuseForGood(hmail, plan.nextHop, outcome)
        return
      case 'defer':
        endings.noteFailure(hmail, attempt, {
          policy: policyOf(outcome),
          require: 'refuse',
          reason: outcome.reason,
          detail: outcome.detail,
        })
        giveUp(hmail, attempt, (text) => hmail.temp_fail(text))
        return
      case 'hosts': {
        const list = entries.ofHosts(hmail, attempt, plan, outcome.hosts)
        await goOn(hmail, attempt, list)
      }
    }
  }

  async function goOn(
    hmail: HMailItem,
    attempt: PlannedAttempt,
    list: readonly HarakaMx[],
  ): Promise<void> {
    if (list.length === 0) giveUp(hmail, attempt, (text) => hmail.temp_fail(text))
    else await attempt.resume(ok, list)
  }

  /** Hosts that another plugin names are the operator's: DANE and MTA-STS of the host itself apply (RFC 8461 §3.4). */
  async function routeByPlugin(
    hmail: HMailItem,
    answer: unknown,
    original: (retval: number, mx: unknown) => unknown,
  ): Promise<void> {
    const found = await routes.plan(hmail, answer)
    if (found === undefined) {
      attempts.set(hmail, { kind: 'untouched' })
      await original(ok, answer)
      return
    }
    const plans = found.flatMap((route) => (route.kind === 'planned' ? [route.plan] : []))
    const attempt = plannedAttempt(hmail, domainOf(hmail), plans, false, original)
    await goOn(hmail, attempt, entries.ofRoutes(hmail, attempt, found))
  }

  function getForceTls(hmail: HMailItem, mx: MarkedMx, original: () => boolean): boolean {
    owners.set(mx, hmail)
    const forced = original()
    const mark = mx[MARK]
    if (forced && mark?.kind === 'planned') {
      mx[MARK] = { ...mark, planned: raiseToOperatorsFloor(mark.planned, mark.mxSecure) }
    }
    const requirement = requirementOf(hmail, mx)
    // Where TLS is owed, Haraka's own guard against cleartext is the second lock on the same door.
    return requirement === 'none' || requirement?.level === 'opportunistic' ? forced : true
  }

  /** `none`: the plugin has no business with the entry. `undefined`: nothing was ever decided about it. */
  function requirementOf(hmail: HMailItem, mx: MarkedMx): Requirement | 'none' | undefined {
    const mark = mx[MARK]
    if (mark) return mark.kind === 'planned' ? mark.planned.requirement : 'none'
    const attempt = attempts.get(hmail)
    return attempt?.kind === 'untouched' || attempt?.kind === 'watched' ? 'none' : undefined
  }

  function getClient(mx: MarkedMx, callback: GetClientCallback, original: GetClient): void {
    const hmail = owners.get(mx)
    const mark = mx[MARK] ?? (hmail ? markOf(attempts.get(hmail)) : undefined)
    if (!hmail || !mark) {
      callback('tls-policy: nothing was decided about this host, so it is not contacted', null)
      return
    }
    watched.delete(hmail)
    const dial = harmless(original)
    switch (mark.kind) {
      case 'untouched':
        dial(mx, guarded(callback))
        return
      case 'watched':
        dial(
          mx,
          guarded(callback, (socket) => {
            watched.set(hmail, { mx, plan: mark.plan })
            watch(socket, {
              mx,
              plan: mark.plan,
              settings: options.contextSettings(),
              now: options.now,
              report: (fields) => {
                report(hmail, fields)
              },
            })
          }),
        )
        return
      case 'planned':
        connect(hmail, mx, mark, callback, dial)
    }
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
    if (err !== 'Tried all MXs' || attempt?.kind !== 'planned' || !policyHadAPart(attempt)) {
      return letWait(err)
    }
    giveUp(hmail, attempt, letWait)
    return undefined
  }

  /**
   * Haraka keeps the object of a message that waits, for hours and for each message of the queue; what one attempt knew must not
   * stay with it. Without a decision nothing is sent, until the next attempt has made its own.
   */
  function forget(hmail: HMailItem): void {
    attempts.set(hmail, { kind: 'undecided' })
    watched.delete(hmail)
    for (const mx of (hmail.mxlist ?? []) as readonly MarkedMx[]) delete mx[MARK]
  }

  /** No host is left. Before mail comes back because of a policy, the policy is looked at once more (RFC 8461 §5.1). */
  function giveUp(
    hmail: HMailItem,
    attempt: PlannedAttempt,
    tempFailWith: (text: string) => unknown,
  ): void {
    const finish = () => {
      endings.giveUp(hmail, attempt, tempFailWith)
    }
    if (!isLastTry(hmail) || !stsHadAPart(attempt)) {
      finish()
      return
    }
    followNewer(hmail, attempt)
      .then((followed) => {
        if (!followed) finish()
      })
      .catch((err: unknown) => {
        // What has been begun may not be begun twice: without a decision nothing is sent.
        endings.failClosed(hmail, err)
      })
  }

  /** Where a certificate does not fit an MTA-STS policy, a newer one may be out. Otherwise Haraka takes the next host. */
  function giveHostUp(
    hmail: HMailItem,
    attempt: PlannedAttempt,
    why: string,
    callback: GetClientCallback,
  ): void {
    const { policy, reason } = attempt.failures.at(-1) ?? {}
    const byPolicy = (policy === 'sts' || policy === 'dane+sts') && reason?.startsWith('pkix-')
    if (!byPolicy) {
      callback(why, null)
      return
    }
    followNewer(hmail, attempt)
      .then((followed) => {
        if (!followed) callback(why, null)
      })
      .catch((err: unknown) => {
        endings.failClosed(hmail, err)
      })
  }

  /**
   * Once in an attempt: looks at the MTA-STS policy anew, past all caches, and begins again where there is another one.
   * @returns whether the attempt is out of the caller's hands
   */
  async function followNewer(hmail: HMailItem, attempt: PlannedAttempt): Promise<boolean> {
    const [before] = attempt.plans
    if (attempt.rechecked || !before || before.facts.mx.kind === 'route') return false
    attempt.rechecked = true
    let plan: Plan
    try {
      plan = await inTime(
        planner.planForDomain(domainOf(hmail), { recheck: true }),
        options.decisionTimeoutMs(),
        stoodInLineMs,
      )
    } catch (err: unknown) {
      hmail.logerror(`tls-policy: another look at the policy failed: ${errorText(err)}`)
      return false
    }
    // A look that failed, or that found no policy or no hosts, takes nothing from what stands (RFC 8461 §5.1): only another
    // policy begins anything again.
    if (plan.outcome.kind !== 'hosts' || plan.facts.sts.kind !== 'policy') return false
    if (policyId(plan) === policyId(before)) return false
    const again = plannedAttempt(hmail, plan.nextHop, [plan], true, attempt.resume)
    await follow(hmail, again, plan)
    return true
  }

  function plannedAttempt(
    hmail: HMailItem,
    nextHop: string,
    plans: readonly Plan[],
    rechecked: boolean,
    resume: PlannedAttempt['resume'],
  ): PlannedAttempt {
    const attempt: PlannedAttempt = {
      kind: 'planned',
      nextHop,
      plans,
      failures: [],
      rechecked,
      resume,
    }
    attempts.set(hmail, attempt)
    return attempt
  }

  return {
    getMxRespond,
    getForceTls,
    getClient,
    tempFail,
    delivered(hmail, host, ip, secured) {
      const tell = (nextHop: string, planned: PlannedHost | undefined, mode?: 'observe') => {
        if (planned?.requirement.level !== 'opportunistic') return
        report(hmail, {
          domain: nextHop,
          mx: planned.host,
          ip,
          policy: planned.policy,
          require: 'opportunistic',
          verdict: secured ? 'encrypted' : 'cleartext',
          reason: planned.requirement.reason,
          ...(mode === undefined ? {} : { mode }),
        })
      }
      const session = watched.get(hmail)
      if (session) {
        session.plan
          .then((plan) => {
            tell(plan.nextHop, plannedFor(plan, session.mx), 'observe')
          })
          .catch(ignore)
        return
      }
      const attempt = attempts.get(hmail)
      if (attempt?.kind !== 'planned') return
      const planned = attempt.plans
        .flatMap(({ outcome }) => (outcome.kind === 'hosts' ? outcome.hosts : []))
        .find((candidate) => candidate.host === host && candidate.addresses.includes(ip))
      tell(attempt.nextHop, planned)
    },
  }
}

function markOf(attempt: Attempt | undefined): Mark | undefined {
  switch (attempt?.kind) {
    case 'untouched':
    case 'watched':
      return attempt
    case 'planned':
    case 'undecided':
    case undefined:
      return undefined
  }
}

function guarded(
  callback: GetClientCallback,
  onSocket: (socket: HarakaSocket) => void = () => undefined,
): GetClientCallback {
  return (err, socket) => {
    if (socket) guardLateErrors(socket, true)
    callback(err, socket)
    if (socket) onSocket(socket)
  }
}

/** A port or an address that node:net throws at would end Haraka, for every message anew; so it is this host's failure. */
function harmless(original: GetClient): GetClient {
  return (mx, callback) => {
    try {
      original(mx, callback)
    } catch (err: unknown) {
      callback(`tls-policy: ${errorText(err)}`, null)
    }
  }
}

/** `user@[192.0.2.1]`: no name, no policy (RFC 7672 §2.2, RFC 8461 §3.4). */
function isAddressLiteral(domain: string): boolean {
  return domain.startsWith('[') || isIP(domain) !== 0
}

/** What is only watched may go untold, but must not end the process. */
function ignore(): void {
  // Nobody waits for it.
}
