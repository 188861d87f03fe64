/** docs/faults.md as tests read it: what can go wrong, a row each. */
import { plainText, readPage, tableRows } from './docs-pages'

const rows = tableRows(readPage('faults.md'))

/** The first cell of each row. */
export function faults(): readonly string[] {
  return rows.map(([first = '']) => plainText(first))
}

/** What the log says according to the page: the words in backticks, between its ellipses. */
export function wordsOf(row: string): readonly string[] {
  const [, , says = ''] = rows.find(([first = '']) => plainText(first) === row) ?? []
  const quoted = [...says.matchAll(/`([^`]+)`/g)].map(([, words = '']) => words)
  return quoted.flatMap((words) => words.split('…')).filter((words) => words !== '')
}

/** A test's title: the row, by its words. @throws Error where the page has no such row. */
export function fault(row: string): string {
  if (!faults().includes(row)) throw new Error(`docs/faults.md has no row ${row}`)
  return row
}

/** Finds these words as they stand. */
export function literally(words: string): RegExp {
  return new RegExp(words.replace(/[^\w ]/g, '\\$&'))
}
