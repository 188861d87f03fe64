/**
 * Destinations whose mail is kept back, in the LMDB file, in a table of their own: `<part> <domain>`. Mail that goes out writes nothing
 * here, as long as nothing waits: then a note is a look.
 */
import type { Access } from './access'
import type { LmdbFile } from './file'
import { failed, stored } from '../outcome'
import type { Stored, WaitingStore } from '../types'
import {
  applyNote,
  applyNotes,
  isWaitingPart,
  readRecords,
  type WaitingFields,
  type WaitingNote,
  whyNoNotes,
} from '../waiting'

/** Octets of new pages for a call, and for each note: its record has a page of its own, on pages that no other is on. */
const CALL = 65_536
const NOTE = 16_384
/** Octets of memory for a note that waits to be written. */
const HELD = 2_048

export function waitingIn(
  { read, write }: Pick<Access, 'read' | 'write'>,
  now: () => number,
): WaitingStore {
  return {
    async noteWaiting(part, notes) {
      const reason = whyNoNotes(part, notes)
      if (reason !== undefined) return failed(reason)
      const looked = await read((file) => concerned(file, part, notes, now()))
      if (!looked.ok) return looked
      const some = notes.filter(({ domain }) => looked.value.has(domain))
      if (some.length === 0) return stored(0)
      const act = (file: LmdbFile) => applyNotes(fieldsIn(file, part), some, now())
      return outcome(await write(act, CALL + NOTE * some.length, HELD * some.length))
    },
    async readWaiting(part) {
      if (!isWaitingPart(part)) return failed('not a part')
      return read((file) => readRecords(fieldsIn(file, part).entries(), now()))
    },
  }
}

/** The domains of which a note changes anything. */
function concerned(
  { waiting }: LmdbFile,
  part: number,
  notes: readonly WaitingNote[],
  now: number,
): ReadonlySet<string> {
  const changed = notes.filter((note) => {
    const before = waiting.get(keyOf(part, note.domain))
    return applyNote(before, note, now) !== before
  })
  return new Set(changed.map(({ domain }) => domain))
}

function fieldsIn({ waiting }: LmdbFile, part: number): WaitingFields {
  const at = keyOf(part, '')
  return {
    get: (domain) => waiting.get(at + domain),
    put(domain, text) {
      if (text === undefined) waiting.removeSync(at + domain)
      else waiting.putSync(at + domain, text)
    },
    *entries() {
      for (const { key, value } of waiting.getRange({ start: at, end: `${at}~` })) {
        yield [key.slice(at.length), value]
      }
    },
  }
}

function keyOf(part: number, domain: string): string {
  return `${part.toString(16)} ${domain}`
}

/** Without what only the file's own store has need of. */
function outcome<T>(written: Stored<T>): Stored<T> {
  return written.ok ? stored(written.value) : failed(written.detail)
}
