/**
 * An SMTP receiver that costs little, in a process of its own, so that the sender's CPU can be told from it. It takes
 * everything, over STARTTLS where that is asked for, and tells its parent of each message: { to, at, tls }. Run as a
 * child process with the settings in BENCH_RECEIVER.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { createSecureContext, TLSSocket, type SecureContext } from 'node:tls'

export interface ReceiverSettings {
  readonly address: string
  readonly key: string
  readonly cert: string
  /** Milliseconds before the greeting; default 0. */
  readonly slow?: number
}

export interface Arrival {
  readonly to: string
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly tls: boolean
}

export interface CheapReceivers {
  readonly arrivals: readonly Arrival[]
  /** The first message to this recipient, past or to come. */
  arrival(to: string): Promise<Arrival>
  /** Resolves when so many messages have come, from the start. */
  waitFor(count: number): Promise<void>
  stop(): Promise<void>
}

/** One process that listens on port 25 of each address. */
export async function startReceivers(
  settings: readonly ReceiverSettings[],
): Promise<CheapReceivers> {
  const child: ChildProcess = fork(__filename, {
    env: { ...process.env, BENCH_RECEIVER: JSON.stringify(settings) },
  })
  const exited = once(child, 'exit')
  const arrivals: Arrival[] = []
  const waiting = new Set<() => void>()
  const ready = once(child, 'message')
  await ready
  child.on('message', (arrival: Arrival) => {
    arrivals.push(arrival)
    for (const look of waiting) look()
  })
  const until = <T>(found: () => T | undefined): Promise<T> =>
    new Promise((resolve) => {
      const look = () => {
        const value = found()
        if (value === undefined) return
        waiting.delete(look)
        resolve(value)
      }
      waiting.add(look)
      look()
    })
  return {
    arrivals,
    arrival: (recipient) => until(() => arrivals.find(({ to }) => to === recipient)),
    waitFor: async (count) => {
      await until(() => arrivals[count - 1])
    },
    stop: async () => {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

function serve(socket: Socket, context: SecureContext, slow: number): void {
  let stream: Socket = socket
  let secured = false
  let input = ''
  let inData = false
  let to = ''
  socket.on('error', () => undefined)

  const command = (line: string) => {
    switch (line.slice(0, 4).toUpperCase()) {
      case 'EHLO':
        stream.write(`250-receiver\r\n${secured ? '' : '250-STARTTLS\r\n'}250 8BITMIME\r\n`)
        return
      case 'STAR':
        socket.removeListener('data', take)
        socket.write('220 go ahead\r\n')
        stream = new TLSSocket(socket, { isServer: true, secureContext: context })
        stream.on('error', () => undefined)
        stream.on('data', take)
        secured = true
        return
      case 'RCPT':
        to = /<([^>]*)>/.exec(line)?.[1] ?? ''
        stream.write('250 ok\r\n')
        return
      case 'DATA':
        inData = true
        stream.write('354 go ahead\r\n')
        return
      case 'QUIT':
        stream.end('221 bye\r\n')
        return
      default:
        stream.write('250 ok\r\n')
    }
  }

  const take = (bytes: Buffer) => {
    input += bytes.toString('latin1')
    for (;;) {
      const mark = inData ? '\r\n.\r\n' : '\r\n'
      const end = input.indexOf(mark)
      if (end === -1) return
      const text = input.slice(0, end)
      input = input.slice(end + mark.length)
      if (!inData) {
        command(text)
        continue
      }
      inData = false
      stream.write('250 stored\r\n')
      process.send?.({ to, at: Date.now(), tls: secured } satisfies Arrival)
    }
  }

  socket.on('data', take)
  const greet = () => socket.write('220 receiver ESMTP\r\n')
  if (slow === 0) greet()
  else setTimeout(greet, slow)
}

async function main(settings: readonly ReceiverSettings[]): Promise<void> {
  for (const { address, key, cert, slow = 0 } of settings) {
    const context = createSecureContext({ key, cert })
    const server = createServer((socket) => {
      serve(socket, context, slow)
    })
    server.listen({ port: 25, host: address, backlog: 1024 })
    await once(server, 'listening')
  }
  process.once('disconnect', () => process.exit(0))
  process.send?.('ready')
}

if (require.main === module) {
  void main(JSON.parse(process.env['BENCH_RECEIVER'] ?? '[]') as ReceiverSettings[])
}
