/** A mail client that hands one message to a server over SMTP (RFC 5321), strictly in step. */
import { connect, type Socket } from 'node:net'
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
}

/** @returns the server's reply to the message. @throws Error when it refuses any step; with its words. */
export async function submit(mail: Mail, server: { host: string; port: number }): Promise<string> {
  const socket = connect(server)
  const timer = setTimeout(() => {
    socket.destroy(
      new Error(`no submission within ${PATIENCE} ms at ${server.host}:${server.port}`),
    )
  }, PATIENCE)
  try {
    const replies = repliesFrom(socket)
    const expect = async (step: string, command?: string): Promise<string> => {
      if (command !== undefined) socket.write(`${command}\r\n`)
      const { value } = await replies.next()
      if (value === undefined) throw new Error(`${step}: the server closed the connection`)
      if (!/^[23]/.test(value)) throw new Error(`${step}: ${value}`)
      return value
    }
    await expect('greeting')
    await expect('EHLO', 'EHLO client.test')
    const parameters = mail.parameters === undefined ? '' : ` ${mail.parameters}`
    await expect('MAIL', `MAIL FROM:<${mail.from}>${parameters}`)
    for (const recipient of mail.to) await expect('RCPT', `RCPT TO:<${recipient}>`)
    await expect('DATA', 'DATA')
    const reply = await expect('message', `${textOf(mail)}\r\n.`)
    await expect('QUIT', 'QUIT')
    return reply
  } finally {
    clearTimeout(timer)
    socket.destroy()
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
