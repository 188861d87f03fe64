/** The first octets of a TLS session, to compare what servers see of different options. */
import { once } from 'node:events'
import { createServer, connect as connectTcp, type AddressInfo } from 'node:net'
import { connect, type ConnectionOptions } from 'node:tls'

/** What such a session says first, but for what is random in it. */
export async function clientHello(options: ConnectionOptions): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const raw = connectTcp((server.address() as AddressInfo).port, '127.0.0.1')
  const tls = connect({ ...options, socket: raw }).on('error', () => undefined)
  const [peer] = (await accepted) as [typeof raw]
  const [octets] = (await once(peer, 'data')) as [Buffer]
  tls.destroy()
  peer.destroy()
  server.close()
  return withoutRandomness(octets).toString('hex')
}

/** RFC 8446 §4.1.2: random, legacy_session_id and the key share are other ones each time. */
function withoutRandomness(record: Buffer): Buffer {
  const hello = Buffer.from(record)
  hello.fill(0, 11, 43)
  const sessionId = hello.readUInt8(43)
  hello.fill(0, 44, 44 + sessionId)
  let at = 44 + sessionId
  at += 2 + hello.readUInt16BE(at)
  at += 1 + hello.readUInt8(at)
  const end = at + 2 + hello.readUInt16BE(at)
  for (at += 2; at < end;) {
    const [type, length] = [hello.readUInt16BE(at), hello.readUInt16BE(at + 2)]
    if (type === 51) hello.fill(0, at + 4, at + 4 + length)
    at += 4 + length
  }
  return hello
}
