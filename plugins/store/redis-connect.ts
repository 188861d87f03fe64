/**
 * The connections of the store in Redis: one over which it asks, one over which it hears of changes; to one server, to a
 * Cluster, or to the master that Sentinels name.
 *
 * Promises: making them waits for nobody. What is lost is found again by itself, also at another address. After `leave`
 * nothing stays.
 */
import {
  createCluster,
  ClientClosedError,
  ClientOfflineError,
  RootNodesUnavailableError,
} from 'redis'
import { inWords } from './outcome'
import {
  type Client,
  COMMON,
  CONNECT,
  introduce,
  keepLine,
  LAST_ATTEMPT,
  leaveClient,
  type Line,
  makeClient,
  PING,
  RECONNECT,
  SILENCE,
  type Target,
  tlsOptions,
} from './redis-line'
import {
  type Address,
  clusterNodes,
  type RedisSettings,
  REDIS_PORT,
  sentinels,
  settingText,
  wantsTls,
} from './redis-settings'

/** The commands that the store uses; each names one key, or none. */
export type Commands = Pick<
  Client,
  'getRange' | 'set' | 'del' | 'zAdd' | 'zRem' | 'zScore' | 'zScan' | 'pExpire' | 'eval'
>

export interface Connection {
  /** Asks Redis; rejects at once where there is no connection. Waits for the very first attempt to connect. */
  ask<T>(call: (redis: Commands) => Promise<T>): Promise<T>
  /** @param onReady called with each new connection of its own, to any server that passes messages on */
  listen(onReady: (client: Client) => Promise<unknown>): void
  /** Whether all servers that we know of are there. */
  isWhole(): boolean
  leave(): void
}

/**
 * @param ca what `ca_file` holds
 * @throws Error where the settings are none
 */
export function connectRedis(settings: RedisSettings, ca: string | undefined): Connection {
  const tls = tlsTarget(settings, ca)
  const nodes = clusterNodes(settings)
  const watchers = sentinels(settings)
  if (nodes.length > 0) return toCluster(nodes, { ...login(settings), ...tls })
  if (watchers.length > 0) return toMaster(watchers, settings, tls)
  const target = { ...oneServer(settings), ...tls }
  // It throws here, where it is still told, what it would throw at each attempt.
  makeClient(target)
  return overLines(() => target)
}

function login(settings: RedisSettings): Target {
  const username = settingText(settings, 'username', 'user')
  const password = settingText(settings, 'password', 'pass')
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  }
}

function tlsTarget(settings: RedisSettings, ca: string | undefined): Pick<Target, 'tls'> {
  if (!wantsTls(settings)) return {}
  if (ca === undefined && settingText(settings, 'ca_file') !== undefined) {
    throw new Error('ca_file was not read')
  }
  const servername = settingText(settings, 'servername')
  return {
    tls: {
      ...(ca === undefined ? {} : { ca }),
      ...(servername === undefined ? {} : { servername }),
    },
  }
}

function database(settings: RedisSettings): Target {
  const text = settingText(settings, 'database', 'db', 'dbid')
  return text === undefined ? {} : { database: Number(text) }
}

function oneServer(settings: RedisSettings): Target {
  const url = settingText(settings, 'url')
  const path = settingText(settings, 'socket', 'path')
  return {
    ...login(settings),
    ...database(settings),
    // node-redis refuses TLS that the URL does not name.
    ...(url === undefined
      ? {}
      : { url: wantsTls(settings) ? url.replace(/^redis:/i, 'rediss:') : url }),
    ...(path === undefined ? {} : { path }),
    host: settingText(settings, 'host', 'ip') ?? '127.0.0.1',
    port: Number(settingText(settings, 'port') ?? REDIS_PORT),
  }
}

/** Milliseconds between two looks whether a master is to be found where a replica was. */
const REDIAL = 60_000

/** @param check called now and then with the lines in use */
function overLines(
  where: () => Target | Promise<Target>,
  check?: (lines: readonly Line[]) => Promise<void>,
): Connection {
  const main = keepLine({ where })
  const ticks = () => performance.now()
  let redialled = -Infinity
  const lines = [main]
  const watch = check && setInterval(() => void check(lines).catch(() => undefined), PING).unref()
  return {
    async ask(call) {
      await main.firstTry
      const client = main.client()
      if (client === undefined) throw asError(main.trouble() ?? 'no connection yet')
      try {
        return await call(client)
      } catch (err) {
        // It has become a replica: the master is elsewhere, perhaps under the same name.
        if (/^READONLY/.test(inWords(err)) && ticks() - redialled >= REDIAL) {
          redialled = ticks()
          main.redial()
        }
        throw asError(client.isReady ? err : (main.trouble() ?? err))
      }
    },
    isWhole: () => main.client() !== undefined,
    listen: (onReady) => void lines.push(keepLine({ where, onReady })),
    leave() {
      clearInterval(watch)
      for (const line of lines) line.leave()
    },
  }
}

function asError(err: unknown): Error {
  return err instanceof Error ? err : new Error(inWords(err))
}

/** Milliseconds for a Sentinel to answer. */
const SENTINEL_TIME = 1_000

/**
 * node-redis has a client for Sentinel, which asks them without a pause while the master is away, and retries a command for
 * as long as that lasts. This one asks them before each attempt to connect, and every ten seconds.
 */
function toMaster(
  watchers: readonly Address[],
  settings: RedisSettings,
  tls: Pick<Target, 'tls'>,
): Connection {
  const username = settingText(settings, 'sentinel_username')
  const password = settingText(settings, 'sentinel_password')
  const entrance: Target = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...tls,
  }
  const name = settingText(settings, 'sentinel_name') ?? ''
  let known: Address | undefined
  const find = async (): Promise<Address> => {
    const troubles: string[] = []
    for (const watcher of watchers) {
      try {
        return await askSentinel({ ...entrance, ...watcher }, name)
      } catch (err) {
        troubles.push(`Sentinel ${watcher.host}:${watcher.port}: ${inWords(err)}`)
      }
    }
    throw new Error(troubles.join('; '))
  }
  const where = async (): Promise<Target> => {
    known = await find()
    return { ...login(settings), ...database(settings), ...tls, ...known }
  }
  return overLines(where, async (lines) => {
    const { host, port } = await find()
    if (host !== known?.host || port !== known.port) for (const line of lines) line.redial()
  })
}

async function askSentinel(target: Target, name: string): Promise<Address> {
  const client = makeClient(target, {
    connectTimeout: SENTINEL_TIME,
    socketTimeout: SENTINEL_TIME,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    const found: unknown = await client.sendCommand(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name])
    const [host, port] = Array.isArray(found) ? (found as readonly unknown[]) : []
    if (typeof host !== 'string') throw new Error(`it knows no master ${name}`)
    return { host, port: Number(port) }
  } finally {
    if (client.isOpen) client.destroy()
  }
}

type Cluster = ReturnType<typeof makeCluster>

/** Each command goes to the node of its key; changes are heard from any node. */
function toCluster(roots: readonly Address[], entrance: Target): Connection {
  let trouble: unknown
  const hear = (err: unknown): void => {
    // That none of them could be used is said when each has said why.
    if (!(err instanceof RootNodesUnavailableError) || trouble === undefined) trouble = err
  }
  let left = false
  let timer: NodeJS.Timeout | undefined
  let cluster = makeCluster(roots, entrance, hear)
  let listener: Line | undefined

  const begin = async (): Promise<void> => {
    try {
      await cluster.connect()
    } catch (err) {
      hear(err)
      if (!left) timer = setTimeout(beginAgain, RECONNECT).unref()
    }
  }
  const beginAgain = (): void => {
    begin().catch(hear)
  }
  const firstTry = begin()

  /** A node that is gone for good is never told to have moved: the cluster is looked at afresh. */
  const renew = async (): Promise<void> => {
    const fresh = makeCluster(roots, entrance, hear)
    const connected = await fresh.connect().then(
      () => true,
      () => false,
    )
    if (connected && !left) {
      leaveCluster(cluster)
      cluster = fresh
    } else {
      leaveCluster(fresh)
    }
  }
  let renewing = false
  const beat = setInterval(() => {
    const clients = nodeClients(cluster)
    for (const client of clients) {
      if (client.isReady) client.sendCommand(['PING']).catch(() => undefined)
    }
    if (renewing || clients.every((client) => client.isReady)) return
    renewing = true
    renew()
      // The next beat tries again.
      .catch(() => undefined)
      .finally(() => (renewing = false))
  }, PING).unref()

  let turn = 0
  const next = (): Target => {
    const known = cluster.masters.map(({ host, port }) => ({ host, port }))
    const places = [...roots, ...known]
    return { ...entrance, ...places[turn++ % places.length] }
  }
  return {
    async ask(call) {
      await firstTry
      if (left) throw new Error('the store is closed')
      try {
        return await call(cluster)
      } catch (err) {
        const offline =
          err instanceof ClientOfflineError ||
          err instanceof ClientClosedError ||
          err instanceof RootNodesUnavailableError
        throw asError(offline ? (trouble ?? err) : err)
      }
    },
    isWhole: () => nodeClients(cluster).every(({ isReady }) => isReady),
    listen(onReady) {
      listener = keepLine({ where: next, onReady })
    },
    leave() {
      left = true
      clearInterval(beat)
      clearTimeout(timer)
      leaveCluster(cluster)
      listener?.leave()
    },
  }
}

function makeCluster(
  roots: readonly Address[],
  { username, password, tls }: Target,
  hear: (err: unknown) => void,
) {
  const cluster = createCluster({
    // Of a root node only the way to the others is asked, and that in time.
    rootNodes: roots.map(({ host, port }) => ({
      socket: { host, port, socketTimeout: CONNECT },
    })),
    defaults: {
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      socket: {
        connectTimeout: CONNECT,
        socketTimeout: SILENCE,
        reconnectStrategy: () => RECONNECT,
        ...tlsOptions(tls),
      },
      disableOfflineQueue: COMMON.disableOfflineQueue,
      commandsQueueMaxLength: COMMON.commandsQueueMaxLength,
    },
    RESP: COMMON.RESP,
    // One node that is down must not keep us from the others.
    minimizeConnections: true,
    topologyRefreshOnReconnectionAttemptStrategy: RECONNECT,
  })
  cluster.on('error', hear)
  cluster.on('node-error', hear)
  cluster.on('node-connect', () => {
    for (const client of nodeClients(cluster)) client.unref()
  })
  cluster.on('node-ready', ({ host, port }) => {
    const found = cluster.nodeByAddress.get(`${host}:${port}`)?.client
    if (found !== undefined) introduce(found)
  })
  return cluster
}

function nodeClients(cluster: Cluster) {
  return cluster.masters.map(({ client }) => client).filter((client) => client !== undefined)
}

/** A client that has no connection yet is not to be destroyed at once; see leaveClient. */
function leaveCluster(cluster: Cluster): void {
  const waiting = nodeClients(cluster).filter((client) => !client.isReady)
  for (const client of waiting) leaveClient(client)
  if (waiting.length === 0) cluster.destroy()
  else setTimeout(() => cluster.destroy(), LAST_ATTEMPT)
}
