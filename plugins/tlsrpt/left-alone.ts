/**
 * Addresses to which a report came back are left alone: for seven days, then fourteen, then twenty-eight. Kept in the store, for all
 * who share it.
 */
import { createHash } from 'node:crypto'
import type { Store, Stored } from '../store'

const DAY_MS = 86_400_000
const PERIODS = [7, 14, 28]
/** Days after its end for which a period is remembered, so that the next one is longer. */
const REMEMBERED = 60

export interface LeftAlone {
  isLeftAlone(address: string): Promise<Stored<boolean>>
  /** A report to the address came back. */
  cameBack(address: string): Promise<void>
}

export function createLeftAlone(
  store: Pick<Store, 'getNote' | 'setNote'>,
  clock: () => number,
): LeftAlone {
  const read = (address: string) => store.getNote(PLACE, nameFor(address), { everywhere: true })
  return {
    async isLeftAlone(address) {
      const note = await read(address)
      if (!note.ok) return note
      return { ok: true, value: clock() < (parse(note.value)?.until ?? 0) }
    },
    async cameBack(address) {
      const note = await read(address)
      const before = note.ok ? parse(note.value) : undefined
      // Several reports on their way come back together: that is once.
      if (before !== undefined && clock() < before.until) return
      const times = (before?.times ?? 0) + 1
      const days = PERIODS[Math.min(times, PERIODS.length) - 1] ?? 28
      const text = `${times} ${clock() + days * DAY_MS}`
      await store.setNote(PLACE, nameFor(address), text, (days + REMEMBERED) * DAY_MS)
    },
  }
}

function parse(text: string | undefined): { times: number; until: number } | undefined {
  const [, times, until] = /^(\d{1,3}) (\d{1,15})$/.exec(text ?? '') ?? []
  return times === undefined || until === undefined
    ? undefined
    : { times: Number(times), until: Number(until) }
}

/** No mail goes to a domain of this name (RFC 2606), so its notes are free. */
const PLACE = 'tlsrpt.invalid'

function nameFor(address: string): string {
  return `report-back/${createHash('sha256').update(address).digest('hex').slice(0, 32)}`
}
