/** The connections to the master that Sentinels name. */
import type { Connection } from './connection'
import { makeClient, type Target } from './kept-client'
import { toServer } from './one-server'
import { type Address, type RedisSettings, settingText } from './settings'
import { inWords } from '../outcome'

/** Milliseconds for a Sentinel to answer. */
const SENTINEL_TIME = 1_000

/**
 * node-redis has a client for Sentinel, which asks them without a pause while the master is away, and retries a command for
 * as long as that lasts. This one asks them before each attempt to connect, and every ten seconds.
 * @param master how to enter at it
 */
export function toMaster(
  watchers: readonly Address[],
  settings: RedisSettings,
  master: Target,
): Connection {
  const username = settingText(settings, 'sentinel_username')
  const password = settingText(settings, 'sentinel_password')
  const entrance: Target = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(master.tls === undefined ? {} : { tls: master.tls }),
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
    return { ...master, ...known }
  }
  return toServer(where, async (clients) => {
    const { host, port } = await find()
    if (host !== known?.host || port !== known.port) for (const client of clients) client.redial()
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
