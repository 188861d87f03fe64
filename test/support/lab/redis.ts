/** A real Redis, empty at start, that keeps nothing on disk. */
import { Daemon, run } from './daemon'

export interface RedisSettings {
  /** Default 127.0.0.1. */
  readonly address?: string
  /** Default 6379. */
  readonly port?: number
  /** Default none. */
  readonly password?: string
  /** More of redis-server's. */
  readonly options?: readonly string[]
}

export class Redis {
  readonly address: string
  readonly port: number
  #daemon: Daemon | undefined

  constructor(private readonly settings: RedisSettings = {}) {
    this.address = settings.address ?? '127.0.0.1'
    this.port = settings.port ?? 6379
  }

  get url(): string {
    return `redis://${this.address}:${this.port}`
  }

  /** Also after `stop`: comes back empty. */
  async start(): Promise<void> {
    const args = [
      '--bind',
      this.address,
      '--port',
      `${this.port}`,
      '--save',
      '',
      '--appendonly',
      'no',
      ...(this.settings.password === undefined ? [] : ['--requirepass', this.settings.password]),
      ...(this.settings.options ?? []),
    ]
    this.#daemon = new Daemon({ name: 'redis', program: 'redis-server', args })
    await this.#daemon.waitForLine('Redis to serve', /Ready to accept connections/)
  }

  /** Keeps connections open and answers nothing until `resume`. */
  pause(): void {
    this.#daemon?.signal('SIGSTOP')
  }

  resume(): void {
    this.#daemon?.signal('SIGCONT')
  }

  /** Asks it with redis-cli. */
  async command(...words: readonly string[]): Promise<string> {
    const { password } = this.settings
    const login = password === undefined ? [] : ['-a', password, '--no-auth-warning']
    return run('redis-cli', ['-h', this.address, '-p', `${this.port}`, ...login, ...words])
  }

  async stop(): Promise<void> {
    this.resume()
    await this.#daemon?.stop()
  }
}
