/** Makes the connections that the settings ask for: to one server, to a Cluster, or to the master that Sentinels name. */
import { toCluster } from './cluster'
import type { Connection } from './connection'
import { makeClient, type Target } from './kept-client'
import { toServer } from './one-server'
import { toMaster } from './sentinels'
import {
  clusterNodes,
  type RedisSettings,
  REDIS_PORT,
  sentinels,
  settingText,
  wantsTls,
} from './settings'

/**
 * @param ca the PEM roots in `ca_file`
 * @throws Error where the settings are none
 */
export function connectRedis(settings: RedisSettings, ca: string | undefined): Connection {
  const tls = tlsTarget(settings, ca)
  const nodes = clusterNodes(settings)
  const watchers = sentinels(settings)
  if (nodes.length > 0) return toCluster(nodes, { ...login(settings), ...tls })
  if (watchers.length > 0) {
    return toMaster(watchers, settings, { ...login(settings), ...database(settings), ...tls })
  }
  const target = { ...oneServer(settings), ...tls }
  // Settings that node-redis refuses throw here, once, instead of at each attempt.
  makeClient(target)
  return toServer(() => target)
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
