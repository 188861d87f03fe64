/**
 * `herd`: a Haraka that starts with 400 messages in its queue, all to one domain of which it knows nothing, every DNS answer 50 ms
 * late: how often it asks, and how long it takes.
 */
import { copyFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Haraka } from '../support/lab'
import { Rounds, type Row } from './report'
import { openSender } from './sender'
import { type SlowResolver, startSlowResolver } from './slow-resolver'
import { type World, ZONE } from './world'

const DELAY = 50
const ROUNDS = 3
const MESSAGES = 400
const CLIENTS = 8
const PORT = 2570
const DOMAIN = `herd.${ZONE}`

const variants = [
  { name: 'plain Haraka', plugin: 'off' },
  { name: 'DANE and MTA-STS', plugin: 'on' },
] as const

export async function benchHerd(world: World): Promise<readonly Row[]> {
  const queue = await fillQueue(world)
  await world.domains([{ label: 'herd', publishes: 'both' }])
  const resolver = await startSlowResolver(DELAY)
  const rounds = new Rounds('herd')
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, plugin } of variants) {
      const haraka = await world.haraka({ port: PORT, plugin, level: 'info' })
      const measured = await release(world, resolver, haraka, queue)
      await haraka.stop()
      rounds.add(name, 'delivered', measured.delivered, '')
      rounds.add(name, 'DNS queries', measured.queries, '')
      if (plugin === 'on') rounds.add(name, 'policy fetches', measured.fetches, '')
      rounds.add(name, 'first query to last message', measured.ms, 'ms')
    }
  }
  await resolver.stop()
  return rounds.rows()
}

/** @returns A folder with queue files: messages that could not be delivered while the domain's host was nobody. */
async function fillQueue(world: World): Promise<string> {
  await world.lab.zone(ZONE, {
    security: 'signed',
    records: ['herd MX 10 herd-mx', 'herd-mx A 192.0.2.99'],
  })
  const haraka = await world.haraka({ port: PORT, plugin: 'off' })
  let left = MESSAGES
  const send = async () => {
    const sender = await openSender(PORT)
    while (left-- > 0) await sender.send(`u@${DOMAIN}`)
    sender.close()
  }
  await Promise.all(Array.from({ length: CLIENTS }, send))
  const { outcomes } = haraka
  await outcomes.waitFor('all to be deferred', () => outcomes.entries.length >= MESSAGES, {
    timeout: 60_000,
  })
  await haraka.queueHolds(MESSAGES)
  await haraka.stop()
  return join(haraka.folder, 'queue')
}

interface Measured {
  /** At the first attempt; the others wait in the queue. */
  readonly delivered: number
  readonly queries: number
  readonly fetches: number
  readonly ms: number
}

async function release(
  { receivers, policies }: World,
  resolver: SlowResolver,
  haraka: Haraka,
  queue: string,
): Promise<Measured> {
  await haraka.stop()
  for (const file of await readdir(queue)) {
    await copyFile(join(queue, file), join(haraka.folder, 'queue', file))
  }
  const before = {
    arrivals: receivers.arrivals.length,
    queries: resolver.about(DOMAIN).length,
    fetches: policies.requests.entries.length,
  }
  const { outcomes } = haraka
  const known = outcomes.entries.length
  await haraka.restart({ overdue: true })
  await outcomes.waitFor('every outcome', () => outcomes.entries.length >= known + MESSAGES, {
    timeout: 120_000,
  })
  const delivered = outcomes.entries.slice(known).filter(({ kind }) => kind === 'delivered')
  await receivers.waitFor(before.arrivals + delivered.length)
  const queries = resolver.about(DOMAIN).slice(before.queries)
  const last = receivers.arrivals.at(-1)?.at ?? NaN
  return {
    delivered: delivered.length,
    queries: queries.length,
    fetches: policies.requests.entries.length - before.fetches,
    ms: last - (queries[0]?.at ?? NaN),
  }
}
