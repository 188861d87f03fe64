/**
 * Sockets for questions over UDP. Promises: each question has an unpredictable id, on a port that the kernel chose for few
 * questions and not for long: while there are few of them, each has a socket of its own. Only in a crowd do questions to one
 * server share sockets, with different ids, so that thousands of names whose servers are dead take no thousand descriptors. To
 * forge a reply, port, id and question must be guessed, then as before (RFC 5452 section 9).
 */
import { createSocket, type Socket } from 'node:dgram'
import type { Server } from './servers'

export interface UdpSocketsOptions {
  /** While fewer are open, no question shares one. */
  readonly most?: number
  /** Questions in the life of one. */
  readonly questionsEach?: number
}

export interface Listener {
  /** Takes the octets of each datagram that the server sends to the socket. */
  readonly received: (octets: Buffer) => void
  readonly failed: (error: Error) => void
}

export interface UdpSockets {
  /** Sends a query, whose first two octets are its id. @returns ends the listening; called exactly once */
  ask(server: Server, query: Buffer, listener: Listener): () => void
}

const MOST = 128
const QUESTIONS_EACH = 32

interface Shared {
  readonly socket: Socket
  /** By the ids of their questions. */
  readonly listeners: Map<number, Listener>
  readonly ready: Promise<void>
  asked: number
}

function fail(listeners: ReadonlyMap<number, Listener>, error: Error): void {
  for (const { failed } of [...listeners.values()]) failed(error)
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

export function udpSockets({
  most = MOST,
  questionsEach = QUESTIONS_EACH,
}: UdpSocketsOptions = {}): UdpSockets {
  const open = new Map<string, Set<Shared>>()
  let count = 0

  function openTo(server: Server, key: string): Shared {
    const socket = createSocket(server.address.includes(':') ? 'udp6' : 'udp4')
    const listeners = new Map<number, Listener>()
    socket.on('error', (error) => fail(listeners, error))
    socket.on('message', (octets, from) => {
      if (from.port !== server.port) return
      for (const { received } of [...listeners.values()]) received(octets)
    })
    // Connected: the kernel drops datagrams of other addresses, and tells when no program listens.
    const ready = new Promise<void>((resolve, reject) => {
      // Types say otherwise: where there is no way to the address, the error comes here.
      socket.connect(server.port, server.address, (error?: Error) =>
        error instanceof Error ? reject(error) : resolve(),
      )
    })
    const shared = { socket, listeners, ready, asked: 0 }
    open.set(key, (open.get(key) ?? new Set()).add(shared))
    count++
    return shared
  }

  function close(shared: Shared, key: string): void {
    const all = open.get(key)
    all?.delete(shared)
    if (all?.size === 0) open.delete(key)
    count--
    shared.socket.close()
  }

  /** In a crowd the one with the fewest questions under way, where none has this id. */
  function leastBusy(key: string, id: number): Shared | undefined {
    if (count < most) return undefined
    let best: Shared | undefined
    for (const one of open.get(key) ?? []) {
      if (one.asked >= questionsEach || one.listeners.has(id)) continue
      if (best === undefined || one.listeners.size < best.listeners.size) best = one
    }
    return best
  }

  return {
    ask(server, query, listener) {
      const key = `${server.address} ${server.port}`
      const id = query.readUInt16BE(0)
      const shared = leastBusy(key, id) ?? openTo(server, key)
      shared.asked++
      shared.listeners.set(id, listener)
      shared.ready
        .then(() => {
          if (shared.listeners.get(id) !== listener) return
          // That no program listens is said once, to the next who sends or receives; it is so for all.
          shared.socket.send(query, (error) => {
            if (error !== null) fail(shared.listeners, error)
          })
        })
        .catch((error: unknown) => {
          if (shared.listeners.get(id) === listener) fail(shared.listeners, asError(error))
        })
      return () => {
        shared.listeners.delete(id)
        if (shared.listeners.size === 0) close(shared, key)
      }
    },
  }
}
