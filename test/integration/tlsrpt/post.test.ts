import assert from 'node:assert/strict'
import net from 'node:net'
import { gunzipSync, gzipSync } from 'node:zlib'
import { rememberTrust } from '../../../plugins/https/open'
import { type Posted, postReport, type PostOptions } from '../../../plugins/tlsrpt/post'
import { makeCertificate } from '../../support/certificates'
import {
  makeRoot,
  plain,
  type PolicyHost,
  type PolicyHostOptions,
  raw,
  type Respond,
  startPolicyHost,
} from '../../support/https-policy-host'
import { failed, scriptedResolver, secure } from '../../support/scripted-resolver'

const HOST = 'reports.rcpt.test'
const REPORT = '{"organization-name":"x"}'
const body = gzipSync(REPORT)

describe('a report over HTTPS (RFC 8460 §5.4)', () => {
  const root = makeRoot()
  const opened: { close(): Promise<void> }[] = []
  const dialled: string[] = []
  afterEach(async () => {
    dialled.length = 0
    for (const each of opened.splice(0)) await each.close()
  })

  async function receiver(options: PolicyHostOptions = {}): Promise<PolicyHost> {
    const started = await startPolicyHost({
      root,
      hosts: [HOST],
      answer: plain(201, ''),
      ...options,
    })
    opened.push(started)
    return started
  }
  function post(url: string, changes: Partial<PostOptions> = {}): Promise<Posted> {
    return postReport({
      url,
      body,
      mediaType: 'application/tlsrpt+gzip',
      resolver: scriptedResolver({ [HOST]: { A: secure('127.0.0.1') } }),
      allowPrivate: true,
      ca: root.pem,
      trust: rememberTrust(),
      timeoutMs: 5_000,
      connect: (host, port) => {
        dialled.push(host)
        return net.connect({ host, port })
      },
      ...changes,
    })
  }

  it('TD-04 TD-18 the octets arrive as they are, under their media type and without a content coding', async () => {
    let arrived: Buffer | undefined
    const answer: Respond = (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        arrived = Buffer.concat(chunks)
        response.writeHead(201).end()
      })
    }
    const server = await receiver({ answer })
    const posted = await post(`https://${HOST}:${server.port}/v1?from=us`)
    assert.deepEqual(posted, { kind: 'taken', verified: true })
    const [request] = server.requests
    assert.equal(request?.method, 'POST')
    assert.equal(request.url, '/v1?from=us')
    assert.equal(request.host, `${HOST}:${server.port}`)
    assert.equal(request.sni, HOST)
    assert.equal(request.headers['content-type'], 'application/tlsrpt+gzip')
    assert.equal(request.headers['content-encoding'], undefined)
    assert.equal(gunzipSync(arrived ?? Buffer.of()).toString(), REPORT)
  })

  const statuses: readonly (readonly [number, Posted['kind']])[] = [
    [200, 'taken'],
    [202, 'taken'],
    [204, 'taken'],
    [302, 'refused'],
    [400, 'refused'],
    [404, 'refused'],
    [408, 'failed'],
    [413, 'refused'],
    [429, 'failed'],
    [500, 'failed'],
    [503, 'failed'],
  ]
  for (const [status, kind] of statuses) {
    it(`TD-20 status ${status}: ${kind}`, async () => {
      const location = 'https://127.0.0.1:1/elsewhere'
      const server = await receiver({ answer: plain(status, '', { Location: location }) })
      assert.equal((await post(`https://${HOST}:${server.port}/`)).kind, kind)
      assert.equal(server.connections, 1)
      assert.deepEqual(dialled, ['127.0.0.1'])
    })
  }

  const odd: readonly (readonly [string, Respond, Posted['kind']])[] = [
    ['an endless body', (_request, response) => {
      response.writeHead(200)
      const more = () => {
        while (response.write('x'.repeat(65_536)));
        response.once('drain', more)
      }
      more()
    }, 'taken'],
    ['no HTTP at all', raw('220 mail.test ESMTP\r\n'), 'failed'],
    ['endless headers', (_request, response) => void response.socket?.write(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}`), 'failed'],
    ['interim responses without end', raw('HTTP/1.1 102 Processing\r\n\r\n'.repeat(20)), 'failed'],
    ['a switch of protocols', raw('HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'), 'failed'],
    ['an end without a word', raw(''), 'failed'],
  ] // prettier-ignore
  for (const [what, answer, kind] of odd) {
    it(`TD-20 ${what}: ${kind}`, async () => {
      const server = await receiver({ answer })
      assert.equal((await post(`https://${HOST}:${server.port}/`)).kind, kind)
    })
  }
  it('TD-20 a server that never answers: over at the deadline', async () => {
    const server = await receiver({ answer: () => undefined })
    const posted = await post(`https://${HOST}:${server.port}/`, { timeoutMs: 300 })
    assert.deepEqual(posted, { kind: 'failed', detail: 'no answer in time' })
  })

  const other = makeCertificate({ subject: 'self', san: ['other.test'] })
  it('TD-19 a certificate that will not do: verified first, then taken without', async () => {
    const server = await receiver({ tls: { cert: other.pem, key: other.keyPem } })
    const posted = await post(`https://${HOST}:${server.port}/`)
    assert.deepEqual(posted, { kind: 'taken', verified: false })
    assert.equal(server.connections, 2)
    assert.equal(server.requests.length, 1)
  })
  it('TD-19 an address with a good certificate comes before one without', async () => {
    const bad = await receiver({
      tls: { cert: other.pem, key: other.keyPem },
      address: '127.0.0.2',
    })
    const good = await receiver({ port: bad.port, address: '127.0.0.3' })
    const resolver = scriptedResolver({ [HOST]: { A: secure('127.0.0.2', '127.0.0.3') } })
    const posted = await post(`https://${HOST}:${bad.port}/`, { resolver })
    assert.deepEqual(posted, { kind: 'taken', verified: true })
    assert.equal(bad.requests.length, 0)
    assert.equal(good.requests.length, 1)
  })

  const urls: readonly string[] = [
    'http://reports.rcpt.test/',
    'ftp://reports.rcpt.test/',
    'https://u:p@reports.rcpt.test/',
    'https://reports.rcpt.test:25/',
    'https://reports.rcpt.test:22/',
    'https://',
    'nonsense',
    `https://reports.rcpt.test/${'x'.repeat(3000)}`,
  ]
  for (const url of urls) {
    it(`TR-05 refused, with nothing dialled: ${url.slice(0, 60)}`, async () => {
      assert.equal((await post(url)).kind, 'refused')
      assert.deepEqual(dialled, [])
    })
  }

  const inside = [
    'https://127.0.0.1:8443/',
    'https://0x7f000001:8443/',
    'https://2130706433:8443/',
    'https://[::1]:8443/',
    'https://[::ffff:127.0.0.1]:8443/',
    'https://[64:ff9b::7f00:1]:8443/',
    'https://[fe80::1]:8443/',
    'https://169.254.169.254/latest/meta-data',
    'https://10.0.0.1/',
    'https://reports.rcpt.test:8443/',
    'https://REPORTS.rcpt.test.:8443/',
  ]
  for (const url of inside) {
    it(`TR-13 a URL that leads inside is not dialled: ${url}`, async () => {
      assert.equal((await post(url, { allowPrivate: false })).kind, 'failed')
      assert.deepEqual(dialled, [])
    })
  }
  it('TR-14 a host that cannot be looked up may be tried again', async () => {
    const resolver = scriptedResolver({
      [HOST]: { A: failed('servfail'), AAAA: failed('servfail') },
    })
    assert.equal((await post(`https://${HOST}/`, { resolver })).kind, 'failed')
  })
})
