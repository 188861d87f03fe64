/** TLS to Redis, in each way to name it: no password ever goes out in the clear, and only to whom the roots vouch for. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tls from 'node:tls'
import type { ChildProcess } from 'node:child_process'
import { memoryStore } from '../../../plugins/store/memory'
import { redisStore } from '../../../plugins/store/redis/store'
import type { Store } from '../../../plugins/store/types'
import { makeCertificate } from '../../support/certificates'
import { freePort, killRedis, spawnRedis } from '../../support/redis'
import { makeClock, makeLog, record, type TestLog, value } from '../../support/store-contract'

const SECRET = 'secret-0815'
const ca = makeCertificate({ subject: 'private CA', ca: true })
const leaf = makeCertificate({ subject: 'redis', san: ['redis.internal'], issuer: ca })
type Settings = Readonly<Record<string, string | number | boolean>>

describe('TLS to Redis', () => {
  const open: Store[] = []
  afterEach(async () => {
    for (const store of open.splice(0)) await store.close()
  })
  function machine(redis: Settings, redisCa?: string): { store: Store; log: TestLog } {
    const clock = makeClock()
    const log = makeLog()
    const settings = { prefix: 'tlspolicy', redis, ...(redisCa === undefined ? {} : { redisCa }) }
    const tools = { log, now: () => clock.now(), probeMs: 50 }
    const store = redisStore(settings, memoryStore(clock), tools)
    open.push(store)
    return { store, log }
  }
  /** The ways to name a server at a port, with a password. */
  const ways: Readonly<Record<string, (port: number) => Settings>> = {
    'one server': (port) => ({ host: '127.0.0.1', port, password: SECRET }),
    'a url': (port) => ({ url: `redis://:${SECRET}@127.0.0.1:${port}` }),
    'a Cluster': (port) => ({ cluster: `127.0.0.1:${port}`, password: SECRET }),
    Sentinels: (port) => ({
      sentinels: `127.0.0.1:${port}`,
      sentinel_name: 'haraka',
      sentinel_password: SECRET,
      password: SECRET,
    }),
  }

  for (const [way, at] of Object.entries(ways)) {
    for (const yes of ['true', 'yes', 'on', '1', 'True', 'TRUE', true, 1]) {
      it(`${way}, tls=${JSON.stringify(yes)}: the first octets are TLS`, async () => {
        const server = net.createServer().listen(0, '127.0.0.1')
        await once(server, 'listening')
        const { port } = server.address() as AddressInfo
        const first = new Promise<Buffer>((resolve) => {
          server.on('connection', (socket) => {
            socket.on('error', () => undefined)
            socket.once('data', (data: Buffer) => {
              resolve(data)
              socket.destroy()
            })
          })
        })
        machine({ ...at(port), tls: yes })
        const data = await first
        assert.equal(data[0], 0x16)
        assert.ok(!data.includes(SECRET))
        server.close()
      })
    }

    it(`${way}: ca_file and servername are those of the handshake, and only within it is anything said`, async () => {
      const seen: { name: string | false | null; said: string }[] = []
      const server = tls.createServer({ key: leaf.keyPem, cert: leaf.pem }, (socket) => {
        socket.on('error', () => undefined)
        socket.once('data', (data: Buffer) => {
          seen.push({ name: socket.servername, said: data.toString('latin1') })
          socket.destroy()
        })
      })
      server.on('tlsClientError', () => undefined)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const settings = { ...at(port), tls: 'yes', ca_file: 'ca.pem', servername: 'redis.internal' }
      machine(settings, ca.pem)
      while (seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
      assert.equal(seen[0]?.name, 'redis.internal')
      assert.ok(seen[0].said.includes(SECRET))
      server.close()
    })

    it(`${way}: with other roots nothing is said, and the trouble has its own name and cure`, async () => {
      let said = 0
      const server = tls.createServer({ key: leaf.keyPem, cert: leaf.pem }, (socket) => {
        socket.on('error', () => undefined)
        socket.on('data', () => (said += 1))
      })
      server.on('tlsClientError', () => undefined)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      const other = makeCertificate({ subject: 'another CA', ca: true })
      const settings = { ...at(port), tls: 'yes', ca_file: 'ca.pem', servername: 'redis.internal' }
      const { store, log } = machine(settings, other.pem)
      const found = await store.getPolicy('rcpt.test')
      assert.equal(found.ok, false)
      const [trouble] = store.troubles()
      assert.ok(trouble)
      if (way !== 'Sentinels') assert.equal(trouble.kind, 'redis-untrusted')
      assert.match(
        log.lines.join('\n'),
        way === 'Sentinels' ? /self.signed|certificate/ : /ca_file/,
      )
      assert.equal(said, 0)
      server.close()
    })

    it(`${way}: what is neither yes nor no, or roots that were not read, make no connection at all`, () => {
      assert.throws(() => machine({ ...at(6379), tls: 'ture' }), /neither true nor false/)
      assert.throws(() => machine({ ...at(6379), tls: 'yes', ca_file: 'ca.pem' }), /was not read/)
    })
  }

  describe('with a real one', () => {
    let folder: string
    let child: ChildProcess
    let port: number
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'tls-policy-redis-'))
      port = await freePort()
      const file = (name: string, text: string): string => {
        writeFileSync(join(folder, name), text)
        return join(folder, name)
      }
      child = await spawnRedis([
        ...['--port', '0', '--tls-port', String(port), '--bind', '127.0.0.1', '--save', ''],
        ...[
          '--tls-cert-file',
          file('cert.pem', leaf.pem),
          '--tls-key-file',
          file('key.pem', leaf.keyPem),
        ],
        ...['--tls-ca-cert-file', file('ca.pem', ca.pem), '--tls-auth-clients', 'no'],
        ...['--requirepass', SECRET, '--dir', folder],
      ])
    })
    after(async () => {
      await killRedis(child)
      rmSync(folder, { recursive: true, force: true })
    })

    it('a policy is shared', async () => {
      const settings = { ...ways['one server']?.(port), tls: 'on', servername: 'redis.internal' }
      const one = machine({ ...settings, ca_file: 'ca.pem' }, ca.pem)
      const two = machine({ ...settings, ca_file: 'ca.pem' }, ca.pem)
      await value(one.store.setPolicy(record()))
      assert.deepEqual(await value(two.store.getPolicy('rcpt.test')), record())
      assert.deepEqual(await two.store.examine(), [])
    })
  })
})
