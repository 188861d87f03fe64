/** The user and group that Haraka becomes once it listens: smtp.ini's `user` and `group`, names or numbers. */
import { execFileSync } from 'node:child_process'
import { userInfo } from 'node:os'

export interface OwnUser {
  /** As smtp.ini has them; undefined where it has none. */
  readonly user: string | undefined
  readonly group: string | undefined
}

export function readOwnUser(main: Readonly<Record<string, unknown>> | undefined): OwnUser {
  const text = (key: string): string | undefined => {
    const value = main?.[key]
    const said = typeof value === 'string' || typeof value === 'number' ? String(value).trim() : ''
    return said === '' ? undefined : said
  }
  return { user: text('user'), group: text('group') }
}

/**
 * As numbers, which only the system's own programs know for every source of users.
 * @returns undefined where Haraka keeps its user
 * @throws Error where there is no such user or group: Haraka would not start either
 */
export function idsOf({ user, group }: OwnUser): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0 || user === undefined) return undefined
  const gid = group === undefined ? (process.getgid?.() ?? 0) : groupId(group)
  return { uid: idOf(user, () => execFileSync('id', ['-u', '--', user], QUIETLY)), gid }
}

const QUIETLY = { encoding: 'utf8', stdio: 'pipe', timeout: 5_000 } as const

function groupId(group: string): number {
  return idOf(
    group,
    () => execFileSync('getent', ['group', '--', group], QUIETLY).split(':')[2] ?? '',
  )
}

function idOf(name: string, ask: () => string): number {
  const answer = /^\d+$/.test(name) ? name : ask().trim()
  if (!/^\d{1,10}$/.test(answer)) throw new Error(`there is no ${name}`)
  return Number(answer)
}

/** The very command that makes a folder as Haraka needs it. */
export function installCommand(folder: string, { user, group }: OwnUser): string {
  const owner = user ?? nameOfCurrent()
  const place = /^[\w./-]+$/.test(folder) ? folder : `'${folder.replaceAll("'", `'\\''`)}'`
  return `install -d -m 750 -o ${owner}${group === undefined ? '' : ` -g ${group}`} ${place}`
}

function nameOfCurrent(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? 0)
  }
}
