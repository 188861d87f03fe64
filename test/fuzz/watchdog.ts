/**
 * Ends the process when one input keeps it busy for ever, and says which: an endless loop lets nothing else in the process speak.
 * Hence a thread of its own, which looks at a number that the loop over the inputs writes.
 */
import { Worker } from 'node:worker_threads'

const LONGEST_INPUT = 60_000

export interface Watchdog {
  /** Told of each input before it is tried. */
  readonly at: (seed: number) => void
  readonly close: () => Promise<unknown>
}

export function watchdog(target: string): Watchdog {
  const shared = new SharedArrayBuffer(8)
  const [seen, seed] = [new Int32Array(shared, 0, 1), new Uint32Array(shared, 4, 1)]
  const worker = new Worker(WATCH, {
    eval: true,
    workerData: { shared, target, longest: LONGEST_INPUT },
  })
  return {
    at(next) {
      seed[0] = next
      Atomics.add(seen, 0, 1)
    },
    close: () => worker.terminate(),
  }
}

const WATCH = `
  const { workerData } = require('node:worker_threads')
  const { writeSync } = require('node:fs')
  const { shared, target, longest } = workerData
  const [seen, seed] = [new Int32Array(shared, 0, 1), new Uint32Array(shared, 4, 1)]
  let last
  setInterval(() => {
    const now = Atomics.load(seen, 0)
    if (now === last) {
      writeSync(2, target + ': FOUND with --seed ' + seed[0] + ': an input that does not end\\n')
      process.kill(process.pid, 'SIGKILL')
    }
    last = now
  }, longest)
`
