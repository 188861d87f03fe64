/**
 * Destinations to which mail must not be sent because no other server is there: this very server, and addresses that no remote mail server can
 * have. Pure. Two conclusions, kept apart:
 * - A loop (RFC 5321 §5.1) is this server's own name or an address that proves it. It takes the host away and every host no better.
 * - An address that leads nowhere (loopback, link-local, unique local, or private and this machine's own) is skipped, alone, as
 *   Haraka skips it with `local_mx_ok=false`; the next address or host is tried.
 */
import { BlockList, isIP } from 'node:net'
import type { HostFacts } from './types'

export interface ThisServer {
  /** As config/me has it; lower case. */
  readonly name: string
  /** What proves a loop: public_ip, what the DNS says of the name, and public addresses of the interfaces. */
  readonly addresses: readonly string[]
  /** Private addresses of the interfaces: 172.17.0.1 is this machine's, and that of every other one with containers. */
  readonly private: readonly string[]
}

/** Haraka's is_local_ip, without the interfaces. An IPv4 address in IPv6 clothes counts as what it is. */
const NEVER_REMOTE = networks([
  ['0.0.0.0', 32], // no address (RFC 1122 section 3.2.1.3)
  ['127.0.0.0', 8], // loopback
  ['169.254.0.0', 16], // link-local (RFC 3927)
  ['::', 128],
  ['::1', 128],
  ['fe80::', 10], // link-local (RFC 4291 section 2.5.6)
  ['fc00::', 7], // unique local (RFC 4193)
])

/** What means another machine on each network. */
const PRIVATE = networks([
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
])

/** @param named Addresses that the operator or the DNS names as this server's; `bound` are those of its interfaces. */
export function thisServer(
  name: string,
  named: readonly string[],
  bound: readonly string[],
): ThisServer {
  const remote = (address: string) => isIP(address) !== 0 && !contains(NEVER_REMOTE, address)
  const isPrivate = (address: string) => contains(PRIVATE, address)
  return {
    name: name.toLowerCase(),
    addresses: [...named.filter(remote), ...bound.filter((one) => remote(one) && !isPrivate(one))],
    private: bound.filter((one) => remote(one) && isPrivate(one)),
  }
}

/**
 * Hosts no better than this server are dropped, before any look at security (RFC 5321 §5.1, RFC 8461 §8.4).
 * @param self undefined where the operator delivers to this very machine on purpose (local_mx_ok=true).
 */
export function withoutLoops(
  hosts: readonly HostFacts[],
  self: ThisServer | undefined,
): readonly HostFacts[] {
  if (self === undefined) return hosts
  const own = hosts.filter((host) => isThisServer(host, self))
  const best = Math.min(...own.map(({ preference }) => preference))
  return hosts.filter(({ preference }) => preference < best)
}

function isThisServer({ host, addresses }: HostFacts, { name, addresses: own }: ThisServer) {
  if (host === name) return true
  return addresses.kind === 'resolved' && addresses.list.some((address) => own.includes(address))
}

/** The addresses that are worth a connection. */
export function worthTrying(
  addresses: readonly string[],
  self: ThisServer | undefined,
): readonly string[] {
  if (self === undefined) return addresses
  return addresses.filter(
    (address) =>
      !isNeverRemote(address) &&
      !self.private.includes(address) &&
      !self.addresses.includes(address),
  )
}

/** What BlockList says of other addresses is known without it: it makes three objects at each question, for each address of a host. */
const MAY_BE_NEVER_REMOTE = /^(?:127\.|169\.|[0:f])/i

function isNeverRemote(address: string): boolean {
  return MAY_BE_NEVER_REMOTE.test(address) && contains(NEVER_REMOTE, address)
}

function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

function networks(all: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList()
  for (const [network, prefix] of all) {
    list.addSubnet(network, prefix, isIP(network) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}
