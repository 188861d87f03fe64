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
const LOGIN = ['username', 'user', 'password', 'pass'] as const
const TLS = ['tls', 'ca_file', 'servername'] as const
const SENTINEL = ['sentinels', 'sentinel_name', 'sentinel_username', 'sentinel_password'] as const
export const REDIS_KEYS: readonly string[] = [
  ...ONE_SERVER,
  ...LOGIN,
  ...TLS,
  ...DATABASE,
  'cluster',
  ...SENTINEL,
]

/** @returns undefined for a text that is neither */
export function readBoolean(text: string): boolean | undefined {
  if (/^(true|yes|on|enabled|ok|1)$/i.test(text)) return true
  return /^(false|no|off|disabled|0)$/i.test(text) ? false : undefined
}

/** Whether all that goes to Redis goes over TLS. @throws Error for what is neither yes nor no: no password goes out on a guess */
export function wantsTls(settings: RedisSettings): boolean {
  if (wantsTlsByUrl(settings)) return true
  const text = settingText(settings, 'tls')
  const wanted = text === undefined ? false : readBoolean(text)
  if (wanted === undefined) throw new Error(`tls=${String(text)} is neither true nor false`)
  return wanted
}

function wantsTlsByUrl(settings: RedisSettings): boolean {
  return /^rediss:/i.test(settingText(settings, 'url') ?? '')
}

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

type Wrong = (key: string, value: string, allowed: string) => void

/** @param wrong is told each mistake: the key, its value, and what is allowed there */
export function findRedisMistakes(settings: RedisSettings, wrong: Wrong): void {
  const text = (key: string): string => settingText(settings, key) ?? ''
  const set = (keys: readonly string[]): readonly string[] => keys.filter((key) => text(key) !== '')
  findWrongValues(settings, wrong)
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

/** What is wrong with a single setting, whatever stands beside it. */
function findWrongValues(settings: RedisSettings, wrong: Wrong): void {
  const check = (keys: readonly string[], isRight: (text: string) => boolean, allowed: string) => {
    for (const key of keys) {
      const text = settingText(settings, key)
      if (text !== undefined && !isRight(text)) wrong(key, shown(key, text), allowed)
    }
  }
  check(['tls'], (text) => readBoolean(text) !== undefined, 'true or false')
  check(['port'], isPort, 'a whole number from 1 to 65535')
  check(DATABASE, (text) => /^\d{1,9}$/.test(text), 'a whole number')
  check(['servername'], (text) => /^[\w.-]{1,253}$/.test(text), 'a host name')
  check(
    ['url'],
    (text) => /^rediss?:\/\/\S+$/i.test(text) && URL.canParse(text),
    'redis://… or rediss://…',
  )
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535
}

/**
 * What [redis] and redis.ini together get wrong, and [redis] alone does not.
 * @param own [redis], whose mistakes have been told
 * @param redisIni what it is laid over
 */
export function findMergedMistakes(
  own: RedisSettings,
  redisIni: RedisSettings,
  wrong: (file: 'redis.ini' | 'tls-policy.ini', ...mistake: Parameters<Wrong>) => void,
): void {
  const inherited = Object.entries(redisIni).filter(([key]) => own[key] === undefined)
  findWrongValues(Object.fromEntries(inherited), (...mistake) => wrong('redis.ini', ...mistake))
  const merged = { ...redisIni, ...own }
  const tls = settingText(merged, 'tls')
  const isTls = (tls !== undefined && readBoolean(tls) !== false) || wantsTlsByUrl(merged)
  if (isTls) return
  for (const key of ['ca_file', 'servername']) {
    const text = settingText(merged, key)
    const file = own[key] === undefined ? 'redis.ini' : 'tls-policy.ini'
    if (text !== undefined) wrong(file, key, text, 'nothing without tls=true')
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
