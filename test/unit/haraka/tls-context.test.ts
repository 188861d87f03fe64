import assert from 'node:assert/strict'
import type { ConnectionOptions } from 'node:tls'
import { createContextSource } from '../../../plugins/haraka/tls-context'
import type { TlsSocketModule } from '../../../plugins/haraka/types'
import { makeCertificate } from '../../support/certificates'
import { clientHello } from '../../support/client-hello'

const source = (tlsSocket: TlsSocketModule = {}) =>
  createContextSource(() => ({ minVersion: 'TLSv1.2', ca: undefined }), {}, tlsSocket)

describe('contexts of sessions that Haraka holds by itself', () => {
  const own = makeCertificate({ subject: 'sender.test' })
  const cases: Readonly<Record<string, ConnectionOptions>> = {
    'nothing set': {},
    'as Haraka has it': {
      minVersion: 'TLSv1.2',
      rejectUnauthorized: false,
      requestCert: true,
      servername: 'mx.test',
    },
    ciphers: { ciphers: 'ECDHE-RSA-AES256-GCM-SHA384:AES256-SHA', maxVersion: 'TLSv1.2' },
    'the oldest version': { minVersion: 'TLSv1' },
    'a key, a certificate and roots': { key: own.keyPem, cert: own.pem, ca: own.pem },
  }
  for (const [what, options] of Object.entries(cases)) {
    it(`XC-08 ${what}: the server sees what it would see without us`, async () => {
      const shared = source().withSharedContext(options) as ConnectionOptions
      assert.ok(shared.secureContext)
      assert.equal(await clientHello(shared), await clientHello(options))
    })
  }

  it('one for all sessions with the same options, whatever their host', () => {
    const contexts = source()
    const cfg = { minVersion: 'TLSv1.2', no_tls_hosts: [] }
    const contextOf = (options: object) =>
      (contexts.withSharedContext(options) as ConnectionOptions).secureContext
    const first = contextOf({ ...cfg, servername: 'mx1.test' })
    assert.ok(first)
    assert.equal(contextOf({ ...cfg, servername: 'mx2.test' }), first)
    assert.equal(contextOf({ ...cfg }), first)
    assert.notEqual(contextOf({ ...cfg, minVersion: 'TLSv1.3' }), first)
    assert.notEqual(contextOf({ ...cfg, rejectUnauthorized: true }), first)
    assert.notEqual(contextOf({ minVersion: 'TLSv1.2' }), first)
  })

  it('of a few sets of options, the last ones', () => {
    const contexts = source()
    const contextOf = (ca: string) =>
      (contexts.withSharedContext({ ca }) as ConnectionOptions).secureContext
    const roots = Array.from({ length: 5 }, () => makeCertificate({ subject: 'ca' }).pem)
    const made = roots.map(contextOf)
    assert.equal(contextOf(roots[4] ?? ''), made[4])
    assert.notEqual(contextOf(roots[0] ?? ''), made[0])
  })

  const cfg = (main: object, more: object = {}) => ({
    tls_valid: true,
    cfg: { main, ...more } as NonNullable<TlsSocketModule['cfg']>,
  })
  const left: readonly (readonly [string, TlsSocketModule, unknown])[] = [
    ['mutual_tls', cfg({ mutual_tls: true }), {}],
    ['mutual_auth_hosts', cfg({}, { mutual_auth_hosts: { '192.0.2.1': '*' } }), {}],
    ['tls.ini is not read yet', { tls_valid: true }, {}],
    ['a context that is there', {}, { secureContext: 'x' }],
    ['options that OpenSSL refuses', {}, { ciphers: 'nonsense' }],
    ['no options', {}, undefined],
  ]
  for (const [what, tlsSocket, options] of left) {
    it(`${what}: Haraka's options stay as they are`, () => {
      assert.equal(source(tlsSocket).withSharedContext(options), options)
    })
  }
  it('tls.ini without client certificates: shared', () => {
    const options = source(cfg({ mutual_tls: false })).withSharedContext({})
    assert.ok((options as ConnectionOptions).secureContext)
  })
})
