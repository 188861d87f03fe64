/**
 * Facts about this machine that Haraka finds out by itself while it runs: which addresses are its own (RFC 5321 §5.1), and
 * whose files its queue and store are.
 */
import { lookup } from 'node:dns/promises'
import { statSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import type { Settings } from './settings'

/** As Haraka's is_local_host, without asking a STUN server: interfaces, loopback, public_ip, and the addresses of config/me. */
export function localAddresses(settings: Settings): (address: string) => Promise<boolean> {
  if (settings.outbound.localMxOk) return () => Promise.resolve(false)
  const bound = Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address),
  )
  const own = lookup(settings.helo, { all: true }).then(
    (found) => found.map(({ address }) => address),
    // A name without addresses makes no address local.
    (): string[] => [],
  )
  return async (address) =>
    /^(127\.|0\.0\.0\.0$|::1?$)/.test(address) ||
    address === settings.publicIp ||
    bound.includes(address) ||
    (await own).includes(address)
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
