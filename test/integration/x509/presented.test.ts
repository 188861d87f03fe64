import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { verifyDane } from '../../../plugins/dane/verify'
import { MOST_PRESENTED, presentedChain } from '../../../plugins/x509/presented'
import {
  makeCertificate,
  makeChain,
  strangeRecord,
  tlsaRecord,
  type TestCertificate,
} from '../../support/certificates'

type Version = 'TLSv1.2' | 'TLSv1.3'

type Handshake = (options?: ConnectionOptions) => Promise<TLSSocket>

/** Runs `use` beside a server that sends these certificates; ends it and every connection, whatever happens. */
async function withServer(
  sent: readonly TestCertificate[],
  version: Version,
  use: (handshake: Handshake) => Promise<void>,
): Promise<void> {
  const server = createServer({
    key: sent[0]?.keyPem,
    cert: sent.map(({ pem }) => pem).join(''),
    minVersion: version,
    maxVersion: version,
  })
  const sockets: Socket[] = []
  server.on('connection', (socket: Socket) => sockets.push(socket))
  server.on('secureConnection', (socket) => {
    socket.on('error', () => socket.destroy())
    socket.write('hello')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    const { port } = server.address() as AddressInfo
    await use(async (options = {}) => {
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options })
      sockets.push(socket)
      await once(socket, 'secureConnect')
      return socket
    })
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  }
}

/** TLS 1.3 sends its tickets after the handshake, TLS 1.2 within it. */
async function sessionOf(socket: TLSSocket): Promise<Buffer> {
  if (socket.getProtocol() === 'TLSv1.2') return socket.getSession() ?? assert.fail('no session')
  const [session] = (await once(socket, 'session')) as [Buffer]
  return session
}

describe('x509: the certificates that a peer sent', () => {
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    it(`AUTH-37 ${version}: all of them, in the order sent`, async () => {
      const { chain } = makeChain(4)
      const [leaf, low, high, root] = chain
      assert.ok(leaf && low && high && root)
      const sent = [leaf, makeCertificate({ subject: 'stray' }), root, low, low, high, leaf]
      await withServer(sent, version, async (handshake) => {
        const socket = await handshake()
        const presented = presentedChain(socket)
        assert.deepEqual(
          presented.map(({ raw }) => raw),
          sent.map(({ der }) => der),
        )
        const verdict = verifyDane({
          chain: presented,
          records: [strangeRecord(3), tlsaRecord(root, 2, 1, 1)],
          references: ['mx1.rcpt.test'],
          now: new Date(),
        })
        assert.equal(verdict.ok && verdict.depth, 3)
      })
    })

    it(`AUTH-37 ${version}: looking at getPeerCertificate() before takes none away`, async () => {
      const { chain } = makeChain(3)
      await withServer(chain, version, async (handshake) => {
        const socket = await handshake()
        assert.equal(socket.getPeerCertificate(true).subject.CN, 'mx1.rcpt.test')
        assert.equal(presentedChain(socket).length, 3)
      })
    })

    it(`${version}: no more than the limit`, async () => {
      const leaf = makeCertificate()
      const strays = Array.from({ length: MOST_PRESENTED + 10 }, () => makeCertificate())
      await withServer([leaf, ...strays], version, async (handshake) => {
        const socket = await handshake()
        const presented = presentedChain(socket)
        assert.equal(presented.length, MOST_PRESENTED)
        assert.deepEqual(presented[0]?.raw, leaf.der)
      })
    })

    it(`XC-02 ${version}: a resumed session shows none, and nothing is authenticated by it`, async () => {
      const leaf = makeCertificate()
      await withServer([leaf], version, async (handshake) => {
        const first = await handshake()
        const session = await sessionOf(first)
        const resumed = await handshake({ session })
        assert.equal(resumed.isSessionReused(), true)
        const verdict = verifyDane({
          chain: presentedChain(resumed),
          records: [tlsaRecord(leaf, 3, 1, 1)],
          references: [],
          now: new Date(),
        })
        assert.equal(!verdict.ok && verdict.reason, 'dane-no-certificate')
      })
    })
  }

  it('a closed socket shows none', async () => {
    await withServer([makeCertificate()], 'TLSv1.3', async (handshake) => {
      const socket = await handshake()
      socket.destroy()
      assert.deepEqual(presentedChain(socket), [])
    })
  })
})
