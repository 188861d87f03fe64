/**
 * Lines of an ini file that Haraka passes over, or takes otherwise than they were meant, in silence. Each is told with its
 * number and its cure; what a setting may be is config.ts's to say. Pure.
 */
import type { IniLine } from './ini'

export interface LineMistake {
  readonly at: number
  /** What is wrong, and what to do about it. */
  readonly sentence: string
}

type SettingLine = IniLine & { readonly kind: 'setting' }
type PassedOver = IniLine & { readonly kind: 'passed-over' }

export function findLineMistakes(lines: readonly IniLine[]): readonly LineMistake[] {
  const first = lines.find(({ text }) => text.includes('\0'))
  // Half of its octets are NUL, and each line is a mistake of the same kind.
  if (first) return [{ at: first.at, sentence: `${NOT_UTF8}, such as UTF-16: save it as UTF-8` }]
  const stood = new Map<string, number>()
  return lines.flatMap((line) => {
    const sentence = strayCharacter(line) ?? misunderstood(line) ?? repeated(line, stood)
    return sentence === undefined ? [] : [{ at: line.at, sentence }]
  })
}

/** Whether a line says something else to Haraka than its writer meant, whatever its value is worth. */
function misunderstood(line: IniLine): string | undefined {
  switch (line.kind) {
    case 'section':
      return undefined
    case 'setting':
      // `[main` is, to Haraka, the name of a setting.
      if (line.key.startsWith('[')) return notOneSection(line.text)
      return line.value === undefined ? withoutEquals(line) : undefined
    case 'passed-over':
      return passedOver(line)
  }
}

function withoutEquals({ section, key }: SettingLine): string {
  const [, name, value] = /^([\w.-]+):(\S+)$/.exec(key) ?? []
  if (name !== undefined && value !== undefined) return writeInstead(section, name, value)
  return `there is no "=" after ${key}: write ${key}=VALUE`
}

function passedOver({ why, text, section }: PassedOver): string {
  switch (why) {
    case 'goes-on-nowhere':
      return 'it ends with "\\", and the line that it goes on with is missing: remove the "\\"'
    case 'unsafe-name':
      return 'Haraka passes over names such as __proto__ and constructor: remove the line'
    case 'not-understood': {
      if (/^\s*\[/.test(text)) return notOneSection(text)
      const [, name, value] = NEARLY_A_SETTING.exec(text) ?? []
      return name === undefined || value === undefined
        ? 'this is no [section], no key=value and no comment; a comment begins with ";"'
        : writeInstead(section, name, value)
    }
  }
}

/** `mode: observe`, `mode observe`, `"mode"=observe`. */
const NEARLY_A_SETTING = /^\s*["']?([\w.*-]+)["']?\s*[:=\s]\s*(\S(?:.*\S)?)\s*$/

/** A log is no place for passwords, also where a header was to have stood above them. */
function writeInstead(section: string, name: string, value: string): string {
  const isSecret = section === 'redis' || /pass|secret|token|url/i.test(name)
  return `a setting is key=value: write ${name}=${isSecret ? '...' : value}`
}

function notOneSection(text: string): string {
  const name = /^\s*\[\s*([\w-]*)/.exec(text)?.[1] ?? ''
  return `a section is one line, [${name || 'name'}], with nothing beside it; a comment needs a line of its own`
}

/** @param stood where sections and settings were first seen */
function repeated(line: IniLine, stood: Map<string, number>): string | undefined {
  // Haraka makes a list of the lines of one.
  if (line.kind === 'passed-over' || (line.kind === 'setting' && line.inList)) return undefined
  const { section, at } = line
  const name = line.kind === 'section' ? `[${section}]` : `${section}.${line.key}`
  const before = stood.get(name)
  if (before === undefined) {
    stood.set(name, at)
    return undefined
  }
  return line.kind === 'section'
    ? `${name} stands on line ${before} already: put both under one`
    : `${name} stands on line ${before} already: leave one of them`
}

const NOT_UTF8 = 'the file is in another encoding than UTF-8'
/** Controls, marks of direction and the like; the joiners belong to names in some scripts. */
const STRAY = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029\ufffd]/u
const JOINERS = /[\u200c\u200d]/g

function strayCharacter({ text, section, at }: IniLine): string | undefined {
  // An editor's byte order mark at the very beginning does no harm: Haraka counts it as a blank.
  const begun = at === 1 ? text.replace(/^\ufeff/, '') : text
  const whole = section === 'destinations' ? begun.replace(JOINERS, '') : begun
  const [stray] = STRAY.exec(whole.replace(/\t/g, ' ')) ?? []
  if (stray === undefined) return undefined
  if (stray === '\ufffd') return `${NOT_UTF8}: save it as UTF-8`
  const code = (stray.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
  return `there is an invisible character, U+${code}: write the line anew`
}
