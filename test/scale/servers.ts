/** A DNS server and policy hosts for the measurement of refreshes, in a process of their own. */
import tls from 'node:tls'
import { makeCertificate } from '../support/certificates'
import { dnsServer } from '../support/dns-server'
import { startPolicyHost } from '../support/https-policy-host'
import { policyOf } from './world'

export interface Served {
  /** `127.0.0.1:port`. */
  readonly dns: string
  /** PEM. */
  readonly ca: string
  readonly port: number
  readonly domains: readonly string[]
}

const DOMAINS = 100

async function main(): Promise<void> {
  const domains = Array.from({ length: DOMAINS }, (_, n) => `d${n}.test`)
  const root = makeCertificate({ subject: 'Test root', ca: true })
  const issuer = makeCertificate({ subject: 'Test CA', ca: true, issuer: root })
  const contexts = new Map(
    domains.map((domain) => {
      const host = `mta-sts.${domain}`
      const leaf = makeCertificate({ subject: host, san: [host], issuer })
      return [host, tls.createSecureContext({ cert: leaf.pem + issuer.pem, key: leaf.keyPem })]
    }),
  )
  const host = await startPolicyHost({
    root,
    answer: policyOf(2),
    tls: {
      SNICallback: (name, answer) => {
        answer(null, contexts.get(name))
      },
    },
  })
  const dns = await dnsServer(({ name, type }) => {
    const records =
      type === 'TXT' ? [{ type, name, ttl: 300, data: 'v=STSv1; id=20260801;' } as const]
      : type === 'A' ? [{ type, name, ttl: 300, data: '127.0.0.1' } as const]
      : [] // prettier-ignore
    return { authenticData: false, answers: records }
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.({ dns: dns.spec, ca: root.pem, port: host.port, domains } satisfies Served)
}

void main()
