/** The sentences with which a running Haraka says of itself, in its log, which mode is on, where policies are kept, and whether DANE is on. */
import type { Config } from './config'
import type { Health } from './dnssec-stub'
import type { HarakaPlugin } from './haraka/types'
import { resolverWords } from './resolver-words'
import type { Logger, Store } from './store'

/**
 * To be called once the store is open.
 * @param folder of the store's file
 */
export function tellStart(
  log: Pick<Logger, 'notice'>,
  { mode, store }: Config,
  open: Store,
  folder: string,
): void {
  const inMemory = open.troubles().some(({ kind }) => kind === 'file-closed')
  const kept = {
    lmdb: inMemory
      ? 'in the memory of each worker only, as the file cannot be used'
      : `in a file shared by this machine's workers (${folder})`,
    redis: `in Redis, with a copy ${inMemory ? 'in the memory of each worker' : 'on this machine'}`,
    memory: 'in the memory of each worker only, and lost at the end',
  }[store.backend]
  const does = {
    enforce: "mode enforce: mail goes out as the receivers' policies demand, or waits",
    observe:
      'mode OBSERVE: mail goes out as without the plugin; the log says what enforce would do',
  }[mode]
  log.notice(`${does}; MTA-STS policies are kept ${kept}`)
}

/** What is not offered, and what is let go, though the operator may not expect it. */
export function tellRequireTls(
  log: Pick<Logger, 'info' | 'notice'>,
  { requiretls, tlsRequired }: Config,
  obstacle: string | undefined,
): void {
  if (requiretls.offer !== 'no' && obstacle !== undefined) {
    log.notice(`REQUIRETLS is not offered to clients: ${obstacle}`)
  }
  if (tlsRequired.honour) {
    log.info(
      'messages that say "TLS-Required: No" go also where no policy is met (tls_required.honour=no insists)',
    )
  }
}

/** Whether DANE is on, and if not, what that means and how to get it. */
export function tellHealth(log: Pick<Logger, 'notice' | 'warn'>, health: Health): void {
  const { says, cure } = resolverWords(health)
  if (cure === undefined) log.notice(says)
  else log.warn(`${says}. Do: ${cure}`)
}

/** Haraka's log, with the plugin's name before each line. */
export function loggerOf(plugin: HarakaPlugin): Logger {
  return {
    info: (text) => {
      plugin.loginfo(plugin, text)
    },
    notice: (text) => {
      plugin.lognotice(plugin, text)
    },
    warn: (text) => {
      plugin.logwarn(plugin, text)
    },
    error: (text) => {
      plugin.logerror(plugin, text)
    },
  }
}
