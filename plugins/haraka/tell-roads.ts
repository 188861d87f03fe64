/** Says at start what of the outgoing mail the plugin never sees. */
import { NOTHING_RELAYS, otherRoads, relaysNothing } from './roads'
import type { Hook } from './roads'
import type { HarakaPlugin } from './types'

/** Haraka's `plugins`; complete when the first of the init hooks runs. */
interface PluginsModule {
  readonly registered_hooks: Readonly<Record<string, readonly Hook[] | undefined>>
  readonly registered_plugins: Readonly<Record<string, unknown>>
}

export function tellRoads(plugin: HarakaPlugin): void {
  const plugins = plugin.haraka_require('plugins') as PluginsModule
  for (const { text, cure } of otherRoads(plugins.registered_hooks['queue_outbound'] ?? [])) {
    plugin.logwarn(plugin, `${text}. ${cure}`)
  }
  if (relaysNothing(Object.keys(plugins.registered_plugins))) {
    plugin.lognotice(plugin, `${NOTHING_RELAYS.text}. ${NOTHING_RELAYS.cure}`)
  }
}
