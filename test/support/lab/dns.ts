/**
 * The lab's DNS: NSD serves the zones, Unbound validates and caches in front of it, and `ask` shows what a stub
 * resolver gets to see.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as packet from 'dns-packet'
import { closed, Daemon, run } from './daemon'
import { PATIENCE } from './journal'
import { addresses } from './namespace'
import { trustAnchor, writeZones, type WrittenZones, type Zones } from './zones'

/** The authoritative side. */
export class NameServer {
  #daemon: Daemon | undefined
  #serial = 1
  readonly #written: WrittenZones = new Map()

  constructor(private readonly folder: string) {}

  /** The file with the root's public key. */
  async trustAnchor(): Promise<string> {
    await mkdir(this.folder, { recursive: true })
    return trustAnchor(this.folder)
  }

  /** Puts these zones in place of the former ones, and resolves when they are served. */
  async serve(zones: Zones): Promise<void> {
    await mkdir(this.folder, { recursive: true })
    const written = await writeZones(this.folder, zones, this.#serial++, this.#written)
    const configuration = join(this.folder, 'nsd.conf')
    await writeFile(
      configuration,
      [
        'server:',
        `  ip-address: ${addresses.nameServer}`,
        '  username: ""',
        '  chroot: ""',
        '  zonesdir: ""',
        '  database: ""',
        '  server-count: 1',
        '  pidfile: ""',
        '  hide-version: yes',
        '  verbosity: 1',
        `  xfrdfile: ${join(this.folder, 'xfrd.state')}`,
        `  zonelistfile: ${join(this.folder, 'zone.list')}`,
        `  xfrdir: ${this.folder}`,
        '  rrl-ratelimit: 0',
        'remote-control:',
        '  control-enable: no',
        ...written.flatMap((zone) => [
          'zone:',
          `  name: "${zone.name}"`,
          `  zonefile: "${zone.file}"`,
        ]),
        '',
      ].join('\n'),
    )
    await this.stop()
    const args = ['-d', '-c', configuration]
    this.#daemon = new Daemon({ name: 'nsd', program: 'nsd', args })
    await this.#daemon.waitForLine('NSD to serve', /nsd started/)
  }

  async stop(): Promise<void> {
    await this.#daemon?.stop()
    this.#daemon = undefined
  }
}

export interface ValidatorSettings {
  /** Default 127.0.0.1, where /etc/resolv.conf points. */
  readonly address?: string
  /** False: a resolver that hands on whatever it hears, and never sets AD. Default true. */
  readonly validates?: boolean
  readonly room?: ResolverRoom
}

/** How many questions it takes: `defaults` as Unbound comes, `advised` as docs/resolver.md has it. Default `defaults`. */
export type ResolverRoom = 'defaults' | 'advised'

export interface Query {
  readonly name: string
  readonly type: string
}

const ADVISED = ['  num-queries-per-thread: 4096', '  outgoing-range: 8192', '  wait-limit: 0']

/** A recursive resolver in front of the name server. */
export class Validator {
  #daemon: Daemon | undefined
  readonly address: string
  #validates: boolean
  #room: ResolverRoom
  #earlier: readonly Query[] = []

  /** @param anchor file with the key to trust. */
  constructor(
    private readonly folder: string,
    private readonly anchor: string,
    settings: ValidatorSettings = {},
  ) {
    this.address = settings.address ?? addresses.resolver
    this.#validates = settings.validates ?? true
    this.#room = settings.room ?? 'defaults'
  }

  async start(): Promise<void> {
    await mkdir(this.folder, { recursive: true })
    const hints = join(this.folder, 'root.hints')
    await writeFile(hints, `. 3600 NS ns.test.\nns.test. 3600 A ${addresses.nameServer}\n`)
    const validates = this.#validates
    await writeFile(
      this.#configuration,
      [
        'server:',
        `  interface: ${this.address}`,
        '  access-control: 192.0.2.0/24 allow',
        '  username: ""',
        '  chroot: ""',
        '  pidfile: ""',
        `  directory: ${this.folder}`,
        '  use-syslog: no',
        '  logfile: ""',
        '  verbosity: 1',
        '  log-queries: yes',
        '  log-servfail: yes',
        '  ede: yes',
        '  num-threads: 1',
        '  do-not-query-localhost: no',
        '  local-zone: "test." nodefault',
        '  target-fetch-policy: "0 0 0 0 0"',
        '  qname-minimisation: no',
        ...(this.#room === 'advised' ? ADVISED : []),
        // Two deliveries are compared: both shall find addresses in the same order.
        '  rrset-roundrobin: no',
        `  root-hints: ${hints}`,
        `  module-config: "${validates ? 'validator ' : ''}iterator"`,
        ...(validates ? [`  trust-anchor-file: ${this.anchor}`] : []),
        'remote-control:',
        '  control-enable: yes',
        `  control-interface: ${join(this.folder, 'control')}`,
        '  control-use-cert: no',
        '',
      ].join('\n'),
    )
    const args = ['-d', '-p', '-c', this.#configuration]
    this.#daemon = new Daemon({ name: `unbound at ${this.address}`, program: 'unbound', args })
    await this.#daemon.waitForLine('Unbound to serve', /start of service/)
  }

  get #configuration(): string {
    return join(this.folder, 'unbound.conf')
  }

  get running(): boolean {
    return this.#daemon?.running === true
  }

  /** Forgets every answer and every dead server. */
  async flush(): Promise<void> {
    for (const command of [
      ['flush_zone', '.'],
      ['flush_infra', 'all'],
    ]) {
      await run('unbound-control', ['-c', this.#configuration, ...command])
    }
  }

  /** What clients have asked so far, oldest first. */
  get queries(): readonly Query[] {
    return [...this.#earlier, ...queriesIn(this.#daemon?.log.entries ?? [])]
  }

  /** Leaves queries unanswered until `resume`. */
  pause(): void {
    this.#daemon?.signal('SIGSTOP')
  }

  resume(): void {
    this.#daemon?.signal('SIGCONT')
  }

  /** Starts it anew, with its validator or without. */
  async restart({ validates, room }: Omit<ValidatorSettings, 'address'>): Promise<void> {
    this.#validates = validates ?? true
    this.#room = room ?? this.#room
    await this.stop()
    await this.start()
  }

  async stop(): Promise<void> {
    this.resume()
    await this.#daemon?.stop()
    this.#earlier = this.queries
    this.#daemon = undefined
  }
}

function queriesIn(log: readonly string[]): readonly Query[] {
  return log.flatMap((line) => {
    const [, name, type] = / info: \S+ (\S+)\. (\S+) IN$/.exec(line) ?? []
    return name === undefined || type === undefined ? [] : [{ name, type }]
  })
}

export interface Reply {
  /** `NOERROR`, `NXDOMAIN`, `SERVFAIL`, … */
  readonly rcode: string
  /** The AD bit (RFC 4035 §3.2.3): the resolver says that it validated all of this. */
  readonly authentic: boolean
  readonly answers: readonly packet.Answer[]
}

/**
 * One question over UDP, with DO set, as a stub resolver asks it.
 * @param patience milliseconds.
 * @throws Error when no answer comes.
 */
export async function ask(
  name: string,
  type: packet.RecordType,
  server: string,
  patience = PATIENCE,
): Promise<Reply> {
  const socket = createSocket('udp4')
  try {
    socket.connect(53, server)
    await once(socket, 'connect')
    socket.send(
      packet.encode({
        type: 'query',
        id: 1,
        flags: packet.RECURSION_DESIRED,
        questions: [{ type, name }],
        additionals: [
          { type: 'OPT', name: '.', udpPayloadSize: 1232, flags: packet.DNSSEC_OK, options: [] },
        ],
      } as unknown as packet.Packet),
    )
    const signal = AbortSignal.timeout(patience)
    const [message] = (await once(socket, 'message', { signal })) as [Buffer]
    const reply = packet.decode(message) as packet.DecodedPacket & { readonly rcode: string }
    return {
      rcode: reply.rcode,
      authentic: reply.flag_ad,
      answers: (reply.answers ?? []).filter((answer) => (answer.type as string) !== 'RRSIG'),
    }
  } finally {
    socket.close()
  }
}

/** A name server that refuses every question at once. */
export class RefusingServer {
  readonly #socket = createSocket('udp4')

  async start(): Promise<void> {
    this.#socket.on('message', (query, from) => {
      const reply = Buffer.from(query)
      reply.writeUInt16BE(0x8000 | REFUSED, 2)
      this.#socket.send(reply, from.port, from.address)
    })
    this.#socket.bind(53, addresses.refusing.nameServer)
    await once(this.#socket, 'listening')
  }

  async stop(): Promise<void> {
    await closed(this.#socket)
  }
}

/** RFC 1035 §4.1.1. */
const REFUSED = 5
