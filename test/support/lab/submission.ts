/** A mail client that hands one message to a server over SMTP (RFC 5321), strictly in step. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { PATIENCE } from './journal'

export interface Mail {
  readonly from: string
  readonly to: readonly string[]
  /** Default `Test`. */
  readonly subject?: string
  /** More header fields, without line ends. */
  readonly headers?: readonly string[]
  /** Lines end in LF or CRLF. */
  readonly body?: string
  /** Parameters of MAIL FROM: `REQUIRETLS`. */
  readonly parameters?: string
  /** Whether it is handed over inside TLS; default false. */
  readonly secured?: boolean
}

/** @returns the server's reply to the message. @throws Error when it refuses any step; with its words. */
export async function submit(mail: Mail, server: { host: string; port: number }): Promise<string> {
  const client = await MailClient.connect(server)
  try {
    if (mail.secured) await client.startTls()
    const reply = await client.send(mail)
    await client.quit()
    return reply
  } finally {
    client.cut()
  }
}

/** One connection, for as many messages as wanted. Each step throws what `submit` throws. */
export class MailClient {
  #socket: Socket
  #replies: AsyncGenerator<string, undefined>
  /** The latest reply to EHLO. */
  ehlo = ''

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#replies = repliesFrom(socket)
  }

  /** Connects, and says EHLO. */
  static async connect(server: { host: string; port: number }): Promise<MailClient> {
    const client = new MailClient(connect(server))
    await client.#inTime(async () => {
      await client.#expect('greeting')
      client.ehlo = await client.#expect('EHLO', 'EHLO client.test')
    })
    return client
  }

  /** STARTTLS, whatever the certificate, and EHLO once more. */
  startTls(): Promise<void> {
    return this.#inTime(async () => {
      await this.#expect('STARTTLS', 'STARTTLS')
      this.#socket = connectTls({ socket: this.#socket, rejectUnauthorized: false })
      await once(this.#socket, 'secureConnect')
      this.#replies = repliesFrom(this.#socket)
      this.ehlo = await this.#expect('EHLO', 'EHLO client.test')
    })
  }

  /** @returns the reply to a command, whatever it is. */
  say(command: string): Promise<string> {
    return this.#inTime(() => this.#reply(command, command))
  }

  /** @returns the server's reply to the message. */
  send(mail: Mail): Promise<string> {
    return this.#inTime(async () => {
      const parameters = mail.parameters === undefined ? '' : ` ${mail.parameters}`
      await this.#expect('MAIL', `MAIL FROM:<${mail.from}>${parameters}`)
      for (const recipient of mail.to) await this.#expect('RCPT', `RCPT TO:<${recipient}>`)
      await this.#expect('DATA', 'DATA')
      return this.#expect('message', `${textOf(mail)}\r\n.`)
    })
  }

  async quit(): Promise<void> {
    await this.#inTime(() => this.#expect('QUIT', 'QUIT'))
    this.cut()
  }

  /** Closes without a word. */
  cut(): void {
    this.#socket.destroy()
  }

  async #expect(step: string, command?: string): Promise<string> {
    const reply = await this.#reply(step, command)
    if (!/^[23]/.test(reply)) throw new Error(`${step}: ${reply}`)
    return reply
  }

  async #reply(step: string, command?: string): Promise<string> {
    if (command !== undefined) this.#socket.write(`${command}\r\n`)
    const { value } = await this.#replies.next()
    if (value === undefined) throw new Error(`${step}: the server closed the connection`)
    return value
  }

  async #inTime<T>(work: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => {
      this.#socket.destroy(new Error(`no submission within ${PATIENCE} ms`))
    }, PATIENCE)
    try {
      return await work()
    } finally {
      clearTimeout(timer)
    }
  }
}

function textOf(mail: Mail): string {
  const lines = [
    `From: <${mail.from}>`,
    `To: ${mail.to.map((recipient) => `<${recipient}>`).join(', ')}`,
    `Subject: ${mail.subject ?? 'Test'}`,
    'Date: Thu, 1 Jan 2026 00:00:00 +0000',
    ...(mail.headers ?? []),
    '',
    ...(mail.body ?? 'Hello.').split(/\r?\n/),
  ]
  return lines.map((line) => (line.startsWith('.') ? `.${line}` : line)).join('\r\n')
}

/** Whole replies, continuation lines joined by LF. */
async function* repliesFrom(socket: Socket): AsyncGenerator<string, undefined> {
  let input = ''
  let lines: string[] = []
  for await (const bytes of socket as AsyncIterable<Buffer>) {
    input += bytes.toString()
    for (let end = input.indexOf('\r\n'); end >= 0; end = input.indexOf('\r\n')) {
      const line = input.slice(0, end)
      input = input.slice(end + 2)
      lines.push(line)
      if (line[3] === '-') continue
      yield lines.join('\n')
      lines = []
    }
  }
  return undefined
}
