/** What a process's memory really holds, for tests of bounds in octets. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
// Code that ran once is kept: tests that ran before must not give back memory while one measures.
setFlagsFromString('--no-flush-bytecode')
const collect = runInNewContext('gc') as () => void

/** Octets that live now, in the heap and outside of it; all that nothing holds is collected before. */
export async function octetsAlive(): Promise<number> {
  // What has just been settled lets go of its last parts in the turns after this one, and blocks of octets are freed beside them:
  // until two looks in a row see the same.
  let before = Infinity
  for (let turn = 0; turn < MOST_TURNS; turn++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 20))
    const { heapUsed, external } = process.memoryUsage()
    const now = heapUsed + external
    if (turn >= 2 && before - now < STILL) return now
    before = now
  }
  return before
}

const MOST_TURNS = 25
/** Octets by which two looks may differ where nothing is let go of any more. */
const STILL = 16_384
