/**
 * Which name and addresses are this server's own: config/me and what the DNS says of it, public_ip, the interfaces. Looked up
 * once a minute, one promise for all who ask, and bounded. Only the first to ask wait for it; later a new look is taken while
 * what is known serves. Never rejects: what cannot be found out proves no loop, and Haraka looks itself before it connects.
 */
import type { Resolver } from '../dnssec-stub/types'
import { thisServer } from './this-server'
import type { ThisServer } from './this-server'

export interface SelfOptions {
  /** outbound.ini local_mx_ok: mail to this machine itself is meant. */
  readonly localMxOk: () => boolean
  /** config/me. */
  readonly name: () => string
  /** smtp.ini public_ip, or what a STUN server says. */
  readonly publicIp: () => Promise<string | undefined>
  /** Addresses of the interfaces. */
  readonly interfaces: () => readonly string[]
  readonly resolver: Resolver
  /** For the look-up of the name, milliseconds. */
  readonly deadlineMs: () => number
  /** Milliseconds of a clock that never steps. */
  readonly now: () => number
}

/** @returns undefined where local_mx_ok says that nothing counts as this server */
export type Self = () => Promise<ThisServer | undefined>

const MINUTE = 60_000
/** A STUN server is far away and perhaps behind a firewall; what it says is there at the next look. */
const PUBLIC_IP_MS = 1000

export function createSelf(options: SelfOptions): Self {
  const { localMxOk, now } = options
  let known: Promise<ThisServer> | undefined
  let since = Number.NEGATIVE_INFINITY

  return async () => {
    if (localMxOk()) return undefined
    if (known === undefined) {
      since = now()
      known = look(options)
    } else if (now() - since >= MINUTE) {
      since = now()
      const fresh = look(options)
      fresh.then(
        () => (known = fresh),
        // What was known still serves.
        () => undefined,
      )
    }
    return known
  }
}

async function look(options: SelfOptions): Promise<ThisServer> {
  const name = withoutFailure(options.name, '')
  const [named, publicIp] = await Promise.all([
    addressesOf(name, options),
    within(PUBLIC_IP_MS, options.publicIp),
  ])
  const bound = withoutFailure(options.interfaces, [])
  return thisServer(name, publicIp === undefined ? named : [...named, publicIp], bound)
}

async function addressesOf(
  name: string,
  { resolver, deadlineMs }: SelfOptions,
): Promise<readonly string[]> {
  const options = { signal: AbortSignal.timeout(deadlineMs()) }
  const outcomes = await Promise.all([
    resolver.resolve(name, 'AAAA', options),
    resolver.resolve(name, 'A', options),
  ])
  return outcomes.flatMap((outcome) => (outcome.kind === 'answer' ? outcome.records : []))
}

function within<T>(milliseconds: number, ask: () => Promise<T>): Promise<T | undefined> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds, undefined)
    Promise.resolve()
      .then(ask)
      .then(resolve, () => resolve(undefined))
      .finally(() => clearTimeout(timer))
  })
}

function withoutFailure<T>(ask: () => T, otherwise: T): T {
  try {
    return ask()
  } catch {
    return otherwise
  }
}
