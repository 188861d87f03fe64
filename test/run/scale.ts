/**
 * `npm run scale [-- NUMBER [lmdb|redis]]`: loads so many policies (a million, unless told otherwise) into each store and prints what they
 * cost: octets, time of a lookup, refresh work, memory of a worker. Real stores, a real redis-server of its own, each
 * measurement in a process of its own. The numbers of docs/scale.md came out of it. Twenty thousand take a minute.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { installMissingPackages, searchPath } from './debian-packages'
import type { Measured, ScaleSettings } from '../scale/world'

const MILLION = 1_000_000
const TASKS = ['lookups', 'round', 'census', 'sweep', 'refreshing'] as const
type Task = (typeof TASKS)[number] | 'load'
type Backend = ScaleSettings['backend']

interface Redis {
  readonly socket: string
  usedMemory(): number
  stop(): Promise<void>
}

async function startRedis(folder: string): Promise<Redis> {
  const socket = join(folder, 'redis.sock')
  const options = ['--port', '0', '--unixsocket', socket, '--save', '', '--dir', folder]
  const env = { ...process.env, PATH: searchPath }
  const child = spawn('redis-server', options, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const chunk of child.stdout) {
    if (String(chunk).includes('eady to accept connections')) break
  }
  return {
    socket,
    usedMemory() {
      const told = execFileSync('redis-cli', ['-s', socket, 'info', 'memory'], { env })
      return Number(/^used_memory:(\d+)/m.exec(told.toString())?.[1])
    },
    async stop() {
      const ended = once(child, 'exit')
      child.kill()
      await ended
    },
  }
}

async function run(task: Task, settings: ScaleSettings): Promise<Measured> {
  const script = join(__dirname, '../scale/worker.ts')
  const args = ['--expose-gc', '--import', 'tsx', script, task, JSON.stringify(settings)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const [status] = (await once(child, 'close')) as [number | null]
  if (status !== 0) throw new Error(`${settings.backend}, ${task}: exit ${status ?? 'by a signal'}`)
  return JSON.parse(output) as Measured
}

function say(what: string, ...figures: readonly string[]): void {
  console.log(`  ${what.padEnd(44)} ${figures.join(', ')}`)
}

function report(task: Task, measured: Measured, count: number): void {
  const number = (key: string) => measured[key] ?? NaN
  const seconds = (key: string) => `${number(key).toFixed(number(key) < 1 ? 3 : 1)} s`
  const micro = (key: string) => `${number(key).toFixed(1)} µs`
  const mib = (key: string) => `${(number(key) / 1_048_576).toFixed(1)} MiB`
  const work = [
    `${seconds('wall')}`,
    `CPU ${seconds('cpu')}`,
    `nothing else for ${seconds('held')}`,
  ]
  switch (task) {
    case 'load':
      return say('loading', `${seconds('wall')}`, `${Math.round(count / number('wall'))}/s`)
    case 'lookups':
      say('warm lookup', `median ${micro('warmMedian')}`, `p99 ${micro('warmP99')}`)
      say('cold lookup, DNS left out', `median ${micro('coldMedian')}`, `p99 ${micro('coldP99')}`)
      return say('memory of a worker', `${mib('held')} in the heap`, `${mib('memory')} in all`)
    case 'round':
      return say('round of the refresh, nothing due', ...work)
    case 'census':
      return say('census for the metrics', ...work, `${mib('memory')} more`)
    case 'sweep':
      return say('twenty steps of the sweep', ...work)
    case 'refreshing': {
      const day = (number('refreshCpu') * count) / 1e6
      say('one refresh', `CPU ${(number('refreshCpu') / 1000).toFixed(1)} ms`)
      say('', `${Math.round(number('refreshesPerSecond'))}/s in one worker, servers near by`)
      return say(
        `${count} refreshes a day`,
        `CPU ${Math.round(day)} s`,
        `${((day / 86_400) * 100).toFixed(2)} % of a core`,
      )
    }
  }
}

function octets(what: string, all: number, count: number): void {
  say(what, `${Math.round(all / count)} octets a policy`, `${(all / 1_048_576).toFixed(0)} MiB`)
}

async function measure(settings: ScaleSettings, redis: Redis): Promise<void> {
  const { backend, count, path } = settings
  console.log(`\n${backend}, ${count} policies`)
  const before = redis.usedMemory()
  report('load', await run('load', settings), count)
  if (backend === 'lmdb') octets('file', statSync(path).size, count)
  else {
    octets('Redis', redis.usedMemory() - before, count)
    // What this machine would have in its copy.
    const other = join(path, '../lmdb.mdb')
    if (existsSync(other)) copyFileSync(other, path)
  }
  for (const task of TASKS) report(task, await run(task, settings), count)
}

async function main(): Promise<void> {
  const count = Number(process.argv[2] ?? MILLION)
  const only = process.argv[3]
  if (!Number.isInteger(count) || count < 1000 || (only !== undefined && !isBackend(only))) {
    console.error('usage: npm run scale [-- NUMBER [lmdb|redis]], with a NUMBER of 1000 or more')
    process.exitCode = 64
    return
  }
  installMissingPackages()
  const folder = mkdtempSync(join(tmpdir(), 'tls-policy-scale-'))
  const redis = await startRedis(folder)
  try {
    const [cpu] = cpus()
    const memory = Math.round(totalmem() / 1_073_741_824)
    console.log(
      `${cpus().length} × ${cpu?.model.trim() ?? '?'}, ${memory} GiB, Node.js ${process.version}`,
    )
    const loadedAt = Date.now()
    for (const backend of ['lmdb', 'redis'] as const) {
      if (only !== undefined && backend !== only) continue
      const path = join(folder, `${backend}.mdb`)
      await measure({ backend, count, path, redisSocket: redis.socket, loadedAt }, redis)
    }
  } finally {
    await redis.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function isBackend(text: string): text is Backend {
  return text === 'lmdb' || text === 'redis'
}

void main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
