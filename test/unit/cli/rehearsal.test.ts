import assert from 'node:assert/strict'
import { facts } from '../../support/facts'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import type { PlannedHost, Requirement } from '../../../plugins/delivery/types'
import { rehearse, type RehearsalOptions } from '../../../plugins/haraka/rehearsal'
import { makeCertificate } from '../../support/certificates'

const opportunistic: Requirement = { level: 'opportunistic', reason: 'no-policy' }
const encrypt: Requirement = { level: 'encrypt', sni: 'mx.test', reason: 'operator-encrypt' }
const strict: Requirement = {
  level: 'authenticate',
  sni: 'mx.test',
  pkix: { host: 'mx.test', patterns: ['mx.test'] },
  success: 'verified',
}
const refused: Requirement = { level: 'refuse', reason: 'sts-mx-not-listed', detail: 'no' }

describe('a rehearsed delivery', () => {
  const certificate = makeCertificate({ subject: 'mx.test', san: ['mx.test'] })
  const servers: Server[] = []
  const heard: string[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
    heard.length = 0
  })

  /** An SMTP server on loopback; it answers each line by the first word of it. */
  async function serve(answers: Readonly<Record<string, string>>): Promise<number> {
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      if (answers['greeting'] !== undefined) socket.write(answers['greeting'])
      talk(socket, answers)
    })
    servers.push(server)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }

  function talk(socket: Socket, answers: Readonly<Record<string, string>>): void {
    const hear = (chunk: Buffer) => {
      const line = chunk.toString('latin1')
      heard.push(line.trim())
      const word = line.trim().split(' ')[0] ?? ''
      const inside = socket instanceof TLSSocket
      const answer = answers[inside ? `${word} inside` : word] ?? answers[word]
      if (answer === 'close') socket.destroy()
      else if (answer !== undefined) socket.write(answer)
      if (word === 'STARTTLS' && answer?.startsWith('220') === true) {
        socket.removeListener('data', hear)
        const secured = new TLSSocket(socket, {
          isServer: true,
          secureContext: createSecureContext({ key: certificate.keyPem, cert: certificate.pem }),
        })
        secured.on('error', () => undefined)
        talk(secured, answers)
      }
    }
    socket.on('data', hear)
  }

  const honest = {
    greeting: '220 mx.test\r\n',
    EHLO: '250-mx.test\r\n250 STARTTLS\r\n',
    STARTTLS: '220 go\r\n',
  }
  const host = (port: number, requirement: Requirement, addresses = ['127.0.0.1']) =>
    ({
      host: 'mx.test',
      preference: 10,
      port,
      addresses,
      requirement,
      policy: 'none',
      demands: [],
    }) as const

  function rehearsal(hosts: readonly PlannedHost[], options: Partial<RehearsalOptions> = {}) {
    return rehearse({
      plan: { outcome: { kind: 'hosts', hosts }, facts: facts() },
      enforce: true,
      helo: 'me.test',
      contextFor: () => createSecureContext({ ca: certificate.pem }),
      unaidedTls: () => 'offered',
      timeoutMs: 200,
      now: () => new Date(),
      ...options,
    })
  }

  it('says EHLO, STARTTLS, EHLO and QUIT, and nothing else', async () => {
    const { end } = await rehearsal([host(await serve(honest), strict)])
    assert.ok(end.kind === 'delivers' && end.by.result.kind === 'delivers')
    assert.equal(end.by.result.verdict, 'verified')
    assert.deepEqual(heard.slice(0, 3), ['EHLO me.test', 'STARTTLS', 'EHLO me.test'])
    assert.ok(heard.slice(3).every((line) => line === 'QUIT'))
    assert.equal(end.by.evidence?.chain.length, 1)
  })

  it('goes on to the next address, and then to the next host', async () => {
    const [deaf, good] = [await serve({}), await serve(honest)]
    const { trials, end } = await rehearsal([
      host(1, encrypt),
      host(deaf, encrypt),
      host(good, refused),
      host(good, encrypt),
    ])
    assert.deepEqual(
      trials.map(({ result }) => result.reason),
      ['connect-failed', 'smtp-timeout', 'sts-mx-not-listed', 'operator-encrypt'],
    )
    assert.equal(end.kind, 'delivers')
  })

  it('no host left: deferred, by nobody in particular', async () => {
    assert.deepEqual((await rehearsal([host(1, strict)])).end, { kind: 'deferred', by: undefined })
  })

  type Answers = Readonly<Record<string, string>>
  const lax: readonly (readonly [string, Answers, string, string])[] = [
    ['honest', honest, 'delivers', 'no-policy'],
    ['greets with 421', { greeting: '421 no\r\n' }, 'deferred', 'greeting-refused'],
    ['greets with 554', { greeting: '554 no\r\n' }, 'bounced', 'greeting-refused'],
    ['greets with junk', { greeting: 'hello\r\n' }, 'bounced', 'smtp-malformed-reply'],
    ['refuses EHLO for good', { ...honest, EHLO: '502 no\r\n' }, 'delivers', 'no-policy'],
    ['refuses EHLO for now', { ...honest, EHLO: '451 no\r\n' }, 'deferred', 'starttls-not-offered'],
    ['offers no TLS', { ...honest, EHLO: '250 mx.test\r\n' }, 'delivers', 'no-policy'],
    [
      'refuses STARTTLS for now',
      { ...honest, STARTTLS: '454 no\r\n' },
      'deferred',
      'starttls-refused',
    ],
    [
      'refuses STARTTLS for good',
      { ...honest, STARTTLS: '554 no\r\n' },
      'bounced',
      'starttls-refused',
    ],
    ['is gone inside TLS', { ...honest, 'EHLO inside': 'close' }, 'next', 'tls-lost'],
    [
      'is busy inside TLS',
      { ...honest, 'EHLO inside': '421 no\r\n' },
      'deferred',
      'greeting-refused',
    ],
    [
      'says junk inside TLS',
      { ...honest, 'EHLO inside': 'what\r\n' },
      'bounced',
      'smtp-malformed-reply',
    ],
  ]
  for (const [title, answers, kind, reason] of lax) {
    it(`nobody demands anything; a server that ${title}: ${kind}, ${reason}`, async () => {
      const { trials } = await rehearsal([host(await serve(answers), opportunistic)])
      assert.equal(trials[0]?.result.kind, kind)
      assert.equal(trials[0].result.reason, reason)
    })

    // Inside TLS it is Haraka's own session, demanded or not.
    if (title.endsWith('inside TLS')) continue
    it(`TLS is demanded; a server that ${title}: never refused for good, never cleartext`, async () => {
      const { trials } = await rehearsal([host(await serve(answers), encrypt)])
      const result = trials[0]?.result
      if (result?.kind === 'delivers') assert.equal(result.verdict, 'encrypted')
      else assert.equal(result?.kind, 'next')
    })
  }

  it('where Haraka uses no TLS, an opportunistic host gets cleartext', async () => {
    const { trials } = await rehearsal([host(await serve(honest), opportunistic)], {
      unaidedTls: () => 'never',
    })
    const result = trials[0]?.result
    assert.ok(result?.kind === 'delivers' && result.verdict === 'cleartext')
  })

  const forced: readonly (readonly [string, Answers, string, string])[] = [
    ['has a certificate of a trusted CA', honest, 'delivers', 'no-policy'],
    ['offers no TLS', { ...honest, EHLO: '250 mx.test\r\n' }, 'deferred', 'starttls-not-offered'],
    [
      'refuses STARTTLS for now',
      { ...honest, STARTTLS: '454 no\r\n' },
      'deferred',
      'starttls-refused',
    ],
  ]
  for (const [title, answers, kind, reason] of forced) {
    it(`force_tls_hosts; a server that ${title}: ${kind}, ${reason}`, async () => {
      const { trials } = await rehearsal([host(await serve(answers), opportunistic)], {
        unaidedTls: () => 'forced',
      })
      assert.equal(trials[0]?.result.kind, kind)
      assert.equal(trials[0].result.reason, reason)
    })
  }

  it('force_tls_hosts; a server with a certificate of nobody: next', async () => {
    const { trials } = await rehearsal([host(await serve(honest), opportunistic)], {
      unaidedTls: () => 'forced',
      contextFor: () => createSecureContext({}),
    })
    assert.equal(trials[0]?.result.kind, 'next')
    assert.equal(trials[0].result.reason, 'pkix-untrusted')
  })

  it('force_tls_hosts raises what a policy leaves at TLS with any certificate', async () => {
    const port = await serve(honest)
    const forced = { unaidedTls: () => 'forced' as const }
    const { end } = await rehearsal([host(port, encrypt)], forced)
    assert.ok(end.kind === 'delivers' && end.by.result.reason === 'operator-matched')
    const strangers = { contextFor: () => createSecureContext({}) }
    const { trials } = await rehearsal([host(port, encrypt)], { ...forced, ...strangers })
    assert.equal(trials[0]?.result.reason, 'pkix-untrusted')
  })

  it('only observed: Haraka would deliver, and what enforcing would have said stands beside it', async () => {
    const wrong: Requirement = { ...strict, pkix: { host: 'other.test', patterns: [] } }
    const { end } = await rehearsal([host(await serve(honest), wrong)], { enforce: false })
    assert.ok(end.kind === 'delivers' && end.by.result.kind === 'delivers')
    assert.equal(end.by.result.verdict, 'encrypted')
    assert.equal(end.by.enforcing?.verdict, 'refused')
    assert.equal(end.by.enforcing.reason, 'pkix-name-mismatch')
  })

  it('only observed: a host that policy would not use is tried as Haraka would', async () => {
    const { end } = await rehearsal([host(await serve(honest), refused)], { enforce: false })
    assert.equal(end.kind, 'delivers')
  })
})
