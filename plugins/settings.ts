/**
 * How Haraka's files are understood, for the plugin, to which Haraka reads them, and for the command, which reads them itself.
 * Pure.
 */
import { dirname, join } from 'node:path'
import { readConfig } from './config'
import type { Config, ConfigResult, IniFile, LineOf } from './config'
import { destinationName, readDestinationLine } from './destinations'
import { parseServer } from './dnssec-stub'
import { readLines } from './ini'
import type { IniLine } from './ini'
import { findLineMistakes } from './ini-mistakes'
import { findMergedMistakes, type RedisSettings } from './store/redis/settings'
import { errorText } from './x509/trouble'

/**
 * @param ini tls-policy.ini, the operator's over the shipped one, as Haraka has it
 * @param own the operator's file as it stands there: Haraka passes lines over, in silence, that say something to their writer
 */
export function readTlsPolicyIni(ini: IniFile, own: string): ConfigResult {
  const lines = ownLines(own)
  return readConfig(withLines(ini, lines), serverProblem, {
    lineOf: lineIn(lines),
    mistakes: findLineMistakes(lines),
  })
}

function ownLines(text: string): readonly IniLine[] {
  return readLines(text).map(asDestination)
}

/** `*.parent` and names in other letters than ASCII's are destinations to us. */
function asDestination(line: IniLine): IniLine {
  if (line.kind !== 'passed-over' || line.section !== 'destinations') return line
  const destination = line.why === 'not-understood' ? readDestinationLine(line.text) : undefined
  const { at, section, text } = line
  return destination ? { kind: 'setting', at, section, text, ...destination, inList: false } : line
}

/** Not even a comment: a file that is just being written, or for which the disk had no room. */
export function isEmpty(text: string): boolean {
  return text.replace('\ufeff', '').trim() === ''
}

/** Why Haraka does not start with such a file. */
export const EMPTY =
  'tls-policy.ini is there and empty, as a file is that could not be written: put its settings back. To have all defaults, ' +
  'write the one line [main] into it, or remove it'

/** An empty file, or comments alone. */
export function saysNothing(text: string): boolean {
  return readLines(text).length === 0
}

const MOST_NAMED = 20

/** @returns the settings of one file that another has not, for people; empty where there are none */
export function settingsGone(before: string, after: string): string {
  const left = new Set(ownLines(after).map(identity))
  const gone = ownLines(before).filter(
    (line): line is SettingLine => line.kind === 'setting' && !left.has(identity(line)),
  )
  const named = gone.slice(0, MOST_NAMED).map(inWords)
  const more = gone.length > MOST_NAMED ? [`and ${gone.length - MOST_NAMED} more`] : []
  return [...named, ...more].join(', ')
}

type SettingLine = IniLine & { readonly kind: 'setting' }

function identity(line: IniLine): string {
  if (line.kind !== 'setting') return `[${line.section}]`
  const { section, key } = line
  return `${section}.${section === 'destinations' ? (destinationName(key) ?? key) : key}`
}

/** [redis] has passwords, and a log is no place for them. */
function inWords({ section, key, value }: SettingLine): string {
  return section === 'redis' ? `${section}.${key}` : `${section}.${key}=${value ?? ''}`
}

const ONLY_OURS = /[^\x20-\x7e]|\*/

/** With the destinations that only we understand, and without settings that have no value: each of those is a mistake, told by its line. */
function withLines(ini: IniFile, lines: readonly IniLine[]): IniFile {
  const sections = Object.create(null) as Record<string, Record<string, unknown>>
  for (const [name, section] of Object.entries(ini)) {
    sections[name] = { ...(section as Record<string, unknown>) }
  }
  for (const line of lines) {
    if (line.kind !== 'setting') continue
    const section = (sections[line.section] ??= {})
    if (line.value === undefined || line.key.startsWith('[')) delete section[line.key]
    else if (line.section === 'destinations') {
      const value = ONLY_OURS.test(line.key) ? line.value : section[line.key]
      // In the order of the file.
      delete section[line.key]
      if (value !== undefined) section[line.key] = value
    }
  }
  return sections
}

function lineIn(lines: readonly IniLine[]): LineOf {
  return (section, key) => {
    const isMeant = (line: IniLine) =>
      key === undefined ? line.kind === 'section' : line.kind === 'setting' && line.key === key
    // As in Haraka, the last one counts.
    return lines.findLast((line) => line.section === section && isMeant(line))?.at
  }
}
function serverProblem(text: string): string | undefined {
  try {
    parseServer(text)
    return undefined
  } catch (err: unknown) {
    return errorText(err)
  }
}

/** Settings that are right by themselves, and have no effect beside others: one sentence for each. */
export function withoutEffect({
  dns,
  dane,
  mtaSts,
  store,
  redis,
  tlsrpt,
  destinations,
}: Config): readonly string[] {
  const idle = (is: boolean, sentence: string) => (is ? [sentence] : [])
  const ruled = (wanted: string, enabled: boolean, why: string) =>
    [...destinations].flatMap(([name, { rule }]) =>
      idle(rule === wanted && !enabled, `destinations.${name}=${rule} has no effect: ${why}`),
    )
  const { backend } = store
  return [
    ...idle(
      Object.values(redis).some((value) => value !== '') && backend !== 'redis',
      `[redis] has no effect: [store] says backend=${backend}`,
    ),
    ...idle(
      store.path !== undefined && backend === 'memory',
      'store.path has no effect: [store] says backend=memory',
    ),
    ...idle(
      dns.trustAnchor !== undefined && dns.backend === 'ad',
      'dns.trust_anchor has no effect: [dns] says backend=ad',
    ),
    ...idle(
      tlsrpt.from === undefined &&
        (tlsrpt.organization !== undefined || tlsrpt.bcc !== undefined || tlsrpt.never.length > 0),
      '[tlsrpt] has no effect: it says no from=',
    ),
    ...ruled('dane', dane.enabled, '[dane] says enabled=false'),
    ...ruled('sts', mtaSts.enabled, '[mta_sts] says enabled=false'),
  ]
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

/** Mistakes in redis.ini, and between it and [redis], where Redis is used; one line for each. */
export function redisMistakes(
  { store, redis }: Config,
  redisIni: RedisSettings,
): readonly string[] {
  const mistakes: string[] = []
  if (store.backend !== 'redis') return mistakes
  findMergedMistakes(redis, redisIni, (file, key, value, allowed) => {
    const section = file === 'redis.ini' ? 'server' : 'redis'
    mistakes.push(`${file}: ${section}.${key}=${value}: ${allowed} is allowed here`)
  })
  return mistakes
}

/** Where the LMDB file is kept unless the settings say otherwise: beside Haraka's queue. */
export function storeFolderBeside(queueFolder: string): string {
  return join(dirname(queueFolder), 'tls-policy')
}
