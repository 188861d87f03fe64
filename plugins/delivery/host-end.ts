/**
 * What became of one host: the single value out of which log line, metrics, deferral text and reports are made. Pure.
 * Each host that was tried or refused has exactly one; where a session is lost later on, a second one corrects the first.
 */
import type { ReasonCode } from '../reasons/codes'
import type { Facts, PolicyKind, Requirement, Verdict } from './types'

/** What one policy demanded of a host, and whether it was met. */
export interface PolicyEnd {
  readonly policy: 'dane' | 'sts' | 'operator'
  /** False where the demand is judged and told, but not insisted on: MTA-STS `testing`, and MTA-STS beside DANE. */
  readonly enforced: boolean
  readonly met: boolean
  readonly reason: ReasonCode
  /** One line. */
  readonly detail: string
}

/** The stage of a session before the envelope at which it ended; `tls`: TLS was up. */
export type SessionStage = 'connect' | 'greeting' | 'ehlo' | 'starttls' | 'handshake' | 'tls'

/** Of a host that was contacted. */
export interface SessionEnd {
  readonly stage: SessionStage
  /** Our own address in the session; left out where there was no connection. */
  readonly local?: string
  readonly peer: string
  /** The name with which the server introduced itself: first word of its EHLO reply, else of its greeting. */
  readonly helo?: string
  readonly tls?: { readonly protocol: string; readonly cipher: string }
  /** What OpenSSL, Node or the server's reply called the failure: `ERR_SSL_WRONG_VERSION_NUMBER`, `smtp-454`. */
  readonly code?: string
  /** Haraka's own settings kept it from TLS (tls.ini no_tls_hosts, its memory of failed handshakes): nobody's failure. */
  readonly leftAlone?: true
}

export interface HostEnd {
  readonly mode: 'enforce' | 'observe'
  readonly nextHop: string
  /** What was looked up; undefined where nothing was: a route that cannot be dialled, a decision that failed. */
  readonly facts: Facts | undefined
  /** Left out where it did not come to any host. */
  readonly host?: string
  readonly address?: string
  /** Which policy set the requirement. */
  readonly policy: PolicyKind
  /** What was demanded of the host; `refuse`: not even to connect to it. */
  readonly require: Requirement['level']
  readonly verdict: Verdict['verdict']
  readonly reason: ReasonCode
  readonly detail: string
  /** Left out where the host was never contacted. */
  readonly session?: SessionEnd
  /** One for each policy that demanded something of the host. */
  readonly byPolicy: readonly PolicyEnd[]
  /** The session was lost after an end had been told of it. */
  readonly corrects?: true
}
