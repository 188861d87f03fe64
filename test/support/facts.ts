/** Facts of a delivery for tests of the decision: a next-hop `rcpt.test` with MX host `mx1.rcpt.test`, changed as needed. */
import type { TlsaVerdict } from '../../plugins/dane/types'
import type { Rules } from '../../plugins/delivery/decide'
import type { Facts, HostFacts, MxFacts } from '../../plugins/delivery/types'
import type { Failure, Health } from '../../plugins/dnssec-stub/types'
import type { StsLookup, StsMode } from '../../plugins/mta-sts/types'

export const servfail: Failure = { kind: 'failed', cause: 'servfail', detail: 'SERVFAIL' }

export const tlsa = {
  usable: {
    kind: 'usable',
    base: 'mx1.rcpt.test',
    records: [{ usage: 3, selector: 1, matchingType: 1, data: Buffer.alloc(32, 1) }],
    presentation: [`3 1 1 ${'01'.repeat(32)}`],
  },
  unusable: {
    kind: 'unusable',
    base: 'mx1.rcpt.test',
    presentation: [`1 1 1 ${'01'.repeat(32)}`],
    why: ['usage 1 is undefined for SMTP'],
  },
  none: { kind: 'none', why: 'denied' },
  failed: { kind: 'failed', name: '_25._tcp.mx1.rcpt.test', failure: servfail },
} as const satisfies Record<string, TlsaVerdict>

export function host(changes: Partial<HostFacts> = {}): HostFacts {
  return {
    host: 'mx1.rcpt.test',
    preference: 10,
    port: 25,
    addresses: { kind: 'resolved', list: ['192.0.2.1'] },
    tlsa: tlsa.none,
    ...changes,
  }
}

export function secureMx(...exchanges: readonly string[]): MxFacts {
  return {
    kind: 'mx',
    security: 'secure',
    records: exchanges.map((exchange, index) => ({ preference: 10 * (index + 1), exchange })),
  }
}

export function facts(changes: Partial<Facts> = {}): Facts {
  return {
    nextHop: 'rcpt.test',
    nextHopExpanded: 'rcpt.test',
    mx: secureMx('mx1.rcpt.test'),
    hosts: [host()],
    sts: { kind: 'none' },
    ...changes,
  }
}

export function policy(mode: StsMode, mx: readonly string[] = ['mx1.rcpt.test']): StsLookup {
  return {
    kind: 'policy',
    source: 'cache',
    known: {
      domain: 'rcpt.test',
      id: '1',
      policy: { mode, mx, maxAge: 86400, lines: [] },
      fetchedAt: 0,
      expiresAt: 86400_000,
    },
  }
}

export function rules(changes: Partial<Rules> = {}): Rules {
  return {
    destination: undefined,
    withDane: 'dane',
    txtFailure: 'continue',
    blind: undefined,
    tlsSwitchedOff: false,
    self: undefined,
    ...changes,
  }
}

const well: Health = { state: 'validating', detail: 'all is well' }

/** The self-test of a resolver that validates. */
export const validating = {
  health: (): Health => well,
  recent: (): Health | Promise<Health> => well,
  check: (): Promise<Health> => Promise.resolve(well),
  confirm: (): Promise<Failure | undefined> => Promise.resolve(undefined),
  era: () => 0,
}
