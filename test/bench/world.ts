/**
 * The world that all benchmarks share: one lab, one signed zone `bench.test`, cheap receivers with an ECDSA and an RSA
 * certificate, a policy host, and Harakas with and without the plugin, alike in everything else.
 */
import { join } from 'node:path'
import { makeCertificate, type TestCertificate } from '../support/certificates'
import type { PolicyHost } from '../support/lab'
import { type Haraka, Lab, policyText, tlsaLine } from '../support/lab'
import { pemOf } from '../support/lab/receiver'
import { type CheapReceivers, startReceivers } from './receiver'

export type KeyKind = 'ecdsa' | 'rsa'
export const keyKinds: readonly KeyKind[] = ['ecdsa', 'rsa']

/** What a domain publishes. */
export type Publishes = 'nothing' | 'dane' | 'sts' | 'both'

export interface World {
  readonly lab: Lab
  readonly receivers: CheapReceivers
  readonly policies: PolicyHost
  /**
   * Makes domains, each with an MX host, and with it addresses and policies, of its own.
   * @returns Their full names.
   */
  domains(wanted: readonly DomainWish[]): Promise<readonly string[]>
  haraka(settings: HarakaWish): Promise<Haraka>
  stop(): Promise<void>
}

export interface DomainWish {
  readonly label: string
  /** Whose certificate its host has. Default `ecdsa`. */
  readonly key?: KeyKind
  /** Greets half a second late. Default false. */
  readonly slow?: boolean
  readonly publishes: Publishes
}

export interface HarakaWish {
  readonly port: number
  readonly plugin: 'off' | 'on'
  readonly settings?: string
  readonly files?: Readonly<Record<string, string>>
  readonly node?: string
  /** Default `notice`: what operators run. */
  readonly level?: 'info' | 'notice'
}

export const ZONE = 'bench.test'
const addresses = {
  ecdsa: '192.0.2.20',
  rsa: '192.0.2.21',
  policies: '192.0.2.22',
  slow: '192.0.2.23',
} as const
/** Milliseconds. */
const SLOW = 500

export async function startWorld(): Promise<World> {
  const lab = await Lab.start()
  const certificates = { ecdsa: leaf(lab, 'ec'), rsa: leaf(lab, 'rsa') }
  const records: string[] = []
  const pem = (kind: KeyKind) => pemOf([certificates[kind], lab.ca])
  const receivers = await startReceivers([
    ...keyKinds.map((kind) => ({ address: addresses[kind], ...pem(kind) })),
    { address: addresses.slow, ...pem('ecdsa'), slow: SLOW },
  ])
  const policies = await lab.policyHost({ address: addresses.policies, hosts: {} })

  const recordsFor = ({ label, key = 'ecdsa', slow, publishes }: DomainWish) => [
    `${label} MX 10 ${label}-mx`,
    `${label}-mx A ${addresses[slow === true ? 'slow' : key]}`,
    ...(publishes === 'dane' || publishes === 'both'
      ? [tlsaLine(`${label}-mx`, certificates[key])]
      : []),
    ...(publishes === 'sts' || publishes === 'both'
      ? [`_mta-sts.${label} TXT "v=STSv1; id=1"`, `mta-sts.${label} A ${addresses.policies}`]
      : []),
  ]

  return {
    lab,
    receivers,
    policies,
    async domains(wanted) {
      records.push(...wanted.flatMap(recordsFor))
      const hosted = wanted.filter(({ publishes }) => publishes === 'sts' || publishes === 'both')
      const certificate = lab.certificate(...hosted.map(({ label }) => policyHostOf(label)))
      for (const { label } of hosted) {
        const answer = policyText('enforce', [`${label}-mx.${ZONE}`])
        policies.set(policyHostOf(label), { answer, certificate })
      }
      await lab.zone(ZONE, { security: 'signed', records })
      return wanted.map(({ label }) => `${label}.${ZONE}`)
    },
    async haraka(wish) {
      const { port, plugin, settings = '', files = {} } = wish
      const haraka = await lab.haraka({
        port,
        plugins: plugin === 'on' ? ['tls-policy'] : [],
        // Plain Haraka checks chains as well, and shall have them end at a known root as most do.
        env: { NODE_EXTRA_CA_CERTS: lab.caFile },
        config: {
          ...files,
          ...(plugin === 'on'
            ? { 'tls-policy.ini': `${settings}\n[mta_sts]\nfetch_private=true\n` }
            : {}),
        },
        ...(wish.node === undefined ? {} : { node: wish.node }),
      })
      if ((wish.level ?? 'notice') === 'notice') {
        await haraka.configure('log.ini', 'level=notice')
        await haraka.waitForLine('its log level to change', /loglevel: NOTICE/)
      }
      return haraka
    },
    async stop() {
      await receivers.stop()
      await lab.stop()
    },
  }
}

function policyHostOf(label: string): string {
  return `mta-sts.${label}.${ZONE}`
}

/** One certificate for all hosts of the zone, signed by the lab's CA. */
function leaf(lab: Lab, key: 'ec' | 'rsa'): TestCertificate {
  const name = `*.${ZONE}`
  return makeCertificate({ subject: name, san: [name], issuer: lab.ca, key })
}

/** A module of the built plugin, as Haraka loads it: what tsx makes of a source is slower. */
export function compiled(path: string): unknown {
  // eslint-disable-next-line @typescript-eslint/no-require-imports
  return require(join(__dirname, '../../dist', path)) as unknown
}
