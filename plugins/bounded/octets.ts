/**
 * How much of a process's memory things take, about, and rather too much than too little; tests of the caches hold the numbers against
 * the heap. A bound on memory that counts payload alone is none: an object, a view of octets or a short text takes many times what
 * is in it. Pure.
 */

/** An object, with the slots of its fields and its place in an array. */
export const OBJECT = 72
/** An array, without what is in it. */
export const ARRAY = 56
/** A view of octets that share their memory with others of one block. */
export const VIEW = 112
/** A block of octets by itself, without the octets. */
export const BLOCK = 280
/** A part of a longer text, which is counted by itself, with its place in an array. */
export const PART = 48
const TEXT = 32

/** A text of US-ASCII characters, with its place in an array. */
export function ofAscii(text: string): number {
  return TEXT + text.length
}

/** A text of any characters, perhaps still in the pieces that it was put together from. */
export function ofText(text: string): number {
  return 4 * TEXT + 2 * text.length
}

/**
 * The same text, holding on to nothing else: Node keeps a longer text in memory as a whole for as long as any part that was cut
 * out of it lives.
 */
export function own(ascii: string): string {
  return Buffer.from(ascii, 'latin1').toString('latin1')
}
