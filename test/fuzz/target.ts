/**
 * What a fuzz target is, and the claims that all targets share. A target makes inputs from random choices and holds what the code
 * under test does with one against everything that must be true of it; whatever is thrown on the way is a finding.
 */
import assert from 'node:assert/strict'
import type { Random } from './random'

/** Octets only, so that any input can be kept in a file and tried again. */
export type Input = readonly Buffer[]

export interface Target {
  make(random: Random): Input
  /**
   * Throws, or rejects, where something is not as it must be.
   * @returns what became of the input, in a word or two: damage that nothing but "malformed" ever comes of would show little
   */
  check(input: Input): string | Promise<string>
  /** Lets go of sockets and servers. */
  close?(): Promise<void>
}

/** No single step on one input may hold the process up for longer, in milliseconds of processor time. */
const LONGEST_STEP = 50
const SECOND_LOOKS = 3

/** Runs a step and claims that it is quick; a slow one is looked at again: the first time, code is also compiled. */
export function quickly<T>(what: string, step: () => T): T {
  let least = Number.POSITIVE_INFINITY
  for (let looks = 0; looks <= SECOND_LOOKS; looks++) {
    const started = process.cpuUsage()
    const result = step()
    const { user, system } = process.cpuUsage(started)
    least = Math.min(least, (user + system) / 1000)
    if (least <= LONGEST_STEP) return result
  }
  assert.fail(`${what} takes ${least.toFixed(0)} ms`)
}

/** Passes a promise on, and claims that it settles. */
export async function inTime<T>(what: string, promise: Promise<T>, limitMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} does not end`)), limitMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Claims that a text written for people is one bounded line. */
export function claimOneLine(text: string, most: number): void {
  assert.equal(typeof text, 'string')
  assert.ok(text.length <= most, `a detail of ${text.length} characters`)
  assert.doesNotMatch(
    text,
    /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/u,
    'a detail that is not one line',
  )
}
