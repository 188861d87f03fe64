/**
 * Random choices that a number repeats: the same seed gives the same choices, on every machine. Good enough to make inputs from,
 * for nothing else. Neighbouring seeds give unrelated choices.
 */

export interface Random {
  /** A whole number from 0 to below `limit`, which is at least 1. */
  below(limit: number): number
  /** True in so many of 100 cases. */
  percent(cases: number): boolean
  pick<T>(list: readonly [T, ...T[]]): T
  /** So many octets, each of any value. */
  octets(count: number): Buffer
}

/** @param seed 0 to 2^32 - 1 */
export function seeded(seed: number): Random {
  let state = seed >>> 0
  // splitmix32
  const next = (): number => {
    state = (state + 0x9e3779b9) >>> 0
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return (mixed ^ (mixed >>> 15)) >>> 0
  }
  const below = (limit: number): number => next() % limit
  return {
    below,
    percent: (cases) => below(100) < cases,
    pick: (list) => list[below(list.length)] ?? list[0],
    octets: (count) => Buffer.from(Array.from({ length: count }, () => below(256))),
  }
}
