/** A TCP link that takes its time in both directions: to put in front of a server that is too far away. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { closed } from './daemon'

export class SlowLink {
  /** Milliseconds that each piece of data takes, from now on. */
  delay = 0
  readonly #sockets = new Set<Socket>()

  private constructor(private readonly server: Server) {}

  /** From a port on 127.0.0.1 to another. */
  static async start(port: number, target: number): Promise<SlowLink> {
    const server = createServer()
    const link = new SlowLink(server)
    server.on('connection', (near) => {
      const far = connect(target, '127.0.0.1')
      link.#pipe(near, far)
      link.#pipe(far, near)
    })
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return link
  }

  #pipe(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.on('error', () => undefined)
    from.on('data', (bytes) => setTimeout(() => to.writable && to.write(bytes), this.delay))
    from.on('close', () => {
      this.#sockets.delete(from)
      to.destroy()
    })
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await closed(this.server)
  }
}
