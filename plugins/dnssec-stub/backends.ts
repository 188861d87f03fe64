/**
 * From settings to the backends that may be asked, each with its self-test; and what the self-tests of several servers come to
 * together.
 */
import { adResolver } from './ad'
import { bestOf, only, type Backend, type Choice, type ValidatingBackend } from './choice'
import { findGetdns, getdnsResolver, isReadable } from './getdns'
import type { SystemServers } from './resolv-conf'
import { selfTest, type SelfTestNames } from './self-test'
import { serverText, type TrustAd, type TrustedServer } from './servers'
import type { LineClock } from './time-limit'
import type { Health } from './types'

export interface BackendOptions {
  /**
   * `ad`: believe validating resolvers. `getdns`: validate here (optional package). `auto`: `ad` where every server is
   * trusted and validates, else `getdns` where installed, else nothing is ever secure and health() says so.
   */
  readonly backend: 'auto' | 'ad' | 'getdns'
  /** For getdns: a file with the root's DNSKEY or DS records; absent: the system's. */
  readonly trustAnchor?: string
  /** The folder of the getdns package, where `require` does not find it. */
  readonly getdnsModule?: string
}

/** What all backends have in common. */
export interface Settings extends Omit<SystemServers, 'servers'> {
  readonly servers: readonly TrustedServer[]
  readonly trustAd: TrustAd
  readonly timeoutMs: number
  readonly deadlineMs: number
  readonly concurrency: number
  readonly names: SelfTestNames
  readonly now: () => number
  readonly randomId: () => number
  /** Told of the line. */
  readonly clock: LineClock
  /** Told when a server's word on security is worth more or less than before. */
  readonly onTurn: () => void
}

/**
 * @throws Error with a sentence for the operator when the trust anchor file cannot be read, or when `backend` is `getdns` and
 *   that package is not installed
 */
export function choose(options: BackendOptions, settings: Settings): Choice {
  const { servers } = settings
  if (options.backend === 'ad') return only(adBackend(settings))
  const validating = getdnsBackend(options, settings)
  if (options.backend === 'getdns') {
    if (validating !== undefined) return only(validating)
    throw new Error(
      'backend getdns needs the npm package getdns and the library libgetdns; the package is not installed',
    )
  }
  const isAllTrusted = servers.every(({ trusted }) => trusted)
  const unbelieved = servers.map((server) => ({ ...server, trusted: false }))
  return bestOf({
    ...(isAllTrusted ? { trusting: adBackend(settings) } : {}),
    ...(validating === undefined ? {} : { validating }),
    blind: adBackend({ ...settings, servers: unbelieved }),
  })
}

function adBackend(settings: Settings): Backend {
  const resolver = adResolver(settings)
  return {
    name: 'ad',
    resolver,
    test: async () => together(await resolver.test(), settings),
    confirm: () => resolver.confirm(),
  }
}

function getdnsBackend(
  { trustAnchor, getdnsModule }: BackendOptions,
  settings: Settings,
): ValidatingBackend | undefined {
  const modulePath = findGetdns(getdnsModule)
  if (modulePath === undefined) return undefined
  if (trustAnchor !== undefined && !isReadable(trustAnchor)) {
    throw new Error(`the trust anchor file "${trustAnchor}" cannot be read`)
  }
  const resolver = getdnsResolver({
    ...settings,
    modulePath,
    ...(trustAnchor === undefined ? {} : { trustAnchor }),
  })
  return {
    name: 'getdns',
    resolver,
    test: () => selfTest(resolver, settings.names),
    usable: () => resolver.usable(),
  }
}

/** Each server by itself: one blind server among validating ones would do its harm on a day when the others are down. */
function together(found: readonly Health[], settings: Settings): Health {
  const isDeaf = found.every(({ state }) => state === 'unreachable')
  if (!isDeaf && !settings.servers.some(({ trusted }) => trusted)) {
    const detail = `no server on a trusted path: ${serversText(settings)}`
    return { state: 'blind', cause: 'untrusted', detail }
  }
  const [worst] = (['blind', 'validating', 'unreachable'] as const).flatMap((state) =>
    found.filter((one) => one.state === state),
  )
  const detail = found.map((one) => one.detail).join('; ')
  return worst === undefined
    ? { state: 'unreachable', detail: 'no server to ask' }
    : { ...worst, detail }
}

/** Each server, and whether its word on security is believed. */
export function serversText({ servers, trustAd }: Settings): string {
  const list = servers.map(
    (server) => `${serverText(server)} ${server.trusted ? 'trusted' : 'not trusted'}`,
  )
  return `${list.join(', ')} (trust_ad=${trustAd})`
}
