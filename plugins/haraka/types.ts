/**
 * The parts of Haraka that this room touches, by shape: Haraka publishes no types, and three generations of it are in use
 * (3.1.6, 3.2, 3.3). What is not listed here is not relied on.
 */
import type { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'

export interface HarakaMx {
  exchange?: string
  path?: string
  priority?: number
  port?: number
  bind?: string
  bind_helo?: string
  using_lmtp?: boolean
  auth_user?: string
  auth_pass?: string
  auth_type?: string
  /** The name from which `exchange`, an address, was resolved. */
  from_dns?: string
}

export type HarakaMxClass = new (source: HarakaMx | string) => HarakaMx

/** A recipient with what a DSN says about it (Haraka's populate_bounce_message). */
export interface Recipient {
  dsn_action?: string
  dsn_status?: string
  dsn_code?: number
  dsn_msg?: string
  dsn_remote_mta?: string
  /** Of the host's reply. */
  dsn_smtp_code?: unknown
  dsn_smtp_response?: unknown
  reason?: string
}

type Log = (...parts: unknown[]) => void

/** As text: in Haraka 3.2 the host of an address is a function that behaves like a string nearly everywhere, but is none. */
export interface HarakaDomain {
  toString(): string
}

export interface HMailItem {
  readonly todo: {
    readonly domain: HarakaDomain
    readonly rcpt_to: Recipient[]
    /** Of the transaction, as kept in the queue file. */
    readonly uuid?: unknown
    /** Without a user, that of a notification. */
    readonly mail_from?: { readonly user?: unknown }
    /** Of the transaction, as kept in the queue file. */
    readonly notes?: unknown
  }
  readonly cfg: { readonly temp_fail_intervals: readonly number[] }
  num_failures: number
  /** What is left of the MX list. */
  readonly mxlist?: readonly HarakaMx[]
  force_tls?: boolean
  get_mx_respond(retval: number, mx: unknown): unknown
  get_force_tls(mx: HarakaMx): boolean
  temp_fail(err: unknown, extra?: unknown): unknown
  bounce(err: unknown, extra?: unknown): unknown
  loginfo: Log
  lognotice: Log
  logerror: Log
  logcrit: Log
}

/** Haraka's pluggableStream: one stream in front of a TCP socket and, later, the TLS socket on it. */
export interface HarakaSocket extends EventEmitter {
  /** The socket behind; after clean(), a dummy. */
  targetsocket: Socket
  cleartext?: unknown
  writable: boolean
  remoteAddress?: string
  _timeout: number
  attach(socket: Socket): void
  clean(): void
  write(data: unknown, encoding?: unknown, callback?: unknown): boolean
  destroy(): void
  isSecure(): boolean
  upgrade(options: unknown, callback?: (...args: unknown[]) => void): void
}

/** A message on its way into the queue. */
export interface HarakaTransaction {
  readonly header?: { get_all(name: string): unknown }
  notes?: unknown
}

export interface OutboundQueue {
  send_trans_email(transaction: HarakaTransaction, next: unknown): unknown
}

export type GetClientCallback = (err: unknown, socket: HarakaSocket | null) => void
export type GetClient = (mx: HarakaMx, callback: GetClientCallback) => void

export interface ClientPool {
  get_client: GetClient
}

/** Haraka's `outbound/tls` singleton; `cfg` is replaced as a whole when tls.ini is loaded anew. */
export interface OutboundTls {
  readonly cfg?: TlsSettings
}

/** Options by Node's names (`tls.connect`), as an ini file has them. */
export type TlsSettings = Readonly<Record<string, unknown>>

/** Haraka's `tls_socket` module: where client certificates for single hosts come from. */
export interface TlsSocketModule {
  readonly tls_valid?: boolean
  readonly cfg?: {
    readonly main?: { readonly mutual_tls?: boolean }
    readonly mutual_auth_hosts?: Readonly<Record<string, string>>
    readonly mutual_auth_hosts_exclude?: Readonly<Record<string, unknown>>
  }
  readonly certsByHost?: Readonly<Record<string, TlsSettings | undefined>>
}

export interface HarakaPlugin {
  readonly name: string
  timeout: number
  readonly config: {
    get(name: string, options?: unknown, onChange?: () => void): unknown
    /** Where the shipped files lie, and the operator's; without the latter, the former are his. */
    readonly root_path?: string
    readonly overrides_path?: string
  }
  register_hook(hook: string, method: string, priority?: number): void
  haraka_require(module: string): unknown
  logdebug: Log
  loginfo: Log
  lognotice: Log
  logwarn: Log
  logerror: Log
  logcrit: Log
}
