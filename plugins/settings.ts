/**
 * How Haraka's files are understood, for the plugin, to which Haraka reads them, and for the command, which reads them itself.
 * Pure.
 */
import { dirname, join } from 'node:path'
import { readConfig } from './config'
import type { ConfigResult, IniFile } from './config'
import { parseServer } from './dnssec-stub'

/** tls-policy.ini, the operator's over the shipped one. */
export function readTlsPolicyIni(ini: IniFile): ConfigResult {
  return readConfig(ini, serverProblem)
}

function serverProblem(text: string): string | undefined {
  try {
    parseServer(text)
    return undefined
  } catch (err: unknown) {
    return err instanceof Error ? err.message : String(err)
  }
}

/** Redis as all of Haraka's plugins have it: redis.ini, [server], with what [opts] adds. */
export function redisServer(
  ini: Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>,
): Record<string, string | number | boolean> {
  const settings: Record<string, string | number | boolean> = {}
  for (const [key, value] of Object.entries({ ...ini['opts'], ...ini['server'] })) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      settings[key] = value
    }
  }
  return settings
}

/** Where the LMDB file is kept unless the settings say otherwise: beside Haraka's queue. */
export function storeFolderBeside(queueFolder: string): string {
  return join(dirname(queueFolder), 'tls-policy')
}
