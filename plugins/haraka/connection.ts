/**
 * Opens the connection to a host of the plan. One that must be secured is handed over only after its pre-flight; every other end
 * of that destroys the socket and is this host's failure. Hosts of which nothing is demanded are left to Haraka, and listened to.
 */
import { endOfLost, endOfTried } from '../delivery/host-end'
import type { HostEnd, Met, Tried } from '../delivery/host-end'
import type { Judge, Judged } from '../delivery/judge'
import { createJudge } from '../delivery/judgements'
import { demandsTls } from '../delivery/requirement'
import { wordsOf } from '../telemetry/log-line'
import { errorText } from './attempt'
import type { Mark, PlannedAttempt } from './attempt'
import { shown } from './dial'
import type { Endings } from './endings'
import { hideStartTls } from './anyhow'
import { guardLateErrors, putUpFacade } from './facade'
import { held } from './held'
import { listen } from './listen'
import { listenForLoss } from './loss'
import { preflight } from './preflight'
import type { PreflightResult } from './preflight'
import type { ContextSettings, ContextSource } from './tls-context'
import type { GetClient, GetClientCallback, HarakaMx, HarakaSocket } from './types'

export interface ConnectorOptions {
  readonly contexts: ContextSource
  /** For sessions that are only listened to. */
  readonly contextSettings: () => ContextSettings
  readonly now: () => Date
  readonly endings: Pick<Endings, 'ofHost' | 'failClosed'>
  /** The host has failed, and `callback` waits to hear of it. */
  readonly refused: (mark: PlannedMark, why: string, callback: GetClientCallback) => void
}

type PlannedMark = Extract<Mark, { kind: 'planned' }>

export type Connect = (
  mx: HarakaMx,
  mark: PlannedMark,
  callback: GetClientCallback,
  original: GetClient,
) => void

/** Characters of a reason that Haraka logs. */
const MOST_TOLD = 1500
/** Greeting, EHLO, STARTTLS and handshake may each take as long as Haraka lets a server be silent. */
const PREFLIGHT_STAGES = 4

export function createConnector(options: ConnectorOptions): Connect {
  const { endings, refused } = options
  const judges = new WeakMap<PlannedAttempt, Judge>()

  function tell({ hmail, attempt }: PlannedMark, end: HostEnd): HostEnd {
    endings.ofHost(hmail, attempt, end)
    return end
  }

  function connectPlanned(
    mx: HarakaMx,
    mark: PlannedMark,
    callback: GetClientCallback,
    original: GetClient,
  ): void {
    const { planned } = mark
    const { requirement } = planned
    const tried = triedOf(mark, mx)
    if (requirement.level === 'refuse') {
      callback(`tls-policy: ${requirement.reason}`, null)
      return
    }
    if (mx.path || mx.port !== planned.port || !planned.addresses.includes(tried.address)) {
      const detail = `port ${planned.port} was looked up, but ${shown(mx.path ?? mx.port)} is to be dialled`
      tell(mark, endOfTried(tried, notConnected(tried, 'bad-route', detail)))
      callback(wordsOf(`tls-policy: ${detail}`), null)
      return
    }
    if (requirement.level === 'opportunistic' && requirement.withoutTls && mark.forced) {
      callback('tls-policy: tls.ini force_tls_hosts has this host', null)
      return
    }
    original(mx, (err, socket) => {
      if (err || !socket) {
        tell(mark, endOfTried(tried, notConnected(tried, 'connect-failed', errorText(err))))
        callback(err, socket)
      } else if (demandsTls(requirement)) {
        handOver(mx, mark, requirement, socket, callback)
      } else {
        leaveToHaraka(mx, mark, socket, callback)
      }
    })
  }

  function leaveToHaraka(
    mx: HarakaMx,
    mark: PlannedMark,
    socket: HarakaSocket,
    callback: GetClientCallback,
  ): void {
    const tried = triedOf(mark, mx)
    const { requirement } = tried.planned
    guardLateErrors(socket, true)
    if (requirement.level === 'opportunistic' && requirement.withoutTls) hideStartTls(socket)
    else shareContext(socket)
    callback(null, socket)
    let end: HostEnd | undefined
    listen(socket, tried.address, {
      onHeard: (heard) => {
        const meet = held(heard, {
          settings: options.contextSettings(),
          now: options.now(),
          askedFor: mx.from_dns ?? mx.exchange,
          judges: tried.planned.demands.length > 0,
        })
        end = tell(mark, endOfTried(tried, meet(tried.planned)))
      },
      onLost: (detail) => {
        if (end !== undefined) tell(mark, endOfLost(end, detail))
      },
    })
  }

  function handOver(
    mx: HarakaMx,
    mark: PlannedMark,
    requirement: Judged,
    socket: HarakaSocket,
    callback: GetClientCallback,
  ): void {
    secure(mx, mark, requirement, socket)
      .then(
        (result) => {
          if (typeof result === 'string') refused(mark, result, callback)
          else result(callback)
        },
        (failure: unknown) => {
          // TLS settings of the operator's that OpenSSL does not take; or a mistake of ours, of which the host must not profit.
          socket.destroy()
          const tried = triedOf(mark, mx)
          const detail = errorText(failure)
          const reason = 'tls-handshake-failed'
          const session = { stage: 'handshake', peer: tried.address } as const
          tell(mark, endOfTried(tried, { kind: 'failed', reason, detail, session }))
          callback(wordsOf(`tls-policy: ${detail}`), null)
        },
      )
      .catch((failure: unknown) => {
        // Not reached by any known road; if it is, nobody knows how far Haraka came.
        socket.destroy()
        endings.failClosed(mark.hmail, failure)
      })
  }

  /** Building a context for each connection, as Node does by itself, is a good part of a handshake's cost. */
  function shareContext(socket: HarakaSocket): void {
    const upgrade = socket.upgrade.bind(socket)
    socket.upgrade = (tlsOptions, whenSecured) => {
      upgrade(options.contexts.withSharedContext(tlsOptions), whenSecured)
    }
  }

  function judgeOf(attempt: PlannedAttempt): Judge {
    const judge = judges.get(attempt) ?? createJudge()
    judges.set(attempt, judge)
    return judge
  }

  /** @returns How to hand the socket over, or why there is none. */
  async function secure(
    mx: HarakaMx,
    mark: PlannedMark,
    requirement: Judged,
    socket: HarakaSocket,
  ): Promise<string | ((callback: GetClientCallback) => void)> {
    const { hmail, attempt } = mark
    const tried = triedOf(mark, mx)
    const { host } = tried.planned
    const local = socket.targetsocket.localAddress
    guardLateErrors(socket, false)
    const began = performance.now()
    const judge = judgeOf(attempt)
    const result = await preflight(socket, {
      requirement,
      judge,
      helo: mx.bind_helo ?? 'localhost',
      context: options.contexts.contextFor(tried.address),
      session: options.contexts.sessionOptions(),
      timeoutMs: socket._timeout * PREFLIGHT_STAGES,
      now: options.now,
    })
    const inside = result.ok ? result.inside : undefined
    const session = {
      ...result.session,
      ...(inside?.tagMail ? { requiretls: true as const } : {}),
      peer: tried.address,
      ...(local === undefined ? {} : { local }),
      seconds: (performance.now() - began) / 1000,
    }
    const meeting = metBy(result, session, requirement, (demand, evidence) =>
      judge(demand, evidence, options.now()),
    )
    const end = tell(mark, endOfTried(tried, meeting))
    if (!result.ok) {
      const { reason, detail } = result
      // Haraka logs it.
      return wordsOf(`tls-policy: ${host} [${tried.address}] ${reason}: ${detail}`).slice(
        0,
        MOST_TOLD,
      )
    }
    return (callback) => {
      result.release()
      const loss = listenForLoss(socket, result.session.tls.protocol, (detail) => {
        tell(mark, endOfLost(end, detail))
      })
      putUpFacade(socket, result.tls, {
        host,
        certificate: result.certificate,
        inside,
        onBlocked: (what) => {
          hmail.logcrit(`tls-policy: cut Haraka off at ${host}: ${what}`)
        },
        onQuit: loss.ignore,
      })
      callback(null, socket)
      loss.begin()
    }
  }

  return connectPlanned
}

function triedOf({ attempt, plan, planned, forced }: PlannedMark, mx: HarakaMx): Tried {
  const address = mx.exchange ?? planned.host
  return { mode: 'enforce', domain: attempt.domain, facts: plan.facts, planned, address, forced }
}

function notConnected(
  { address }: Tried,
  reason: 'connect-failed' | 'bad-route',
  detail: string,
): Met {
  return { kind: 'failed', reason, detail, session: { stage: 'connect', peer: address } }
}

/** What the pre-flight came to, with its own judgement, which is not made twice. */
function metBy(
  result: PreflightResult,
  session: Met['session'],
  requirement: Judged,
  judge: (demand: Judged, evidence: NonNullable<PreflightResult['evidence']>) => ReturnType<Judge>,
): Met {
  const { evidence } = result
  if (evidence === undefined) {
    const { reason, detail } = result as Extract<PreflightResult, { ok: false }>
    return { kind: 'failed', reason, detail, session }
  }
  const own = result.ok
    ? result.verdict
    : ({ verdict: 'refused', reason: result.reason, detail: result.detail } as const)
  return {
    kind: 'secured',
    session,
    judge: (demand) => (demand === requirement ? own : judge(demand, evidence)),
  }
}
