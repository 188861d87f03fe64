/**
 * Which DNS servers are asked, and whose AD bit is believed. The AD bit is one unprotected bit of a datagram: it is
 * worth what the path to its sender is worth (RFC 4035 §4.9.3, RFC 7672 §2.1.1). Refuses names and anything else that
 * is not an address: a server found by an insecure lookup is no trusted server.
 */
import { isIP } from 'node:net'

const DNS_PORT = 53

/**
 * Loopback addresses where no validator listens but a forwarder that hands on an upstream's AD bit: Docker's embedded
 * server and systemd-resolved's two stubs. They count only where the operator lists them.
 */
const FORWARDERS: readonly string[] = ['127.0.0.11', '127.0.0.53', '127.0.0.54']

export interface Server {
  readonly address: string
  readonly port: number
}

/** `loopback`: only over this machine's loopback; `listed`: the servers that the operator named; `never`: no server. */
export type TrustAd = 'loopback' | 'listed' | 'never'

export interface TrustedServer extends Server {
  /** Whether this server's AD bit is believed. */
  readonly trusted: boolean
}

/**
 * @param spec `ip`, `ip:port` or `[ip6]:port`
 * @throws Error with a sentence that quotes the spec and says what is allowed
 */
export function parseServer(spec: string): Server {
  const text = spec.trim()
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text)
  const dotted = /^([\d.]+)(?::(\d{1,5}))?$/.exec(text)
  const address = bracketed?.[1] ?? dotted?.[1] ?? text
  const port = Number(bracketed?.[2] ?? dotted?.[2] ?? DNS_PORT)
  const family = isIP(address)
  if (family === 0 || (bracketed !== null && family !== 6) || port < 1 || port > 65535) {
    throw new Error(
      `"${spec}" is no DNS server: give an IP address, ip:port or [ip6]:port (1 to 65535), never a host name`,
    )
  }
  return { address: plainAddress(address), port }
}

/** `ip:port` or `[ip6]:port`. */
export function serverText({ address, port }: Server): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

/**
 * @param listed true where the operator named these servers, false where they are the system's
 */
export function withTrust(
  servers: readonly Server[],
  trustAd: TrustAd,
  listed: boolean,
): TrustedServer[] {
  return servers.map((server) => ({ ...server, trusted: isTrusted(server, trustAd, listed) }))
}

function isTrusted({ address }: Server, trustAd: TrustAd, listed: boolean): boolean {
  switch (trustAd) {
    case 'loopback':
      return isLoopback(address) && !FORWARDERS.includes(address)
    case 'listed':
      return listed
    case 'never':
      return false
  }
}

function isLoopback(address: string): boolean {
  return address === '::1' || (isIP(address) === 4 && address.startsWith('127.'))
}

/** One spelling for each address, so that ::1 and an IPv4 address in IPv6 clothes are known for what they are. */
function plainAddress(address: string): string {
  if (isIP(address) !== 6 || address.includes('%')) return address
  const shortest = new URL(`http://[${address}]/`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(shortest)
  if (mapped === null) return shortest
  const [high, low] = [parseInt(mapped[1] ?? '', 16), parseInt(mapped[2] ?? '', 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}
