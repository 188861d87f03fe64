/**
 * `npm run bench [-- NAME …] [--json] [--cpu-prof=FOLDER]`: how much the plugin costs, each figure beside that of plain
 * Haraka or a peer, measured in one run and interleaved, so that both had the same machine. Medians of several rounds.
 * It measures the compiled plugin, in dist/. Budgets and what was learned: docs/performance.md.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { benchBurn } from '../bench/burn'
import { benchCold } from '../bench/cold'
import { benchDead } from '../bench/dead'
import { benchDecision } from '../bench/decision'
import { benchDelivery } from '../bench/delivery'
import { benchHerd } from '../bench/herd'
import { benchListen } from '../bench/listen'
import { benchMemory } from '../bench/memory'
import { benchQueue } from '../bench/queue'
import { asTable, describeMachine, type Row } from '../bench/report'
import { benchStart } from '../bench/start'
import { startWorld, type World } from '../bench/world'

interface Options {
  readonly profiles?: string
}

type Bench = (world: World, options: Options) => Promise<readonly Row[]>

const BENCHES: Readonly<Record<string, Bench>> = {
  delivery: benchDelivery,
  decision: benchDecision,
  cold: benchCold,
  listen: benchListen,
  herd: benchHerd,
  dead: benchDead,
  queue: benchQueue,
  memory: benchMemory,
  start: benchStart,
  burn: benchBurn,
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false }, 'cpu-prof': { type: 'string' } },
  })
  const names = positionals.length > 0 ? positionals : Object.keys(BENCHES)
  const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name))
  if (unknown.length > 0) {
    throw new Error(
      `There is no benchmark ${unknown.join(', ')}; there are: ${Object.keys(BENCHES).join(', ')}`,
    )
  }
  const folder = values['cpu-prof']
  const options = folder === undefined ? {} : { profiles: resolve(folder) }
  const began = performance.now()
  if (!values.json) console.log(`${(await describeMachine()).join('\n')}\n`)
  const rows: Row[] = []
  for (const name of names) {
    console.error(`${name} …`)
    const world = await startWorld()
    try {
      const measured = (await BENCHES[name]?.(world, options)) ?? []
      rows.push(...measured)
      if (!values.json) console.log(`${asTable(measured)}\n`)
    } finally {
      await world.stop()
    }
  }
  if (values.json) console.log(JSON.stringify(rows, undefined, 2))
  else console.log(`${((performance.now() - began) / 1000).toFixed(0)} s`)
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    console.error(error)
    // What a benchmark that broke off has left open must not keep this process.
    process.exit(1)
  },
)
