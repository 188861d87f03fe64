/** Says at start what of the outgoing mail the plugin never sees. */
import { NOTHING_RELAYS, otherRoads, relaysNothing } from './roads'
import type { PluginsModule } from './host'
import type { HarakaPlugin } from './types'

export function tellRoads(plugin: HarakaPlugin, plugins: PluginsModule): void {
  for (const { text, cure } of otherRoads(plugins.registered_hooks['queue_outbound'] ?? [])) {
    plugin.logwarn(plugin, `${text}. ${cure}`)
  }
  if (relaysNothing(Object.keys(plugins.registered_plugins))) {
    plugin.lognotice(plugin, `${NOTHING_RELAYS.text}. ${NOTHING_RELAYS.cure}`)
  }
}
