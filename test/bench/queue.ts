/**
 * `queue`: a Haraka that starts with 4,000 messages in its queue, each to a domain of its own of which nobody knows anything, every
 * DNS answer 50 ms late: how many it delivers at once, and how long that takes.
 */
import { copyFile, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Haraka } from '../support/lab'
import { Rounds, type Row } from './report'
import { openSender } from './sender'
import { startSlowResolver, type SlowResolver } from './slow-resolver'
import { type World, ZONE } from './world'

const DELAY = 50
const MESSAGES = Number(process.env['BENCH_QUEUE'] ?? 4000)
const PORT = 2590
/** As long as every `queue-0000`, so that a queue file of one is made into that of another. */
const labelOf = (n: number): string => `queue-${String(n).padStart(4, '0')}`
const PATTERN = 'queue-file'
/** Milliseconds. */
const PATIENCE = 240_000

const variants = [
  { name: 'plain Haraka', plugin: 'off' },
  { name: 'DANE', plugin: 'on' },
] as const

export async function benchQueue(world: World): Promise<readonly Row[]> {
  const queue = await fillQueue(world)
  const labels = Array.from({ length: MESSAGES }, (_, n) => labelOf(n))
  await world.domains(labels.map((label) => ({ label, publishes: 'dane' })))
  const rounds = new Rounds('queue')
  for (const { name, plugin } of variants) {
    await world.lab.resolver.restart({ validates: true, room: 'advised' })
    const resolver = await startSlowResolver(DELAY)
    const haraka = await world.haraka({ port: PORT, plugin, level: 'info' })
    const { delivered, queries, ms } = await release(world, resolver, haraka, queue)
    await haraka.stop('SIGKILL')
    await resolver.stop()
    rounds.add(name, 'delivered', delivered, '')
    rounds.add(name, 'deferred', MESSAGES - delivered, '')
    rounds.add(name, 'DNS queries', queries, '')
    rounds.add(name, 'first query to last outcome', ms, 'ms')
  }
  return rounds.rows()
}

/** @returns A folder with queue files: one message that could not be delivered, and the same to all the other domains. */
async function fillQueue(world: World): Promise<string> {
  const { lab } = world
  await lab.zone(ZONE, {
    security: 'signed',
    records: [`${PATTERN} MX 10 nobody`, 'nobody A 192.0.2.99'],
  })
  const haraka = await world.haraka({ port: PORT, plugin: 'off', level: 'info' })
  const sender = await openSender(PORT)
  await sender.send(`u@${PATTERN}.${ZONE}`)
  sender.close()
  await haraka.outcome(`u@${PATTERN}.${ZONE}`, { timeout: PATIENCE })
  await haraka.queueHolds(1)
  await haraka.stop()
  const folder = await mkdtemp(join(lab.folder, 'queue-'))
  for (const name of await haraka.queue()) {
    const file = await readFile(join(haraka.folder, 'queue', name), 'latin1')
    for (let n = 0; n < MESSAGES; n++) {
      // <arrival>_<next attempt>_<attempts>_<pid>_<unique>_<counter>_<host>
      const other = name.replace(/_\d+(_[^_]+)$/, `_${n + 2}$1`)
      await writeFile(join(folder, other), file.replaceAll(PATTERN, labelOf(n)), 'latin1')
    }
  }
  return folder
}

interface Measured {
  /** At the first attempt; the others wait in the queue. */
  readonly delivered: number
  readonly queries: number
  readonly ms: number
}

async function release(
  { receivers }: World,
  resolver: SlowResolver,
  haraka: Haraka,
  queue: string,
): Promise<Measured> {
  await haraka.stop()
  for (const file of await readdir(queue)) {
    await copyFile(join(queue, file), join(haraka.folder, 'queue', file))
  }
  const { outcomes } = haraka
  const arrived = receivers.arrivals.length
  await haraka.restart({ overdue: true })
  await outcomes.waitFor('every outcome', () => outcomes.entries.length >= MESSAGES, {
    timeout: PATIENCE,
  })
  const ended = Date.now()
  const delivered = outcomes.entries.filter(({ kind }) => kind === 'delivered').length
  await receivers.waitFor(arrived + delivered)
  const asked = resolver.queries.filter(({ name }) => name.includes('queue-'))
  return { delivered, queries: asked.length, ms: ended - (asked[0]?.at ?? NaN) }
}
