/** The operator's DKIM keys, as Haraka's own dkim plugin reads them: kept by Haraka, and read anew when a file changes. */
import type { HarakaPlugin } from './types'

export interface DkimFiles {
  /** The text of a file below config/; empty where there is none. */
  readonly file: (name: string) => string
  /** dkim.ini's [sign]. */
  readonly sign: { readonly domain?: unknown; readonly selector?: unknown }
}

export function dkimFiles({ config }: Pick<HarakaPlugin, 'config'>): DkimFiles {
  return {
    file: (name) => {
      const lines = config.get(name, 'data')
      return Array.isArray(lines) ? lines.join('\n') : ''
    },
    get sign() {
      const { sign } = config.get('dkim.ini') as { readonly sign?: DkimFiles['sign'] }
      return sign ?? {}
    },
  }
}
