/**
 * Opens the connection to a host of the plan. One that must be secured is handed over only after its pre-flight; every other end
 * of that destroys the socket and is this host's failure. Hosts of which nothing is demanded are left to Haraka.
 */
import type { Judge } from '../delivery/judge'
import { createJudge } from '../delivery/judgements'
import type { PlannedHost, Requirement } from '../delivery/types'
import { wordsOf } from '../telemetry/log-line'
import type { LogFields } from '../telemetry/log-line'
import { SHOW_A_CERTIFICATE } from '../x509/trouble'
import { errorText } from './attempt'
import type { HostFailure, Mark, PlannedAttempt } from './attempt'
import { shown } from './dial'
import type { Endings } from './endings'
import { guardLateErrors, putUpFacade } from './facade'
import { preflight } from './preflight'
import type { ContextSource } from './tls-context'
import type { GetClient, GetClientCallback, HarakaMx, HarakaSocket, HMailItem } from './types'

export interface ConnectorOptions {
  readonly contexts: ContextSource
  readonly now: () => Date
  readonly report: (hmail: HMailItem, fields: LogFields) => void
  /** Told of each pre-flight: whether the host was secured, and the seconds it took. */
  readonly preflightDone: (secured: boolean, seconds: number) => void
  readonly endings: Pick<Endings, 'noteFailure' | 'failClosed'>
  /** The host has failed, and `callback` waits to hear of it. */
  readonly refused: (
    hmail: HMailItem,
    attempt: PlannedAttempt,
    why: string,
    callback: GetClientCallback,
  ) => void
}

export type Connect = (
  hmail: HMailItem,
  mx: HarakaMx,
  mark: Extract<Mark, { kind: 'planned' }>,
  callback: GetClientCallback,
  original: GetClient,
) => void

/** Characters of a reason that Haraka logs. */
const MOST_TOLD = 1500
/** Greeting, EHLO, STARTTLS and handshake may each take as long as Haraka lets a server be silent. */
const PREFLIGHT_STAGES = 4

export function createConnector(options: ConnectorOptions): Connect {
  const { report, endings, refused } = options
  const judges = new WeakMap<PlannedAttempt, Judge>()

  function connectPlanned(
    hmail: HMailItem,
    mx: HarakaMx,
    { attempt, planned }: Extract<Mark, { kind: 'planned' }>,
    callback: GetClientCallback,
    original: GetClient,
  ): void {
    const { requirement, host, policy } = planned
    const where = { host, address: mx.exchange ?? host, policy, require: requirement.level }
    if (requirement.level === 'refuse') {
      callback(`tls-policy: ${requirement.reason}`, null)
      return
    }
    if (mx.path || mx.port !== planned.port || !planned.addresses.includes(where.address)) {
      const detail = `port ${planned.port} was looked up, but ${shown(mx.path ?? mx.port)} is to be dialled`
      endings.noteFailure(hmail, attempt, { ...where, reason: 'bad-route', detail })
      callback(wordsOf(`tls-policy: ${detail}`), null)
      return
    }
    original(mx, (err, socket) => {
      if (err || !socket || requirement.level === 'opportunistic') {
        if (err) {
          attempt.failures.push({
            ...where,
            reason: 'connect-failed',
            detail: errorText(err),
          })
        }
        if (socket) {
          guardLateErrors(socket, true)
          shareContext(socket)
        }
        callback(err, socket)
        return
      }
      secure(hmail, mx, socket, { attempt, planned: { ...planned, requirement } })
        .then(
          (handOver) => {
            if (typeof handOver === 'string') refused(hmail, attempt, handOver, callback)
            else handOver(callback)
          },
          (failure: unknown) => {
            // TLS settings of the operator's that OpenSSL does not take; or a mistake of ours, of which the host must not profit.
            socket.destroy()
            const detail = errorText(failure)
            const reason = 'tls-handshake-failed'
            endings.noteFailure(hmail, attempt, { ...where, reason, detail })
            callback(wordsOf(`tls-policy: ${detail}`), null)
          },
        )
        .catch((failure: unknown) => {
          // Not reached by any known road; if it is, nobody knows how far Haraka came.
          socket.destroy()
          endings.failClosed(hmail, failure)
        })
    })
  }

  /** Building a context for each connection, as Node does by itself, is a good part of a handshake's cost. */
  function shareContext(socket: HarakaSocket): void {
    const upgrade = socket.upgrade.bind(socket)
    socket.upgrade = (tlsOptions, whenSecured) => {
      upgrade(options.contexts.withSharedContext(tlsOptions), whenSecured)
    }
  }

  /** @returns How to hand the socket over, or why there is none. */
  async function secure(
    hmail: HMailItem,
    mx: HarakaMx,
    socket: HarakaSocket,
    mark: {
      readonly attempt: PlannedAttempt
      readonly planned: PlannedHost & {
        readonly requirement: Extract<Requirement, { level: 'encrypt' | 'authenticate' }>
      }
    },
  ): Promise<string | ((callback: GetClientCallback) => void)> {
    const { attempt, planned } = mark
    const { requirement, host, policy } = planned
    const address = mx.exchange ?? host
    const where = { host, address, policy, require: requirement.level }
    guardLateErrors(socket, false)
    const began = performance.now()
    const judge = judges.get(attempt) ?? createJudge()
    judges.set(attempt, judge)
    const result = await preflight(socket, {
      requirement,
      judge,
      helo: mx.bind_helo ?? 'localhost',
      context: options.contexts.contextFor(address),
      session: options.contexts.sessionOptions(),
      timeoutMs: socket._timeout * PREFLIGHT_STAGES,
      now: options.now,
    })
    options.preflightDone(result.ok, (performance.now() - began) / 1000)
    if (!result.ok) {
      const { reason, detail, tls } = result
      const failure = { ...where, reason, detail, ...(tls === undefined ? {} : { tls }) }
      endings.noteFailure(hmail, attempt, failure)
      // Haraka logs it.
      return wordsOf(`tls-policy: ${host} [${address}] ${reason}: ${detail}`).slice(0, MOST_TOLD)
    }
    report(hmail, {
      domain: attempt.nextHop,
      mx: host,
      ip: address,
      policy,
      require: requirement.level,
      verdict: result.verdict.verdict,
      reason: result.verdict.reason,
      tls: `${result.protocol} ${result.cipher}`,
      detail: result.verdict.detail,
    })
    return (callback) => {
      result.release()
      putUpFacade(socket, result.tls, {
        host,
        certificate: result.certificate,
        onBlocked: (what) => {
          hmail.logcrit(`tls-policy: cut Haraka off at ${host}: ${what}`)
        },
      })
      callback(null, socket)
      noteLoss(socket, attempt, where, result.protocol)
    }
  }

  /** Haraka goes on to the next host when a session breaks; a deferral shall name this one as well. */
  function noteLoss(
    socket: HarakaSocket,
    attempt: PlannedAttempt,
    where: Pick<HostFailure, 'host' | 'address' | 'policy' | 'require'>,
    protocol: string,
  ): void {
    let noted = false
    let heard = false
    const note = (detail: string) => {
      if (noted) return
      noted = true
      attempt.failures.push({ ...where, reason: 'tls-lost', detail })
    }
    const ended = (text: string) => {
      note(heard || protocol !== 'TLSv1.3' ? text : withCure(text))
    }
    socket.once('data', () => {
      heard = true
    })
    // Ahead of Haraka's own listeners: those may end the attempt at once. Of a host that is silent, Haraka says so in plain text.
    socket.prependListener('error', (err: unknown) => {
      if (err instanceof Error) ended(errorText(err))
      else note(errorText(err))
    })
    socket.prependListener('close', () => {
      ended('the connection was closed')
    })
  }

  return connectPlanned
}

/**
 * In TLS 1.3 the handshake is over for us before the server has looked for our certificate (RFC 8446 §4.4.2): its refusal comes
 * in place of its first words, and a closed connection may be all that is left of it.
 */
function withCure(text: string): string {
  return text.includes(SHOW_A_CERTIFICATE)
    ? text
    : `${text}, before a word inside TLS; perhaps ${SHOW_A_CERTIFICATE}`
}
