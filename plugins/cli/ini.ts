/**
 * Ini files as Haraka reads them (haraka-config 1.x), without Haraka: the command must say the same wherever it is run from,
 * and must not start watching folders. A test holds it against haraka-config itself. Pure; never throws.
 * It refuses nothing: a line that is none is passed over, as there.
 */

type Scalar = string | number | undefined
export type IniValue = Scalar | Scalar[]
export type IniSection = Record<string, IniValue>
export type Ini = Record<string, IniSection>

const SECTION = /^\s*\[([^\]]*)\]\s*$/
const PARAMETER = /^\s*([\w@:._+\-/[\]]+)\s*(?:=\s*(.*?)\s*)?$/
const COMMENT_OR_BLANK = /^\s*(?:[;#].*)?$/
const CONTINUATION = /\\[ \t]*$/
const UNSAFE: readonly string[] = ['__proto__', 'constructor', 'prototype']

export function parseIni(text: string): Ini {
  const ini = empty<IniSection>()
  let section = sectionOf(ini, 'main')
  let continued = ''
  for (const line of text.split(/\r\n|\r|\n/)) {
    if (COMMENT_OR_BLANK.test(line)) continue
    const header = SECTION.exec(line)
    if (header) {
      section = sectionOf(ini, (header[1] ?? '').trim())
    } else if (CONTINUATION.test(line)) {
      continued += line.replace(CONTINUATION, '')
    } else {
      readParameter(section, continued + line)
      continued = ''
    }
  }
  return ini
}

/** The operator's file over the shipped one: sections merge, values and whole arrays replace. */
export function mergeIni(shipped: Ini, own: Ini): Ini {
  const merged = empty<IniSection>()
  for (const ini of [shipped, own]) {
    for (const [name, values] of Object.entries(ini)) {
      Object.assign(sectionOf(merged, name), values)
    }
  }
  return merged
}

/** What haraka-config takes for true in a key that was declared a boolean; everything else is false. */
export function isTrue(value: IniValue): boolean {
  return /^(?:true|yes|ok|enabled|on|1)$/i.test(String(value))
}

/** The lines of a list file such as config/plugins. */
export function parseList(text: string): readonly string[] {
  return text
    .split(/\r\n|\r|\n/)
    .filter((line) => !COMMENT_OR_BLANK.test(line))
    .map((line) => line.trim())
}

function readParameter(section: IniSection, line: string): void {
  const parameter = PARAMETER.exec(line)
  const name = parameter?.[1]
  if (name === undefined) return
  const value = readValue(parameter?.[2])
  const array = /^(.+)\[\]$/.test(name)
  const key = array ? name.replace('[]', '') : name
  if (UNSAFE.includes(key)) return
  if (!array) {
    section[key] = value
    return
  }
  const list = section[key]
  section[key] = [...(Array.isArray(list) ? list : []), value]
}

function readValue(text: string | undefined): Scalar {
  if (text === undefined) return undefined
  return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text
}

function sectionOf(ini: Ini, name: string): IniSection {
  // As there: what is written below such a header goes nowhere.
  if (UNSAFE.includes(name)) return empty<IniValue>()
  return (ini[name] ??= empty<IniValue>())
}

function empty<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>
}
