/**
 * Other roads for outgoing mail than Haraka's own delivery, which is the one that policies are enforced on: a plugin that
 * answers OK on `queue_outbound` has taken the mail, and nothing of ours ever sees it. Pure.
 */

/** What Haraka has in `registered_hooks`. */
export interface Hook {
  readonly plugin: string
  readonly method: string
}

export interface OtherRoad {
  readonly plugin: string
  /** Known to take all mail, or one of which nothing is known. */
  readonly takes: 'all' | 'maybe'
  readonly text: string
  readonly cure: string
}

/** Each has a switch, in its file's [main], and is the road of all relayed mail while it is on. */
export const TAKERS = {
  'queue/smtp_forward': { file: 'smtp_forward.ini', onByDefault: false },
  'queue/smtp_proxy': { file: 'smtp_proxy.ini', onByDefault: true },
  'queue/qmail-queue': { file: 'qmail-queue.ini', onByDefault: true },
} as const

export type Taker = keyof typeof TAKERS

export function isTaker(plugin: string): plugin is Taker {
  return Object.hasOwn(TAKERS, plugin)
}

/**
 * They look at outgoing mail, sign it, refuse it, put it aside where another plugin has marked it, or hand it to the very
 * delivery that we guard.
 */
const HARMLESS: readonly string[] = [
  'tls-policy',
  'dkim',
  'dkim_sign',
  'karma',
  'queue/deliver',
  'queue/discard',
  'queue/quarantine',
]

/** As Haraka calls a plugin, whatever config/plugins calls it. */
export function pluginName(listed: string): string {
  return listed.replace(/^haraka-plugin-/, '')
}

/** @param hooks Those on `queue_outbound`, of all plugins. */
export function otherRoads(hooks: readonly Hook[]): readonly OtherRoad[] {
  const plugins = new Map(hooks.map((hook) => [hook.plugin, hook]))
  return [...plugins.keys()].filter((plugin) => !HARMLESS.includes(plugin)).map(otherRoad)
}

function otherRoad(plugin: string): OtherRoad {
  if (!isTaker(plugin)) {
    return {
      plugin,
      takes: 'maybe',
      text:
        `the plugin ${plugin} has a hook on queue_outbound: outgoing mail that it answers OK for does not ` +
        'take the road that tls-policy guards, and no policy is enforced on it',
      cure: 'See what it does with that mail; where it only looks at it, nothing is to be done.',
    }
  }
  return {
    plugin,
    takes: 'all',
    text: `the plugin ${plugin} takes the outgoing mail away, and no policy is enforced on it`,
    cure: `Set enable_outbound=false under [main] in ${TAKERS[plugin].file}, and restart Haraka.`,
  }
}

/** Of these it is known that no client may relay because of them, and that they send nothing themselves. */
const LETS_NOBODY_RELAY: readonly string[] = [
  ...['tls-policy', 'block_me', 'data.signatures', 'delay_deny', 'prevent_credential_leaks'],
  ...['process_title', 'profile', 'rcpt_to.host_list_base', 'rcpt_to.in_host_list'],
  ...['record_envelope_addresses', 'reseed_rng', 'status', 'tarpit', 'tls', 'toobusy'],
  ...['queue/discard', 'queue/qmail-queue', 'queue/quarantine', 'queue/smtp_forward'],
  ...['queue/smtp_proxy', 'queue/test', 'access', 'asn', 'attachment', 'avg', 'bounce', 'clamd'],
  ...['dcc', 'dkim', 'dns-list', 'early_talker', 'elasticsearch', 'esets', 'fcrdns', 'geoip'],
  ...['graph', 'greylist', 'headers', 'helo.checks', 'karma', 'known-senders', 'limit'],
  ...['mail_from.is_resolvable', 'messagesniffer', 'p0f', 'rcpt-ldap', 'redis', 'rspamd'],
  ...['spamassassin', 'spf', 'syslog', 'uribl', 'watch'],
]

/** Said only where every plugin is known: one of the operator's own may well let clients relay. */
export function relaysNothing(plugins: readonly string[]): boolean {
  return plugins.every((plugin) => LETS_NOBODY_RELAY.includes(pluginName(plugin)))
}

export const NOTHING_RELAYS = {
  text: 'no plugin here lets a client relay, so Haraka sends no mail out and there is nothing to guard',
  cure: 'To send mail, add relay, or one of the auth/ plugins, to config/plugins (haraka -h relay).',
} as const
