/**
 * A forwarder in front of the lab's resolver, with an oddity that is seen in the wild. It is of the time before DNSSEC: in what it
 * hands on without EDNS, no AD bit is set.
 */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import * as packet from 'dns-packet'
import { closed } from './daemon'
import { addresses } from './namespace'

/** What a query gets: `pass` is the resolver's answer, a number an rcode; `junk` three octets behind the answer. */
export type Oddity = (query: {
  readonly name: string
  readonly takesEdns: boolean
}) => 'pass' | 'silence' | 'junk' | number

export class OddResolver {
  readonly #pending = new Set<Socket>()

  private constructor(
    private readonly socket: Socket,
    private readonly oddity: Oddity,
  ) {}

  static async start(address: string, oddity: Oddity): Promise<OddResolver> {
    const socket = createSocket('udp4')
    const odd = new OddResolver(socket, oddity)
    socket.on('message', (octets, { port, address: from }) => {
      odd.#answer(octets, (reply) => {
        socket.send(reply, port, from)
      })
    })
    socket.bind(53, address)
    await once(socket, 'listening')
    return odd
  }

  #answer(octets: Buffer, send: (reply: Buffer) => void): void {
    const { id, questions = [], additionals = [] } = packet.decode(octets)
    const takesEdns = additionals.some(({ type }) => (type as string) === 'OPT')
    const does = this.oddity({ name: questions[0]?.name ?? '', takesEdns })
    if (does === 'silence') return
    if (typeof does === 'number') {
      const flags = packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | does
      send(packet.encode({ type: 'response', id: id ?? 0, flags, questions }))
      return
    }
    const onward = createSocket('udp4')
    this.#pending.add(onward)
    onward.on('message', (reply) => {
      this.#pending.delete(onward)
      onward.close()
      if (!takesEdns) reply.writeUInt16BE(reply.readUInt16BE(2) & ~packet.AUTHENTIC_DATA, 2)
      send(does === 'junk' ? Buffer.concat([reply, Buffer.alloc(3)]) : reply)
    })
    onward.send(octets, 53, addresses.resolver)
  }

  async stop(): Promise<void> {
    for (const socket of this.#pending) socket.close()
    await closed(this.socket)
  }
}
