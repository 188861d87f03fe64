/**
 * The entries of the agenda in the LMDB file: one for each domain, in order of time, so that a few are read however many there are.
 */
import type { LmdbFile } from './file'
import { isDomain } from '../record'
import type { Due } from '../types'

/** Digits of a time: as many as a record allows. */
const DIGITS = 15
const LATEST = '9'.repeat(DIGITS)

/** Moves a domain to its place on the agenda; without a time, takes it off. Within a transaction. */
export function replan(file: LmdbFile, domain: string, at: number | undefined): void {
  const before = file.planned.get(domain)
  if (before !== undefined) file.agenda.removeSync(`${before} ${domain}`)
  if (at === undefined) {
    file.planned.removeSync(domain)
    return
  }
  const time = timeText(at)
  file.planned.putSync(domain, time)
  file.agenda.putSync(`${time} ${domain}`, '')
}

/** Reads a few entries, however many there are. @param after an entry: only later ones */
export function dueEntries(file: LmdbFile, due: Due, after?: string): readonly string[] {
  const { now, beyond, limit } = due
  const ranges = [
    { start: '', end: `${timeText(now)}~` },
    { start: `${timeText(beyond)}~`, end: `${LATEST}~` },
  ]
  const entries: string[] = []
  for (const { start, end } of ranges) {
    const from = after !== undefined && after > start ? after : start
    // A range with its start behind its end would be read backwards.
    if (from >= end || entries.length >= limit) continue
    for (const entry of file.agenda.getKeys({ start: from, end, limit: limit + 1 })) {
      if (entry !== after && entries.length < limit) entries.push(entry)
    }
  }
  return entries
}

/** The domains of entries; an entry without one, which others have written, is passed over. */
export function domainsOf(entries: readonly string[]): readonly string[] {
  return entries.map((entry) => entry.slice(DIGITS + 1)).filter(isDomain)
}

/** Takes due entries, by planning their domains for `due.until`. Within a transaction. @returns entries as they were */
export function takeEntries(file: LmdbFile, due: Due): readonly string[] {
  const entries = dueEntries(file, due)
  for (const entry of entries) file.agenda.removeSync(entry)
  for (const domain of domainsOf(entries)) replan(file, domain, due.until)
  return entries
}

/** Of one length, whatever the time: the domain is read behind it. */
function timeText(at: number): string {
  return String(Math.min(Math.max(0, Math.round(at)), Number(LATEST))).padStart(DIGITS, '0')
}
