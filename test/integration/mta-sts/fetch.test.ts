import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import net from 'node:net'
import { gzipSync } from 'node:zlib'
import { fetchPolicy, type FetchOptions, type FetchOutcome } from '../../../plugins/mta-sts/fetch'
import { rememberTrust } from '../../../plugins/https/open'
import { failed, nodata, scriptedResolver, secure } from '../../support/scripted-resolver'
import {
  makeRoot,
  plain,
  policyText,
  type PolicyHost,
  type PolicyHostOptions,
  raw,
  type Respond,
  startPolicyHost,
} from '../../support/https-policy-host'
import { makeCertificate } from '../../support/certificates'
import type { StsProblemReason } from '../../../plugins/reasons/codes'
import { compiled } from '../../support/compiled'

const HOST = 'mta-sts.rcpt.test'
const DAY = 86_400_000
const GOOD_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n'

/** Writes these octets, and ends TCP without a word of TLS. */
function cutOff(text: string): Respond {
  return (_request, response) => {
    const { socket } = response
    socket?.write(text, () => socket.destroy())
  }
}

describe('fetching a policy over HTTPS (RFC 8461 §3.3)', () => {
  const opened: { close(): Promise<void> }[] = []
  const root = makeRoot()
  afterEach(async () => {
    for (const each of opened.splice(0)) await each.close()
  })

  async function host(options: PolicyHostOptions = {}): Promise<PolicyHost> {
    const started = await startPolicyHost({ root, ...options })
    opened.push(started)
    return started
  }
  function get(
    server: { port: number },
    changes: Partial<FetchOptions> = {},
  ): Promise<FetchOutcome> {
    return fetchPolicy({
      domain: 'rcpt.test',
      resolver: scriptedResolver({ [HOST]: { A: secure('127.0.0.1') } }),
      ca: root.pem,
      timeoutMs: 5_000,
      maxBody: 65_536,
      allowPrivate: true,
      port: server.port,
      ...changes,
    })
  }
  function assertProblem(outcome: FetchOutcome, reason: StsProblemReason, detail = /./): void {
    assert.ok(!outcome.ok, 'a policy was fetched')
    assert.equal(outcome.problem.reason, reason, outcome.problem.detail)
    assert.match(outcome.problem.detail, detail)
    assert.doesNotMatch(outcome.problem.detail, /\p{Cc}/u)
  }

  /** Fetches in a process of its own; what it prints is whether there is a policy, and the problem. */
  async function fetchInChild(
    port: number,
    options: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const script = `
      const { fetchPolicy } = require(${JSON.stringify(compiled('plugins/mta-sts/fetch.ts'))})
      const { scriptedResolver, secure } = require(${JSON.stringify(compiled('test/support/scripted-resolver.ts'))})
      const resolver = scriptedResolver({ '${HOST}': { A: secure('127.0.0.1') } })
      fetchPolicy({ domain: 'rcpt.test', resolver, ca: process.env.TEST_CA, timeoutMs: 5000, maxBody: 65536,
        allowPrivate: true, port: ${port} }).then((outcome) => console.log(outcome.ok, outcome.problem))`
    const child = spawn(process.execPath, [...options, '-e', script], {
      env: { ...process.env, TEST_CA: root.pem, ...env },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    await once(child, 'close')
    return output
  }

  it('SF-01 SF-08 SF-21 asks for the well-known path, once, without conditions', async () => {
    const server = await host()
    const outcome = await get(server)
    assert.ok(outcome.ok)
    assert.equal(outcome.policy.mode, 'enforce')
    assert.equal(outcome.body.toString(), policyText())
    assert.equal(server.requests.length, 1)
    const [request] = server.requests
    assert.equal(request?.method, 'GET')
    assert.equal(request?.url, '/.well-known/mta-sts.txt')
    assert.equal(request?.host, `${HOST}:${server.port}`)
    assert.equal(request?.sni, HOST)
    assert.deepEqual(Object.keys(request?.headers ?? {}).sort(), [
      'accept',
      'accept-encoding',
      'connection',
      'host',
      'user-agent',
    ])
    assert.equal(request?.headers['accept-encoding'], 'identity')
    assert.equal(request?.headers.connection, 'close')
  })

  it('SF-08 asks again each time, whatever the caching headers say', async () => {
    const headers = {
      'Cache-Control': 'max-age=9999999',
      ETag: '"1"',
      Expires: 'Thu, 01 Jan 2099 00:00:00 GMT',
    }
    const server = await host({ answer: plain(200, policyText(), headers) })
    assert.ok((await get(server)).ok)
    assert.ok((await get(server)).ok)
    assert.equal(server.requests.length, 2)
    assert.equal(server.connections, 2)
    assert.equal(server.requests[1]?.headers['if-none-match'], undefined)
  })

  it('SF-23 an A-label domain is what URL, Host and SNI say', async () => {
    const name = 'mta-sts.xn--bcher-kva.test'
    const server = await host({ hosts: [name] })
    const resolver = scriptedResolver({ [name]: { A: secure('127.0.0.1') } })
    assert.ok((await get(server, { domain: 'xn--bcher-kva.test', resolver })).ok)
    assert.equal(server.requests[0]?.sni, name)
    assert.equal(server.requests[0]?.host, `${name}:${server.port}`)
  })

  describe('certificates', () => {
    const yesterday = new Date(Date.now() - DAY)
    const cases: [string, PolicyHostOptions['certificate'], boolean][] = [
      ['SF-02 expired', { notBefore: new Date(Date.now() - 9 * DAY), notAfter: yesterday }, false],
      ['SF-02 not yet valid', { notBefore: new Date(Date.now() + DAY), notAfter: new Date(Date.now() + 9 * DAY) }, false],
      ['SF-02 of another CA', { issuer: makeRoot() }, false],
      ['SF-03 the name only as common name', { subject: HOST, san: [] }, false],
      ['SF-03 the name as common name beside another SAN', { subject: HOST, san: ['other.test'] }, false],
      ['SF-03 the name as an e-mail or URI SAN', { san: [{ uri: `https://${HOST}/` }, { email: `x@${HOST}` }] }, false],
      ['SF-04 a wildcard for the whole left-most label', { san: ['*.rcpt.test'] }, true],
      ['SF-04 a partial wildcard', { san: ['mta-*.rcpt.test'] }, false],
      ['SF-04 a wildcard over two labels', { san: ['*.test'] }, false],
      ['SF-04 the policy domain only', { san: ['rcpt.test'] }, false],
      ['SF-05 the name of the provider it is an alias of', { san: ['mta-sts.prov.test'] }, false],
      ['SF-04 another case', { san: ['MTA-STS.Rcpt.Test'] }, true],
    ] // prettier-ignore
    for (const [title, certificate = {}, good] of cases) {
      it(`${title} is ${good ? 'accepted' : 'no policy, and nothing is asked'}`, async () => {
        const server = await host({ certificate })
        const outcome = await get(server)
        if (good) return assert.ok(outcome.ok)
        assertProblem(outcome, 'sts-webpki-invalid', /certificate/)
        assert.equal(server.requests.length, 0)
      })
    }
    it('SF-02 a self-signed one is no policy', async () => {
      const own = makeCertificate({ subject: HOST, san: [HOST] })
      const server = await host({ tls: { cert: own.pem, key: own.keyPem } })
      assertProblem(await get(server), 'sts-webpki-invalid', /self.signed/i)
    })
    it('SF-02 roots are read once for many fetches, and others at once when they are changed', async () => {
      const server = await host()
      const trust = rememberTrust()
      assert.equal(trust(root.pem), trust(root.pem))
      assert.ok((await get(server, { trust })).ok)
      for (const ca of [undefined, makeRoot().pem]) {
        assertProblem(await get(server, { trust, ca }), 'sts-webpki-invalid')
      }
      assert.ok((await get(server, { trust })).ok)
    })
    it('roots that are no PEM are a failed fetch', async () => {
      assertProblem(
        await get(await host(), { ca: 'x', trust: rememberTrust() }),
        'sts-webpki-invalid',
      )
    })
    it('SF-02 a test CA is not among the roots of Node', async () => {
      assertProblem(await get(await host(), { ca: undefined }), 'sts-webpki-invalid')
    })
    it('SF-02 NODE_TLS_REJECT_UNAUTHORIZED=0 opens nothing', async () => {
      const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
      process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
      try {
        assertProblem(
          await get(await host({ certificate: { issuer: makeRoot() } })),
          'sts-webpki-invalid',
        )
      } finally {
        if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
        else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
      }
    })
    it('SF-05 an alias is followed, and the certificate must name the policy host', async () => {
      const resolver = scriptedResolver({
        [HOST]: { CNAME: secure('mta-sts.prov.test') },
        'mta-sts.prov.test': { A: secure('127.0.0.1') },
      })
      const good = await host()
      assert.ok((await get(good, { resolver })).ok)
      assert.equal(good.requests[0]?.sni, HOST)
    })
    it('SF-17 a host that speaks TLS 1.1 only is no policy, also where Node itself would talk to it', async () => {
      const old = {
        minVersion: 'TLSv1',
        maxVersion: 'TLSv1.1',
        ciphers: 'DEFAULT@SECLEVEL=0',
      } as const
      const server = await host({ tls: old })
      assertProblem(await get(server), 'sts-policy-fetch-error')
      const lax = ['--tls-min-v1.0', '--tls-cipher-list=DEFAULT@SECLEVEL=0']
      assert.match(await fetchInChild(server.port, lax), /^false .*sts-policy-fetch-error/s)
      assert.match(await fetchInChild((await host()).port, lax), /^true/)
    })
  })

  describe('answers', () => {
    for (const status of [201, 203, 204, 206, 304, 400, 404, 410, 500, 503]) {
      it(`SF-06 status ${status} is no policy`, async () => {
        const server = await host({
          answer: plain(status, status === 204 || status === 304 ? '' : policyText()),
        })
        assertProblem(await get(server), 'sts-policy-fetch-error', new RegExp(`${status}`))
      })
    }
    for (const status of [301, 302, 303, 307, 308]) {
      it(`SF-07 a redirect (${status}) is not followed, to the same host neither`, async () => {
        const answer: Respond = (request, response) => {
          const Location = `https://${HOST}:${request.socket.localPort}/moved`
          if (request.url === '/moved') plain(200, policyText())(request, response)
          else plain(status, policyText(), { Location })(request, response)
        }
        const server = await host({ answer })
        assertProblem(await get(server), 'sts-policy-fetch-error', new RegExp(`${status}`))
        assert.equal(server.requests.length, 1)
      })
    }
    for (const type of ['text/html', 'application/json', 'text/plainx', '']) {
      it(`SF-09 media type ${JSON.stringify(type)} is no policy`, async () => {
        const server = await host({ answer: plain(200, policyText(), { 'Content-Type': type }) })
        assertProblem(await get(server), 'sts-policy-invalid', /media type/)
      })
    }
    it('SF-09 no media type is no policy', async () => {
      const head = `HTTP/1.1 200 OK\r\nContent-Length: ${policyText().length}\r\n\r\n`
      assertProblem(
        await get(await host({ answer: raw(head, policyText()) })),
        'sts-policy-invalid',
      )
    })
    for (const type of [
      'text/plain',
      'TEXT/Plain',
      'text/plain; foo=bar; charset=UTF-8',
      'text/plain;charset=utf-16',
    ]) {
      it(`SF-09 media type ${type} is accepted`, async () => {
        const server = await host({ answer: plain(200, policyText(), { 'Content-Type': type }) })
        assert.ok((await get(server)).ok)
      })
    }
    it('SP-18 SP-23 a page instead of a policy is sts-policy-invalid', async () => {
      assertProblem(await get(await host({ answer: plain(200, '<html>\n') })), 'sts-policy-invalid')
    })
    it('SF-10 a body of exactly the cap is accepted', async () => {
      const text = policyText()
      assert.ok((await get(await host(), { maxBody: Buffer.byteLength(text) })).ok)
    })
    it('SF-10 a longer body is refused by its announced length', async () => {
      const body = policyText() + 'x: ' + 'y'.repeat(70_000)
      assertProblem(
        await get(await host({ answer: plain(200, body) })),
        'sts-policy-fetch-error',
        /longer/,
      )
    })
    it('SF-10 an endless chunked body is cut off', async () => {
      let sent = 0
      const answer: Respond = (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/plain' })
        const pump = (): void => {
          while (!response.destroyed && response.write('x: yyyyyyyyyyyyyyyyyyyyyyyyyyyy\n'))
            sent += 32
        }
        response.on('drain', pump)
        pump()
      }
      assertProblem(await get(await host({ answer })), 'sts-policy-fetch-error', /longer/)
      assert.ok(sent < 16_000_000)
    })
    it('SF-21 a content-coded body is refused', async () => {
      const bomb = gzipSync(Buffer.alloc(10_000_000, 'x'))
      const server = await host({ answer: plain(200, bomb, { 'Content-Encoding': 'gzip' }) })
      assertProblem(await get(server), 'sts-policy-fetch-error', /content coding/)
    })
    it('SF-21 a transfer coding other than chunked is refused', async () => {
      const answer = raw(
        `${GOOD_HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      )
      assertProblem(await get(await host({ answer })), 'sts-policy-fetch-error')
    })
    const cut = policyText().slice(0, -12)
    const hostile: [string, Respond][] = [
      ['SF-24 a body shorter than Content-Length', raw(`${GOOD_HEAD}Content-Length: ${policyText().length}\r\n\r\n${cut}`)],
      ['SF-24 a chunked body without its end', raw(`${GOOD_HEAD}Transfer-Encoding: chunked\r\n\r\n${cut.length.toString(16)}\r\n${cut}\r\n`)],
      ['SF-24 a body that ends with a connection that was cut', cutOff(`${GOOD_HEAD}\r\n${policyText()}`)],
      ['SF-24 a body of its length, cut within', cutOff(`${GOOD_HEAD}Content-Length: ${policyText().length}\r\n\r\n${cut}`)],
      ['SF-24 half a header, then a cut', cutOff('HTTP/1.1 200 OK\r\nContent-')],
      ['SF-24 no response', raw('')],
      ['SF-24 half a header', raw('HTTP/1.1 200 OK\r\nContent-')],
      ['SF-24 both length and chunked', raw(`${GOOD_HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`)],
      ['SF-24 two lengths', raw(`${GOOD_HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`)],
      ['SF-06 no HTTP', raw('SSH-2.0-OpenSSH_9.9\r\n')],
      ['SF-06 HTTP/0.9', raw(policyText())],
      ['SF-06 a switch of protocols', raw('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n')],
      ['SF-10 hostile headers: one of 1 MB', raw(`${GOOD_HEAD}X: ${'y'.repeat(1_000_000)}\r\n\r\n`)],
      ['SF-10 hostile headers: 100000 of them', raw(GOOD_HEAD + 'X: y\r\n'.repeat(100_000) + '\r\n')],
      ['SF-10 twenty interim responses, even before a good one', raw('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(20), `${GOOD_HEAD}Content-Length: ${policyText().length}\r\n\r\n${policyText()}`)],
      ['SF-10 an endless chunk extension', raw(`${GOOD_HEAD}Transfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(1_000_000)}\r\na\r\n0\r\n\r\n`)],
    ] // prettier-ignore
    for (const [title, answer] of hostile) {
      it(`${title} is no policy`, async () => {
        assertProblem(await get(await host({ answer })), 'sts-policy-fetch-error')
      })
    }
    for (const [title, head] of [
      ['HTTP/1.0', 'HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n'],
      ['HTTP/1.1', GOOD_HEAD],
      ['HTTP/1.1 that says so', `${GOOD_HEAD}Connection: close\r\n`],
    ] as const) {
      it(`SF-24 a body that ends with the connection is whole where TLS ends it: ${title}`, async () => {
        const outcome = await get(await host({ answer: raw(`${head}\r\n${policyText()}`) }))
        assert.ok(outcome.ok, JSON.stringify(outcome))
        assert.equal(outcome.policy.maxAge, 604_800)
      })
    }
    it('SF-10 a body without end that would end with the connection is cut off', async () => {
      const answer = raw(`${GOOD_HEAD}\r\n`, Buffer.alloc(1_000_000, 'x'))
      assertProblem(await get(await host({ answer })), 'sts-policy-fetch-error', /longer/)
    })
    it('SF-24 a whole body by its length needs no orderly end', async () => {
      const text = policyText()
      const answer = cutOff(`${GOOD_HEAD}Content-Length: ${text.length}\r\n\r\n${text}`)
      assert.ok((await get(await host({ answer }))).ok)
    })
    for (const [types, accepted] of [
      [['text/html', 'text/plain'], true],
      [['text/plain', 'text/html'], false],
      [['text/plain', 'nonsense'], true],
      [['text/plain', ''], true],
      [['text/plain; charset=utf-8', 'text/plain'], true],
      [['text/html, text/plain'], true],
      [['text/plain; x="a, text/html"'], true],
      [['nonsense', ''], false],
    ] as const) {
      it(`SF-09 of several media types the last that is one counts: ${types.join(' | ')}`, async () => {
        const text = policyText()
        const fields = types.map((type) => `Content-Type: ${type}\r\n`).join('')
        const head = `HTTP/1.1 200 OK\r\n${fields}Content-Length: ${text.length}\r\n\r\n`
        const outcome = await get(await host({ answer: raw(head, text) }))
        if (accepted) assert.ok(outcome.ok, JSON.stringify(outcome))
        else assertProblem(outcome, 'sts-policy-invalid', /media type/)
      })
    }
    it('an interim response before a good one does no harm', async () => {
      const text = policyText()
      const answer = raw(
        `HTTP/1.1 103 Early Hints\r\n\r\n${GOOD_HEAD}Content-Length: ${text.length}\r\n\r\n${text}`,
      )
      assert.ok((await get(await host({ answer }))).ok)
    })
  })

  describe('time', () => {
    const within = async (run: Promise<FetchOutcome>, ms: number): Promise<FetchOutcome> => {
      const started = Date.now()
      const outcome = await run
      assert.ok(Date.now() - started < ms, `took ${Date.now() - started} ms`)
      return outcome
    }
    it('SF-11 a body that drips is cut off by the total deadline', async () => {
      const answer: Respond = (_request, response) => {
        response.writeHead(200, { 'Content-Type': 'text/plain' })
        const drip = setInterval(() => response.write('x'), 20)
        response.on('close', () => clearInterval(drip))
      }
      const run = get(await host({ answer }), { timeoutMs: 300 })
      assertProblem(await within(run, 3000), 'sts-policy-fetch-error', /in time/)
    })
    it('SF-11 headers that drip are cut off', async () => {
      const answer: Respond = (_request, response) => {
        const socket = response.socket
        socket?.write('HTTP/1.1 200 OK\r\n')
        const drip = setInterval(() => socket?.write('X'), 20)
        socket?.on('close', () => clearInterval(drip))
      }
      const run = get(await host({ answer }), { timeoutMs: 300 })
      assertProblem(await within(run, 3000), 'sts-policy-fetch-error', /in time/)
    })
    it('SF-11 a host that accepts TCP and says nothing is given up', async () => {
      const silent = net
        .createServer((socket) => socket.on('error', () => undefined).resume())
        .listen(0, '127.0.0.1')
      await once(silent, 'listening')
      opened.push({ close: async () => void (await once(silent.close(), 'close')) })
      const { port } = silent.address() as net.AddressInfo
      assertProblem(
        await within(get({ port }, { timeoutMs: 300 }), 3000),
        'sts-policy-fetch-error',
        /no TLS in time/,
      )
    })
    it('SF-11 the DNS counts too', async () => {
      const resolver = scriptedResolver({ [HOST]: { A: { kind: 'hang' }, AAAA: { kind: 'hang' } } })
      const run = get({ port: 1 }, { resolver, timeoutMs: 100 })
      assertProblem(await within(run, 3000), 'sts-policy-fetch-error')
    })
    it('the caller can end it', async () => {
      const caller = new AbortController()
      const server = await host({ answer: () => undefined })
      const run = get(server, { signal: caller.signal })
      await server.reached(1)
      caller.abort()
      assertProblem(await run, 'sts-policy-fetch-error')
      assertProblem(await get(server, { signal: caller.signal }), 'sts-policy-fetch-error')
      assert.equal(server.requests.length, 1)
    })
    it('leaves no socket behind', async () => {
      const server = await host({ answer: plain(404, '') })
      await get(server)
      await get(server, { maxBody: 1 })
      const sockets = process.getActiveResourcesInfo().filter((kind) => kind === 'TLSWrap')
      assert.ok(sockets.length <= 2, String(sockets))
    })
  })

  describe('addresses', () => {
    const never = (): net.Socket => new net.Socket()
    it('SF-18 a dead IPv6 does not cost the policy', async () => {
      const server = await host()
      const resolver = scriptedResolver({
        [HOST]: { A: secure('127.0.0.1'), AAAA: secure('2001:db8::1') },
      })
      const tried: string[] = []
      const connect = (address: string, port: number): net.Socket => {
        tried.push(address)
        return net.isIPv6(address) ? never() : net.connect({ host: address, port })
      }
      assert.ok((await get(server, { resolver, connect })).ok)
      assert.ok(tried.includes('127.0.0.1'))
    })
    it('SF-18 each address gets its share of the time: black holes first, a good one last', async () => {
      const server = await host()
      const resolver = scriptedResolver({
        [HOST]: { A: secure('192.0.2.1', '192.0.2.2', '127.0.0.1') },
      })
      const connect = (address: string, port: number): net.Socket =>
        address === '127.0.0.1' ? net.connect({ host: address, port }) : never()
      assert.ok((await get(server, { resolver, connect, timeoutMs: 1500 })).ok)
    })
    it('SF-18 a refused connection and a bad certificate lead to the next address', async () => {
      const bad = await host({ certificate: { issuer: makeRoot() } })
      const good = await host()
      const resolver = scriptedResolver({
        [HOST]: { A: secure('127.0.0.1', '127.0.0.2', '127.0.0.3') },
      })
      const ports: Record<string, number> = {
        '127.0.0.1': 1,
        '127.0.0.2': bad.port,
        '127.0.0.3': good.port,
      }
      const connect = (address: string): net.Socket =>
        net.connect({ host: '127.0.0.1', port: ports[address] ?? 1 })
      assert.ok((await get(good, { resolver, connect })).ok)
    })
    it('SF-18 no more than eight are tried', async () => {
      const addresses = Array.from({ length: 100 }, (_, index) => `127.0.1.${index}`)
      const resolver = scriptedResolver({ [HOST]: { A: secure(...addresses) } })
      const tried: string[] = []
      const connect = (address: string): net.Socket => {
        tried.push(address)
        return net.connect({ host: '127.0.0.1', port: 1 })
      }
      assertProblem(await get({ port: 1 }, { resolver, connect }), 'sts-policy-fetch-error')
      assert.equal(tried.length, 8)
    })
    it('SF-19 no such host, no address, or a failing DNS is a failed fetch', async () => {
      for (const reply of [undefined, nodata(), failed('servfail')]) {
        const resolver = scriptedResolver(
          reply === undefined ? {} : { [HOST]: { A: reply, AAAA: reply } },
        )
        assertProblem(await get({ port: 1 }, { resolver }), 'sts-policy-fetch-error', /A: /)
      }
    })
    it('SF-19 one family failing does not hide the other', async () => {
      const resolver = scriptedResolver({ [HOST]: { A: failed(), AAAA: secure('::1') } })
      const server = await host({ address: '::1' })
      assert.ok((await get(server, { resolver })).ok)
    })
    it('an address that is not public is never connected to, beside a public one neither', async () => {
      const resolver = scriptedResolver({
        [HOST]: {
          A: secure('127.0.0.1', '10.0.0.1', '1.1.1.1'),
          AAAA: secure('::1', '::ffff:127.0.0.1'),
        },
      })
      const tried: string[] = []
      const connect = (address: string): net.Socket => {
        tried.push(address)
        return net.connect({ host: '127.0.0.1', port: 1 })
      }
      assertProblem(
        await get({ port: 1 }, { resolver, connect, allowPrivate: false }),
        'sts-policy-fetch-error',
      )
      assert.deepEqual(tried, ['1.1.1.1'])
    })
    it('SF-19 a forged address record reaches no host of ours: not one connection is begun', async () => {
      const internal = {
        A: [
          '0.0.0.0', '10.1.2.3', '100.64.0.1', '127.0.0.1', '169.254.169.254', '172.16.0.1', '192.0.0.1', '192.0.2.1',
          '192.168.0.1', '198.18.0.1', '198.51.100.1', '203.0.113.1', '224.0.0.1', '240.0.0.1', '255.255.255.255',
        ],
        AAAA: [
          '::', '::1', '::ffff:127.0.0.1', '::ffff:a00:1', '::127.0.0.1', '64:ff9b::7f00:1', '64:ff9b::10.0.0.1',
          '64:ff9b:1::1', '100::1', '2001::1', '2001:db8::1', '2002:7f00:1::', '3fff::1', 'fc00::1', 'fd00:ec2::254',
          'fe80::1', 'fec0::1', 'ff02::1',
        ],
      } // prettier-ignore
      let connections = 0
      const connect = (): net.Socket => {
        connections += 1
        return net.connect({ host: '127.0.0.1', port: 1 })
      }
      for (const type of ['A', 'AAAA'] as const) {
        for (const address of internal[type]) {
          for (const zone of [
            { [HOST]: { [type]: secure(address) } },
            {
              [HOST]: { CNAME: secure('db.internal') },
              'db.internal': { [type]: secure(address) },
            },
          ]) {
            const resolver = scriptedResolver(zone)
            const outcome = await get({ port: 1 }, { resolver, connect, allowPrivate: false })
            assertProblem(outcome, 'sts-policy-fetch-error', /not public/)
          }
        }
      }
      assert.equal(connections, 0)
    })
    it('only addresses that are not public: the reason says so', async () => {
      const server = await host()
      assertProblem(
        await get(server, { allowPrivate: false }),
        'sts-policy-fetch-error',
        /not public \(127\.0\.0\.1\)/,
      )
      assert.equal(server.connections, 0)
    })
    it('the name is looked up once: a second answer cannot move the connection', async () => {
      const resolver = scriptedResolver({ [HOST]: { A: secure('127.0.0.1') } })
      assert.ok((await get(await host(), { resolver })).ok)
      assert.deepEqual(resolver.log(), [`${HOST} A`, `${HOST} AAAA`])
    })
    it('a resolver may be handed a connect that throws', async () => {
      const connect = (): net.Socket => {
        throw new Error('no sockets left\n')
      }
      assertProblem(
        await get({ port: 1 }, { connect }),
        'sts-policy-fetch-error',
        /no sockets left/,
      )
    })
  })

  it('SF-20 proxies of the environment are not used', async () => {
    const server = await host()
    let proxied = 0
    const proxy = net.createServer((socket) => {
      proxied += 1
      socket.destroy()
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    opened.push({ close: async () => void (await once(proxy.close(), 'close')) })
    const url = `http://127.0.0.1:${(proxy.address() as net.AddressInfo).port}`
    const output = await fetchInChild(server.port, [], {
      NODE_USE_ENV_PROXY: '1',
      HTTP_PROXY: url,
      HTTPS_PROXY: url,
      https_proxy: url,
      NO_PROXY: '',
    })
    assert.match(output, /^true/)
    assert.equal(proxied, 0)
  })
})
