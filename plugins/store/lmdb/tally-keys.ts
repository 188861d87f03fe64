/** The keys of tallies in the LMDB file: `<day> <part> <field>`. Pure. */

const DIGITS = 6

/** What the keys of a part begin with. */
export function partKey(day: number, part: number): string {
  return `${String(day).padStart(DIGITS, '0')} ${part.toString(16).padStart(2, '0')} `
}

/** Whether an entry of the table is of a day before `first`. */
export function isBefore(key: string, first: number): boolean {
  const day = /^([0-9]{6}) /.exec(key)?.[1]
  return day !== undefined && Number(day) < first
}
