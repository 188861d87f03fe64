/**
 * `delivery`: what a message costs a real Haraka over STARTTLS to the same local receiver, warm, plain and with the plugin. CPU is
 * that of the Haraka process alone, inbound side included; it is the figure that counts, rates suffer with the machine.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Haraka } from '../../test/support/lab'
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

const ROUNDS = 9
/** Under a profiler the figures are worth nothing. */
const ROUNDS_PROFILED = 2
const MESSAGES = 120
const WARM_UP = 250
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
  const benches: Bench[] = []
  for (const [index, variant] of variants.entries()) {
    const port = 2530 + index
    const node = profiles === undefined ? {} : { node: await profiler(profiles, variant.name) }
    const { plugin, settings = '' } = variant
    const haraka = await world.haraka({ port, plugin, settings, ...node })
    const senders = await Promise.all(Array.from({ length: CLIENTS }, () => openSender(port)))
    benches.push({ variant, haraka, senders })
  }
  const rounds = new Rounds('delivery')
  const last = profiles === undefined ? ROUNDS : ROUNDS_PROFILED
  for (let round = -1; round < last; round++) {
    // There and back again: what changes on the machine meanwhile meets all alike.
    const order = round % 2 === 0 ? benches : [...benches].reverse()
    for (const key of keyKinds) {
      const measured = new Map<Bench, Measured>()
      for (const bench of order) {
        const recipient = `u@${domainOf(bench.variant.publishes, key)}.${ZONE}`
        measured.set(bench, await deliver(bench, recipient, round < 0 ? WARM_UP : MESSAGES))
      }
      if (round >= 0) addRound(rounds, key, benches, measured)
    }
  }
  for (const { haraka, senders } of benches) {
    for (const sender of senders) sender.close()
    await haraka.stop()
  }
  return rounds.rows()
}

function addRound(
  rounds: Rounds,
  key: KeyKind,
  benches: readonly Bench[],
  measured: ReadonlyMap<Bench, Measured>,
): void {
  const plain = benches.find(({ variant }) => variant.plugin === 'off')
  const base = plain && measured.get(plain)
  for (const bench of benches) {
    const { cpu, rate } = measured.get(bench) ?? {}
    if (cpu === undefined || rate === undefined || base === undefined) continue
    const title = `${key} ${bench.variant.name}`
    rounds.add(title, 'CPU per message', cpu, 'ms')
    rounds.add(title, 'CPU, plain = 1', cpu / base.cpu, '')
    rounds.add(title, 'rate', rate, 'messages/s')
  }
}

interface Measured {
  /** Milliseconds a message. */
  readonly cpu: number
  /** Messages a second. */
  readonly rate: number
}

async function deliver(
  { haraka, senders, variant }: Bench,
  recipient: string,
  count: number,
): Promise<Measured> {
  const { outcomes, pid = 0 } = haraka
  const before = outcomes.entries.length
  const logged = haraka.log().length
  const arrived = (total: number) =>
    outcomes.waitFor('messages to be delivered', () => true, {
      from: before + total - 1,
      timeout: 60_000,
    })
  const [began, used] = [performance.now(), cpuOf(pid)]
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
  // What the last sessions still have to do.
  await sleep(100)
  const cpu = (cpuOf(pid) - used) / count
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
  return { cpu, rate: count / seconds }
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
