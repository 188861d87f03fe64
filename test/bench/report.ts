/** What a benchmark says: rows, the table of them, and on which machine they were measured. */
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { run } from '../support/lab/daemon'

export interface Row {
  readonly bench: string
  /** What was varied, the variant that others are held against first. */
  readonly case: string
  readonly metric: string
  readonly value: number
  readonly unit: string
}

/** @throws RangeError for no values. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The value below which this share of the values lies, interpolated. @throws RangeError for no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]]
  if (low === undefined || high === undefined) throw new RangeError('no values')
  return low + (high - low) * (at - Math.floor(at))
}

/** Results of several rounds, and their medians as rows in the order in which cases and metrics first came. */
export class Rounds {
  readonly #values = new Map<string, { readonly row: Omit<Row, 'value'>; values: number[] }>()

  constructor(private readonly bench: string) {}

  add(name: string, metric: string, value: number, unit: string): void {
    const key = `${name}\n${metric}`
    const known = this.#values.get(key)
    if (known) known.values.push(value)
    else
      this.#values.set(key, {
        row: { bench: this.bench, case: name, metric, unit },
        values: [value],
      })
  }

  /** The values of one case, by round. */
  of(name: string, metric: string): readonly number[] {
    return this.#values.get(`${name}\n${metric}`)?.values ?? []
  }

  rows(): readonly Row[] {
    return [...this.#values.values()].map(({ row, values }) => ({ ...row, value: median(values) }))
  }
}

export function asTable(rows: readonly Row[]): string {
  const cells = [
    ['bench', 'case', 'metric', 'value', 'unit'],
    ...rows.map((row) => [row.bench, row.case, row.metric, shown(row.value), row.unit]),
  ]
  const widths = [0, 1, 2, 3, 4].map((column) =>
    Math.max(...cells.map((line) => line[column]?.length ?? 0)),
  )
  return cells
    .map((line, index) => {
      const previous = cells[index - 1]
      const rule = index > 1 && previous?.[1] !== line[1] ? '\n' : ''
      const text = line.map((cell, column) =>
        column === 3 ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      return rule + text.join('  ').trimEnd()
    })
    .join('\n')
}

function shown(value: number): string {
  if (Number.isInteger(value)) return value.toLocaleString('en')
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 1 ? 2 : 4
  return value.toLocaleString('en', {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  })
}

/** Machine and versions, a line each. */
export async function describeMachine(): Promise<readonly string[]> {
  const [cpu] = cpus()
  const programs = [
    ['NSD', 'nsd', '-v'],
    ['Unbound', 'unbound', '-V'],
    ['Redis', 'redis-server', '--version'],
  ] as const
  const versions = await Promise.all(
    programs.map(async ([name, program, flag]) => `${name} ${await versionOf(program, flag)}`),
  )
  const load = loadavg().map((value) => value.toFixed(2))
  return [
    `${cpus().length} x ${cpu?.model ?? 'unknown CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}, load ${load.join(' ')}`,
    `Node ${process.version} (OpenSSL ${process.versions.openssl}), Haraka ${packageVersion('Haraka')}, lmdb ${packageVersion('lmdb')}, redis ${packageVersion('redis')}, ${versions.join(', ')}`,
  ]
}

/** NSD tells its version on stderr. */
async function versionOf(program: string, flag: string): Promise<string> {
  const said = await run('sh', ['-c', `${program} ${flag} 2>&1`]).catch(String)
  return /\d+\.\d+\.\d+/.exec(said)?.[0] ?? '?'
}

function packageVersion(name: string): string {
  const file = join(__dirname, '../../node_modules', name, 'package.json')
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}
