/** A Haraka that offers TLS to clients, and with it REQUIRETLS, which clients of the lab may ask for. */
import type { Haraka, HarakaSettings, Lab, Mail } from './index'

/** A message that asks for REQUIRETLS, inside TLS. */
export const TAGGED = { secured: true, parameters: 'REQUIRETLS' } as const satisfies Partial<Mail>

/** ffdhe2048 (RFC 7919 appendix A.1); without a file Haraka makes its own at its first start, for long. */
const DH_PARAMETERS = `-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
`

/** The plugin trusts the lab's CA, for MX hosts and policy hosts. */
export async function startTlsHaraka(lab: Lab, settings: HarakaSettings = {}): Promise<Haraka> {
  const { plugins = [], config = {} } = settings
  const { 'tls-policy.ini': ini = '', 'outbound.ini': outbound = '', ...files } = config
  const [leaf, ca] = lab.certificate('sender.test')
  return lab.haraka({
    ...settings,
    plugins: ['tls', ...plugins, 'tls-policy'],
    config: {
      'tls.ini': 'key=own.key\ncert=own.pem\ndhparam=dhparams.pem\n',
      'own.key': leaf.keyPem,
      'own.pem': leaf.pem + ca.pem,
      'dhparams.pem': DH_PARAMETERS,
      'outbound.ini': `connect_timeout=3\n${outbound}`,
      'tls-policy.ini': `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\nfetch_timeout=3\n${ini}`,
      ...files,
    },
  })
}
