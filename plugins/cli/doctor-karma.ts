/**
 * The karma plugin makes a success of what other plugins refuse, unless its settings name the plugin or the hook. Of ours it so meets
 * refusals of REQUIRETLS (haraka/inbound.ts): the client hears a 250 where it should hear that it asked in vain.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pluginName } from '../haraka/roads'
import { parseIni } from '../ini'
import type { Finding } from './doctor'
import type { Settings } from './settings'

/** As karma.ini is shipped; a list in the operator's own file stands in its place, unless it is empty. */
const SHIPPED = {
  plugins:
    'access, attachment, clamd, headers, helo.checks, limit, rspamd, spamassassin, send_email, tls',
  hooks: 'rcpt, queue, queue_outbound',
} as const

/** Hooks on which REQUIRETLS is refused, in the order of a session. */
const OURS = ['mail', 'rcpt', 'queue', 'queue_outbound'] as const

export function karmaFindings({
  plugins,
  folder,
}: Pick<Settings, 'plugins' | 'folder'>): readonly Finding[] {
  if (!plugins.some((name) => pluginName(name) === 'karma')) return []
  const excludes = parseIni(readKarmaIni(folder))['deny_excludes'] ?? {}
  const list = (key: keyof typeof SHIPPED) => words(excludes[key] || SHIPPED[key])
  if (list('plugins').includes('tls-policy')) return []
  const captured = OURS.filter((hook) => !list('hooks').includes(hook))
  if (captured.length === 0) return []
  // Without the last refusal a plugin may take the message.
  const isLost = captured.some((hook) => hook.startsWith('queue'))
  return [
    {
      check: 'plugins',
      level: isLost ? 'problem' : 'note',
      text:
        `the plugin karma makes a success of what tls-policy refuses on ${captured.join(', ')}: a client that asks for ` +
        `REQUIRETLS in vain hears 250 ${isLost ? 'and no refusal at all' : 'first, and the refusal only behind the message'}`,
      cure:
        `Add tls-policy to the list under [deny_excludes] in karma.ini, and restart Haraka: ` +
        `plugins=${[...list('plugins'), 'tls-policy'].join(', ')}`,
    },
  ]
}

/** As karma reads a list. */
function words(value: unknown): readonly string[] {
  return (typeof value === 'string' ? value : '').split(/[\s,;]+/).filter((word) => word !== '')
}

function readKarmaIni(folder: string): string {
  try {
    return readFileSync(join(folder, 'config', 'karma.ini'), 'utf8')
  } catch {
    return ''
  }
}
