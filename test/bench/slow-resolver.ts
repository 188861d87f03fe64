/** A forwarder in front of the lab's resolver that hands every answer on late, and keeps count of what it was asked. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as packet from 'dns-packet'
import { addresses, labFolder } from '../support/lab/namespace'

export interface Query {
  readonly name: string
  readonly type: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

export interface SlowResolver {
  readonly queries: readonly Query[]
  /** Questions about this domain and the names below it, or about its MX host. */
  about(domain: string): readonly Query[]
  /** The system's resolver is the lab's again. */
  stop(): Promise<void>
}

/** On loopback, where AD is believed. */
const ADDRESS = '127.0.0.3'

/** Makes it the system's resolver, for processes that start from now on. @param delay milliseconds. */
export async function startSlowResolver(delay: number): Promise<SlowResolver> {
  const [front, back] = [createSocket('udp4'), createSocket('udp4')]
  const queries: Query[] = []
  const waiting = new Map<number, { readonly id: number; readonly port: number }>()
  let last = 0
  front.on('message', (query, { port }) => {
    const [question] = packet.decode(query).questions ?? []
    queries.push({
      name: (question?.name ?? '').toLowerCase(),
      type: question?.type ?? '?',
      at: Date.now(),
    })
    last = (last + 1) & 0xffff
    waiting.set(last, { id: query.readUInt16BE(0), port })
    back.send(withId(query, last))
  })
  back.on('message', (reply) => {
    const client = waiting.get(reply.readUInt16BE(0))
    if (!client) return
    waiting.delete(reply.readUInt16BE(0))
    const answer = withId(reply, client.id)
    setTimeout(() => {
      front.send(answer, client.port, '127.0.0.1', ignore)
    }, delay)
  })
  back.connect(53, addresses.resolver)
  await once(back, 'connect')
  front.bind(53, ADDRESS)
  await once(front, 'listening')
  for (const socket of [front, back]) widen(socket)
  const file = join(labFolder(), 'resolv.conf')
  await writeFile(file, `nameserver ${ADDRESS}\n`)
  return {
    queries,
    about: (domain) => {
      const label = domain.split('.')[0] ?? ''
      return queries.filter(
        ({ name }) => `.${name}`.endsWith(`.${domain}`) || name.includes(`${label}-mx.`),
      )
    },
    async stop() {
      front.close()
      back.close()
      await writeFile(file, `nameserver ${addresses.resolver}\n`)
    },
  }
}

function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message)
  copy.writeUInt16BE(id, 0)
  return copy
}

/** A herd of questions must not be lost on the way. */
function widen(socket: Socket): void {
  socket.setRecvBufferSize(4 << 20)
  socket.setSendBufferSize(4 << 20)
}

function ignore(): void {
  // A client that has ended needs no answer.
}
