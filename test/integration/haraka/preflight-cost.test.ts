/** The pre-flight on a real connection to a real receiver: what it costs beside what it must do. */
import assert from 'node:assert/strict'
import { createSecureContext, type DetailedPeerCertificate, TLSSocket } from 'node:tls'
import { judge } from '../../../plugins/delivery/judge'
import { preflight } from '../../../plugins/haraka/preflight'
import { connectStandalone } from '../../../plugins/haraka/standalone-socket'
import { makeCertificate } from '../../support/certificates'
import { Receiver } from '../../support/lab/receiver'
import { freePort } from '../../support/redis'

describe('haraka: what the pre-flight costs', () => {
  it('verifies a trusted chain without having Node make the older form of its certificates', async () => {
    const ca = makeCertificate({ subject: 'CA', ca: true })
    const name = 'mx.rcpt.test'
    const leaf = makeCertificate({ subject: name, san: [name], issuer: ca })
    const address = '127.0.0.1'
    const port = await freePort()
    const receiver = await Receiver.start({ address, port, certificate: [leaf, ca] })
    const prototype = TLSSocket.prototype
    // eslint-disable-next-line @typescript-eslint/unbound-method -- put back as it was
    const original = prototype.getPeerCertificate
    let made = 0
    prototype.getPeerCertificate = function (this: TLSSocket) {
      made++
      return original.call(this, true) as DetailedPeerCertificate
    }
    try {
      const connected = await connectStandalone({ address, port, timeoutMs: 5000 })
      assert.ok(connected.ok)
      const result = await preflight(connected.socket, {
        judge,
        requirement: {
          level: 'authenticate',
          sni: name,
          pkix: { host: name, patterns: [name] },
          success: 'verified',
        },
        helo: 'sender.test',
        context: createSecureContext({ ca: ca.pem }),
        timeoutMs: 5000,
        now: () => new Date(),
      })
      assert.ok(result.ok, JSON.stringify(result))
      assert.equal(result.verdict.verdict, 'verified')
      assert.equal(result.certificate?.subject, `CN=${name}`)
      assert.equal(made, 0)
      result.release()
      result.tls.destroy()
    } finally {
      prototype.getPeerCertificate = original
      await receiver.stop()
    }
  })
})
