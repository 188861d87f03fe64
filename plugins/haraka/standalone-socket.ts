/**
 * A connection of our own in the shape of Haraka's (its pluggableStream), for looking at a host without sending mail: the
 * pre-flight runs on it as it does in a delivery. It forwards what Haraka's forwards and nothing else, and is given up
 * after the pre-flight; there is no way to hand it to Haraka.
 */
import { EventEmitter } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { troubleText } from '../x509/trouble'
import type { HarakaSocket } from './types'

export interface StandaloneOptions {
  /** An IP address. */
  readonly address: string
  readonly port: number
  /** Milliseconds, for the connection and then for each silence; Haraka's connect_timeout. */
  readonly timeoutMs: number
}

export type Connected =
  | { readonly ok: true; readonly socket: HarakaSocket }
  /** One line: why there is no connection. */
  | { readonly ok: false; readonly detail: string }

const FORWARDED = ['data', 'secure', 'secureConnect', 'end', 'close', 'drain', 'timeout'] as const
/** What clean() takes off; Haraka's leaves the listeners for `timeout`. */
const CLEANED = ['data', 'secure', 'secureConnect', 'end', 'close', 'drain', 'error'] as const

/** Opens a connection. Never rejects. */
export async function connectStandalone(options: StandaloneOptions): Promise<Connected> {
  const { address, port, timeoutMs } = options
  const raw = connect({ host: address, port })
  raw.setTimeout(timeoutMs)
  const socket = new StandaloneSocket(raw, timeoutMs)
  const failure = await new Promise<string | undefined>((resolve) => {
    raw.once('connect', () => resolve(undefined))
    socket.once('error', (err: unknown) => resolve(troubleText(err)))
    socket.once('timeout', () => resolve(`no connection within ${timeoutMs / 1000} seconds`))
  })
  socket.removeAllListeners()
  if (failure === undefined) return { ok: true, socket }
  raw.on('error', () => undefined)
  raw.destroy()
  return { ok: false, detail: failure.replace(/[^\x20-\x7e]/g, '?').slice(0, 300) }
}

class StandaloneSocket extends EventEmitter implements HarakaSocket {
  targetsocket: Socket
  writable = true

  constructor(
    socket: Socket,
    readonly _timeout: number,
  ) {
    super()
    this.targetsocket = socket
    this.attach(socket)
  }

  attach(socket: Socket): void {
    this.targetsocket = socket
    for (const event of FORWARDED) {
      socket.on(event, (...args: unknown[]) => {
        this.writable = socket.writable
        this.emit(event, ...args)
      })
    }
    socket.on('error', (err: unknown) => {
      if (this.listenerCount('error') > 0) this.emit('error', err)
    })
  }

  clean(): void {
    for (const event of CLEANED) this.targetsocket.removeAllListeners(event)
    // As Haraka's: what is said to it now goes nowhere.
    this.targetsocket = { write: () => true } as unknown as Socket
  }

  write(data: unknown): boolean {
    return this.targetsocket.write(String(data))
  }

  destroy(): void {
    if (typeof this.targetsocket.destroy === 'function') this.targetsocket.destroy()
  }

  isSecure(): boolean {
    return false
  }

  upgrade(): void {
    throw new Error('a connection for looking is not upgraded by Haraka')
  }
}
