/**
 * Ini files as Haraka reads them (haraka-config 1.x), without Haraka: the command must say the same wherever it is run from,
 * and must not start watching folders. A test holds it against haraka-config itself. Pure; never throws.
 * It refuses nothing, as there; but each line that Haraka passes over is among the lines that readLines() gives.
 */

type Scalar = string | number | undefined
export type IniValue = Scalar | Scalar[]
export type IniSection = Record<string, IniValue>
export type Ini = Record<string, IniSection>

/** A line that is neither empty nor a comment; one that goes on over several counts as its first. */
export type IniLine = Place &
  (
    | { readonly kind: 'section' }
    | {
        readonly kind: 'setting'
        readonly key: string
        /** Undefined where there is no "=". */
        readonly value: Scalar
        /** `key[]=value` */
        readonly inList: boolean
      }
    | {
        /** Haraka does as if it were not there. */
        readonly kind: 'passed-over'
        readonly why: 'not-understood' | 'unsafe-name' | 'goes-on-nowhere'
      }
  )

interface Place {
  /** Number of the line, from 1. */
  readonly at: number
  readonly section: string
  /** As it stands in the file. */
  readonly text: string
}

const SECTION = /^\s*\[([^\]]*)\]\s*$/
const PARAMETER = /^\s*([\w@:._+\-/[\]]+)\s*(?:=\s*(.*?)\s*)?$/
const COMMENT_OR_BLANK = /^\s*(?:[;#].*)?$/
const CONTINUATION = /\\[ \t]*$/
const UNSAFE: readonly string[] = ['__proto__', 'constructor', 'prototype']

export function parseIni(text: string): Ini {
  const ini = empty<IniSection>()
  sectionOf(ini, 'main')
  for (const line of readLines(text)) {
    if (line.kind === 'section') sectionOf(ini, line.section)
    else if (line.kind === 'setting') set(sectionOf(ini, line.section), line)
  }
  return ini
}

export function readLines(text: string): readonly IniLine[] {
  const lines: IniLine[] = []
  let section = 'main'
  let begun: { readonly at: number; readonly text: string } | undefined
  const goesOnNowhere = () => {
    if (begun) lines.push({ kind: 'passed-over', section, ...begun, why: 'goes-on-nowhere' })
  }
  for (const [index, line] of text.split(/\r\n|\r|\n/).entries()) {
    const at = index + 1
    if (COMMENT_OR_BLANK.test(line)) continue
    const name = SECTION.exec(line)?.[1]?.trim()
    if (name !== undefined) {
      // Haraka goes on all the same, with the first line of the next section.
      goesOnNowhere()
      section = name
      const place = { at, section, text: line }
      lines.push(
        UNSAFE.includes(name)
          ? { kind: 'passed-over', ...place, why: 'unsafe-name' }
          : { kind: 'section', ...place },
      )
    } else if (CONTINUATION.test(line)) {
      const soFar: string = begun?.text ?? ''
      begun = { at: begun?.at ?? at, text: soFar + line.replace(CONTINUATION, '') }
    } else {
      const text = (begun?.text ?? '') + line
      lines.push(readParameter({ at: begun?.at ?? at, section, text }))
      begun = undefined
    }
  }
  goesOnNowhere()
  return lines
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

function readParameter(place: Place): IniLine {
  const [, name, value] = PARAMETER.exec(place.text) ?? []
  if (name === undefined) return { kind: 'passed-over', ...place, why: 'not-understood' }
  const inList = /^(.+)\[\]$/.test(name)
  const key = inList ? name.replace('[]', '') : name
  // What is written below such a header goes nowhere, either.
  if (UNSAFE.includes(key) || UNSAFE.includes(place.section)) {
    return { kind: 'passed-over', ...place, why: 'unsafe-name' }
  }
  return { kind: 'setting', ...place, key, value: readValue(value), inList }
}

function set(section: IniSection, { key, value, inList }: IniLine & { kind: 'setting' }): void {
  const before = section[key]
  section[key] = inList ? [...(Array.isArray(before) ? before : []), value] : value
}

function readValue(text: string | undefined): Scalar {
  if (text === undefined) return undefined
  return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text
}

function sectionOf(ini: Ini, name: string): IniSection {
  return (ini[name] ??= empty<IniValue>())
}

function empty<T>(): Record<string, T> {
  return Object.create(null) as Record<string, T>
}
