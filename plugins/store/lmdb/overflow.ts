/**
 * Memory that takes the place of the LMDB file for each write that must not be lost and that the file does not take: the file can
 * only be read, was cut short, its disk is full, or too many writes wait for it.
 */
import type { Access, AccessTools } from './access'
import type { LmdbFile } from './file'
import { memoryStore } from '../memory'
import type { Store, Stored, StoreTools } from '../types'

export interface Write {
  readonly act: (file: LmdbFile) => void
  /** Octets that the file needs for it. */
  readonly octets?: number
  /** Octets of memory until it is written. */
  readonly holds?: number
  /** Puts it into memory. */
  readonly instead: (memory: Store) => Promise<Stored<void>>
  /** Forgets what memory took earlier, once the file has taken it. */
  readonly obsolete?: (memory: Store) => void
}

export interface Overflow {
  /** The memory, from when on it may hold anything; it is asked before the file then. */
  inUse(): Store | undefined
  /** Writes to the file, or else to memory. */
  keep(write: Write): Promise<Stored<void>>
  close(): Promise<void>
}

export interface OverflowTools extends AccessTools, Pick<StoreTools, 'count'> {
  /** What to do where the file takes no writes. */
  readonly cure: string
}

export function createOverflow(access: Access, tools: OverflowTools): Overflow {
  const { troubles, cure, count = () => undefined } = tools
  const memory = memoryStore(tools)
  let begun = access.readOnly

  return {
    inUse: () => (begun || access.wasCut() ? memory : undefined),
    async keep({ act, octets, holds, instead, obsolete }) {
      const written = await access.write(act, octets, holds)
      if (written.ok) obsolete?.(memory)
      if (written.ok || access.isClosed()) return written
      if (written.busy !== true) {
        if (!(begun || access.wasCut()) || troubles.lasting().length === 0) {
          const text = `the store takes no writes, new policies are kept in memory: ${written.detail}`
          troubles.begin({ kind: 'file-full', text, cure })
        }
        for (const { kind } of troubles.lasting()) count(kind)
      }
      begun = true
      return instead(memory)
    },
    close: () => memory.close(),
  }
}
