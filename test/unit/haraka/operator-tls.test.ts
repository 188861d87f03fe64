/**
 * What tls.ini says for outbound sessions holds in those that a policy demands: the server sees the very ClientHello that it would
 * see in Haraka's own session with these options, unless that would weaken.
 */
import assert from 'node:assert/strict'
import { constants } from 'node:crypto'
import { createSecureContext, type ConnectionOptions } from 'node:tls'
import { createContextSource } from '../../../plugins/haraka/tls-context'
import { contextOptions, sessionOptions } from '../../../plugins/haraka/operator-tls'
import { makeCertificate } from '../../support/certificates'
import { clientHello } from '../../support/client-hello'

const FLOOR = 'TLSv1.2'
const own = makeCertificate({ subject: 'sender.test' })

function enforced(cfg: Readonly<Record<string, unknown>>): ConnectionOptions {
  const source = createContextSource(() => ({ minVersion: FLOOR, ca: undefined }), { cfg }, {})
  return {
    ...source.sessionOptions(),
    secureContext: source.contextFor('192.0.2.1'),
    servername: 'mx.test',
    rejectUnauthorized: false,
  }
}

/** As Haraka's outbound/tls.js and Node have it: all of the outbound part goes to `tls.connect`. */
const harakas = (cfg: object): ConnectionOptions => ({
  minVersion: FLOOR,
  ...cfg,
  servername: 'mx.test',
})

const HOLDS: Readonly<Record<string, object>> = {
  maxVersion: { maxVersion: 'TLSv1.2' },
  minVersion: { minVersion: 'TLSv1.3' },
  'both versions': { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' },
  ecdhCurve: { ecdhCurve: 'P-384:P-256' },
  sigalgs: { sigalgs: 'ecdsa_secp384r1_sha384:rsa_pss_rsae_sha256' },
  'ciphers of both versions': { ciphers: 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES256-GCM-SHA384' },
  'ciphers by a rule': { ciphers: 'HIGH:!kDHE:!kRSA:!aNULL:!eNULL:!PSK:!SRP' },
  'secureOptions that forbid': { secureOptions: constants.SSL_OP_NO_TLSv1_3 },
  'secureOptions, no tickets': { secureOptions: constants.SSL_OP_NO_TICKET },
  'requestOCSP': { requestOCSP: true },
  ALPNProtocols: { ALPNProtocols: ['smtp'] },
  minDHSize: { minDHSize: 2048 },
  honorCipherOrder: { honorCipherOrder: true },
  requestCert: { requestCert: true },
  'lists of hosts': { no_tls_hosts: ['a'], force_tls_hosts: ['b'], redis: {} },
  'a client certificate': { key: own.keyPem, cert: own.pem },
} // prettier-ignore

const FLOORS: readonly (readonly [string, Readonly<Record<string, unknown>>, object])[] = [
  ['an older minVersion', { minVersion: 'TLSv1' }, {}],
  ['a maxVersion below the floor', { maxVersion: 'TLSv1.1' }, {}],
  ['a version that is none', { minVersion: 'TLSv9', maxVersion: 'SSLv3' }, {}],
  ['suites without authentication', { ciphers: 'ALL:aNULL:eNULL' }, { ciphers: 'ALL:!aNULL:!eNULL' }],
  ['security level 0', { ciphers: 'HIGH:@SECLEVEL=0' }, { ciphers: 'HIGH:@SECLEVEL=1:!aNULL:!eNULL' }],
  ['flags that weaken', { secureOptions: constants.SSL_OP_LEGACY_SERVER_CONNECT | constants.SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION }, {}],
  ['roots of its own', { ca: own.pem }, {}],
  ['secureProtocol of one old version', { secureProtocol: 'TLSv1_1_method' }, {}],
  ['secureProtocol of one version', { secureProtocol: 'TLSv1_2_method' }, { maxVersion: 'TLSv1.2' }],
  ['smaller DH groups', { minDHSize: 512 }, {}],
  ['values from an ini file', { maxVersion: 'TLSv1.2', minDHSize: '2048', secureOptions: String(constants.SSL_OP_NO_TICKET) }, { maxVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET }],
  ['empty values', { ciphers: '', ecdhCurve: '', sigalgs: '', key: '', cert: '', maxVersion: '' }, {}],
] // prettier-ignore

describe("tls.ini's outbound part in sessions that a policy demands", () => {
  for (const [what, cfg] of Object.entries(HOLDS)) {
    it(`${what}: the server sees what Haraka's own session would show`, async () => {
      const same = await clientHello(enforced(cfg as Readonly<Record<string, unknown>>))
      assert.equal(same, await clientHello(harakas(cfg)))
    })
  }

  it('something of it can be seen at all', async () => {
    const plain = await clientHello(enforced({}))
    const visible = [
      'maxVersion',
      'minVersion',
      'ecdhCurve',
      'sigalgs',
      'requestOCSP',
      'ALPNProtocols',
    ]
    for (const what of [...visible, 'ciphers by a rule', 'secureOptions, no tickets']) {
      const hello = await clientHello(enforced(HOLDS[what] as Readonly<Record<string, unknown>>))
      assert.notEqual(hello, plain, what)
    }
  })

  for (const [what, cfg, seen] of FLOORS) {
    it(`VER-01 ${what}: never weaker than without`, async () => {
      assert.equal(await clientHello(enforced(cfg)), await clientHello(harakas(seen)))
    })
  }

  it('the certificate for a host takes the place of the general one', () => {
    const other = makeCertificate({ subject: 'other.test' })
    const general = { key: own.keyPem, cert: own.pem }
    const client = { key: other.keyPem, cert: other.pem }
    assert.equal(contextOptions(general, client, FLOOR).cert, other.pem)
    assert.equal(contextOptions(general, {}, FLOOR).cert, own.pem)
    assert.equal(contextOptions({ key: own.keyPem }, {}, FLOOR).key, undefined)
  })

  it('a key with a passphrase can be used', () => {
    const secret = {
      cipher: 'aes-128-cbc',
      passphrase: 'open',
      format: 'pem',
      type: 'pkcs8',
    } as const
    const key = own.key.export(secret).toString()
    const options = contextOptions({ key, cert: own.pem, passphrase: 'open' }, {}, FLOOR)
    assert.doesNotThrow(() => createSecureContext(options))
  })

  it('verification stays ours', () => {
    const cfg = {
      rejectUnauthorized: true,
      ca: 'x',
      crl: 'x',
      checkServerIdentity: 'x',
      session: 'x',
    }
    assert.deepEqual(contextOptions(cfg, {}, FLOOR), { minVersion: FLOOR })
    assert.deepEqual(sessionOptions(cfg), {})
  })
})
