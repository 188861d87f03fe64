/**
 * The servers that the system is set up to ask: /etc/resolv.conf, read anew when it changes. node:dns reads it too, but holds
 * on to what it once read, and hands out no options. Never throws: lines that cannot be understood are passed over, as
 * resolver(5) has it.
 */
import { readFileSync, statSync } from 'node:fs'
import { parseServer, serverText } from './servers'

export interface SystemServers {
  /** As `parseServer` takes them. */
  readonly servers: readonly string[]
  /** For one try at one server, milliseconds. */
  readonly timeoutMs?: number
  readonly attempts?: number
  /** Begin with another server each time. */
  readonly rotate?: boolean
  /** Over TCP alone. */
  readonly tcpOnly?: boolean
}

/** resolver(5): MAXNS, RES_MAXRETRANS, RES_MAXRETRY. */
const MOST_SERVERS = 3
const MOST_TIMEOUT_SECONDS = 30
const MOST_ATTEMPTS = 5

/**
 * @returns `servers` is empty where the file names none: resolver(5) then asks this very machine.
 */
export function parseResolvConf(text: string): SystemServers {
  const servers: string[] = []
  const options: string[] = []
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trimEnd().split(/[ \t]+/)
    if (keyword === 'nameserver') servers.push(...serverIn(values[0]))
    if (keyword === 'options') options.push(...values)
  }
  const timeout = numberIn(options, 'timeout')
  const attempts = numberIn(options, 'attempts')
  return {
    servers: servers.slice(0, MOST_SERVERS),
    ...(timeout === undefined ? {} : { timeoutMs: Math.min(timeout, MOST_TIMEOUT_SECONDS) * 1000 }),
    ...(attempts === undefined ? {} : { attempts: Math.min(attempts, MOST_ATTEMPTS) }),
    ...(options.includes('rotate') ? { rotate: true } : {}),
    ...(options.includes('use-vc') ? { tcpOnly: true } : {}),
  }
}

/** Port 53 and no other: resolver(5) knows no ports. */
function serverIn(address = ''): string[] {
  try {
    return /^[0-9A-Fa-f.:]+(%[\w.-]+)?$/.test(address) && !/^\d+\.[\d.]*:/.test(address)
      ? [serverText(parseServer(address))]
      : []
  } catch {
    return []
  }
}

/** The last one counts; those that are no number, or none at all, do not. */
function numberIn(options: readonly string[], name: string): number | undefined {
  return options
    .flatMap((option) => {
      const digits = new RegExp(`^${name}:(\\d{1,9})$`).exec(option)?.[1]
      return digits === undefined || Number(digits) === 0 ? [] : [Number(digits)]
    })
    .at(-1)
}

export interface SystemServersWatch {
  current(): SystemServers
  /**
   * Looks whether the file has changed, at most every other second, by its marks alone.
   * @param closely by what stands in it, at once
   * @returns whether `current` is another now
   */
  look(closely?: boolean): boolean
}

const FILE = '/etc/resolv.conf'
const PAUSE_MS = 2000
const THIS_MACHINE: SystemServers = { servers: ['127.0.0.1'] }

/**
 * @param now milliseconds of a clock that never steps
 */
export function watchResolvConf(now: () => number, file = FILE): SystemServersWatch {
  let marks = marksOf(file)
  let lookedAt = now()
  const first = read(file)
  let current = first.servers.length > 0 ? first : { ...first, ...THIS_MACHINE }

  return {
    current: () => current,
    look(closely = false) {
      if (!closely && now() - lookedAt < PAUSE_MS) return false
      lookedAt = now()
      const seen = marksOf(file)
      if (!closely && seen === marks) return false
      marks = seen
      const found = read(file)
      // A file that names no server any more is being written, most likely.
      if (found.servers.length === 0) return false
      if (JSON.stringify(found) === JSON.stringify(current)) return false
      current = found
      return true
    },
  }
}

/** As they are now. */
export function systemServers(file = FILE): readonly string[] {
  const { servers } = read(file)
  return servers.length > 0 ? servers : THIS_MACHINE.servers
}

function marksOf(file: string): string {
  try {
    const { ino, size, mtimeMs, ctimeMs } = statSync(file)
    return [ino, size, mtimeMs, ctimeMs].join(' ')
  } catch {
    // Absent: that, too, is something that may change.
    return ''
  }
}

function read(file: string): SystemServers {
  try {
    return parseResolvConf(readFileSync(file, 'utf8'))
  } catch {
    // Absent, or not ours to read: as an empty one (resolver(5)).
    return { servers: [] }
  }
}
