/**
 * Which addresses are public. Pure.
 *
 * The name of a policy host or of a report's receiver, and its addresses, are chosen by the owner of the recipient domain: without
 * this check any domain could make a mail server speak HTTPS to the machines behind its own firewall.
 * Promises: true only for unicast addresses that the public Internet routes. Refuses: every special-purpose range
 * (RFC 6890 and the IANA registries after it), also where an IPv4 address hides inside an IPv6 one.
 */
import { BlockList, isIPv4, isIPv6 } from 'node:net'

const SPECIAL_IPV4: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8], // this network (RFC 791)
  ['10.0.0.0', 8], // private (RFC 1918)
  ['100.64.0.0', 10], // carrier-grade NAT (RFC 6598)
  ['127.0.0.0', 8], // loopback
  ['169.254.0.0', 16], // link-local (RFC 3927), and the metadata services of clouds
  ['172.16.0.0', 12], // private
  ['192.0.0.0', 24], // IETF protocol assignments
  ['192.0.2.0', 24], // documentation (RFC 5737)
  ['192.88.99.0', 24], // 6to4 relay anycast (RFC 7526)
  ['192.168.0.0', 16], // private
  ['198.18.0.0', 15], // benchmarking (RFC 2544)
  ['198.51.100.0', 24], // documentation
  ['203.0.113.0', 24], // documentation
  ['224.0.0.0', 4], // multicast
  ['240.0.0.0', 4], // reserved, and broadcast
]

/** Inside 2000::/3; everything outside it is special already (loopback, ULA, link-local, multicast, mapped IPv4, …). */
const SPECIAL_IPV6: readonly (readonly [string, number])[] = [
  ['2001::', 23], // IETF protocol assignments, Teredo among them (RFC 4380)
  ['2001:db8::', 32], // documentation (RFC 3849)
  ['2002::', 16], // 6to4: an IPv4 address inside (RFC 3056)
  ['3fff::', 20], // documentation (RFC 9637)
]

const special = blockList(SPECIAL_IPV4, SPECIAL_IPV6)
const globalUnicast = blockList([], [['2000::', 3]])
/** The well-known prefix of NAT64 (RFC 6052): the last 32 bits are the IPv4 address that is really meant. */
const nat64 = blockList([], [['64:ff9b::', 96]])

/** @param address dotted quad or RFC 5952 text; anything else is not public */
export function isPublicAddress(address: string): boolean {
  if (isIPv4(address)) return !special.check(address, 'ipv4')
  // A zone (`fe80::1%eth0`) belongs to link-local addresses only.
  if (!isIPv6(address) || address.includes('%')) return false
  if (nat64.check(address, 'ipv6')) return !special.check(embeddedIPv4(address), 'ipv4')
  return globalUnicast.check(address, 'ipv6') && !special.check(address, 'ipv6')
}

function blockList(
  ipv4: readonly (readonly [string, number])[],
  ipv6: readonly (readonly [string, number])[],
): BlockList {
  const list = new BlockList()
  for (const [network, prefix] of ipv4) list.addSubnet(network, prefix, 'ipv4')
  for (const [network, prefix] of ipv6) list.addSubnet(network, prefix, 'ipv6')
  return list
}

/** The last 32 bits of an IPv6 address, in whichever of its textual forms. */
function embeddedIPv4(address: string): string {
  const tail = address.slice(address.lastIndexOf(':') + 1)
  if (isIPv4(tail)) return tail
  // The URL parser writes the canonical form; expanding `::` there gives the last two groups.
  const canonical = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const groups = canonical.split('::')
  const last = (groups[groups.length - 1] ?? '').split(':').filter((group) => group !== '')
  const [high, low] = [last[last.length - 2] ?? '0', last[last.length - 1] ?? '0'].map((group) =>
    Number.parseInt(group, 16),
  )
  return [(high ?? 0) >> 8, (high ?? 0) & 255, (low ?? 0) >> 8, (low ?? 0) & 255].join('.')
}
