/**
 * Two conclusions that must not be drawn from each other: "this host is this very server" (RFC 5321 §5.1, it and all that is
 * no better are dropped) and "at this address is no remote mail server" (it is left out, alone, as plain Haraka does).
 */
import assert from 'node:assert/strict'
import { BlockList, isIP } from 'node:net'
import fc from 'fast-check'
import { decide } from '../../../plugins/delivery/decide'
import { thisServer, worthTrying } from '../../../plugins/delivery/this-server'
import { facts, host, rules, tlsa } from '../../support/facts'

const GOOD = '198.51.100.7'

/** A server behind NAT, with containers: its name has an address of its own in the DNS. */
const self = thisServer(
  'Sender.test',
  ['192.0.2.44', '10.9.9.9', '127.0.1.1', '203.0.113.9'],
  ['127.0.0.1', '::1', 'fe80::1:2', '192.0.2.5', '2001:db8::5', '172.17.0.1', 'fd00::5'],
)

type Kind = 'remote' | 'skipped' | 'loop'

const KINDS: readonly (readonly [string, string, Kind])[] = [
  ['another machine', '198.51.100.8', 'remote'],
  ['another machine, IPv6', '2001:db8::8', 'remote'],
  ['private, not ours: Haraka tries it', '10.1.2.3', 'remote'],
  ['private, not ours: Haraka tries it', '192.168.7.7', 'remote'],
  ['private, in the network of an interface', '172.17.0.2', 'remote'],
  ['loopback', '127.0.0.1', 'skipped'],
  ['loopback, on no interface', '127.0.0.53', 'skipped'],
  ['loopback, also what the DNS says of our name', '127.0.1.1', 'skipped'],
  ['loopback, IPv6', '::1', 'skipped'],
  ['loopback in IPv6 clothes', '::ffff:127.0.0.1', 'skipped'],
  ['no address', '0.0.0.0', 'skipped'],
  ['no address, IPv6', '::', 'skipped'],
  ['link-local', '169.254.169.254', 'skipped'],
  ['link-local, IPv6', 'fe80::d250:99ff:feda:9100', 'skipped'],
  ['link-local, IPv6, on our interface', 'fe80::1:2', 'skipped'],
  ['link-local, IPv6, at the end of its range', 'febf:ffff::1', 'skipped'],
  ['unique local', 'fd12:3456:789a::1', 'skipped'],
  ['unique local, on our interface', 'fd00::5', 'skipped'],
  ['private, on our interface: every machine with containers has it', '172.17.0.1', 'skipped'],
  ['public, on our interface', '192.0.2.5', 'loop'],
  ['public, on our interface, IPv6', '2001:db8::5', 'loop'],
  ['our public_ip', '203.0.113.9', 'loop'],
  ['what the DNS says of our name', '192.0.2.44', 'loop'],
  ['what the DNS says of our name, private', '10.9.9.9', 'loop'],
]

/** Hosts as planned, with the addresses to try; or why the mail waits. */
function planned(...hosts: Parameters<typeof host>[0][]): readonly string[] {
  const given = facts({ hosts: hosts.map((changes) => host(changes)) })
  const { outcome } = decide(given, rules({ self }), () => 0)
  if (outcome.kind !== 'hosts') return [outcome.reason]
  return outcome.hosts.map(({ host: name, addresses, requirement }) =>
    requirement.level === 'refuse'
      ? `${name}: ${requirement.reason}`
      : `${name} ${addresses.join(' ')}`,
  )
}

const at = (name: string, preference: number, ...list: readonly string[]) => ({
  host: name,
  preference,
  addresses: { kind: 'resolved', list } as const,
})

describe('this server, and addresses of no remote one', () => {
  for (const [what, address, kind] of KINDS) {
    const by = { remote: address, skipped: undefined, loop: undefined }[kind]

    it(`DNS-14 ${address} (${what}) beside a good address of the same host: ${kind}`, () => {
      const beside = [...(by === undefined ? [] : [by]), GOOD].join(' ')
      assert.deepEqual(
        planned(at('mx.test', 10, address, GOOD)),
        kind === 'loop' ? ['mx-loop'] : [`mx.test ${beside}`],
      )
    })

    it(`DNS-14 ${address} (${what}) alone, before and after good hosts: ${kind}`, () => {
      const middle = {
        remote: [`it.test ${address}`, `worse.test ${GOOD}`],
        skipped: ['it.test: no-remote-address', `worse.test ${GOOD}`],
        loop: [],
      }[kind]
      assert.deepEqual(
        planned(at('better.test', 5, GOOD), at('it.test', 10, address), at('worse.test', 20, GOOD)),
        [`better.test ${GOOD}`, ...middle],
      )
    })
  }

  it('DNS-14 what is no remote address is what Node says of each network, whatever the address', () => {
    const never = new BlockList()
    never.addSubnet('0.0.0.0', 32)
    never.addSubnet('127.0.0.0', 8)
    never.addSubnet('169.254.0.0', 16)
    for (const name of ['::', '::1']) never.addAddress(name, 'ipv6')
    never.addSubnet('fe80::', 10, 'ipv6')
    never.addSubnet('fc00::', 7, 'ipv6')
    const begins = ['0.0.', '127.', '128.', '126.', '169.254.', '169.', '16.', '1.', '223.']
    const inV4 = fc
      .tuple(fc.constantFrom(...begins), fc.array(fc.nat(255), { minLength: 4, maxLength: 4 }))
      .map(([begin, rest]) => `${begin}${rest.join('.')}`.split('.').slice(0, 4).join('.'))
    const inV6 = fc
      .tuple(
        fc.constantFrom('fe80:', 'feb', 'fec', 'fd', 'fb', 'FC', '0:', '2', '::', '::ffff:', ''),
        fc.ipV6(),
      )
      .map(([begin, rest]) => `${begin}${rest}`)
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6(), inV4, inV6), (address) => {
        const family = isIP(address)
        if (family === 0) return
        assert.equal(
          worthTrying([address], thisServer('x.test', [], [])).length === 0,
          never.check(address, family === 6 ? 'ipv6' : 'ipv4'),
          address,
        )
      }),
      { numRuns: 2000 },
    )
  })

  it('DNS-14 our own name is a loop wherever its addresses lead', () => {
    assert.deepEqual(planned(at('sender.test', 10, GOOD), at('worse.test', 20, GOOD)), ['mx-loop'])
    assert.deepEqual(
      planned({ host: 'sender.test', addresses: { kind: 'none', security: 'insecure' } }),
      ['mx-loop'],
    )
  })

  it('a host of no remote address stays one with DANE, and nothing of it is tried', () => {
    const pinned = { ...at('mx.test', 10, 'fe80::1'), tlsa: tlsa.usable }
    assert.deepEqual(planned(pinned), ['mx.test: no-remote-address'])
    const beside = { ...at('mx.test', 10, 'fe80::1', GOOD), tlsa: tlsa.usable }
    assert.deepEqual(planned(beside), [`mx.test ${GOOD}`])
  })

  it('RFC 5321 section 5.1 is about MX records: a route to this server only loses the address', () => {
    const given = facts({ mx: { kind: 'route' }, hosts: [host(at('relay.test', 0, '192.0.2.5'))] })
    const { outcome } = decide(given, rules({ self }), () => 0)
    assert.ok(outcome.kind === 'hosts')
    const [only] = outcome.hosts
    assert.equal(
      only?.requirement.level === 'refuse' && only.requirement.reason,
      'no-remote-address',
    )
  })

  it('local_mx_ok=true: nothing is left out, and nothing is a loop', () => {
    for (const [, address] of KINDS) {
      const given = facts({ hosts: [host(at('sender.test', 10, address))] })
      const { outcome } = decide(given, rules({ self: undefined }), () => 0)
      assert.ok(outcome.kind === 'hosts')
      assert.deepEqual(outcome.hosts[0]?.addresses, [address])
    }
  })
})
