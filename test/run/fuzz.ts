/**
 * Throws damaged and malicious input at everything that reads what others wrote, for as long as told, and says what did not hold
 * (docs/fuzzing.md). Exit 1 when something was found, 64 on bad usage.
 *
 *     npm run fuzz -- MINUTES [TARGET] [--seed NUMBER]
 *     npm run fuzz -- --input FILE
 *
 * MINUTES are for each target. Inputs that found something are kept in .cache/fuzz/; `--input` tries one again.
 */
import { randomInt } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { isTargetName, targets, type TargetName } from '../fuzz/targets'
import { run, type Finding } from '../fuzz/run'
import { watchdog } from '../fuzz/watchdog'

const FOLDER = '.cache/fuzz'
const NAMES = Object.keys(targets).filter(isTargetName)

function usage(problem: string): number {
  console.error(
    `${problem}\nnpm run fuzz -- MINUTES [${NAMES.join('|')}] [--seed NUMBER]\nnpm run fuzz -- --input FILE`,
  )
  return 64
}

function readArguments() {
  try {
    return parseArgs({
      options: { seed: { type: 'string' }, input: { type: 'string' } },
      allowPositionals: true,
    })
  } catch {
    return undefined
  }
}

async function main(): Promise<number> {
  const given = readArguments()
  if (given === undefined) return usage('What is that?')
  const { values, positionals } = given
  if (values.input !== undefined) return again(values.input)
  const [minutes = '', name, surplus] = positionals
  if (!/^\d+(\.\d+)?$/.test(minutes) || surplus !== undefined) return usage('How many minutes?')
  if (name !== undefined && !isTargetName(name)) return usage(`There is no target ${name}.`)
  const { seed } = values
  if (seed !== undefined && !/^\d{1,10}$/.test(seed)) return usage('A seed is a number.')
  let found = 0
  for (const target of name === undefined ? NAMES : [name]) {
    found += await fuzz(
      target,
      Number(minutes),
      seed === undefined ? randomInt(2 ** 32) : Number(seed),
    )
  }
  return found > 0 ? 1 : 0
}

/** @returns how many kinds of findings there were */
async function fuzz(name: TargetName, minutes: number, seed: number): Promise<number> {
  const target = await targets[name]()
  const started = performance.now()
  const end = started + minutes * 60_000
  console.log(`${name}: ${minutes} min from seed ${seed}`)
  const dog = watchdog(name)
  const { inputs, findings, outcomes } = await run(target, {
    seed,
    isOver: () => performance.now() >= end,
    onInput: dog.at,
    onFinding: (finding) => keep(name, finding),
  })
  await dog.close()
  await target.close?.()
  const seconds = (performance.now() - started) / 1000
  console.log(
    `${name}: ${inputs} inputs in ${seconds.toFixed(0)} s (${(inputs / seconds).toFixed(0)}/s), ${findings.size} findings`,
  )
  const most = [...outcomes].sort(([, one], [, other]) => other - one)
  for (const [outcome, times] of most) console.log(`  ${times} × ${outcome}`)
  for (const [kind, times] of findings) console.log(`  FOUND ${times} × ${kind}`)
  return findings.size
}

function keep(name: TargetName, { seed, what, input }: Finding): void {
  mkdirSync(FOLDER, { recursive: true })
  const file = `${FOLDER}/${name}-${seed}.json`
  const octets = input.map((part) => part.toString('hex'))
  writeFileSync(file, `${JSON.stringify({ target: name, seed, what, input: octets }, null, 1)}\n`)
  console.log(`${name}: FOUND with --seed ${seed}, kept in ${file}\n${what}`)
}

async function again(file: string): Promise<number> {
  const kept = JSON.parse(readFileSync(file, 'utf8')) as { target: string; input: string[] }
  if (!isTargetName(kept.target)) return usage(`There is no target ${kept.target}.`)
  const target = await targets[kept.target]()
  try {
    await target.check(kept.input.map((part) => Buffer.from(part, 'hex')))
    console.log(`${kept.target}: holds`)
    return 0
  } catch (error: unknown) {
    console.log(`${kept.target}: found again`, error)
    return 1
  } finally {
    await target.close?.()
  }
}

void main().then((code) => {
  process.exitCode = code
})
