/** A real Redis Cluster, and a real master with a replica and a Sentinel, on loopback ports, for tests. */
import type { ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from 'redis'
import { freePort, killRedis, spawnRedis } from './redis'

export interface TestNode {
  readonly port: number
  /** Ends it at once. */
  kill(): Promise<void>
  /** It keeps its connections and answers nothing. */
  freeze(): void
  /** Asks this node itself. */
  command(...words: string[]): Promise<unknown>
}

export interface TestNodes {
  readonly nodes: readonly TestNode[]
  close(): Promise<void>
}

/** A master waits for further replicas to come otherwise. */
const AT_ONCE = ['--repl-diskless-sync-delay', '0']

interface Folder {
  readonly path: string
  readonly children: ChildProcess[]
}

/** Three masters, a third of the slots each, and a fourth node that is the replica of the first. */
export async function startCluster(): Promise<TestNodes> {
  const folder = makeFolder()
  const buses: number[] = []
  const nodes: TestNode[] = []
  for (let n = 0; n < 4; n++) {
    const bus = await freePort()
    buses.push(bus)
    nodes.push(
      await startNode(folder, n, [
        ...['--cluster-enabled', 'yes', '--cluster-port', String(bus)],
        ...['--cluster-node-timeout', '1000', ...AT_ONCE],
      ]),
    )
  }
  const [first, second, third, replica] = nodes as [TestNode, TestNode, TestNode, TestNode]
  await first.command('CLUSTER', 'ADDSLOTSRANGE', '0', '5460')
  await second.command('CLUSTER', 'ADDSLOTSRANGE', '5461', '10922')
  await third.command('CLUSTER', 'ADDSLOTSRANGE', '10923', '16383')
  for (const [n, node] of nodes.entries()) {
    await node.command('CLUSTER', 'SET-CONFIG-EPOCH', String(n + 1))
    await first.command('CLUSTER', 'MEET', '127.0.0.1', String(node.port), String(buses[n]))
  }
  const id = String(await first.command('CLUSTER', 'MYID'))
  await until(async () => String(await replica.command('CLUSTER', 'NODES')).includes(id))
  await replica.command('CLUSTER', 'REPLICATE', id)
  for (const node of nodes) {
    await until(async () =>
      String(await node.command('CLUSTER', 'INFO')).includes('cluster_state:ok'),
    )
  }
  await until(() => isLinked(replica))
  return { nodes, close: () => end(folder) }
}

/** nodes: a master, its replica, and the Sentinel, which calls the master `haraka`. */
export async function startSentinel(password: string): Promise<TestNodes> {
  const folder = makeFolder()
  const options = ['--requirepass', password, '--masterauth', password, ...AT_ONCE]
  const master = await startNode(folder, 0, options, password)
  const follow = ['--replicaof', `127.0.0.1 ${master.port}`]
  const replica = await startNode(folder, 1, [...options, ...follow], password)
  await until(() => isLinked(replica))
  const port = await freePort()
  const file = join(folder.path, 'sentinel.conf')
  writeFileSync(
    file,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${folder.path}`,
      `sentinel monitor haraka 127.0.0.1 ${master.port} 1`,
      `sentinel auth-pass haraka ${password}`,
      'sentinel down-after-milliseconds haraka 500',
      'sentinel failover-timeout haraka 2000',
      '',
    ].join('\n'),
  )
  const child = await spawnRedis([file, '--sentinel'], '+monitor master')
  folder.children.push(child)
  const sentinel = makeNode(port, child)
  await until(async () =>
    String(await sentinel.command('SENTINEL', 'REPLICAS', 'haraka')).includes(
      'master-link-status,ok',
    ),
  )
  return { nodes: [master, replica, sentinel], close: () => end(folder) }
}

async function isLinked(replica: TestNode): Promise<boolean> {
  const role = (await replica.command('ROLE')) as readonly unknown[]
  return role[0] === 'slave' && role[3] === 'connected'
}

function makeFolder(): Folder {
  return { path: mkdtempSync(join(tmpdir(), 'tls-policy-redis-')), children: [] }
}

async function end({ path, children }: Folder): Promise<void> {
  for (const child of children) await killRedis(child)
  rmSync(path, { recursive: true, force: true })
}

async function startNode(
  folder: Folder,
  n: number,
  options: readonly string[],
  password?: string,
): Promise<TestNode> {
  const port = await freePort()
  const dir = join(folder.path, String(n))
  mkdirSync(dir)
  const child = await spawnRedis([
    ...['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dir],
    ...options,
  ])
  folder.children.push(child)
  return makeNode(port, child, password)
}

function makeNode(port: number, child: ChildProcess, password?: string): TestNode {
  return {
    port,
    kill: () => killRedis(child),
    freeze: () => void child.kill('SIGSTOP'),
    async command(...words) {
      const client = createClient({
        socket: { host: '127.0.0.1', port, reconnectStrategy: false },
        RESP: 2,
        ...(password === undefined ? {} : { password }),
      })
      client.on('error', () => undefined)
      await client.connect()
      try {
        return await client.sendCommand(words)
      } finally {
        client.destroy()
      }
    },
  }
}

/** Asks until it holds. */
export async function until(holds: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20))
}
