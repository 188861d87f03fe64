/**
 * What a Haraka folder says, as far as a delivery depends on it: tls-policy.ini over the shipped one, outbound.ini, tls.ini,
 * redis.ini, config/plugins, config/me. Read once; nothing is changed. A mistake in tls-policy.ini gives no settings but the
 * sentences that Haraka's log would show.
 */
import { existsSync, readFileSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import type { Config } from '../config'
import type { TlsSettings } from '../haraka/types'
import type { UnaidedTls } from '../haraka/unaided'
import { isTrue, mergeIni, parseIni, parseList } from '../ini'
import type { Ini, IniSection, IniValue } from '../ini'
import { NO_FILE, readOwnFile } from '../own-file'
import { readOwnUser } from '../own-user'
import type { OwnUser } from '../own-user'
import {
  EMPTY,
  isEmpty,
  readTlsPolicyIni,
  redisMistakes,
  redisServer,
  saysNothing,
  storeFolderBeside,
} from '../settings'
import { readCaFile, readRedisCa } from '../wiring'
import { errorText } from '../x509/trouble'

export interface Settings {
  readonly folder: string
  /** tls-policy.ini is there, and nothing but comments is in it. */
  readonly saysNothing: boolean
  readonly config: Config
  /** PEM roots; undefined: Node's. */
  readonly ca: string | undefined
  readonly redisIni: Readonly<Record<string, string | number | boolean>>
  /** PEM roots for Redis; undefined: Node's. */
  readonly redisCa: string | undefined
  /** The user that Haraka becomes. */
  readonly owner: OwnUser
  readonly queueFolder: string
  readonly storeFolder: string
  /** What EHLO says. */
  readonly helo: string
  readonly outbound: {
    readonly enableTls: boolean
    readonly localMxOk: boolean
    readonly connectTimeoutMs: number
  }
  /** tls.ini as Haraka's outbound side has it. */
  readonly outboundTls: TlsSettings
  /** What Haraka, left to itself, does about TLS with an address of a host of this domain. */
  readonly unaidedTls: (domain: string, host: string, address: string) => UnaidedTls
  /** config/plugins, as it stands there. */
  readonly plugins: readonly string[]
  readonly publicIp: string | undefined
}

export type SettingsResult =
  | { readonly ok: true; readonly settings: Settings }
  /** One line for each. */
  | { readonly ok: false; readonly mistakes: readonly string[] }

/** Of the package, in dist/ as in the sources. */
const SHIPPED = resolve(__dirname, '../../config/tls-policy.ini')
const DEFAULT_CONNECT_TIMEOUT = 30

export function isHarakaFolder(folder: string): boolean {
  return existsSync(join(folder, 'config'))
}

/** @param folder Haraka's, with `config/` in it. */
export function readSettings(folder: string): SettingsResult {
  const file = (name: string) => readIfThere(join(folder, 'config', name))
  const ini = (name: string): Ini => parseIni(file(name))
  let own = NO_FILE
  const unreadable = sentenceOf(() => (own = readOwnFile(join(folder, 'config'))))
  if (unreadable !== undefined) return { ok: false, mistakes: [unreadable] }
  if (own.isThere && isEmpty(own.text)) return { ok: false, mistakes: [EMPTY] }
  const read = readTlsPolicyIni(
    mergeIni(parseIni(readIfThere(SHIPPED)), parseIni(own.text)),
    own.text,
  )
  if (!read.ok) return read
  const { config } = read
  let ca: string | undefined
  const redisIni = redisServer(ini('redis.ini'))
  let redisCa: string | undefined
  const problems = [
    sentenceOf(() => (ca = readCaFile(config, folder))),
    ...redisMistakes(config, redisIni),
    sentenceOf(() => (redisCa = readRedisCa(config, redisIni, folder))),
  ].filter((problem) => problem !== undefined)
  if (problems.length > 0) return { ok: false, mistakes: problems }

  const outbound = ini('outbound.ini')['main'] ?? {}
  const queue = parseList(file('queue_dir'))[0]
  const queueFolder = resolve(folder, queue ?? 'queue')
  const tls = ini('tls.ini')
  const enableTls = outbound['enable_tls'] === undefined || isTrue(outbound['enable_tls'])
  return {
    ok: true,
    settings: {
      folder,
      saysNothing: own.isThere && saysNothing(own.text),
      config,
      ca,
      redisIni,
      redisCa,
      owner: readOwnUser(ini('smtp.ini')['main']),
      queueFolder,
      storeFolder: storeFolderBeside(queueFolder),
      helo: parseList(file('me'))[0] ?? hostname(),
      outbound: {
        enableTls,
        localMxOk: isTrue(outbound['local_mx_ok']),
        connectTimeoutMs: 1000 * (numberOf(outbound['connect_timeout']) || DEFAULT_CONNECT_TIMEOUT),
      },
      outboundTls: outboundTls(tls, folder),
      unaidedTls: unaidedTls(tls['outbound'] ?? {}, enableTls),
      plugins: parseList(file('plugins')),
      publicIp: textOf(ini('smtp.ini')['main']?.['public_ip']),
    },
  }
}

/** [outbound] over what [main] hands down; key and certificate are files of the config folder. */
function outboundTls(ini: Ini, folder: string): TlsSettings {
  const merged: IniSection = { ...ini['main'], ...ini['outbound'] }
  const pem = (key: string) => {
    const [name] = listOf(merged[key])
    const text = name === undefined ? '' : readIfThere(resolve(folder, 'config', name))
    return text === '' ? {} : { [key]: text }
  }
  const { ciphers, minVersion } = merged
  const own = Object.entries(ini['outbound'] ?? {}).filter(([name]) => !/^(key|cert)$/.test(name))
  return {
    ...Object.fromEntries(own),
    ...pem('key'),
    ...pem('cert'),
    ...(ciphers === undefined ? {} : { ciphers }),
    ...(minVersion === undefined ? {} : { minVersion }),
  }
}

/** In the order in which Haraka asks: force_tls_hosts first. */
function unaidedTls(outbound: IniSection, enableTls: boolean): Settings['unaidedTls'] {
  const never = listOf(outbound['no_tls_hosts'])
  const forced = listOf(outbound['force_tls_hosts'])
  return (domain, host, address) => {
    if ([domain, host].some((name) => forced.includes(name)) || isInList(forced, address)) {
      return enableTls ? 'forced' : 'impossible'
    }
    if (!enableTls || never.includes(domain) || isInList(never, address)) return 'never'
    return 'offered'
  }
}

/** Addresses and networks, as Haraka's ip_in_list. */
function isInList(list: readonly string[], address: string): boolean {
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  return list.some((entry) => {
    if (entry === address) return true
    const network = /^([0-9a-f.:]+)\/(\d{1,3})$/i.exec(entry)
    const [, base = '', bits = ''] = network ?? []
    const block = new BlockList()
    const unreadable = sentenceOf(() => block.addSubnet(base, Number(bits), family))
    return unreadable === undefined && block.check(address, family)
  })
}

/** A file that cannot be read is, to Haraka, one that is not there. */
function readIfThere(path: string): string {
  let text = ''
  sentenceOf(() => (text = readFileSync(path, 'utf8')))
  return text
}

/** @returns what went wrong, or undefined where nothing did. */
function sentenceOf(act: () => unknown): string | undefined {
  try {
    act()
    return undefined
  } catch (err: unknown) {
    return errorText(err)
  }
}

function listOf(value: IniValue): readonly string[] {
  return (Array.isArray(value) ? value : [value])
    .filter((item) => item !== undefined && item !== '')
    .map(String)
}

function textOf(value: IniValue): string | undefined {
  return listOf(value)[0]
}

function numberOf(value: IniValue): number | undefined {
  return typeof value === 'number' ? value : undefined
}
