/**
 * What mail to a hostile zone moves a whole Haraka by, with and without the plugin, over NSD and Unbound: 20 MX hosts of 850 TLSA records
 * among as many MX records as fit into a message, and as many TXT records, under a subdomain for each recipient.
 */
import type { Haraka } from '../support/lab'
import { memoryOf } from './process'
import type { Row } from './report'
import { openSender } from './sender'
import type { World } from './world'

const PORT = 2560
const ZONE = 'evil.test'
const HOSTS = 20
const TLSA = 850
const MX = 1500
const TXT = 1500
/** The first are not counted: code runs for the first time, and V8 takes as much room as one turn needs. */
const STAGES = [20, 100, 300]
/** Recipients of one message. */
const TOGETHER = 10

const variants = [
  { name: 'plain Haraka', plugin: 'off' },
  { name: 'plugin', plugin: 'on' },
] as const

export async function memoryUnderHostileZone(world: World): Promise<readonly Row[]> {
  await world.lab.zone(ZONE, { security: 'signed', records: records() })
  const rows: Row[] = []
  for (const { name, plugin } of variants) {
    const haraka = await world.haraka({ port: PORT, plugin, level: 'info' })
    const own = () => memoryOf(haraka.pid ?? NaN).anonymous
    const start = own()
    rows.push(row(`${name}, at start`, start))
    let sent = 0
    for (const stage of STAGES) {
      await deliver(haraka, sent, stage)
      sent = stage
      rows.push(row(`${name}, after ${stage} subdomains`, own()))
    }
    await haraka.stop()
  }
  return rows
}

function row(name: string, value: number): Row {
  return { bench: 'memory', case: name, metric: 'memory of its own', value, unit: 'MiB' }
}

function records(): string[] {
  const records: string[] = []
  const short = (n: number) => n.toString(36)
  for (let host = 0; host < MX; host++) {
    records.push(`* MX ${host < HOSTS ? 10 : 20} ${short(host)}`)
    if (host >= HOSTS) continue
    records.push(`${short(host)} A 192.0.2.20`)
    for (let n = 0; n < TLSA; n++) {
      records.push(`_25._tcp.${short(host)} TLSA 3 1 1 ${n.toString(16).padStart(64, '0')}`)
    }
  }
  for (let n = 0; n < TXT; n++) records.push(`* TXT "${short(n)}"`)
  return records
}

/** One message after the other, so that the figures are those of what stays, and not of how many are under way. */
async function deliver(haraka: Haraka, from: number, to: number): Promise<void> {
  const { outcomes } = haraka
  const sender = await openSender(PORT)
  for (let n = from; n < to; n += TOGETHER) {
    const known = outcomes.entries.length
    await sender.send(...Array.from({ length: TOGETHER }, (_, k) => `u@d${n + k}.${ZONE}`))
    const all = () => outcomes.entries.length >= known + TOGETHER
    await outcomes.waitFor('every outcome', all, { timeout: 300_000 })
  }
  sender.close()
}
