import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { rootCertificates } from 'node:tls'
import { forHarakasLog } from '../../../plugins/haraka/facade'

describe("a certificate for Haraka's log", () => {
  it('reads as Node has it in the older form, for every root that Node trusts', () => {
    let compared = 0
    for (const pem of rootCertificates) {
      const certificate = new X509Certificate(pem)
      const { subject, issuer, valid_to, fingerprint } = certificate.toLegacyObject()
      // Node escapes some names in the one form and not in the other, and makes lists of what comes twice.
      const names = [subject.CN, subject.O, issuer.O]
      if (names.some((name) => typeof name !== 'string' || /[^ -~]|["\\,+;<>#]/.test(name)))
        continue
      compared++
      const logged = forHarakasLog(certificate)
      assert.deepEqual([logged.subject.CN, logged.subject.O, logged.issuer.O], names)
      assert.equal(logged.valid_to, valid_to)
      assert.equal(logged.fingerprint, fingerprint)
    }
    assert.ok(compared > 50)
  })
})
