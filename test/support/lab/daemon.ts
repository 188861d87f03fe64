/**
 * A child process that serves until told to stop. Its output is a journal of lines; its end is a promise. Only ever
 * signalled by its own pid.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { searchPath } from '../../run/debian-packages'
import { Journal, PATIENCE, type WaitOptions } from './journal'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface DaemonSettings {
  /** For messages. */
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Sees each line as it comes. */
  readonly onLine?: (line: string) => void
}

export class Daemon {
  /** Lines of stdout and stderr, in the order in which they came. */
  readonly log: Journal<string>
  readonly exited: Promise<Exit>
  readonly #child: ChildProcess

  constructor(settings: DaemonSettings) {
    const { name, program, args, cwd, env, onLine } = settings
    this.log = new Journal(`output of ${name}`, (line) => line)
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PATH: searchPath, ...env },
      ...(cwd === undefined ? {} : { cwd }),
    })
    this.#child = child
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on('line', (line) => {
        this.log.add(line)
        onLine?.(line)
      })
    }
    this.exited = new Promise((resolve) => {
      child.once('error', (error) => {
        this.log.add(error.message)
      })
      child.once('close', (code, signal) => {
        this.log.end(`${name} ended (${signal ?? `code ${code ?? '?'}`})`)
        resolve({ code, signal })
      })
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  waitForLine(what: string, pattern: RegExp, options?: WaitOptions): Promise<string> {
    return this.log.waitFor(what, (line) => pattern.test(line), options)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Asks it to end, and kills it when it does not within `patience` milliseconds. Stopping twice is fine. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', patience = PATIENCE): Promise<Exit> {
    if (this.running) this.signal(signal)
    const kill = setTimeout(() => {
      this.signal('SIGKILL')
    }, patience)
    const exit = await this.exited
    clearTimeout(kill)
    return exit
  }
}

/** Runs a program to its end. @returns its stdout. @throws Error with all that it said, when it fails. */
export function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string } = {},
): Promise<string> {
  const env = { ...process.env, PATH: searchPath }
  return new Promise((resolve, reject) => {
    execFile(program, args, { env, ...options }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(new Error(`${error.message}\n${stdout}${stderr}`, { cause: error }))
    })
  })
}

/** Closes a server and resolves when it has closed. */
export async function closed(server: { close(): unknown } & NodeJS.EventEmitter): Promise<void> {
  const event = once(server, 'close')
  server.close()
  await event
}
