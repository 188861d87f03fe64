/**
 * `delivery`: what a message costs a real Haraka over STARTTLS to the same local receiver, warm, plain and with the plugin. CPU is
 * that of the Haraka process alone, inbound side included; it is the figure that counts, rates suffer with the machine. Plain
 * Haraka runs twice, as two processes: how far apart these are is what the machine blurs. What it does to a process from one
 * second to the next is more than the plugin costs, so all take short turns, and always in the same order: who comes again
 * soon finds the processor's caches warm. And as two processes that do the same may differ for as long as they
 * live, all are begun anew.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Haraka } from '../support/lab'
import { cpuOf, sleep } from './process'
import { Rounds, type Row } from './report'
import { openSender, type Sender } from './sender'
import { keyKinds, type KeyKind, type World, ZONE } from './world'

interface Variant {
  readonly name: string
  readonly plugin: 'off' | 'on'
  readonly settings?: string
  /** Which domain it sends to. */
  readonly publishes: 'nothing' | 'dane' | 'sts'
  /** What the log line of each delivery must say; plain Haraka has none. */
  readonly verdict?: string
}

const variants: readonly Variant[] = [
  { name: 'plain Haraka', plugin: 'off', publishes: 'nothing' },
  { name: 'plain Haraka again', plugin: 'off', publishes: 'nothing' },
  { name: 'no policy', plugin: 'on', publishes: 'nothing', verdict: 'verdict=encrypted' },
  { name: 'DANE-EE verified', plugin: 'on', publishes: 'dane', verdict: 'verdict=verified' },
  { name: 'MTA-STS verified', plugin: 'on', publishes: 'sts', verdict: 'verdict=verified' },
  {
    name: 'observe',
    plugin: 'on',
    settings: '[main]\nmode=observe',
    publishes: 'dane',
    verdict: 'verdict=verified',
  },
]

/** How often all Harakas begin anew, and rounds of each time. */
const TIMES = { generations: 2, rounds: 6 }
/** Under a profiler the figures are worth nothing. */
const TIMES_PROFILED = { generations: 1, rounds: 2 }
/** Of a round: so many times, so many messages to each Haraka. */
const TURNS = 6
const MESSAGES = 20
/** Until V8 has compiled what it will: a relay runs for days. */
const WARM_UP = 600
/** Mail clients, and messages at most between them and the receiver. */
const CLIENTS = 8
const UNDER_WAY = 24

interface Bench {
  readonly variant: Variant
  readonly haraka: Haraka
  readonly senders: readonly Sender[]
}

export interface DeliveryOptions {
  /** Folder for one .cpuprofile a variant (node --cpu-prof). */
  readonly profiles?: string
}

export async function benchDelivery(
  world: World,
  { profiles }: DeliveryOptions = {},
): Promise<readonly Row[]> {
  const domainOf = (publishes: string, key: KeyKind) => `${publishes}-${key}`
  await world.domains(
    keyKinds.flatMap((key) =>
      (['nothing', 'dane', 'sts'] as const).map((publishes) => ({
        label: domainOf(publishes, key),
        key,
        publishes,
      })),
    ),
  )
  const rounds = new Rounds('delivery')
  const times = profiles === undefined ? TIMES : TIMES_PROFILED
  for (let generation = 0; generation < times.generations; generation++) {
    const benches = await begin(world, profiles)
    const recipient = ({ variant }: Bench, key: KeyKind) =>
      `u@${domainOf(variant.publishes, key)}.${ZONE}`
    for (const key of keyKinds) {
      for (const bench of benches) await deliver(bench, recipient(bench, key), WARM_UP)
    }
    for (let round = 0; round < times.rounds; round++) {
      for (const key of keyKinds) {
        addRound(rounds, key, await measure(benches, (bench) => recipient(bench, key)))
      }
    }
    for (const { haraka, senders } of benches) {
      for (const sender of senders) sender.close()
      await haraka.stop()
    }
  }
  return rounds.rows()
}

async function begin(world: World, profiles: string | undefined): Promise<readonly Bench[]> {
  const benches: Bench[] = []
  for (const [index, variant] of variants.entries()) {
    const port = 2530 + index
    const node = profiles === undefined ? {} : { node: await profiler(profiles, variant.name) }
    const { plugin, settings = '' } = variant
    const haraka = await world.haraka({ port, plugin, settings, ...node })
    const senders = await Promise.all(Array.from({ length: CLIENTS }, () => openSender(port)))
    benches.push({ variant, haraka, senders })
  }
  return benches
}

interface Measured {
  /** Milliseconds a message. */
  readonly cpu: number
  /** Messages a second. */
  readonly rate: number
}

async function measure(
  benches: readonly Bench[],
  recipient: (bench: Bench) => string,
): Promise<ReadonlyMap<Bench, Measured>> {
  const used = ({ haraka }: Bench) => cpuOf(haraka.pid ?? 0)
  const before = new Map(benches.map((bench) => [bench, used(bench)]))
  const seconds = new Map(benches.map((bench) => [bench, 0]))
  for (let turn = 0; turn < TURNS; turn++) {
    for (const bench of benches) {
      const took = await deliver(bench, recipient(bench), MESSAGES)
      seconds.set(bench, (seconds.get(bench) ?? NaN) + took)
    }
  }
  // What the last sessions still have to do.
  await sleep(100)
  const count = TURNS * MESSAGES
  return new Map(
    benches.map((bench) => [
      bench,
      {
        cpu: (used(bench) - (before.get(bench) ?? NaN)) / count,
        rate: count / (seconds.get(bench) ?? NaN),
      },
    ]),
  )
}

function addRound(rounds: Rounds, key: KeyKind, measured: ReadonlyMap<Bench, Measured>): void {
  const benches = [...measured.keys()]
  const plain = benches.filter(({ variant }) => variant.plugin === 'off')
  const base =
    plain.reduce((sum, bench) => sum + (measured.get(bench)?.cpu ?? NaN), 0) / plain.length
  for (const bench of benches) {
    const { cpu, rate } = measured.get(bench) ?? {}
    if (cpu === undefined || rate === undefined) continue
    const title = `${key} ${bench.variant.name}`
    rounds.add(title, 'CPU per message', cpu, 'ms')
    rounds.add(title, 'CPU, plain = 1', cpu / base, '')
    rounds.add(title, 'rate', rate, 'messages/s')
  }
}

/** @returns how long it took, in seconds. */
async function deliver(
  { haraka, senders, variant }: Bench,
  recipient: string,
  count: number,
): Promise<number> {
  const { outcomes } = haraka
  const before = outcomes.entries.length
  const logged = haraka.log().length
  const arrived = (total: number) =>
    outcomes.waitFor('messages to be delivered', () => true, {
      from: before + total - 1,
      timeout: 60_000,
    })
  const began = performance.now()
  let next = 0
  await Promise.all(
    senders.map(async (sender) => {
      while (next < count) {
        next++
        if (next > UNDER_WAY) await arrived(next - UNDER_WAY)
        await sender.send(recipient)
      }
    }),
  )
  await arrived(count)
  const seconds = (performance.now() - began) / 1000
  for (const outcome of outcomes.entries.slice(before)) {
    if (outcome.kind !== 'delivered' || !outcome.tls) {
      throw new Error(`${variant.name}: not delivered over TLS: ${JSON.stringify(outcome)}`)
    }
  }
  const { verdict } = variant
  const lines = haraka.log().slice(logged)
  if (verdict !== undefined && lines.filter((line) => line.includes(verdict)).length !== count) {
    throw new Error(`${variant.name}: not every delivery has ${verdict} in the log`)
  }
  return seconds
}

/** A node that leaves a profile behind as it ends. */
async function profiler(folder: string, name: string): Promise<string> {
  await mkdir(folder, { recursive: true })
  const slug = name.toLowerCase().replace(/[^a-z]+/g, '-')
  const program = join(folder, `node-${slug}`)
  const options = `--cpu-prof --cpu-prof-dir='${folder}' --cpu-prof-name='${slug}.cpuprofile'`
  await writeFile(program, `#!/bin/sh\nexec '${process.execPath}' ${options} "$@"\n`, {
    mode: 0o755,
  })
  return program
}
