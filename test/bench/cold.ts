/**
 * `cold`: the first message to a domain of which nobody knows anything, with every DNS answer 50 ms late. Alone, from the client's
 * "queued" to the receiver; and behind another message on which Haraka is busy for half a second, from the end of that one: there
 * only what has not been looked up by then is to be waited for.
 */
import type { Haraka } from '../support/lab'
import { Rounds, type Row } from './report'
import { openSender, type Sender } from './sender'
import { type SlowResolver, startSlowResolver } from './slow-resolver'
import { type Publishes, type World } from './world'

const DELAY = 50
const ROUNDS = 5

interface Variant {
  readonly name: string
  readonly plugin: 'off' | 'on'
  readonly publishes: Publishes
}

const variants: readonly Variant[] = [
  { name: 'plain Haraka', plugin: 'off', publishes: 'nothing' },
  { name: 'no policy', plugin: 'on', publishes: 'nothing' },
  { name: 'DANE', plugin: 'on', publishes: 'dane' },
  { name: 'MTA-STS', plugin: 'on', publishes: 'sts' },
  { name: 'DANE and MTA-STS', plugin: 'on', publishes: 'both' },
]

interface Bench {
  readonly world: World
  readonly resolver: SlowResolver
  readonly harakas: Readonly<Record<'off' | 'on', Running>>
}

interface Running {
  readonly haraka: Haraka
  readonly sender: Sender
}

export async function benchCold(world: World): Promise<readonly Row[]> {
  const labelOf = (variant: number, round: number, queued: boolean) =>
    `cold-${variant}-${round}-${queued ? 'behind' : 'alone'}`
  const trials = Array.from({ length: ROUNDS }, (_, round) =>
    variants.flatMap((variant, index) =>
      [false, true].map((queued) => ({ variant, queued, label: labelOf(index, round, queued) })),
    ),
  )
  const slow = { label: 'slow', publishes: 'nothing', slow: true } as const
  const [, ...domains] = await world.domains([
    slow,
    ...trials.flat().map(({ label, variant }) => ({ label, publishes: variant.publishes })),
  ])
  await fillCaches(world, domains)
  const resolver = await startSlowResolver(DELAY)
  const bench: Bench = {
    world,
    resolver,
    harakas: { off: await run(world, 'off', 2560), on: await run(world, 'on', 2561) },
  }
  const rounds = new Rounds('cold')
  for (const round of trials) {
    for (const { variant, queued, label } of round) {
      const running = bench.harakas[variant.plugin]
      const domain = `${label}.bench.test`
      if (queued) {
        rounds.add(variant.name, 'behind a queue', await behindAQueue(bench, running, domain), 'ms')
      } else {
        rounds.add(variant.name, 'alone', await alone(bench, running, domain), 'ms')
        rounds.add(variant.name, 'DNS queries', resolver.about(domain).length, '')
      }
    }
  }
  for (const { haraka, sender } of Object.values(bench.harakas)) {
    sender.close()
    await haraka.stop()
  }
  await resolver.stop()
  return rounds.rows()
}

/** One delivery at a time, so that the second message has to wait for the first. */
async function run(world: World, plugin: 'off' | 'on', port: number): Promise<Running> {
  const files = { 'outbound.ini': 'concurrency_max=1' }
  const haraka = await world.haraka({ port, plugin, files })
  const sender = await openSender(port)
  await haraka.deliver('u@slow.bench.test')
  return { haraka, sender }
}

async function alone({ world }: Bench, running: Running, domain: string): Promise<number> {
  const recipient = `u@${domain}`
  const queued = await running.sender.send(recipient)
  await running.haraka.outcome(recipient)
  return (await world.receivers.arrival(recipient)).at - queued
}

async function behindAQueue(
  { world: { receivers } }: Bench,
  running: Running,
  domain: string,
): Promise<number> {
  const [first, second] = [`${domain}@slow.bench.test`, `u@${domain}`]
  await running.sender.send(first)
  await running.sender.send(second)
  await running.haraka.outcome(first)
  await running.haraka.outcome(second)
  return (await receivers.arrival(second)).at - (await receivers.arrival(first)).at
}

/** What is measured is the way to the resolver, not the resolver's own way to the zone. */
async function fillCaches({ lab }: World, domains: readonly string[]): Promise<void> {
  for (const domain of domains) {
    const mx = domain.replace('.', '-mx.')
    for (const [name, type] of [
      [domain, 'MX'],
      [mx, 'A'],
      [mx, 'AAAA'],
      [`_25._tcp.${mx}`, 'TLSA'],
      [`_mta-sts.${domain}`, 'TXT'],
      [`mta-sts.${domain}`, 'A'],
      [`mta-sts.${domain}`, 'AAAA'],
    ] as const) {
      await lab.ask(name, type)
    }
  }
}
