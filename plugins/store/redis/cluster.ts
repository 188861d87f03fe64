/** The connections to the nodes of a Redis Cluster, and one more over which changes are heard of. */
import {
  createCluster,
  ClientClosedError,
  ClientOfflineError,
  RootNodesUnavailableError,
} from 'redis'
import type { Connection } from './connection'
import {
  COMMON,
  CONNECT,
  introduce,
  keepClient,
  type KeptClient,
  LAST_ATTEMPT,
  leaveClient,
  PING,
  RECONNECT,
  SILENCE,
  type Target,
  tlsOptions,
} from './kept-client'
import { asError } from './one-server'
import type { Address } from './settings'

type Cluster = ReturnType<typeof makeCluster>

/** Each command goes to the node of its key; changes are heard from any node. */
export function toCluster(roots: readonly Address[], entrance: Target): Connection {
  let trouble: unknown
  const hear = (err: unknown): void => {
    // That none of them could be used is said when each has said why.
    if (!(err instanceof RootNodesUnavailableError) || trouble === undefined) trouble = err
  }
  let left = false
  let timer: NodeJS.Timeout | undefined
  let cluster = makeCluster(roots, entrance, hear)
  let listener: KeptClient | undefined

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
      listener = keepClient({ where: next, onReady })
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
