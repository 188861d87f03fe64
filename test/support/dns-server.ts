/**
 * A DNS server for faults on the wire: UDP and TCP on one ephemeral port of 127.0.0.1, answering each query as a script
 * says, with octets as they are or with a message that dns-packet encodes (an encoder that is not ours).
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import * as packet from 'dns-packet'

export interface Query {
  readonly transport: 'udp' | 'tcp'
  readonly id: number
  /** As asked. */
  readonly name: string
  readonly type: string
  readonly message: packet.DecodedPacket
  readonly octets: Buffer
}

export interface Reply {
  /** The query's, unless told otherwise. */
  readonly id?: number
  readonly rcode?: number
  /** Default true. */
  readonly recursionAvailable?: boolean
  readonly authenticData?: boolean
  readonly truncated?: boolean
  readonly questions?: packet.Question[]
  readonly answers?: packet.Answer[]
  readonly authorities?: packet.Answer[]
  readonly extendedError?: { code: number; text: string }
}

/** A message, octets as they are (one message or several in a row), or nothing at all. */
type Scripted = Reply | Buffer | readonly Buffer[] | undefined
export type Script = (query: Query) => Scripted | Promise<Scripted>

export interface ScriptedServer {
  /** `127.0.0.1:port`. */
  readonly spec: string
  readonly port: number
  readonly queries: readonly Query[]
  close(): Promise<void>
}

const FLAG_RA = 0x80

/** Starts a server; `udpOnly` leaves the TCP port closed. */
export async function dnsServer(
  script: Script,
  { udpOnly = false }: { udpOnly?: boolean } = {},
): Promise<ScriptedServer> {
  const queries: Query[] = []
  const sockets = new Set<Socket>()

  const answer = async (
    octets: Buffer,
    transport: Query['transport'],
  ): Promise<readonly Buffer[]> => {
    const message = packet.decode(octets)
    const question = message.questions?.[0]
    const query = {
      transport,
      id: message.id ?? 0,
      name: question?.name ?? '',
      type: question?.type ?? '',
      message,
      octets,
    }
    queries.push(query)
    const reply = await script(query)
    if (reply === undefined) return []
    if (Buffer.isBuffer(reply)) return [reply]
    return 'length' in reply ? reply : [encodeReply(query, reply)]
  }

  const tcp = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    let received = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return
      void answer(received.subarray(2), 'tcp').then((replies) => {
        for (const reply of replies) socket.write(framed(reply))
      })
    })
  })
  const { udp, port } = await listenOnOnePort(tcp)
  udp.on('message', (octets, from) => {
    void answer(octets, 'udp').then((replies) => {
      for (const reply of replies) udp.send(reply, from.port, from.address)
    })
  })
  if (udpOnly) await closed(tcp)

  return {
    spec: `127.0.0.1:${port}`,
    port,
    queries,
    async close() {
      udp.close()
      for (const socket of sockets) socket.destroy()
      if (!udpOnly) await closed(tcp)
    },
  }
}

/** A port on which somebody listened and nobody does any more. */
export async function closedPort(): Promise<number> {
  const server = await dnsServer(() => undefined)
  await server.close()
  return server.port
}

export function encodeReply(query: { id: number; message: packet.Packet }, reply: Reply): Buffer {
  const flags =
    packet.RECURSION_DESIRED |
    ((reply.recursionAvailable ?? true) ? FLAG_RA : 0) |
    (reply.authenticData === true ? packet.AUTHENTIC_DATA : 0) |
    (reply.truncated === true ? packet.TRUNCATED_RESPONSE : 0) |
    (reply.rcode ?? 0)
  const { extendedError } = reply
  // Its types know four options only; its encoder takes any.
  const options =
    extendedError === undefined
      ? []
      : [
          {
            code: 15,
            data: Buffer.concat([
              Buffer.from([extendedError.code >> 8, extendedError.code & 255]),
              Buffer.from(extendedError.text),
            ]),
          },
        ]
  return packet.encode({
    type: 'response',
    id: reply.id ?? query.id,
    flags,
    questions: reply.questions ?? query.message.questions ?? [],
    answers: reply.answers ?? [],
    authorities: reply.authorities ?? [],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 1232,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: packet.DNSSEC_OK,
        flag_do: true,
        options: options as unknown as packet.PacketOpt[],
      },
    ],
  })
}

/** The SOA record that makes a reply a denial (RFC 2308 §2). */
export function soa(zone: string, { ttl = 600, minimum = 300 } = {}): packet.Answer {
  return {
    type: 'SOA',
    name: zone,
    ttl,
    data: {
      mname: 'ns.test',
      rname: 'hostmaster.test',
      serial: 1,
      refresh: 3600,
      retry: 600,
      expire: 86400,
      minimum,
    },
  }
}

function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message])
}

/** TCP takes any free port; UDP must get the same one, or both try again. */
async function listenOnOnePort(tcp: Server): Promise<{ udp: UdpSocket; port: number }> {
  for (;;) {
    tcp.listen(0, '127.0.0.1')
    await once(tcp, 'listening')
    const { port } = tcp.address() as AddressInfo
    const udp = createSocket('udp4')
    udp.bind(port, '127.0.0.1')
    const isBound = await once(udp, 'listening').then(
      () => true,
      () => false,
    )
    if (isBound) return { udp, port }
    udp.close()
    await closed(tcp)
  }
}

async function closed(tcp: Server): Promise<void> {
  tcp.close()
  await once(tcp, 'close')
}
