/**
 * `start`: how long a Haraka takes until it accepts mail, and what memory it has then, plain and with the plugin, with few and with
 * many policies in its store.
 */
import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type * as lmdbModule from '../../plugins/store/lmdb/store'
import { policyText } from '../support/lab'
import { cpuOf, memoryOf, sleep } from './process'
import { Rounds, type Row } from './report'
import { compiled, type World } from './world'

const ROUNDS = 5
const POLICIES = 100_000
const PORT = 2580
/** Milliseconds after the start at which memory is looked at: what a start leaves behind is collected by then, or stays. */
const SETTLED = 1000

export async function benchStart(world: World): Promise<readonly Row[]> {
  const filled = join(world.lab.folder, 'policies')
  await mkdir(filled)
  await fillStore(join(filled, 'policies.mdb'))
  const variants = [
    { name: 'plain Haraka', plugin: 'off' },
    { name: 'no policies', plugin: 'on' },
    { name: `${POLICIES.toLocaleString('en')} policies`, plugin: 'on', store: filled },
  ] as const
  const rounds = new Rounds('start')
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, variant] of variants.entries()) {
      const { name, plugin } = variant
      const folder = join(world.lab.folder, `store-${round}-${index}`)
      await mkdir(folder)
      if ('store' in variant) {
        await copyFile(join(variant.store, 'policies.mdb'), join(folder, 'policies.mdb'))
      }
      const settings = `[store]\npath=${folder}`
      const began = performance.now()
      const haraka = await world.haraka({ port: PORT, plugin, settings, level: 'info' })
      const ms = performance.now() - began
      const { pid = 0 } = haraka
      const cpu = cpuOf(pid)
      await sleep(SETTLED)
      const { anonymous, resident } = memoryOf(pid)
      await haraka.stop()
      rounds.add(name, 'time until mail is taken', ms, 'ms')
      rounds.add(name, 'CPU until then', cpu, 'ms')
      rounds.add(name, 'memory of its own', anonymous, 'MiB')
      rounds.add(name, 'memory, files included', resident, 'MiB')
    }
  }
  return rounds.rows()
}

async function fillStore(path: string): Promise<void> {
  const { lmdbStore } = compiled('store/lmdb/store.js') as typeof lmdbModule
  const store = lmdbStore(path, {
    now: Date.now,
    log: { info: ignore, notice: ignore, warn: ignore, error: ignore },
  })
  const fetchedAt = Date.now()
  const expiresAt = fetchedAt + 604_800_000
  const writing: Promise<unknown>[] = []
  for (let number = 0; number < POLICIES; number++) {
    const domain = `domain-${number}.test`
    const text = policyText('enforce', [`mx1.${domain}`, `mx2.${domain}`])
    writing.push(store.setPolicy({ domain, id: '20260101000000Z', text, fetchedAt, expiresAt }))
    if (writing.length === 1000) await Promise.all(writing.splice(0))
  }
  await Promise.all(writing)
  let kept = 0
  for (let after: string | undefined, more = true; more;) {
    const page = await store.listDomains(after)
    if (!page.ok) throw new Error(page.detail)
    kept += page.value.domains.length
    after = page.value.next
    more = after !== undefined
  }
  await store.close()
  if (kept !== POLICIES) throw new Error('the store was not filled')
}

function ignore(): void {
  // What the store says of itself is not measured.
}
