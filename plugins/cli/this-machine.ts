/**
 * Facts about this machine that Haraka finds out by itself while it runs: which addresses are its own (RFC 5321 §5.1), and
 * whose files its queue and store are.
 */
import { statSync } from 'node:fs'
import type { WiringOptions } from '../wiring'
import { idsOf } from '../own-user'
import type { OwnUser } from '../own-user'
import type { Settings } from './settings'
import { errorText } from '../x509/trouble'

/** This server as Haraka itself knows it, without asking a STUN server for its address. */
export function selfOf({ helo, outbound, publicIp }: Settings): WiringOptions['self'] {
  return {
    localMxOk: () => outbound.localMxOk,
    name: () => helo,
    publicIp: () => Promise.resolve(publicIp),
  }
}

/**
 * Started as root, the command goes on as the user that Haraka becomes (smtp.ini), or else as the owner of its queue: a store that
 * root made would be closed to Haraka, which would then keep policies in memory only.
 * @returns what went wrong, where that user is none
 */
export function becomeHaraka({ queueFolder, folder, owner: own }: Settings): string | undefined {
  if (process.getuid?.() !== 0) return undefined
  if (own.user !== undefined) return becomeUser(own)
  becomeOwner(queueFolder, folder)
  return undefined
}

function becomeUser(own: OwnUser): string | undefined {
  try {
    const ids = idsOf(own)
    if (ids === undefined) return undefined
    process.setgroups?.([ids.gid])
    process.setgid?.(ids.gid)
    process.setuid?.(ids.uid)
    return undefined
  } catch (err: unknown) {
    const why = errorText(err)
    return `smtp.ini names a user or group that is none: ${why}`
  }
}

function becomeOwner(queueFolder: string, folder: string): void {
  const owner = ownerOf(queueFolder) ?? ownerOf(folder)
  if (owner === undefined || owner.uid === 0) return
  process.setgroups?.([owner.gid])
  process.setgid?.(owner.gid)
  process.setuid?.(owner.uid)
}

function ownerOf(path: string): { readonly uid: number; readonly gid: number } | undefined {
  const { uid, gid } = statSync(path, { throwIfNoEntry: false }) ?? {}
  return uid === undefined || gid === undefined ? undefined : { uid, gid }
}
