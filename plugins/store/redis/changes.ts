/** Hears of changes of policies by other machines, as Redis passes them on. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Connection } from './connection'
import { isAnswer, type RedisTroubleKind, troubleOf } from './errors'
import { inWords, tell } from '../outcome'
import { isDomain } from '../record'
import type { Troubles } from '../troubles'
import type { ChangeListener } from '../types'

export interface Changes {
  /** Settled when the first try to listen is over, one way or the other. */
  readonly listened: Promise<void>
  onChange(listener: ChangeListener): () => void
  stop(): void
}

export interface ChangesTools {
  readonly connection: Pick<Connection, 'listen'>
  readonly channel: string
  readonly troubles: Troubles<RedisTroubleKind>
  readonly probeMs: number
  readonly closed: AbortSignal
}

export function hearChanges(tools: ChangesTools): Changes {
  const { connection, channel, troubles, probeMs, closed } = tools
  const listeners = new Set<ChangeListener>()
  const hear = (domain: string): void => {
    if (isDomain(domain)) tell(listeners, domain)
  }
  let hasListened: () => void = () => undefined
  const listened = new Promise<void>((resolve) => (hasListened = resolve))
  connection.listen(async (client) => {
    while (!closed.aborted && client.isReady) {
      try {
        await client.subscribe(channel, hear)
        troubles.over('redis-deaf', 'changes by other machines are heard of at once again')
        // Messages that were missed while the connection was away cannot be asked for again: then anything may have changed.
        tell(listeners, undefined)
        hasListened()
        return
      } catch (error) {
        // A right that is missing may be granted; a connection that is lost is dialled anew elsewhere.
        if (isAnswer(error)) troubles.begin(troubleOf('redis-deaf', inWords(error)))
        hasListened()
        await pause(probeMs, undefined, { ref: false })
      }
    }
  })
  return {
    listened,
    onChange(listener) {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    stop() {
      listeners.clear()
    },
  }
}
