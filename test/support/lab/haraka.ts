/**
 * A real Haraka as a child process, in a folder of its own, that relays whatever it is given. What becomes of each
 * recipient is told by a small plugin inside it, in Haraka's own words.
 */
import { copyFile, mkdir, readdir, rename, watch, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Daemon, type Exit, run } from './daemon'
import { installPlugins, type Installation } from './installation'
import { Journal, PATIENCE, type WaitOptions } from './journal'
import { type Mail, MailClient, submit } from './submission'

export type HarakaVersion = '3.1.6' | '3.2.1' | '3.3.4'
export const harakaVersions: readonly HarakaVersion[] = ['3.1.6', '3.2.1', '3.3.4']

export interface HarakaSettings {
  /** Default 3.3.4. */
  readonly version?: HarakaVersion
  /** Names for config/plugins, in order; `tls-policy` gets installed. Default none: plain Haraka. */
  readonly plugins?: readonly string[]
  /** How `tls-policy` gets there; default `linked`. */
  readonly installation?: Installation
  /** Files for config/ by name. To `outbound.ini`, `smtp.ini` and `log.ini` the lab's own lines are put in front. */
  readonly config?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  /** Where it listens on 127.0.0.1; default 2525. */
  readonly port?: number
  /** Worker processes (smtp.ini nodes); default 0: one process, no cluster. */
  readonly nodes?: number
  /** The node program; default the one that runs the tests. */
  readonly node?: string
}

interface Told {
  readonly recipient: string
  /** Haraka's id of the message as queued; the same on each attempt. */
  readonly message: string
  /** Name of the queue file. */
  readonly file: string
}

/** What the sender's notification would say (RFC 3464 §2.3). */
export interface DeliveryStatus {
  readonly status?: string
  readonly action?: string
  readonly remoteMta?: string
  /** The receiver's reply as Haraka noted it; empty when there was none. */
  readonly diagnostic: string
  readonly message?: string
}

export type Outcome =
  | ({
      readonly kind: 'delivered'
      readonly host: string
      readonly ip: string
      readonly port: number
      readonly response: string
      readonly tls: boolean
    } & Told)
  /** `delay`: seconds until the next attempt. */
  | ({
      readonly kind: 'deferred'
      readonly reason: string
      readonly delay: number
      readonly dsn: DeliveryStatus
    } & Told)
  | ({ readonly kind: 'bounced'; readonly reason: string; readonly dsn: DeliveryStatus } & Told)

type Event = Outcome | { readonly kind: 'ready' }

const ownLines: Readonly<Record<string, (settings: HarakaSettings) => readonly string[]>> = {
  // Told its address, Haraka asks no STUN server for it.
  'smtp.ini': ({ port = 2525, nodes = 0 }) => [
    `listen=127.0.0.1:${port}`,
    `nodes=${nodes}`,
    'public_ip=127.0.0.1',
  ],
  'outbound.ini': () => ['temp_fail_intervals=1h*3'],
  'log.ini': () => ['level=info', 'format=default', 'timestamps=true'],
}

/** What stands where a test gives no file of that name. */
const defaults: Readonly<Record<string, string>> = {
  me: 'sender.test\n',
  // No certificate of its own, and no complaint about that.
  'tls.ini': 'key=\ncert=\n',
}

export class Haraka {
  /** Of all runs in this folder. */
  readonly outcomes: Journal<Outcome>
  readonly #taken = new Set<Outcome>()
  #daemon: Daemon | undefined

  private constructor(
    readonly folder: string,
    readonly settings: HarakaSettings,
  ) {
    this.outcomes = new Journal('what became of recipients', (outcome) => JSON.stringify(outcome))
  }

  /** @param folder does not exist yet. Resolves when mail is taken. */
  static async start(folder: string, settings: HarakaSettings = {}): Promise<Haraka> {
    const haraka = new Haraka(folder, settings)
    await haraka.#furnish()
    try {
      await haraka.#run()
    } catch (error: unknown) {
      // Nobody else knows of it: a test run would wait for its end.
      await haraka.stop('SIGKILL')
      throw error
    }
    return haraka
  }

  async #furnish(): Promise<void> {
    const { plugins = [], installation = 'linked', config = {} } = this.settings
    await mkdir(join(this.folder, 'config'), { recursive: true })
    await mkdir(join(this.folder, 'queue'))
    await installPlugins(this.folder, plugins.includes('tls-policy') ? installation : undefined)
    await this.configure('plugins', ['lab', ...plugins, ''].join('\n'))
    // Haraka cannot do without it, and `haraka --install` puts it there.
    await copyFile(
      join(this.#program, 'config/connection.ini'),
      join(this.folder, 'config/connection.ini'),
    )
    const files = { ...defaults, ...config }
    for (const name of new Set([...Object.keys(ownLines), ...Object.keys(files)])) {
      // With an empty one Haraka does not start.
      if (name === 'tls-policy.ini' && files[name] === '') continue
      await this.configure(name, files[name] ?? '')
    }
  }

  /** Folder of the installed version. */
  get #program(): string {
    const { version = '3.3.4' } = this.settings
    const name = version === '3.3.4' ? 'Haraka' : `haraka-${version}`
    return resolve(__dirname, '../../../node_modules', name)
  }

  /** Writes a file of config/ anew; a running Haraka notices by itself what it reloads. */
  async configure(name: string, text: string): Promise<void> {
    const own = ownLines[name]?.(this.settings) ?? []
    await writeFile(join(this.folder, 'config', name), [...own, text].join('\n'))
  }

  async #run(): Promise<void> {
    const { node = process.execPath, env = {}, nodes = 0 } = this.settings
    const daemon = new Daemon({
      name: 'Haraka',
      program: node,
      args: [join(this.#program, 'bin/haraka'), '-c', this.folder],
      cwd: this.folder,
      env,
      onLine: (line) => {
        const event = eventIn(line)
        if (event !== undefined && event.kind !== 'ready') this.outcomes.add(event)
      },
    })
    this.#daemon = daemon
    const workers = Math.max(1, nodes)
    // Not all events are read for it: a Haraka that starts with a full queue tells of very many.
    const isReady = (line: string) => line.startsWith('LAB {"kind":"ready"')
    const isQueueLoaded = (line: string) => line.includes('files in my temp fail queue')
    const { log } = daemon
    await log.waitFor(
      'Haraka to be ready',
      () =>
        log.entries.filter(isReady).length === workers &&
        (nodes > 0 || log.entries.some(isQueueLoaded)),
      { timeout: 45_000 },
    )
  }

  /** Hands it a message, as a mail client does. @returns its reply. */
  send(mail: Mail): Promise<string> {
    return submit(mail, { host: '127.0.0.1', port: this.settings.port ?? 2525 })
  }

  /** A mail client that has its connection already when it comes to a message. */
  connect(): Promise<MailClient> {
    return MailClient.connect({ host: '127.0.0.1', port: this.settings.port ?? 2525 })
  }

  /** What becomes of a recipient: the first outcome, past or to come, that no earlier call has returned. */
  outcome(recipient: string, options: WaitOptions = {}): Promise<Outcome> {
    const taken = this.#taken
    // Taken as soon as it is found: who waits beside this call gets another one.
    const take = (outcome: Outcome): boolean => {
      if (outcome.recipient !== recipient || taken.has(outcome)) return false
      taken.add(outcome)
      return true
    }
    return this.outcomes
      .waitFor(`the fate of ${recipient}`, take, options)
      .catch((error: unknown) => {
        const tail = this.#daemon?.log.tail() ?? ''
        throw new Error(`${error instanceof Error ? error.message : ''}\n${tail}`, { cause: error })
      })
  }

  /** Sends one message to one recipient and tells what became of it. */
  async deliver(recipient: string, mail: Partial<Mail> = {}): Promise<Outcome> {
    await this.send({ from: 'sender@sender.test', ...mail, to: [recipient] })
    return this.outcome(recipient)
  }

  /** As `deliver`, whatever else is under way for the recipient; from `sender@sender.test`. */
  async deliverApart(
    recipient: string,
    { mail, ...options }: WaitOptions & { readonly mail?: Partial<Mail> } = {},
  ): Promise<Outcome> {
    const reply = await this.send({ from: 'sender@sender.test', ...mail, to: [recipient] })
    const id = /\(([0-9A-F-]{36})/.exec(reply)?.[1]
    if (id === undefined) throw new Error(`No id in "${reply}"`)
    return this.outcomes.waitFor(
      `the fate of ${recipient} in ${id}`,
      (outcome) => outcome.recipient === recipient && outcome.message.startsWith(id),
      options,
    )
  }

  /** Tries again, now, what has been deferred since Haraka started. */
  retry(): void {
    this.signal('SIGHUP')
  }

  /** Lines of the current run. */
  log(): readonly string[] {
    return this.#daemon?.log.entries ?? []
  }

  /** Resolves when as many processes that deliver as this have come up, since the start of the run, dead ones included. */
  async workersReady(count: number): Promise<void> {
    const isReady = (line: string) => eventIn(line)?.kind === 'ready'
    await this.#daemon?.log.waitFor(
      `${count} workers`,
      () => this.log().filter(isReady).length >= count,
    )
  }

  /** Resolves when as many lines as this match, since the start of the run. */
  async linesSaid(pattern: RegExp, count: number, options?: WaitOptions): Promise<void> {
    const isSaid = () => this.log().filter((line) => pattern.test(line)).length >= count
    await this.#daemon?.log.waitFor(`${count} lines ${String(pattern)}`, isSaid, options)
  }

  waitForLine(what: string, pattern: RegExp, options?: WaitOptions): Promise<string> {
    if (this.#daemon === undefined) throw new Error('Haraka does not run')
    return this.#daemon.waitForLine(what, pattern, options)
  }

  /** Names of the queue files: messages that Haraka still holds. */
  async queue(): Promise<readonly string[]> {
    return (await readdir(join(this.folder, 'queue'))).filter((name) => !name.startsWith('.'))
  }

  /** Resolves when the queue holds as many messages as this; Haraka removes files after it has told of the outcome. */
  async queueHolds(count: number, timeout = PATIENCE): Promise<void> {
    const done = new AbortController()
    const signal = AbortSignal.any([done.signal, AbortSignal.timeout(timeout)])
    const changes = watch(join(this.folder, 'queue'), { signal })
    const iterator = changes[Symbol.asyncIterator]()
    // Asked for before each look, so that no change falls between.
    for (let change = iterator.next(); ; change = iterator.next()) {
      change.catch(() => undefined)
      if ((await this.queue()).length === count) break
      await change.catch(async (cause: unknown) => {
        const held = (await this.queue()).join('\n  ')
        throw new Error(`waited for ${count} messages in the queue; it holds\n  ${held}`, { cause })
      })
    }
    done.abort()
  }

  get exited(): Promise<Exit> {
    if (this.#daemon === undefined) throw new Error('Haraka was never started')
    return this.#daemon.exited
  }

  get running(): boolean {
    return this.#daemon?.running === true
  }

  get pid(): number | undefined {
    return this.#daemon?.pid
  }

  /** Runs Haraka's own command on this folder: `--graceful`. @returns what it says. */
  command(...args: readonly string[]): Promise<string> {
    const { node = process.execPath } = this.settings
    const program = join(this.#program, 'bin/haraka')
    return run(node, [program, '-c', this.folder, ...args], { cwd: this.folder })
  }

  signal(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP'): void {
    this.#daemon?.signal(signal)
  }

  /** SIGINT is what Haraka shuts down on; SIGKILL is a crash. */
  async stop(signal: 'SIGINT' | 'SIGTERM' | 'SIGKILL' = 'SIGINT'): Promise<Exit | undefined> {
    return this.#daemon?.stop(signal)
  }

  /**
   * The same folder again: queue, settings and store stay.
   * @param overdue whether deferred mail is to be due at once, as after a long time.
   */
  async restart({
    signal = 'SIGINT',
    overdue = false,
  }: { readonly signal?: 'SIGINT' | 'SIGKILL'; readonly overdue?: boolean } = {}): Promise<void> {
    await this.stop(signal)
    if (overdue) await this.#makeOverdue()
    await this.#run()
  }

  /** The name of a queue file begins with the times of arrival and of the next attempt. */
  async #makeOverdue(): Promise<void> {
    const queue = join(this.folder, 'queue')
    for (const name of await this.queue()) {
      await rename(join(queue, name), join(queue, name.replace(/^(\d+)_\d+/, '$1_$1')))
    }
  }
}

function eventIn(line: string): Event | undefined {
  return line.startsWith('LAB ') ? (JSON.parse(line.slice('LAB '.length)) as Event) : undefined
}
