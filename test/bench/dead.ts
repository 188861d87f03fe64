/**
 * `dead`: mail to many domains whose name servers never answer is under way; how long then takes the first message to a healthy
 * domain of which nobody knows anything. The resolver and Haraka are new each time: neither knows any of them.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Haraka } from '../support/lab'
import { nextAddress } from '../support/lab/world'
import { Rounds, type Row } from './report'
import { openSender } from './sender'
import { type World, ZONE } from './world'

const ROUNDS = 3
const COUNTS = [0, 100, 1000] as const
const ROOMS = [
  ['defaults', "the resolver's defaults"],
  ['advised', 'the resolver as advised'],
] as const
/** Recipients of one message. */
const OF_ONE = 50
const PORT = 2580
/** What is directly below counts as a zone of its own, as below co.uk. */
const PARENT = 'co.zz'
/** Milliseconds: all tries of all lookups. */
const PATIENCE = 60_000

const variants = [
  { name: 'plain Haraka', plugin: 'off' },
  { name: 'DANE and MTA-STS', plugin: 'on' },
] as const

export async function benchDead(world: World): Promise<readonly Row[]> {
  const servers = await silentServers(world, Math.max(...COUNTS))
  const trials = Array.from({ length: ROUNDS }, (_, round) =>
    ROOMS.flatMap(([room, words]) =>
      COUNTS.flatMap((count) =>
        variants.map((variant) => ({
          ...variant,
          count,
          room,
          words,
          label: `dead-${variant.plugin}-${room}-${count}-${round}`,
        })),
      ),
    ),
  ).flat()
  await world.domains(trials.map(({ label }) => ({ label, publishes: 'both' })))
  const rounds = new Rounds('dead')
  for (const { name, plugin, count, room, words, label } of trials) {
    await world.lab.resolver.restart({ validates: true, room })
    const haraka = await world.haraka({ port: PORT, plugin, level: 'info' })
    const ms = await firstMessage(world, haraka, count, `u@${label}.${ZONE}`)
    await haraka.stop('SIGKILL')
    const among = `among ${count} dead domains, ${words}`
    rounds.add(name, `deferred ${among}`, ms === undefined ? 1 : 0, '')
    if (ms !== undefined) rounds.add(name, `delivered ${among}`, ms, 'ms')
  }
  for (const server of servers) server.close()
  return rounds.rows()
}

/** @returns Milliseconds from "queued" to the receiver; undefined where the message was deferred. */
async function firstMessage(
  { receivers }: World,
  haraka: Haraka,
  dead: number,
  recipient: string,
): Promise<number | undefined> {
  const sender = await openSender(PORT)
  for (let n = 0; n < dead; n += OF_ONE) {
    await sender.send(...Array.from({ length: OF_ONE }, (_, k) => `u@n${n + k}.${PARENT}`))
  }
  const queued = await sender.send(recipient)
  const { kind } = await haraka.outcome(recipient, { timeout: PATIENCE })
  sender.close()
  return kind === 'delivered' ? (await receivers.arrival(recipient)).at - queued : undefined
}

/** Domains n0, n1, … each with a name server of its own that hears and never answers. */
async function silentServers({ lab }: World, count: number): Promise<readonly Socket[]> {
  const addresses = Array.from({ length: count }, nextAddress)
  const lines = addresses.map((address, n) => [`n${n} NS ns.n${n}`, `ns.n${n} A ${address}`])
  await lab.zone(PARENT, { security: 'signed', records: lines.flat() })
  return Promise.all(
    addresses.map(async (address) => {
      const server = createSocket('udp4')
      server.bind(53, address)
      await once(server, 'listening')
      return server
    }),
  )
}
