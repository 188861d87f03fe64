/**
 * Makes text that others wrote fit for one line of a log, a DSN or a report: no control characters, no bidirectional
 * overrides, bounded length. It refuses nothing and never throws; it is for details meant for humans, not for parsing.
 */

/** A detail longer than this helps nobody and fills a log. */
const MAX_DETAIL = 300

// Controls, lone surrogates, format characters (they reorder or hide text on a terminal), line and paragraph separators.
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Cf}\p{Zl}\p{Zp}]/gu

/**
 * @param text anything, from anyone
 * @param max in UTF-16 units; what is beyond is replaced by an ellipsis
 * @returns the same text with each unprintable character shown as `?`
 */
export function oneLine(text: string, max = MAX_DETAIL): string {
  const cut = text.length > max ? `${text.slice(0, max)}…` : text
  return cut.replace(UNPRINTABLE, '?')
}

/** The words of others, before they go into any line of a log: no reader of logs, by whatever pattern, finds a field in them. */
export function wordsOf(text: string): string {
  if (!/[^\x20-\x7e]|["=]/.test(text)) return text
  return text
    .replace(/[^\x20-\x7e]/g, '?')
    .replace(/"/g, "'")
    .replace(/=/g, ':')
}
