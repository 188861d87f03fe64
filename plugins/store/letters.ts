/** Names that are made by lot. */
import { randomInt } from 'node:crypto'

export function randomLetters(count: number): string {
  return Array.from({ length: count }, () => String.fromCharCode(97 + randomInt(26))).join('')
}
