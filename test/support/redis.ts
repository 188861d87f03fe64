/** A real redis-server on a loopback port, for tests: started, frozen, killed and started again, by process id. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface TestRedis {
  readonly port: number
  /** As in redis.ini. */
  readonly settings: Readonly<Record<string, string | number>>
  /** Ends it at once; what it knew is gone. */
  kill(): Promise<void>
  /** Starts it again, empty, on the same port. */
  start(): Promise<void>
  /** It keeps its connections and answers nothing. */
  freeze(): void
  thaw(): void
  close(): Promise<void>
}

export async function startRedis(): Promise<TestRedis> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'tls-policy-redis-'))
  let child: ChildProcess | undefined

  const start = async (): Promise<void> => {
    const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder]
    child = await spawnRedis(options)
  }
  const kill = async (): Promise<void> => {
    const running = child
    child = undefined
    if (running !== undefined) await killRedis(running)
  }
  await start()
  return {
    port,
    settings: { host: '127.0.0.1', port },
    start,
    kill,
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    async close() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** @param sign what it says when it is ready */
export function spawnRedis(
  options: readonly string[],
  sign = 'Ready to accept connections',
): Promise<ChildProcess> {
  const child = spawn('redis-server', options, { stdio: ['ignore', 'pipe', 'inherit'] })
  return new Promise((resolve, reject) => {
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes(sign)) resolve(child)
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`redis-server ended: ${output}`)))
  })
}

/** Ends it at once, also where it is frozen. */
export async function killRedis(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
