/**
 * How the command speaks: at most 80 columns, colour only where somebody looks, times in UTC, nothing unprintable from
 * anybody. Pure.
 */

export const COLUMNS = 80

export type Colour = 'good' | 'fair' | 'bad' | 'strong' | 'plain'

export interface Style {
  paint(text: string, colour: Colour): string
}

const CODES: Readonly<Record<Colour, string>> = {
  good: '32',
  fair: '33',
  bad: '31',
  strong: '1',
  plain: '',
}

/** @param colours whether the output is a terminal that may have colours */
export function styleFor(colours: boolean): Style {
  return {
    paint: (text, colour) =>
      colours && CODES[colour] !== '' ? `\x1b[${CODES[colour]}m${text}\x1b[0m` : text,
  }
}

/** Words of others, fit for a terminal and a JSON reader. */
export function printable(text: string, max = 1000): string {
  const cut = text.length > max ? `${text.slice(0, max - 3)}...` : text
  return cut.replace(/\n/g, ', ').replace(/[^\x20-\x7e]/g, '?')
}

/**
 * Breaks a text into lines of at most 80 columns, at spaces where there are any.
 * @param first goes before the first line; the others are indented as far
 * @param paint colours the text of a line, not what goes before it
 */
export function wrap(
  first: string,
  text: string,
  paint: (line: string) => string = (line) => line,
): readonly string[] {
  const room = COLUMNS - first.length
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ').flatMap((long) => pieces(long, room))) {
    if (line !== '' && line.length + 1 + word.length > room) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  lines.push(line)
  const indent = ' '.repeat(first.length)
  return lines.map((each, index) => `${index === 0 ? first : indent}${paint(each)}`.trimEnd())
}

function pieces(word: string, room: number): readonly string[] {
  const found: string[] = []
  for (let at = 0; at === 0 || at < word.length; at += room) found.push(word.slice(at, at + room))
  return found
}

/** `2026-11-22 11:45:00 UTC`. */
export function utc(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

const SPANS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const

/** `in 3 days`, `2 hours ago`, `now`. */
export function fromNow(at: number, now: number): string {
  const distance = Math.abs(at - now)
  const [unit, ms] = SPANS.find(([, length]) => distance >= length) ?? []
  if (unit === undefined) return 'now'
  const count = Math.floor(distance / ms)
  const span = `${count} ${unit}${count === 1 ? '' : 's'}`
  return at > now ? `in ${span}` : `${span} ago`
}
