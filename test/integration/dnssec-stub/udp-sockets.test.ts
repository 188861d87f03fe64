import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { udpSockets } from '../../../plugins/dnssec-stub/udp-sockets'

/** A server that notes from which port each id came, and sends back what it got when told. */
async function echoServer() {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const seen: { readonly id: number; readonly port: number }[] = []
  const heard: (() => void)[] = []
  socket.on('message', (octets, from) => {
    seen.push({ id: octets.readUInt16BE(0), port: from.port })
    for (const tell of heard.splice(0)) tell()
  })
  return {
    server: { address: '127.0.0.1', port: socket.address().port },
    seen,
    ports: () => new Set(seen.map(({ port }) => port)),
    async count(wanted: number): Promise<void> {
      while (seen.length < wanted) await new Promise<void>((resolve) => heard.push(resolve))
    },
    reply: (id: number, port: number) => socket.send(query(id), port, '127.0.0.1'),
    close: () => socket.close(),
  }
}

function query(id: number): Buffer {
  const octets = Buffer.alloc(12)
  octets.writeUInt16BE(id)
  return octets
}

const deaf = { received: () => undefined, failed: () => undefined }

describe('dnssec-stub UDP sockets', () => {
  let remote: Awaited<ReturnType<typeof echoServer>>
  beforeEach(async () => {
    remote = await echoServer()
  })
  afterEach(() => remote.close())

  it('DNS-38 each question has a port of its own, as long as there are few of them', async () => {
    const sockets = udpSockets()
    const ends = Array.from({ length: 100 }, (_, id) => sockets.ask(remote.server, query(id), deaf))
    await remote.count(100)
    assert.equal(remote.ports().size, 100)
    for (const end of ends) end()
  })

  it('XC-13 in a crowd questions share ports, never with one id twice, and hear their own replies', async () => {
    const sockets = udpSockets({ most: 4, questionsEach: 32 })
    const got = new Map<number, number>()
    const told: (() => void)[] = []
    const ends = Array.from({ length: 100 }, (_, index) => {
      // Each id is asked four times: a socket has it once.
      const id = index % 25
      return sockets.ask(remote.server, query(id), {
        ...deaf,
        received: (octets) => {
          if (octets.readUInt16BE(0) !== id) return
          got.set(index, (got.get(index) ?? 0) + 1)
          if (got.size === 100) for (const tell of told) tell()
        },
      })
    })
    await remote.count(100)
    assert.ok(remote.ports().size < 10, `${remote.ports().size} ports`)
    assert.equal(new Set(remote.seen.map(({ id, port }) => `${id} ${port}`)).size, 100)
    const all = new Promise<void>((resolve) => told.push(resolve))
    for (const { id, port } of remote.seen) remote.reply(id, port)
    await all
    assert.deepEqual([...new Set(got.values())], [1])
    for (const end of ends) end()
  })

  it('DNS-38 no port lives for more than so many questions', async () => {
    const sockets = udpSockets({ most: 0, questionsEach: 8 })
    const ends: (() => void)[] = []
    for (let asked = 0; asked < 64; asked += 1) {
      ends.push(sockets.ask(remote.server, query(asked), deaf))
      await remote.count(asked + 1)
    }
    assert.equal(remote.ports().size, 8)
    for (const end of ends) end()
  })

  it('tells all whose socket failed, and asks the next question from another', async () => {
    const sockets = udpSockets({ most: 1 })
    const gone = await echoServer()
    gone.close()
    const failures = await Promise.all(
      [1, 2].map(
        (id) =>
          new Promise<Error>((resolve) => {
            const end = sockets.ask(gone.server, query(id), {
              ...deaf,
              failed: (error) => {
                end()
                resolve(error)
              },
            })
          }),
      ),
    )
    assert.match(failures.map(({ message }) => message).join(), /ECONNREFUSED.*ECONNREFUSED/)
    const end = sockets.ask(remote.server, query(3), deaf)
    await remote.count(1)
    end()
  })

  it('an address to which there is no way is a failure, and no rejection that would end the process', async () => {
    const sockets = udpSockets()
    const error = await new Promise<Error>((failed) => {
      const server = { address: '255.255.255.255', port: 53 }
      const end = sockets.ask(server, query(1), {
        ...deaf,
        failed: (why) => {
          end()
          failed(why)
        },
      })
    })
    assert.match(error.message, /connect EACCES 255\.255\.255\.255/)
  })
})
