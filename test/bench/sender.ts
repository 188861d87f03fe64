/** Mail clients that keep their connections: what taking a message costs Haraka shall not hide what sending it costs. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface Sender {
  /** One message to these recipients. @returns when Haraka has queued it, in milliseconds since the epoch. */
  send(...recipients: readonly string[]): Promise<number>
  close(): void
}

/** About what a short text mail is. */
const BODY = 'The quick brown fox jumps over the lazy dog.\r\n'.repeat(40)

/** @throws Error (as rejection of `send`) when Haraka refuses anything; with its words. */
export async function openSender(port: number): Promise<Sender> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const replies = new Replies(socket)
  await replies.next()
  const command = async (text: string) => {
    socket.write(`${text}\r\n`)
    return replies.next()
  }
  await command('EHLO client.test')
  return {
    async send(...recipients) {
      await command('MAIL FROM:<sender@sender.test>')
      for (const recipient of recipients) await command(`RCPT TO:<${recipient}>`)
      await command('DATA')
      const header = `From: <sender@sender.test>\r\nTo: <u@x.test>\r\nSubject: Test\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n`
      await command(`${header}\r\n${BODY}.`)
      return Date.now()
    },
    close() {
      socket.end('QUIT\r\n')
    },
  }
}

class Replies {
  #input = ''
  #wake: (() => void) | undefined

  constructor(private readonly socket: Socket) {
    socket.on('data', (bytes: Buffer) => {
      this.#input += bytes.toString('latin1')
      this.#wake?.()
    })
    socket.on('close', () => this.#wake?.())
    socket.on('error', () => undefined)
  }

  async next(): Promise<string> {
    for (;;) {
      const last = /^\d{3}(?: .*)?\r\n/m.exec(this.#input)
      if (last) {
        const reply = this.#input.slice(0, last.index + last[0].length)
        this.#input = this.#input.slice(reply.length)
        if (!/^[23]/.test(reply)) throw new Error(`Haraka says: ${reply.trim()}`)
        return reply
      }
      if (this.socket.destroyed) throw new Error('Haraka closed the connection')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}
