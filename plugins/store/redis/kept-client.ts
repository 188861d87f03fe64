/**
 * A client of one Redis server that is dialled anew, a second after it was lost, wherever the server then is.
 *
 * Promises: nothing here throws later than at its making, waits for Redis, leaves an error unheard or keeps a process alive;
 * after `leave` nothing is dialled, and an attempt under way ends in a second.
 */
import { hostname } from 'node:os'
import { createClient, type RedisClientType } from 'redis'

/** Milliseconds between two attempts to connect, and for one attempt. */
export const RECONNECT = 1_000
export const CONNECT = 5_000
/** Milliseconds between two pings, and of silence after which the connection counts as dead. */
export const PING = 10_000
export const SILENCE = 30_000

type Anything = Record<string, never>
export type Client = RedisClientType<Anything, Anything, Anything, 2>

export interface TlsTarget {
  /** PEM roots; left out: Node's. */
  readonly ca?: string
  /** The name in the certificate; left out: the host's. */
  readonly servername?: string
}

/** Where a server is, and how to enter. */
export interface Target {
  readonly url?: string
  readonly path?: string
  readonly host?: string
  readonly port?: number
  /** Left out: no TLS. */
  readonly tls?: TlsTarget
  readonly username?: string
  readonly password?: string
  readonly database?: number
}

export interface KeptClient {
  /** Settled when the very first attempt is over, one way or the other. */
  readonly firstTry: Promise<void>
  /** The client, as long as there is a connection. */
  client(): Client | undefined
  /** Why there was none of late. */
  trouble(): unknown
  /** Takes another connection in the place of this one, as soon as it is there: the server is no longer the one. */
  redial(): void
  leave(): void
}

export interface KeepOptions {
  /** Asked before each attempt. */
  readonly where: () => Target | Promise<Target>
  /** Called with each new connection. */
  readonly onReady?: (client: Client) => Promise<unknown>
}

export function keepClient({ where, onReady }: KeepOptions): KeptClient {
  let current: Client | undefined
  /** Dialled to take its place. */
  let next: Client | undefined
  let dialling = false
  let timer: NodeJS.Timeout | undefined
  let trouble: unknown
  let left = false
  let firstIsOver: () => void = () => undefined
  const firstTry = new Promise<void>((resolve) => (firstIsOver = resolve))

  const again = (err: unknown): void => {
    trouble = err
    firstIsOver()
    if (!left) timer = setTimeout(dialAgain, RECONNECT).unref()
  }
  const lost = (client: Client, err: unknown): void => {
    trouble = err
    if (client.isOpen || (client !== next && client !== current)) return
    if (client === current && next !== undefined) {
      current = next
      next = undefined
      return
    }
    // The other server cannot be had, and this one is no longer the one.
    if (client === next && current !== undefined) leaveClient(current)
    next = undefined
    current = undefined
    again(err)
  }
  const dial = async (): Promise<void> => {
    try {
      const target = await where()
      if (left) return
      const client = makeClient(target)
      client.unref()
      if (current === undefined) current = client
      else next = client
      client.on('error', (err: unknown) => lost(client, err))
      client.once('ready', () => {
        firstIsOver()
        if (next === client) {
          const before = current
          current = client
          next = undefined
          // Calls under way over it may still be answered.
          setTimeout(() => before && leaveClient(before), LAST_ATTEMPT)
        }
        introduce(client)
        onReady?.(client).catch(() => undefined)
      })
      client.connect().catch((err: unknown) => lost(client, err))
    } catch (err) {
      again(err)
    }
  }
  const dialAgain = (): void => {
    dial().catch(again)
  }
  dialAgain()
  // A dead connection shows only when something is sent over it. The timer keeps no process alive.
  const beat = setInterval(() => {
    if (current?.isReady) current.sendCommand(['PING']).catch(() => undefined)
  }, PING).unref()

  return {
    firstTry,
    client: () => (current?.isReady ? current : undefined),
    trouble: () => trouble,
    redial() {
      if (left || dialling || next !== undefined || !current?.isReady) return
      dialling = true
      dial()
        .catch(again)
        .finally(() => (dialling = false))
    },
    leave() {
      left = true
      firstIsOver()
      clearInterval(beat)
      clearTimeout(timer)
      for (const client of [current, next]) if (client !== undefined) leaveClient(client)
    },
  }
}

/** Gives this connection its name in CLIENT LIST. A Redis that denies that right serves it all the same. */
export function introduce(client: Pick<Client, 'sendCommand'>): void {
  client.sendCommand(['CLIENT', 'SETNAME', CLIENT_NAME]).catch(() => undefined)
}

/** Redis takes no blanks and no control characters in it. */
const CLIENT_NAME = `haraka-tls-policy@${hostname().replace(/[^\w.-]/g, '_')}`.slice(0, 100)

/** @throws Error where node-redis refuses the settings */
export function makeClient(
  { url, path, host, port, tls, username, password, database }: Target,
  timing = { connectTimeout: CONNECT, socketTimeout: SILENCE },
): Client {
  const socket = { ...timing, reconnectStrategy: false as const }
  const address = { host: host ?? '127.0.0.1', port: port ?? 6379 }
  return createClient({
    ...(url === undefined ? {} : { url }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(database === undefined ? {} : { database }),
    socket:
      path !== undefined
        ? { ...socket, path, tls: false }
        : { ...socket, ...(url === undefined ? address : {}), ...tlsOptions(tls) },
    ...COMMON,
  })
}

export function tlsOptions(tls: TlsTarget | undefined): { tls?: true } & TlsTarget {
  return tls === undefined ? {} : { tls: true, ...tls }
}

export const COMMON = {
  // RESP 2 is spoken by every Redis and its imitations.
  RESP: 2 as const,
  disableOfflineQueue: true,
  commandsQueueMaxLength: 10_000,
}

/** Milliseconds for an attempt to connect that is under way when the store is closed. */
export const LAST_ATTEMPT = 1_000

/**
 * node-redis finishes opening a socket that it was told to destroy meanwhile, and keeps the connection: it is told when the
 * attempt is over, one way or the other, or when that takes long.
 */
export function leaveClient(client: {
  readonly isReady: boolean
  readonly isOpen: boolean
  once(event: 'ready' | 'error', listener: () => void): unknown
  destroy(): void
}): void {
  const stop = (): void => {
    clearTimeout(timer)
    if (client.isOpen) client.destroy()
  }
  const timer = setTimeout(stop, LAST_ATTEMPT)
  if (client.isReady || !client.isOpen) {
    stop()
    return
  }
  client.once('ready', stop)
  client.once('error', stop)
}
