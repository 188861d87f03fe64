/**
 * tls-policy.ini for a running Haraka: loaded whole at its start, or Haraka does not come up; later changed whole, or not at
 * all. A file that was emptied, cut off or taken away changes nothing, and no worker begins with less than the others have.
 */
import cluster from 'node:cluster'
import type { Config, IniFile } from './config'
import { endedDestinations } from './destinations'
import type { OutboundModule } from './haraka/host'
import type { ContextSettings } from './haraka/tls-context'
import type { HarakaPlugin } from './haraka/types'
import { NO_FILE, readOwnFile } from './own-file'
import type { OwnFile } from './own-file'
import {
  EMPTY,
  isEmpty,
  readTlsPolicyIni,
  redisMistakes,
  redisServer,
  saysNothing,
  settingsGone,
  withoutEffect,
} from './settings'
import { readCaFile, readRedisCa } from './wiring'
import { errorText } from './x509/trouble'

export interface Loaded {
  readonly config: Config
  /** PEM roots for Redis; undefined: Node's. */
  readonly redisCa: string | undefined
  readonly contextSettings: ContextSettings
  readonly own: OwnFile
}

/**
 * @param onChange Haraka calls this when the file has changed.
 * @throws Error with one line for each mistake: Haraka does not start with half an idea of what to protect.
 */
export function load(plugin: HarakaPlugin, outbound: OutboundModule, onChange: () => void): Loaded {
  const ini = harakasReading(plugin, onChange)
  try {
    const own = ownFile(plugin)
    if (own.isThere && isEmpty(own.text)) throw new Error(EMPTY)
    if (masterHasSettings() && saysNothing(own.text)) throw new Error(emptied(own, 'all of them'))
    if (own.isThere && saysNothing(own.text)) {
      plugin.logwarn(plugin, 'tls-policy.ini has no setting in it: each is at its default')
    }
    const loaded = understand(plugin, outbound, ini, own)
    tellWorkers(own)
    return loaded
  } catch (err: unknown) {
    const mistakes = errorText(err)
    for (const mistake of mistakes.split('\n')) plugin.logcrit(plugin, mistake)
    throw new Error(`tls-policy was not loaded:\n${mistakes}`, { cause: err })
  }
}

/**
 * Haraka calls this when a file changed; a file with mistakes changes nothing.
 * @param onChange Goes in again: Haraka calls what the latest reading of a file has named.
 */
export function reload(
  plugin: HarakaPlugin,
  outbound: OutboundModule,
  before: Loaded,
  onChange: () => void,
): Loaded {
  const ini = harakasReading(plugin, onChange)
  try {
    const own = ownFile(plugin)
    const gone = settingsGone(before.own.text, own.text)
    if (gone !== '' && saysNothing(own.text)) throw new Error(emptied(own, gone))
    const after = understand(plugin, outbound, ini, own)
    tellWorkers(own)
    const lost = gone === '' ? '' : `; no longer set: ${gone}`
    if (speaksForAll()) plugin.lognotice(plugin, `the settings were loaded anew${lost}`)
    return after
  } catch (err: unknown) {
    const why = errorText(err).replaceAll('\n', '; ')
    plugin.logerror(plugin, `the settings stay as they were: ${why}`)
    return before
  }
}

/** In a worker's environment: its master runs with settings out of the operator's file. */
const HAS_SETTINGS = 'HARAKA_TLS_POLICY_HAS_SETTINGS'

/** Workers are started at any time, in the place of one that died: each gets its master's environment as it is then. */
function tellWorkers({ text }: OwnFile): void {
  if (cluster.isWorker) return
  if (saysNothing(text)) delete process.env[HAS_SETTINGS]
  else process.env[HAS_SETTINGS] = 'true'
}

function masterHasSettings(): boolean {
  return cluster.isWorker && process.env[HAS_SETTINGS] !== undefined
}

/** A disk that is full, or a copy in two steps, leaves an empty file behind; to take all back is a decision. */
function emptied({ isThere }: OwnFile, gone: string): string {
  return (
    `tls-policy.ini ${isThere ? 'has no setting in it any more' : 'is not there any more'}, and ` +
    `these would be gone: ${gone}. To have all defaults again, write the one line [main] into it`
  )
}

/** The master and each worker read the same file; a mistake each of them tells, as it may be one that only some meet. */
function speaksForAll(): boolean {
  return !cluster.isWorker
}

/** @throws Error with one line for each mistake */
function understand(
  plugin: HarakaPlugin,
  outbound: OutboundModule,
  ini: IniFile,
  own: OwnFile,
): Loaded {
  const result = readTlsPolicyIni(ini, own.text)
  if (!result.ok) throw new Error(result.mistakes.join('\n'))
  const { config } = result
  const redisIni = readRedisIni(plugin)
  const inRedis = redisMistakes(config, redisIni)
  if (inRedis.length > 0) throw new Error(inRedis.join('\n'))
  const ca = readCaFile(config, harakaFolder())
  const redisCa = readRedisCa(config, redisIni, harakaFolder())
  for (const ended of speaksForAll() ? endedDestinations(config, new Date()) : []) {
    plugin.logwarn(plugin, `the exception ${ended} is over and has no effect any more`)
  }
  for (const sentence of withoutEffect(config)) plugin.logwarn(plugin, sentence)
  if (!outbound.cfg.enable_tls) {
    plugin.logwarn(
      plugin,
      'outbound.ini says enable_tls=false: mail to hosts that demand TLS will wait. Remove the line.',
    )
  }
  return { config, redisCa, contextSettings: { minVersion: config.tls.minVersion, ca }, own }
}

/** Redis as all of Haraka's plugins have it. */
export function readRedisIni({ config }: HarakaPlugin): ReturnType<typeof redisServer> {
  return redisServer(config.get('redis.ini') as Parameters<typeof redisServer>[0])
}

function harakasReading(plugin: HarakaPlugin, onChange: () => void): IniFile {
  return plugin.config.get('tls-policy.ini', {}, onChange) as IniFile
}

/** @throws Error where it cannot be read */
function ownFile({ config }: HarakaPlugin): OwnFile {
  const folder = config.overrides_path ?? config.root_path
  return folder === undefined ? NO_FILE : readOwnFile(folder)
}

function harakaFolder(): string {
  return process.env['HARAKA'] ?? process.cwd()
}
