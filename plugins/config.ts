/**
 * tls-policy.ini in, one frozen and typed Config out. Every mistake is told, each with section, key, value and what is
 * allowed; a file with mistakes gives no Config at all. Unknown sections and keys are mistakes: a misspelt `enabeld=false` or
 * `dane-onyl` must not pass for a setting. Pure.
 */
import { readDestinations, type Destinations } from './destinations'
import type { LineMistake } from './ini-mistakes'
import { readHops, type Hops } from './requiretls-hops'
import {
  findRedisMistakes,
  readBoolean,
  REDIS_KEYS,
  type RedisSettings,
} from './store/redis/settings'
import { readTlsrpt, type TlsrptSettings } from './tlsrpt/settings'

export interface Config {
  readonly mode: 'enforce' | 'observe'
  readonly dns: {
    readonly backend: 'auto' | 'ad' | 'getdns'
    readonly servers: readonly string[]
    readonly trustAd: 'loopback' | 'listed' | 'never'
    readonly trustAnchor: string | undefined
    readonly timeoutSeconds: number
    readonly deadlineSeconds: number
    readonly selfTest: string
  }
  readonly dane: {
    readonly enabled: boolean
    readonly insecureMx: 'honour' | 'ignore'
    readonly digests: readonly ('sha512' | 'sha256')[]
    /** What a resolver that does not validate DNSSEC means: no DANE, or no mail. */
    readonly blindResolver: 'continue' | 'defer'
  }
  readonly mtaSts: {
    readonly enabled: boolean
    readonly caFile: string | undefined
    readonly fetchTimeoutSeconds: number
    readonly maxBody: number
    readonly fetchPrivate: boolean
    readonly txtFailure: 'continue' | 'defer'
    readonly withDane: 'dane' | 'both'
    readonly refreshIntervalSeconds: number
  }
  readonly tls: { readonly minVersion: 'TLSv1.2' | 'TLSv1.3' }
  readonly store: {
    readonly backend: 'lmdb' | 'redis' | 'memory'
    readonly path: string | undefined
    readonly prefix: string
  }
  /** As in redis.ini's [server]; what is left out comes from there. */
  readonly redis: RedisSettings
  readonly tlsrpt: TlsrptSettings
  readonly destinations: Destinations
  readonly requiretls: {
    /** To which clients the extension is offered. */
    readonly offer: 'relay' | 'all' | 'no'
  }
  readonly requiretlsHops: Hops
  /** Whether `TLS-Required: No` is heeded. */
  readonly tlsRequired: { readonly honour: boolean }
}

export type ConfigResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly mistakes: readonly string[] }

/** What haraka-config makes of an ini file: sections of keys, values already turned into numbers where they look it. */
export type IniFile = Readonly<Record<string, unknown>>

const FILE = 'tls-policy.ini'

type Section = Readonly<Record<string, unknown>>

/** Where a setting stands in the operator's file, or, without a key, the section; undefined where it is not of that file. */
export type LineOf = (section: string, key?: string) => number | undefined

/** What is known of the operator's file beside its settings. */
export interface OwnLines {
  readonly lineOf: LineOf
  readonly mistakes: readonly LineMistake[]
}

const UNKNOWN_LINES: OwnLines = { lineOf: () => undefined, mistakes: [] }

class Mistakes {
  readonly #found: { readonly at: number | undefined; readonly sentence: string }[]

  constructor(private readonly own: OwnLines) {
    this.#found = [...own.mistakes]
  }

  add(section: string, key: string | undefined, rest: string): void {
    const name = key === undefined ? `[${section}]` : `${section}.${key}`
    this.#found.push({ at: this.own.lineOf(section, key), sentence: `${name}${rest}` })
  }

  /** For a section in which each key is a name of the operator's. */
  in(section: string): (key: string, value: string | undefined, allowed: string) => void {
    return (key, value, allowed) => {
      const rest = value === undefined ? '' : `=${value}`
      this.add(section, key, `${rest}: ${allowed} is allowed here${commentHint(value ?? '')}`)
    }
  }

  /** In the order of the file. */
  all(): readonly string[] {
    return this.#found
      .sort((one, other) => (one.at ?? 0) - (other.at ?? 0))
      .map(({ at, sentence }) => `${FILE}${at === undefined ? '' : `, line ${at}`}: ${sentence}`)
  }
}

/** Haraka takes what stands behind a value for a part of it. */
function commentHint(value: string): string {
  return COMMENT_BEHIND.test(value) ? '; a comment needs a line of its own' : ''
}

const COMMENT_BEHIND = /\s[;#]/

/** Reads keys of one section, remembers which were asked for, and notes each mistake. */
class SectionReader {
  readonly #values: Section
  readonly #asked = new Set<string>()

  constructor(
    ini: IniFile,
    private readonly name: string,
    private readonly mistakes: Mistakes,
  ) {
    this.#values = sectionOf(ini, name)
  }

  text(key: string): string | undefined {
    this.#asked.add(key)
    const value = this.#values[key]
    if (value === undefined || value === null || value === '') return undefined
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      return String(value).trim()
    }
    return this.#wrong(key, JSON.stringify(value), 'one value')
  }

  /** A path or a name: nearly all texts are some, also one with a comment behind it. */
  freeText(key: string): string | undefined {
    const text = this.text(key)
    if (text === undefined || !COMMENT_BEHIND.test(text)) return text
    return this.#wrong(key, text, 'a text without " ;" and " #" in it')
  }

  choice<T extends string>(key: string, allowed: readonly T[], otherwise: T): T {
    const text = this.text(key)
    if (text === undefined) return otherwise
    const found = allowed.find((word) => word === text)
    return found ?? this.#wrong(key, text, `one of ${allowed.join(', ')}`) ?? otherwise
  }

  boolean(key: string, otherwise: boolean): boolean {
    const text = this.text(key)
    if (text === undefined) return otherwise
    return readBoolean(text) ?? this.#wrong(key, text, 'true or false') ?? otherwise
  }

  wholeNumber(key: string, least: number, most: number, otherwise: number): number {
    const text = this.text(key)
    if (text === undefined) return otherwise
    const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
    if (number >= least && number <= most) return number
    return this.#wrong(key, text, `a whole number from ${least} to ${most}`) ?? otherwise
  }

  list(key: string): readonly string[] {
    const text = this.text(key)
    if (text === undefined) return []
    return text
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
  }

  wrong(key: string, value: string, allowed: string): void {
    this.#wrong(key, value, allowed)
  }

  #wrong(key: string, value: string, allowed: string): undefined {
    this.mistakes.add(this.name, key, `=${value}: ${allowed} is allowed here${commentHint(value)}`)
    return undefined
  }

  /** Call last: whatever was not asked for is no setting of this section. */
  refuseUnknown(): void {
    const known = [...this.#asked].join(', ')
    for (const key of Object.keys(this.#values)) {
      if (this.#asked.has(key)) continue
      this.mistakes.add(this.name, key, `: no such setting; [${this.name}] has ${known}`)
    }
  }
}

/** @param parseServer Says what is wrong with a `dns.servers` entry, or nothing. */
export function readConfig(
  ini: IniFile,
  parseServer: (text: string) => string | undefined,
  own: OwnLines = UNKNOWN_LINES,
): ConfigResult {
  const mistakes = new Mistakes(own)
  const section = (name: string) => new SectionReader(ini, name, mistakes)
  const config: Config = {
    ...readMain(section('main')),
    dns: readDns(section('dns'), parseServer),
    dane: readDane(section('dane')),
    mtaSts: readMtaSts(section('mta_sts')),
    tls: readTls(section('tls')),
    store: readStore(section('store')),
    redis: readRedis(section('redis'), sectionOf(ini, 'redis')),
    tlsrpt: whole(section('tlsrpt'), readTlsrpt),
    destinations: readDestinations(sectionOf(ini, 'destinations'), mistakes.in('destinations')),
    requiretls: readRequireTls(section('requiretls')),
    requiretlsHops: readHops(sectionOf(ini, 'requiretls_hops'), mistakes.in('requiretls_hops')),
    tlsRequired: readTlsRequired(section('tls_required')),
  }
  refuseUnknownSections(ini, mistakes)
  const all = mistakes.all()
  return all.length === 0 ? { ok: true, config: deepFreeze(config) } : { ok: false, mistakes: all }
}

function whole<T>(section: SectionReader, read: (section: SectionReader) => T): T {
  const settings = read(section)
  section.refuseUnknown()
  return settings
}

function readMain(main: SectionReader): Pick<Config, 'mode'> {
  const mode = main.choice('mode', ['enforce', 'observe'], 'enforce')
  main.refuseUnknown()
  return { mode }
}

function readDns(
  dns: SectionReader,
  parseServer: (text: string) => string | undefined,
): Config['dns'] {
  const servers = dns.list('servers')
  for (const server of servers) {
    const problem = parseServer(server)
    if (problem !== undefined)
      dns.wrong('servers', server, `ip, ip:port or [ip6]:port (${problem})`)
  }
  const timeoutSeconds = dns.wholeNumber('timeout', 1, 60, 5)
  const deadlineSeconds = dns.wholeNumber('deadline', 1, 300, 20)
  if (deadlineSeconds < timeoutSeconds) {
    dns.wrong('deadline', String(deadlineSeconds), `at least dns.timeout (${timeoutSeconds})`)
  }
  const result: Config['dns'] = {
    backend: dns.choice('backend', ['auto', 'ad', 'getdns'], 'auto'),
    servers,
    trustAd: dns.choice('trust_ad', ['loopback', 'listed', 'never'], 'loopback'),
    trustAnchor: dns.freeText('trust_anchor'),
    timeoutSeconds,
    deadlineSeconds,
    selfTest: dns.freeText('self_test') ?? '.',
  }
  if (result.trustAd === 'listed' && servers.length === 0) {
    dns.wrong(
      'trust_ad',
      'listed',
      'listed only together with dns.servers; otherwise loopback or never',
    )
  }
  dns.refuseUnknown()
  return result
}

function readDane(dane: SectionReader): Config['dane'] {
  const named = dane.list('digests')
  const digests = (['sha512', 'sha256'] as const).filter((digest) => named.includes(digest))
  if (named.some((name) => name !== 'sha512' && name !== 'sha256')) {
    dane.wrong('digests', named.join(','), 'sha512, sha256 or both, strongest first')
  }
  const result: Config['dane'] = {
    enabled: dane.boolean('enabled', true),
    insecureMx: dane.choice('insecure_mx', ['honour', 'ignore'], 'honour'),
    digests: named.length === 0 ? ['sha512', 'sha256'] : inNamedOrder(named, digests),
    blindResolver: dane.choice('blind_resolver', ['continue', 'defer'], 'continue'),
  }
  dane.refuseUnknown()
  return result
}

function inNamedOrder<T extends string>(
  named: readonly string[],
  known: readonly T[],
): readonly T[] {
  return [...known].sort((a, b) => named.indexOf(a) - named.indexOf(b))
}

function readMtaSts(sts: SectionReader): Config['mtaSts'] {
  const result: Config['mtaSts'] = {
    enabled: sts.boolean('enabled', true),
    caFile: sts.freeText('ca_file'),
    fetchTimeoutSeconds: sts.wholeNumber('fetch_timeout', 1, 300, 60),
    maxBody: sts.wholeNumber('max_body', 1024, 1048576, 65536),
    fetchPrivate: sts.boolean('fetch_private', false),
    txtFailure: sts.choice('txt_failure', ['continue', 'defer'], 'continue'),
    withDane: sts.choice('with_dane', ['dane', 'both'], 'dane'),
    refreshIntervalSeconds: sts.wholeNumber('refresh_interval', 300, 604800, 86400),
  }
  sts.refuseUnknown()
  return result
}

function readTls(tls: SectionReader): Config['tls'] {
  const minVersion = tls.choice('min_version', ['TLSv1.2', 'TLSv1.3'], 'TLSv1.2')
  tls.refuseUnknown()
  return { minVersion }
}

function readStore(store: SectionReader): Config['store'] {
  const prefix = store.text('prefix') ?? 'tlspolicy'
  if (!/^[\w.-]{1,64}$/.test(prefix)) {
    store.wrong('prefix', prefix, '1 to 64 letters, digits, underscores, dots or hyphens')
  }
  const result: Config['store'] = {
    backend: store.choice('backend', ['lmdb', 'redis', 'memory'], 'lmdb'),
    path: store.freeText('path'),
    prefix,
  }
  store.refuseUnknown()
  return result
}

function readRedis(redis: SectionReader, section: Section): Config['redis'] {
  const settings: Record<string, string | number | boolean> = {}
  for (const key of REDIS_KEYS) {
    redis.text(key)
    const value = section[key]
    // An empty one counts as well: it takes away what redis.ini says.
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') {
      settings[key] = value
    }
  }
  findRedisMistakes(settings, (key, value, allowed) => redis.wrong(key, value, allowed))
  redis.refuseUnknown()
  return settings
}

function readRequireTls(requiretls: SectionReader): Config['requiretls'] {
  const offer = requiretls.choice('offer', ['relay', 'all', 'no'], 'relay')
  requiretls.refuseUnknown()
  return { offer }
}

function readTlsRequired(tlsRequired: SectionReader): Config['tlsRequired'] {
  const honour = tlsRequired.boolean('honour', true)
  tlsRequired.refuseUnknown()
  return { honour }
}

const SECTIONS = [
  ...['main', 'dns', 'dane', 'mta_sts', 'tls', 'store', 'redis', 'tlsrpt', 'destinations'],
  ...['requiretls', 'requiretls_hops', 'tls_required'],
]

function refuseUnknownSections(ini: IniFile, mistakes: Mistakes): void {
  for (const name of Object.keys(ini)) {
    if (SECTIONS.includes(name)) continue
    mistakes.add(name, undefined, `: no such section; there are ${SECTIONS.join(', ')}`)
  }
}

function sectionOf(ini: IniFile, name: string): Section {
  const section = ini[name]
  return isSection(section) ? section : {}
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !(value instanceof Map)) {
    for (const inner of Object.values(value)) deepFreeze<unknown>(inner)
    Object.freeze(value)
  }
  return value
}
