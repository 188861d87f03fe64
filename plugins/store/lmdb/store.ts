/**
 * The store of one machine: an LMDB file that all its workers map into memory. Reads cost microseconds; writes are
 * transactions, so that a worker killed in the midst of one leaves the file as it was.
 *
 * Promises: a broken file is moved aside; one that is cut short while in use, one that cannot be written and a full disk mean
 * memory for new entries, each with one warning; no call takes longer than its deadline. A change is seen by the other workers
 * within the polling interval.
 */
import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import { createAccess, type FileTroubleKind } from './access'
import { agendaIn } from './agenda'
import { createChanges } from './changes'
import { type LmdbFile, openLmdb } from './file'
import { leasesIn } from './leases'
import { notesIn } from './notes'
import { createOverflow, type OverflowTools } from './overflow'
import { policiesIn } from './policies'
import { talliesIn } from './tally'
import { waitingIn } from './waiting'
import { memoryStore } from '../memory'
import { DONE } from '../outcome'
import { NO_DOMAIN } from '../record'
import { writeTimed } from '../timed'
import { createTroubles, type Troubles } from '../troubles'
import type { Store, StoreTools } from '../types'
import { withoutShared, withoutTallies } from '../unread'

/**
 * @param path the file; its folder must exist
 * @param cure what to do where it cannot be used
 */
export function lmdbStore(path: string, tools: StoreTools, cure = cureFor(path)): Store {
  const troubles = createTroubles<FileTroubleKind>(tools.log)
  const opened = openLmdb(path)
  if (!opened.ok) {
    const text = `policies are kept in memory only, the store cannot be opened: ${opened.detail}`
    troubles.begin({ kind: 'file-closed', text, cure })
    const own = withoutTallies(memoryStore(tools), "the store's file cannot be opened")
    const memory = withTroubles(own, troubles)
    // A policy that is in it may hold, and is not known. Where there has never been a file, there is none to know.
    return mayExist(path) ? withoutShared(memory, 'its file cannot be read', tools.now) : memory
  }
  if (opened.movedAside !== undefined) {
    tools.log.warn(`the store was broken and is begun anew: ${opened.movedAside}`)
  }
  if (opened.unwritable !== undefined) {
    const text = `the store can only be read, new policies are kept in memory: ${opened.unwritable}`
    troubles.begin({ kind: 'file-read-only', text, cure })
  }
  return storeIn(opened.file, { ...tools, troubles, cure })
}

function cureFor(path: string): string {
  return `See that Haraka's user may write to ${dirname(path)}, and that its disk is not full.`
}

/** Only a clear answer of the system says that there is no file. */
function mayExist(path: string): boolean {
  try {
    statSync(path)
    return true
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    return code !== 'ENOENT' && code !== 'ENOTDIR'
  }
}

function withTroubles(store: Store, troubles: Troubles<FileTroubleKind>): Store {
  return {
    ...store,
    troubles: () => troubles.lasting(),
    examine: () => Promise.resolve(troubles.lasting()),
  }
}

function storeIn(file: LmdbFile, tools: OverflowTools): Store {
  const { now, troubles } = tools
  const access = createAccess(file, tools)
  const overflow = createOverflow(access, tools)
  const changes = createChanges(access)
  return {
    ...policiesIn(access, overflow, changes, now),
    ...agendaIn(access, overflow),
    ...notesIn(access, overflow, now),
    ...leasesIn(access, now),
    ...talliesIn(access),
    ...waitingIn(access, now),
    onChange: (listener) => changes.onChange(listener),
    troubles: () => troubles.lasting(),
    async examine() {
      await overflow.keep({
        act: ({ notes }) => notes.putSync(`${NO_DOMAIN} trial`, writeTimed('', 1, now())),
        instead: () => Promise.resolve(DONE),
      })
      return troubles.lasting()
    },
    async close() {
      if (access.isClosed()) return
      changes.stop()
      await Promise.all([overflow.close(), access.close()])
    },
  }
}
