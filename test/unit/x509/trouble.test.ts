import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { connect, createServer as createTlsServer, type TlsOptions } from 'node:tls'
import fc from 'fast-check'
import { troubleText } from '../../../plugins/x509/trouble'
import { makeCertificate } from '../../support/certificates'
import { codePoint } from '../../support/code-point'

const own = makeCertificate({ subject: 'mx' })
const ssl = (rest: string) => new Error(`808C8EDEA57F0000:error:0A000438:SSL routines:${rest}\n`)

describe('errors of a connection in plain words', () => {
  const table: readonly (readonly [Error | string, string])[] = [
    [
      ssl('ssl3_read_bytes:tlsv1 alert internal error:../deps/openssl/openssl/ssl/record/rec_layer_s3.c:1601:SSL alert number 80'),
      'TLS alert internal error (80) from the server',
    ],
    [
      ssl('ssl3_read_bytes:tlsv13 alert certificate required:rec_layer_s3.c:1601:SSL alert number 116'),
      'TLS alert certificate required (116) from the server; it demands a client certificate: name its address in mutual_auth_hosts of tls.ini',
    ],
    [ssl('ssl3_read_bytes:x:y.c:1:SSL alert number 200'), 'TLS alert unknown (200) from the server'],
    [
      ssl('ssl3_get_record:wrong version number:../deps/x.c:355:'),
      'TLS failed: the answer is no TLS (wrong version number)',
    ],
    [ssl('tls_process_ske_dhe:dh key too small:../x.c:2:'), 'TLS failed: dh key too small'],
    [new Error('read ECONNRESET'), 'read ECONNRESET'],
    [new Error('connect ECONNREFUSED 192.0.2.1:25'), 'connect ECONNREFUSED 192.0.2.1:25'],
    ['a\nb\u202ec', 'a b c'],
  ] // prettier-ignore
  for (const [err, words] of table) {
    it(words, () => assert.equal(troubleText(err), words))
  }

  it('property: one line of printable ASCII, at most 300 characters, whatever comes', () => {
    const text = fc.oneof(fc.string({ unit: codePoint, maxLength: 600 }), fc.anything())
    fc.assert(fc.property(text, (anything) => /^[\x20-\x7e]{0,300}$/.test(troubleText(anything))))
  })

  /** What this Node and its OpenSSL really say. */
  async function said(server: TlsOptions, client: object): Promise<string> {
    const listening = createTlsServer({ key: own.keyPem, cert: own.pem, ...server })
    listening.on('tlsClientError', () => undefined)
    listening.listen(0, '127.0.0.1')
    await once(listening, 'listening')
    const { port } = listening.address() as AddressInfo
    const tls = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...client })
    tls.resume()
    const [err] = (await once(tls, 'error').catch((error: unknown) => [error])) as [unknown]
    listening.close()
    return troubleText(err)
  }

  it('a server without our version', async () => {
    const words = await said({ maxVersion: 'TLSv1.2' }, { minVersion: 'TLSv1.3' })
    assert.equal(words, 'TLS alert protocol version (70) from the server')
  })

  it('a server that demands a client certificate over TLS 1.3', async () => {
    const words = await said(
      { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.3' },
      {},
    )
    assert.match(words, /^TLS alert certificate required \(116\) .*mutual_auth_hosts of tls\.ini$/)
  })

  it('a server that speaks no TLS', async () => {
    const plain = createServer((socket) =>
      socket.on('error', () => undefined).end('220 mx ESMTP\r\n'),
    )
    plain.listen(0, '127.0.0.1')
    await once(plain, 'listening')
    const { port } = plain.address() as AddressInfo
    const tls = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    const [err] = (await once(tls, 'error').catch((error: unknown) => [error])) as [unknown]
    plain.close()
    assert.match(troubleText(err), /^TLS failed: the answer is no TLS \(/)
  })
})
