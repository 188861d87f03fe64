/**
 * Real name servers on ephemeral loopback ports: an NSD that serves a root of its own and zones below it (signed,
 * unsigned or deliberately broken), and an Unbound that validates them against that root's key. Everything lives in one
 * temporary folder; close() ends both daemons and removes it. Needs the Debian packages nsd, unbound and ldnsutils.
 */
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { closedPort } from './dns-server'

/**
 * `expired`: all signatures are out of date. `altered`: the address 192.0.2.66 was changed after signing.
 * `insecure` zones are served unsigned under a parent that says so; `stripped` ones under a parent that has their DS.
 */
export type ZoneState =
  'signed' | 'insecure' | 'expired' | 'altered' | 'stripped' | 'ahead' | 'premature'

export interface ZoneSource {
  readonly state: ZoneState
  /** Denials by NSEC3 (RFC 5155) in place of NSEC. */
  readonly nsec3?: boolean
  /** Master file lines without SOA and NS, names relative to the zone. */
  readonly records: readonly string[]
}

export interface DnsDaemons {
  /** The validating resolver, `127.0.0.1:port`. */
  readonly resolver: string
  /** The authoritative server, `127.0.0.1:port`. */
  readonly authority: string
  /** A file with the root's key as a DNSKEY record. */
  readonly anchorFile: string
  /** What both daemons said, for telling what went wrong. */
  readonly log: readonly string[]
  close(): Promise<void>
}

const run = promisify(execFile)

/**
 * @param zones by name, without trailing dot; all are delegated from the root
 * @param unboundLines further lines for Unbound's `server:` clause
 */
export async function dnsDaemons(
  zones: Readonly<Record<string, ZoneSource>>,
  unboundLines: readonly string[] = [],
): Promise<DnsDaemons> {
  const dir = await mkdtemp(join(tmpdir(), 'dns-daemons-'))
  const children: ChildProcess[] = []
  const log: string[] = []
  const close = async (): Promise<void> => {
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const delegations: string[] = []
    for (const [name, source] of Object.entries(zones)) {
      const ds = await makeZone(dir, name, source)
      delegations.push(`${name}. NS ns.`, ...(source.state === 'insecure' ? [] : [ds]))
    }
    await makeZone(dir, '', { state: 'signed', records: ['ns. A 127.0.0.1', ...delegations] })
    const anchorFile = join(dir, 'root.key')

    const [nsdPort, unboundPort] = [await closedPort(), await closedPort()]
    const names = ['', ...Object.keys(zones)]
    await writeFile(join(dir, 'nsd.conf'), nsdConf(dir, nsdPort, names))
    await writeFile(
      join(dir, 'unbound.conf'),
      unboundConf(dir, unboundPort, nsdPort, names, unboundLines),
    )
    const start = async (command: string, args: string[], ready: RegExp): Promise<void> => {
      const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
      children.push(child)
      // A suite that forgets to close must end all the same; the daemons then end with it.
      child.unref()
      process.once('exit', () => child.kill('SIGTERM'))
      await saying(child, ready, log)
    }
    await start('nsd', ['-d', '-c', join(dir, 'nsd.conf')], /nsd started/)
    await start('unbound', ['-d', '-c', join(dir, 'unbound.conf')], /start of service/)
    return {
      resolver: `127.0.0.1:${unboundPort}`,
      authority: `127.0.0.1:${nsdPort}`,
      anchorFile,
      log,
      close,
    }
  } catch (error: unknown) {
    await close()
    throw new Error(`nsd, unbound and ldnsutils are needed: ${String(error)}\n${log.join('\n')}`, {
      cause: error,
    })
  }
}

/** Waits for a line on standard error; later lines go on into the log. */
async function saying(child: ChildProcess, ready: RegExp, log: string[]): Promise<void> {
  const { stderr } = child
  if (stderr === null) throw new Error('no standard error')
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`${child.spawnfile} ended with ${code}`)))
    createInterface(stderr).on('line', (line) => {
      log.push(line)
      if (ready.test(line)) resolve()
    })
  })
}

/** Writes `<name>.zone` (the root's is `root.zone`), signed where its state says so; the DS record of its key. */
async function makeZone(
  dir: string,
  name: string,
  { state, records, nsec3 = false }: ZoneSource,
): Promise<string> {
  const file = join(dir, zoneFile(name))
  const origin = `${name}.`
  const key = (
    await run('ldns-keygen', ['-k', '-a', 'ECDSAP256SHA256', origin], { cwd: dir })
  ).stdout.trim()
  await writeFile(
    file,
    [
      `$ORIGIN ${origin}`,
      '$TTL 300',
      '@ SOA ns. hostmaster. 1 3600 600 86400 120',
      '@ NS ns.',
      ...records,
      '',
    ].join('\n'),
  )
  const ds = (await readFile(join(dir, `${key}.ds`), 'utf8')).trim()
  if (name === '') await writeFile(join(dir, 'root.key'), await readFile(join(dir, `${key}.key`)))
  if (state === 'insecure' || state === 'stripped') return ds

  await run(
    'ldns-signzone',
    [
      ...validity(state),
      ...(nsec3 ? ['-n', '-t', '1', '-s', 'abcd'] : []),
      '-f',
      `${file}.signed`,
      file,
      key,
    ],
    { cwd: dir },
  )
  const signed = await readFile(`${file}.signed`, 'utf8')
  await writeFile(
    file,
    state === 'altered' ? signed.replaceAll('192.0.2.66', '192.0.2.99') : signed,
  )
  return ds
}

/** Inception and expiration. `ahead`: by a clock a quarter of an hour ahead of ours. */
function validity(state: ZoneState): string[] {
  const day = (days: number): string =>
    new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]|\..*/g, '')
  const [from, to] =
    state === 'expired'
      ? [-60, -30]
      : state === 'ahead'
        ? [0.01, 30]
        : state === 'premature'
          ? [2, 30]
          : [-1, 30]
  return ['-i', day(from), '-e', day(to)]
}

function zoneFile(name: string): string {
  return `${name === '' ? 'root' : name}.zone`
}

function nsdConf(dir: string, port: number, names: readonly string[]): string {
  return [
    'server:',
    `  ip-address: 127.0.0.1@${port}`,
    '  server-count: 1',
    '  verbosity: 1',
    '  username: ""',
    '  database: ""',
    `  zonesdir: "${dir}"`,
    `  pidfile: "${dir}/nsd.pid"`,
    `  zonelistfile: "${dir}/zone.list"`,
    `  xfrdfile: "${dir}/xfrd.state"`,
    `  xfrdir: "${dir}"`,
    'remote-control:',
    '  control-enable: no',
    ...names.flatMap((name) => ['zone:', `  name: "${name}."`, `  zonefile: "${zoneFile(name)}"`]),
    '',
  ].join('\n')
}

function unboundConf(
  dir: string,
  port: number,
  nsdPort: number,
  names: readonly string[],
  lines: readonly string[],
): string {
  return [
    'server:',
    `  interface: 127.0.0.1@${port}`,
    `  directory: "${dir}"`,
    '  username: ""',
    '  chroot: ""',
    '  pidfile: ""',
    '  do-daemonize: no',
    '  use-syslog: no',
    '  log-time-ascii: yes',
    '  verbosity: 1',
    '  num-threads: 1',
    '  do-ip6: no',
    '  do-not-query-localhost: no',
    '  module-config: "validator iterator"',
    `  trust-anchor-file: "${dir}/root.key"`,
    '  local-zone: "test." nodefault',
    '  local-zone: "invalid." nodefault',
    '  ede: yes',
    ...lines.map((line) => `  ${line}`),
    'remote-control:',
    '  control-enable: no',
    // Delegations would lead to port 53; each zone is asked for where NSD listens.
    ...names.flatMap((name) => [
      'stub-zone:',
      `  name: "${name}."`,
      `  stub-addr: 127.0.0.1@${nsdPort}`,
      '  stub-no-cache: no',
    ]),
    '',
  ].join('\n')
}
