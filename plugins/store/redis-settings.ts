/**
 * [redis] of tls-policy.ini and [server] of redis.ini, as far as both say where Redis is: one server, the root nodes of a
 * Cluster, or the Sentinels that know the master. Pure.
 */

export type RedisSettings = Readonly<Record<string, string | number | boolean>>

export interface Address {
  readonly host: string
  readonly port: number
}

export const REDIS_PORT = 6379
const SENTINEL_PORT = 26379

/** What names one server; some of it is what other plugins' redis.ini calls it. */
const ONE_SERVER = ['host', 'ip', 'port', 'socket', 'path', 'url'] as const
const DATABASE = ['database', 'db', 'dbid'] as const
const LOGIN = ['username', 'user', 'password', 'pass', 'tls'] as const
const SENTINEL = ['sentinels', 'sentinel_name', 'sentinel_username', 'sentinel_password'] as const
export const REDIS_KEYS: readonly string[] = [
  ...ONE_SERVER,
  ...LOGIN,
  ...DATABASE,
  'cluster',
  ...SENTINEL,
]

/** @returns the setting as text; undefined where it is empty or not set */
export function settingText(settings: RedisSettings, ...names: string[]): string | undefined {
  for (const name of names) {
    const text = String(settings[name] ?? '').trim()
    if (text !== '') return text
  }
  return undefined
}

/** The root nodes of the Cluster; none where it is no Cluster. */
export function clusterNodes(settings: RedisSettings): readonly Address[] {
  return inUse(settings, 'cluster', REDIS_PORT)
}

export function sentinels(settings: RedisSettings): readonly Address[] {
  return inUse(settings, 'sentinels', SENTINEL_PORT)
}

/** @throws Error for what redis.ini may hold: mistakes in tls-policy.ini have been told before */
function inUse(settings: RedisSettings, key: string, port: number): readonly Address[] {
  const found = addresses(settingText(settings, key), port)
  if (found === undefined) throw new Error(`${key} is not host:port, comma separated`)
  return found
}

/** @param wrong is told each mistake: the key, its value, and what is allowed there */
export function findRedisMistakes(
  settings: RedisSettings,
  wrong: (key: string, value: string, allowed: string) => void,
): void {
  const text = (key: string): string => settingText(settings, key) ?? ''
  const set = (keys: readonly string[]): readonly string[] => keys.filter((key) => text(key) !== '')
  for (const key of ['cluster', 'sentinels']) {
    if (text(key) !== '' && addresses(text(key), REDIS_PORT) === undefined) {
      wrong(key, text(key), 'host:port, comma separated,')
    }
  }
  if (text('cluster') !== '') {
    for (const key of set(SENTINEL)) wrong(key, shown(key, text(key)), 'nothing beside cluster')
    for (const key of set(ONE_SERVER)) wrong(key, shown(key, text(key)), 'nothing beside cluster')
    // A Cluster has one database, number 0.
    for (const key of set(DATABASE)) {
      if (text(key) !== '0') wrong(key, text(key), 'only 0, or nothing, beside cluster')
    }
  } else if (text('sentinels') !== '') {
    for (const key of set(ONE_SERVER)) {
      wrong(key, shown(key, text(key)), 'nothing beside sentinels')
    }
    if (text('sentinel_name') === '') {
      wrong('sentinel_name', '', "the master's name, as the Sentinels call it,")
    }
  } else {
    for (const key of set(SENTINEL)) wrong(key, shown(key, text(key)), 'nothing without sentinels')
  }
}

/** A mistake is logged, and a log is no place for passwords; a URL may hold one. */
function shown(key: string, text: string): string {
  return key === 'sentinel_password' || key === 'url' ? '(not shown)' : text
}

const ADDRESS = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i

/** @returns undefined where one of them is none */
function addresses(text: string | undefined, defaultPort: number): readonly Address[] | undefined {
  if (text === undefined) return []
  const found = text.split(',').map((item) => {
    const [, ip6, host, port] = ADDRESS.exec(item.trim()) ?? []
    return { host: ip6 ?? host ?? '', port: Number(port ?? defaultPort) }
  })
  const isRight = ({ host, port }: Address): boolean => host !== '' && port > 0 && port < 65_536
  return found.every(isRight) ? found : undefined
}
