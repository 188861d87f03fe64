/**
 * How Haraka's files are understood, for the plugin, to which Haraka reads them, and for the command, which reads them itself.
 * Pure.
 */
import { dirname, join } from 'node:path'
import { mistakeIn, readConfig } from './config'
import type { ConfigResult, IniFile, LineOf } from './config'
import { readDestinationLine } from './destinations'
import { parseServer } from './dnssec-stub'
import { readLines } from './ini'
import type { IniLine } from './ini'
import { findLineMistakes } from './ini-mistakes'

/**
 * @param ini tls-policy.ini, the operator's over the shipped one, as Haraka has it
 * @param own the operator's file as it stands there: Haraka passes lines over, in silence, that say something to their writer
 */
export function readTlsPolicyIni(ini: IniFile, own: string): ConfigResult {
  const lines = ownLines(own)
  const inLines = findLineMistakes(lines)
  const read = readConfig(withLines(ini, lines), serverProblem, lineIn(lines))
  const mistakes = [
    ...inLines.map(({ at, sentence }) => mistakeIn(at, sentence)),
    ...(read.ok ? [] : read.mistakes),
  ]
  return mistakes.length > 0 ? { ok: false, mistakes } : read
}

/** Lines that say something: sections and settings; comments say nothing. */
export function ownLines(text: string): readonly IniLine[] {
  return readLines(text).map(asDestination)
}

/** `*.parent` and names in other letters than ASCII's are destinations to us. */
function asDestination(line: IniLine): IniLine {
  if (line.kind !== 'passed-over' || line.section !== 'destinations') return line
  const destination = line.why === 'not-understood' ? readDestinationLine(line.text) : undefined
  const { at, section, text } = line
  return destination ? { kind: 'setting', at, section, text, ...destination, inList: false } : line
}

const ONLY_OURS = /[^\x20-\x7e]|\*/

/** With the destinations that only we understand, and without settings that have no value: each of those is a mistake, told by its line. */
function withLines(ini: IniFile, lines: readonly IniLine[]): IniFile {
  const sections: Record<string, Record<string, unknown>> = {}
  for (const [name, section] of Object.entries(ini)) {
    sections[name] = { ...(section as Record<string, unknown>) }
  }
  for (const line of lines) {
    if (line.kind !== 'setting') continue
    const section = (sections[line.section] ??= {})
    if (line.value === undefined) delete section[line.key]
    else if (ONLY_OURS.test(line.key)) section[line.key] = line.value
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
