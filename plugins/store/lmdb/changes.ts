/**
 * Changes of policies, told to all workers of the machine. LMDB wakes none of them, so each looks now and then at the numbered list
 * of changes in the file: one read of shared memory.
 */
import type { Access } from './access'
import type { LmdbFile } from './file'
import { tell } from '../outcome'
import type { ChangeListener } from '../types'

/** Milliseconds between two looks at the list. */
const POLL = 200
/** Changes that are kept for workers who have not looked yet. */
const KEPT = 1_000

export interface Changes {
  onChange(listener: ChangeListener): () => void
  /** Tells the listeners of this worker at once. */
  tell(domain: string): void
  stop(): void
}

/** Puts a change on the list; within a transaction. */
export function noteChange({ changes }: LmdbFile, domain: string): void {
  const number = lastChange(changes) + 1
  changes.putSync(number, domain)
  changes.removeSync(number - KEPT)
}

function lastChange(changes: LmdbFile['changes'] | undefined): number {
  const [number = 0] = changes?.getKeys({ reverse: true, limit: 1 }) ?? []
  return number
}

export function createChanges(access: Pick<Access, 'usable'>): Changes {
  const listeners = new Set<ChangeListener>()
  let seen = 0
  let timer: NodeJS.Timeout | undefined

  const list = (): LmdbFile['changes'] | undefined => {
    const found = access.usable()
    return found.ok ? found.value.changes : undefined
  }
  const look = (): void => {
    const latest = lastChange(list())
    if (latest === seen) return
    const entries = [...(list()?.getRange({ start: seen + 1 }) ?? [])]
    const missed = entries[0]?.key !== seen + 1
    seen = latest
    // More has changed than is kept: then anything may have.
    if (missed) return tell(listeners, undefined)
    for (const domain of new Set(entries.map(({ value }) => value))) tell(listeners, domain)
  }
  const watch = (): void => {
    if (timer !== undefined) return
    seen = lastChange(list())
    timer = setInterval(() => {
      try {
        look()
      } catch {
        // The next look reads it; nothing is lost but a moment.
      }
    }, POLL)
    timer.unref()
  }

  return {
    onChange(listener) {
      listeners.add(listener)
      watch()
      return () => void listeners.delete(listener)
    },
    tell: (domain) => {
      tell(listeners, domain)
    },
    stop() {
      clearInterval(timer)
      listeners.clear()
    },
  }
}
