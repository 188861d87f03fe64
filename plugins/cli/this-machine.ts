/**
 * Facts about this machine that Haraka finds out by itself while it runs: which addresses are its own (RFC 5321 §5.1), and
 * whose files its queue and store are.
 */
import { statSync } from 'node:fs'
import type { WiringOptions } from '../wiring'
import type { Settings } from './settings'

/** This server as Haraka itself knows it, without asking a STUN server for its address. */
export function selfOf({ helo, outbound, publicIp }: Settings): WiringOptions['self'] {
  return {
    localMxOk: () => outbound.localMxOk,
    name: () => helo,
    publicIp: () => Promise.resolve(publicIp),
  }
}

/**
 * Started as root, the command goes on as the owner of Haraka's queue: a store that root made would be closed to Haraka,
 * which would then keep policies in memory only.
 */
export function becomeHaraka({ queueFolder, folder }: Settings): void {
  if (process.getuid?.() !== 0) return
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
