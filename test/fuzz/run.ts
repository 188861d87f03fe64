/**
 * Tries one input after the other on a target until told to stop, and collects what it finds. Each input is made from a number of its
 * own, the next one from the next: to repeat a finding, start at its number.
 */
import { setImmediate } from 'node:timers/promises'
import { seeded } from './random'
import type { Input, Target } from './target'

export interface Finding {
  /** Of the input. */
  readonly seed: number
  /** The error's own words. */
  readonly what: string
  readonly input: Input
}

export interface RunOptions {
  /** Of the first input. */
  readonly seed: number
  /** Asked between inputs. */
  readonly isOver: (inputs: number) => boolean
  /** Told of each input's number before it is made. */
  readonly onInput: (seed: number) => void
  /** Told of the first input for each kind of finding. */
  readonly onFinding: (finding: Finding) => void
}

export interface RunReport {
  readonly inputs: number
  /** How often each kind was found. */
  readonly findings: ReadonlyMap<string, number>
  /** How often what became of an input. */
  readonly outcomes: ReadonlyMap<string, number>
}

/** Events have their turn so often; a loop of promises alone would keep them waiting for ever. */
const INPUTS_PER_TURN = 256

export async function run(target: Target, options: RunOptions): Promise<RunReport> {
  const findings = new Map<string, number>()
  const outcomes = new Map<string, number>()
  let current: { readonly seed: number; readonly input: Input } = { seed: options.seed, input: [] }
  const found = (error: unknown): void => {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error)
    const kind = kindOf(what)
    const times = findings.get(kind) ?? 0
    findings.set(kind, times + 1)
    if (times === 0) options.onFinding({ ...current, what })
  }
  process.on('unhandledRejection', found)
  process.on('uncaughtException', found)
  let inputs = 0
  try {
    for (; !options.isOver(inputs); inputs++) {
      const seed = (options.seed + inputs) >>> 0
      current = { seed, input: [] }
      options.onInput(seed)
      try {
        const input = target.make(seeded(seed))
        current = { seed, input }
        const result = target.check(input)
        const outcome = typeof result === 'string' ? result : await result
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      } catch (error: unknown) {
        found(error)
      }
      if (inputs % INPUTS_PER_TURN === 0) await setImmediate()
    }
    await setImmediate()
  } finally {
    process.off('unhandledRejection', found)
    process.off('uncaughtException', found)
  }
  return { inputs, findings, outcomes }
}

/** Same words at the same place: the same finding. Numbers and texts of the input do not count. */
function kindOf(what: string): string {
  const place = /\(?[^\s(]*\/(plugins|scripts\/fuzz)\/[^\s)]*/.exec(what)?.[0] ?? ''
  return `${(what.split('\n')[0] ?? '').replace(/\d+|"[^"]*"|'[^']*'/g, '…').slice(0, 80)} ${place}`
}
