/**
 * The places at which Haraka's outbound code lets itself be led: who are the MX hosts, must this one have TLS, open the connection,
 * the attempt has failed; and, before all that, a message is queued, a notification is written. They are methods of long
 * standing, but no promised interface; so every one is looked at
 * before it is touched, and where Haraka is not as known the plugin does not load: a relay that does not start is seen at
 * once, one that silently protects nothing is not.
 */
import type {
  ClientPool,
  GetClient,
  GetClientCallback,
  HarakaMx,
  HarakaMxClass,
  HarakaTransaction,
  HMailItem,
  OutboundQueue,
} from './types'

/** What is put in Haraka's place. Each gets Haraka's own method as `original`. */
export interface SeamHandlers {
  getMxRespond(
    hmail: HMailItem,
    retval: number,
    mx: unknown,
    original: (retval: number, mx: unknown) => unknown,
  ): unknown
  getForceTls(hmail: HMailItem, mx: HarakaMx, original: () => boolean): boolean
  getClient(mx: HarakaMx, callback: GetClientCallback, original: GetClient): void
  tempFail(
    hmail: HMailItem,
    err: unknown,
    extra: unknown,
    original: (err: unknown, extra: unknown) => unknown,
  ): unknown
}

/** Told of messages on their way into the queue; Haraka goes on by itself. */
export interface QueueHandlers {
  /** @param bounced the message of which this one is the notification */
  queued(transaction: HarakaTransaction, bounced: HMailItem | undefined): void
  /** A message goes back: before its notification is written. */
  bouncing(hmail: HMailItem): void
  /** @param lines of the notification, line ends included; may be changed */
  notified(hmail: HMailItem, lines: string[]): void
}

export interface Seam {
  readonly HarakaMx: HarakaMxClass
  readonly version: string
  /** Puts the handlers in place, for as long as the process lives: mail can move until its last moment. */
  install(handlers: SeamHandlers & QueueHandlers): void
}

/** The oldest Haraka that was tried, and the first that was not. */
const OLDEST = [3, 1, 6] as const
const NEXT_MAJOR = 4

/** What the text of Haraka's methods must show for our methods to be the ones that are called. */
const EXPECTED_CALLS: Readonly<Record<string, readonly RegExp[]>> = {
  get_mx: [/run_hooks\('get_mx', this/],
  get_mx_respond: [/this\.found_mx\(/],
  found_mx: [/this\.mxlist\s*=/, /this\.try_deliver\(/],
  try_deliver: [
    /this\.temp_fail\('Tried all MXs'\)/,
    /this\.force_tls\s*=\s*this\.get_force_tls\(mx\)/,
    /client_pool\.get_client\(mx,/,
    /this\.try_deliver_host_on_socket\(mx,/,
    // In this order: the first marks the entry that the second is asked for.
    /get_force_tls\(mx\)[\s\S]*client_pool\.get_client\(mx,/,
  ],
  try_deliver_host_on_socket: [
    /socket\.once\('secure'/,
    /socket\.upgrade\(/,
    /self\.force_tls/,
    /socket\.isSecure\(\)/,
  ],
  bounce_respond: [/this\.populate_bounce_message\(/, /outbound\.send_email\(/],
  temp_fail: [/this\.num_failures/, /this\.cfg|obc\.cfg/, /run_hooks\('deferred'/],
}

const INSTALLED = Symbol.for('haraka-plugin-tls-policy.seam')

type Method = (this: HMailItem, ...args: never[]) => unknown

/**
 * Looks at the running Haraka.
 * @param harakaRequire The plugin's `haraka_require`.
 * @throws Error with a sentence for the operator, where Haraka is not as known.
 */
export function findSeam(harakaRequire: (module: string) => unknown): Seam {
  const version = readVersion(harakaRequire('package.json'))
  const unknown = (what: string) =>
    new Error(
      `tls-policy does not know this Haraka (${version}): ${what}. It was not loaded, because it could not keep its promises. ` +
        `Known are ${OLDEST.join('.')} and later 3.x versions.`,
    )
  if (!isSupported(version)) throw unknown('the version is not supported')

  const prototype = prototypeOf(harakaRequire('outbound/hmail'))
  if (!prototype) throw unknown('outbound/hmail is no class')
  // Ahead of the look at the methods, which are ours by then.
  if (INSTALLED in prototype) {
    throw new Error('tls-policy is loaded already: config/plugins may name it once only')
  }
  for (const [name, calls] of Object.entries(EXPECTED_CALLS)) {
    const method = prototype[name]
    if (typeof method !== 'function') throw unknown(`HMailItem has no method ${name}`)
    const text = String(method)
    const missing = calls.find((call) => !call.test(text))
    if (missing) throw unknown(`HMailItem.${name} does not contain ${missing.source}`)
  }
  for (const [name, length] of [
    ['get_mx_respond', 2],
    ['get_force_tls', 1],
    ['temp_fail', 2],
    ['populate_bounce_message', 4],
  ] as const) {
    if (lengthOf(prototype[name]) !== length) throw unknown(`HMailItem.${name} is not as known`)
  }
  const clientPool = harakaRequire('outbound/client_pool')
  if (!isClientPool(clientPool)) throw unknown('outbound/client_pool.get_client is not as known')
  const outbound = harakaRequire('outbound')
  const HarakaMx = harakaMxOf(outbound)
  if (!HarakaMx) throw unknown('outbound.net_utils.HarakaMx is missing')
  if (!isOutboundQueue(outbound)) throw unknown('outbound.send_trans_email is not as known')

  return {
    HarakaMx,
    version,
    install: (handlers) => {
      install(prototype, clientPool, handlers)
      installQueue(prototype, outbound, handlers)
    },
  }
}

function install(
  prototype: Record<PropertyKey, unknown>,
  clientPool: ClientPool,
  handlers: SeamHandlers,
): void {
  const originals = {
    get_mx_respond: prototype['get_mx_respond'] as Method,
    get_force_tls: prototype['get_force_tls'] as Method,
    temp_fail: prototype['temp_fail'] as Method,
  }
  const call = (method: Method, hmail: HMailItem, ...args: unknown[]): unknown =>
    method.apply(hmail, args as never[])

  prototype['get_mx_respond'] = function (this: HMailItem, retval: number, mx: unknown) {
    return handlers.getMxRespond(this, retval, mx, (r, m) =>
      call(originals.get_mx_respond, this, r, m),
    )
  }
  prototype['get_force_tls'] = function (this: HMailItem, mx: HarakaMx) {
    return handlers.getForceTls(this, mx, () => call(originals.get_force_tls, this, mx) === true)
  }
  prototype['temp_fail'] = function (this: HMailItem, err: unknown, extra?: unknown) {
    return handlers.tempFail(this, err, extra, (e, x) => call(originals.temp_fail, this, e, x))
  }
  const originalGetClient = clientPool.get_client
  clientPool.get_client = (mx, callback) => {
    handlers.getClient(mx, callback, (m, cb) => originalGetClient.call(clientPool, m, cb))
  }
  Object.defineProperty(prototype, INSTALLED, { value: true })
}

/**
 * Haraka composes a notification and queues it in one breath, in the callback of populate_bounce_message; nothing else tells of
 * which message it is.
 */
function installQueue(
  prototype: Record<PropertyKey, unknown>,
  outbound: OutboundQueue,
  handlers: QueueHandlers,
): void {
  let bounced: HMailItem | undefined
  const populate = prototype['populate_bounce_message'] as Method
  const composing = (hmail: HMailItem, callback: Composed): Composed => {
    handlers.bouncing(hmail)
    return (err, lines) => {
      bounced = hmail
      try {
        if (lines) handlers.notified(hmail, lines)
        return callback(err, lines)
      } finally {
        bounced = undefined
      }
    }
  }
  prototype['populate_bounce_message'] = function (
    this: HMailItem,
    from: unknown,
    to: unknown,
    reason: unknown,
    callback: Composed,
  ) {
    return populate.apply(this, [from, to, reason, composing(this, callback)] as never[])
  }
  const sendTransEmail = outbound.send_trans_email.bind(outbound)
  outbound.send_trans_email = (transaction, next) => {
    handlers.queued(transaction, bounced)
    return sendTransEmail(transaction, next)
  }
}

type Composed = (err: unknown, lines?: string[]) => unknown

function readVersion(packageJson: unknown): string {
  if (typeof packageJson === 'object' && packageJson !== null && 'version' in packageJson) {
    return String(packageJson.version)
  }
  return 'unknown version'
}

function isSupported(version: string): boolean {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version)
  if (!match) return false
  const [major = 0, minor = 0, patch = 0] = match.slice(1).map(Number)
  if (major !== OLDEST[0]) return major > OLDEST[0] && major < NEXT_MAJOR
  if (minor !== OLDEST[1]) return minor > OLDEST[1]
  return patch >= OLDEST[2]
}

function prototypeOf(value: unknown): Record<PropertyKey, unknown> | undefined {
  if (typeof value !== 'function') return undefined
  const prototype: unknown = value.prototype
  return typeof prototype === 'object' && prototype !== null
    ? (prototype as Record<PropertyKey, unknown>)
    : undefined
}

function lengthOf(value: unknown): number {
  return typeof value === 'function' ? value.length : -1
}

function isClientPool(value: unknown): value is ClientPool {
  return (
    typeof value === 'object' &&
    value !== null &&
    'get_client' in value &&
    lengthOf(value.get_client) === 2
  )
}

function isOutboundQueue(value: unknown): value is OutboundQueue {
  return (
    typeof value === 'object' &&
    value !== null &&
    'send_trans_email' in value &&
    lengthOf(value.send_trans_email) === 2
  )
}

function harakaMxOf(outbound: unknown): HarakaMxClass | undefined {
  if (typeof outbound !== 'object' || outbound === null || !('net_utils' in outbound))
    return undefined
  const { net_utils } = outbound
  if (typeof net_utils !== 'object' || net_utils === null || !('HarakaMx' in net_utils))
    return undefined
  const { HarakaMx } = net_utils
  return typeof HarakaMx === 'function' ? (HarakaMx as HarakaMxClass) : undefined
}
