/**
 * The same certificates get the same word by every road: by OpenSSL in a session of ours (enforcing), by OpenSSL in a session of
 * Haraka's (mode observe without `ca_file`, where Node judges the name as well), and by the plugin against the roots of `ca_file`.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { judge, type Judged } from '../../../plugins/delivery/judge'
import { pkixOf } from '../../../plugins/haraka/held'
import { presentedChain } from '../../../plugins/x509/presented'
import {
  makeCertificate,
  type CertificateRequest,
  type TestCertificate,
} from '../../support/certificates'

const HOST = 'mx1.rcpt.test'
const DAY = 86_400_000
const days = (count: number) => new Date(Date.now() + count * DAY)
const PAST = { notBefore: days(-30), notAfter: days(-1) }
const FUTURE = { notBefore: days(1) }
const root = makeCertificate({ subject: 'Root', ca: true })
const stranger = makeCertificate({ subject: 'Stranger', ca: true })

type Chain = readonly TestCertificate[]

const under = (authority: TestCertificate, more: CertificateRequest, between: CertificateRequest = {}): Chain => {
  const intermediate = makeCertificate({ subject: 'Between', ca: true, issuer: authority, ...between })
  return [makeCertificate({ subject: 'mx', issuer: intermediate, ...more }), intermediate]
} // prettier-ignore

const SHAPES: readonly (readonly [string, (names: CertificateRequest) => Chain, string])[] = [
  ['trusted', (names) => under(root, names), 'verified'],
  ['trusted, its root sent along', (names) => [...under(root, names), root], 'verified'],
  ['expired', (names) => under(root, { ...names, ...PAST }), 'pkix-expired'],
  ['not yet valid', (names) => under(root, { ...names, ...FUTURE }), 'pkix-not-yet-valid'],
  ['below an expired intermediate', (names) => under(root, names, PAST), 'pkix-expired'],
  ['self-signed', (names) => [makeCertificate({ subject: 'mx', ...names })], 'pkix-untrusted'],
  ['self-signed and expired', (names) => [makeCertificate({ subject: 'mx', ...names, ...PAST })], 'pkix-expired'],
  ['self-signed and not yet valid', (names) => [makeCertificate({ subject: 'mx', ...names, ...FUTURE })], 'pkix-not-yet-valid'],
  ['of a stranger', (names) => under(stranger, names), 'pkix-untrusted'],
  ['of a stranger, the root sent along', (names) => [...under(stranger, names), stranger], 'pkix-untrusted'],
  ['of a stranger and expired', (names) => under(stranger, { ...names, ...PAST }), 'pkix-expired'],
  ['without its intermediate', (names) => under(root, names).slice(0, 1), 'pkix-untrusted'],
  ['without its intermediate and expired', (names) => under(root, { ...names, ...PAST }).slice(0, 1), 'pkix-expired'],
  ['of a stranger, alone', (names) => [makeCertificate({ subject: 'mx', issuer: stranger, ...names })], 'pkix-untrusted'],
] // prettier-ignore

const REQUIREMENT: Judged = {
  level: 'authenticate',
  sni: HOST,
  success: 'verified',
  pkix: { host: HOST, patterns: [HOST] },
}

async function session(chain: Chain, options: ConnectionOptions): Promise<TLSSocket> {
  const [leaf] = chain
  assert.ok(leaf)
  const cert = chain.map(({ pem }) => pem).join('')
  const server = createServer({ key: leaf.keyPem, cert }, (socket) => socket.on('error', () => 0))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const tls = connect({ port, host: '127.0.0.1', servername: HOST, ca: root.pem, ...options })
  await once(tls, 'secureConnect')
  server.close()
  return tls
}

describe('one word for the same certificates, by every road', () => {
  for (const [title, make, reason] of SHAPES) {
    for (const [whose, san] of [
      ['with the name', HOST],
      ['with another name', 'other.test'],
    ] as const) {
      const expected =
        reason !== 'verified' ? reason : san === HOST ? 'verified' : 'pkix-name-mismatch'
      it(`SA-05 ${title}, ${whose}: ${expected}`, async () => {
        const chain = make({ san: [san] })
        const now = new Date()
        // As the pre-flight has it, and as Haraka has it.
        const ours = await session(chain, {
          rejectUnauthorized: false,
          checkServerIdentity: () => undefined,
        })
        const harakas = await session(chain, { rejectUnauthorized: false })
        const evidence = [
          [ours, undefined],
          [harakas, undefined],
          [harakas, root.pem],
        ] as const
        const presented = new Map([ours, harakas].map((tls) => [tls, presentedChain(tls)]))
        const verdicts = evidence.map(([tls, ca]) => {
          const sent = presented.get(tls) ?? []
          const pkix = pkixOf(tls, sent, ca, now)
          const { verdict, reason, detail } = judge(REQUIREMENT, { chain: sent, pkix }, now)
          return [verdict === 'refused' ? reason : verdict, detail]
        })
        ours.destroy()
        harakas.destroy()
        assert.equal(verdicts[0]?.[0], expected)
        // Not the reason alone: the detail, and OpenSSL's code in it, as well.
        assert.deepEqual(verdicts[1], verdicts[0])
        assert.deepEqual(verdicts[2], verdicts[0])
      })
    }
  }
})
