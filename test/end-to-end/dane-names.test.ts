import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { makeCertificate, type TestCertificate } from '../support/certificates'
import { type Fault, type Haraka, Lab, type Outcome, type Receiver, tlsaLine } from '../support/lab'
import { assertCheckSaysTheSame, assertObserveOnlyWatches } from '../support/lab/beside'
import { assertNothingLeaked, nextAddress } from '../support/lab/world'

type Chain = readonly [TestCertificate, TestCertificate]

interface Place {
  readonly address: string
  readonly receiver: Receiver
  /** Leaf and CA that it presents unless asked for another name. */
  readonly certificate: Chain
  readonly leaf: TestCertificate
}

interface PlaceSettings {
  readonly port?: number
  readonly fault?: Fault
  readonly certificate?: Chain
  readonly certificates?: Readonly<Record<string, Chain>>
}

const DANE_EE = [3, 1, 1] as const
const DANE_TA = [2, 0, 1] as const
const RESOLV_CONF = '/etc/resolv.conf'

/** Is never served: no key satisfies what is published for it. */
const strange = makeCertificate({ subject: 'strange.test' })

/** Where smtp_forward sends mail. */
const routes = {
  'port.test': ['--host', 'relay.port.test', '--port', '2525'],
  'bad-port.test': ['--host', 'relay.bad-port.test', '--port', '587'],
  'relayed.test': ['--host', 'Alias.Relayed.TEST'],
}
const unknown = {
  'lmtp.test': 'over LMTP to a host of its own plugin',
  'literal-route.test': 'to an address of its own plugin',
}

describe('end to end: DANE and names', function () {
  this.timeout(240_000)
  let lab: Lab
  let haraka: Haraka
  const resolvConf = readFileSync(RESOLV_CONF)

  before(async () => {
    lab = await Lab.start()
    // A search list for the whole file: no name may ever be completed from it (DNS-35).
    writeFileSync(RESOLV_CONF, `${resolvConf.toString()}search evil.test\noptions ndots:5\n`)
    haraka = await lab.haraka({
      plugins: ['queue/smtp_forward', 'tls-policy'],
      config: {
        'outbound.ini': 'connect_timeout=2',
        'smtp_forward.ini': [
          'host=unused.test',
          ...forward('port.test', 'relay.port.test', 2525),
          ...forward('bad-port.test', 'relay.bad-port.test', 587),
          ...forward('relayed.test', 'Alias.Relayed.TEST', 25),
          ...forward('literal-route.test', '192.0.2.250', 25),
          ...forward('lmtp.test', 'store.lmtp.test', 24),
          'using_lmtp=true',
          '',
        ].join('\n'),
      },
    })
  })
  after(async () => {
    writeFileSync(RESOLV_CONF, resolvConf)
    await lab.stop()
  })

  function forward(domain: string, host: string, port: number): readonly string[] {
    return [`[${domain}]`, `host=${host}`, `port=${port}`]
  }

  async function place(name: string, settings: PlaceSettings = {}): Promise<Place> {
    const address = nextAddress()
    const certificate = settings.certificate ?? lab.certificate(name)
    const receiver = await lab.receiver({ address, name, certificate, ...settings })
    return { address, receiver, certificate, leaf: certificate[0] }
  }

  const signed = (...records: readonly string[]) => ({ security: 'signed', records }) as const
  const unsigned = (...records: readonly string[]) => ({ security: 'unsigned', records }) as const

  /** All types that were asked for at a name, in order. */
  async function asked(name: string): Promise<readonly string[]> {
    return (await queries()).filter((query) => query.name === name).map(({ type }) => type)
  }

  let asking = 0

  /** What clients have asked, complete up to now: the resolver's log has come to a question of our own. */
  async function queries() {
    const own = `mark-${++asking}.test`
    await lab.ask(own, 'A')
    while (!lab.resolver.queries.some(({ name }) => name === own)) await setImmediate()
    return lab.resolver.queries
  }

  function said(domain: string, pattern: string): Promise<string> {
    const line = new RegExp(`tls-policy: domain=${domain.replaceAll('.', '\\.')} .*${pattern}`)
    return haraka.waitForLine(`${domain}: ${pattern}`, line)
  }

  async function assertVerified(outcome: Outcome, domain: string, at: Place, sni: string) {
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    assert.equal(outcome.ip, at.address)
    await said(domain, 'verdict=verified')
    assert.equal(at.receiver.sessions.entries.at(-1)?.tls?.servername, sni)
    assertNothingLeaked(at.receiver)
  }

  async function assertUnauthenticated(outcome: Outcome, domain: string) {
    assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
    await said(domain, 'verdict=encrypted')
  }

  function assertDeferred(outcome: Outcome, reason: RegExp, ...at: readonly Place[]) {
    assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
    assert.match(outcome.reason, reason)
    assertNothingLeaked(...at.map(({ receiver }) => receiver))
  }

  describe('the next-hop domain', () => {
    it('DNS-18 AUTH-15 is a secure alias: DANE applies, and the expanded name is a reference identifier', async () => {
      const mx = await place('mx', { certificate: lab.certificate('real18.test') })
      await lab.zones({
        'dns18.test': signed('alias CNAME real18.test.'),
        'real18.test': signed('@ MX 10 mx', `mx A ${mx.address}`, tlsaLine('mx', lab.ca, DANE_TA)),
      })
      const outcome = await haraka.deliver('u@alias.dns18.test')
      await assertVerified(outcome, 'alias.dns18.test', mx, 'mx.real18.test')
      await said('alias.dns18.test', 'as real18.test')
    })

    it('DNS-19 DNS-16 leads through an insecure alias to a signed zone: trusted at most, and no name but the host’s', async () => {
      const mx = await place('mx.last19.test')
      const byDomain = await place('mx2', { certificate: lab.certificate('first19.test') })
      await lab.zones({
        'first19.test': signed('alias CNAME a.middle19.test.', 'other CNAME b.middle19.test.'),
        'middle19.test': unsigned('a CNAME a.last19.test.', 'b CNAME b.last19.test.'),
        'last19.test': signed(
          'a MX 10 mx',
          `mx A ${mx.address}`,
          tlsaLine('mx', lab.ca, DANE_TA),
          'b MX 10 mx2',
          `mx2 A ${byDomain.address}`,
          tlsaLine('mx2', lab.ca, DANE_TA),
        ),
      })
      assert.ok((await lab.ask('a.last19.test', 'MX')).authentic)
      const outcome = await haraka.deliver('u@alias.first19.test')
      assert.ok(outcome.kind === 'delivered' && outcome.tls)
      await said('alias.first19.test', 'verdict=trusted')
      assertDeferred(
        await haraka.deliver('u@other.first19.test'),
        /dane-ta-name-mismatch/,
        byDomain,
      )
    })

    it('DNS-20 loops: deferred, nobody contacted', async () => {
      await lab.zone('loop20.test', signed('a CNAME b', 'b CNAME a'))
      assertDeferred(await haraka.deliver('u@a.loop20.test'), /mx-lookup-failed/)
    })

    it('TLSA-19 AUTH-17 no MX, an alias: the expanded name is the base, and the name as given counts beside it', async () => {
      const byGiven = await place('host19', { certificate: lab.certificate('a.given19.test') })
      await lab.zones({
        'given19.test': signed('a CNAME host.real19.test.'),
        'real19.test': signed(`host A ${byGiven.address}`, tlsaLine('host', lab.ca, DANE_TA)),
      })
      const outcome = await haraka.deliver('u@a.given19.test')
      await assertVerified(outcome, 'a.given19.test', byGiven, 'host.real19.test')
    })

    it('TLSA-03 with MX, records at the recipient’s domain mean nothing and are not asked for', async () => {
      const mx = await place('mx.tlsa03.test')
      await lab.zone(
        'tlsa03.test',
        signed(
          '@ MX 10 mx',
          `mx A ${mx.address}`,
          `@ A ${mx.address}`,
          tlsaLine('@', strange, DANE_EE).replace('.@', ''),
        ),
      )
      await assertUnauthenticated(await haraka.deliver('u@tlsa03.test'), 'tlsa03.test')
      assert.deepEqual(await asked('_25._tcp.tlsa03.test'), [])
      assert.deepEqual(await asked('_25._tcp.mx.tlsa03.test'), ['TLSA'])
    })

    it('DNS-31 TLSA-24 SNI-06 RL-08 in U-labels: every query, SNI and comparison is in A-labels', async () => {
      const mx = await place('mx.xn--bcher-kva.test')
      await lab.zone(
        'xn--bcher-kva.test',
        signed('@ MX 10 mx', `mx A ${mx.address}`, tlsaLine('mx', lab.ca, DANE_TA)),
      )
      await haraka.send({
        from: 'sender@sender.test',
        to: ['u@bücher.test'],
        parameters: 'SMTPUTF8',
      })
      const outcome = await haraka.outcomes.waitFor('the fate of u@bücher.test', ({ recipient }) =>
        /@(bücher|xn--bcher-kva)\.test$/.test(recipient),
      )
      await assertVerified(outcome, 'xn--bcher-kva.test', mx, 'mx.xn--bcher-kva.test')
      const names = (await queries()).map(({ name }) => name)
      assert.ok(names.includes('_25._tcp.mx.xn--bcher-kva.test'))
      assert.ok(names.every((name) => /^[\x21-\x7e]*$/.test(name)))
    })

    it('DNS-35 no name is completed from the search list', async () => {
      const trap = await place('mx1.evil.test')
      await lab.zones({
        'evil.test': signed(`* A ${trap.address}`, `* MX 10 mx1`),
        'dns35.test': signed('@ MX 10 mx1.'),
      })
      assertDeferred(await haraka.deliver('u@dns35.test'), /mx1 no-address/)
      const missing = await haraka.deliver('u@single')
      assert.ok(missing.kind === 'bounced', JSON.stringify(missing))
      const completed = (await queries()).filter(({ name }) => name.endsWith('evil.test'))
      assert.deepEqual(completed, [])
      assert.equal(trap.receiver.sessions.entries.length, 0)
    })

    it('DNS-33 is an address literal: no policy is looked up, and the mail is left to Haraka', async () => {
      const host = await place('literal')
      const outcome = await haraka.deliver(`u@[${host.address}]`)
      // Haraka itself cannot deliver to address literals, and says so in its own words.
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.match(outcome.reason, /DNS lookup failure/)
      const about = (await queries()).filter(({ name }) => name.includes(host.address))
      assert.deepEqual(about, [])
      assert.ok(!haraka.log().some((line) => line.includes(`tls-policy: domain=[${host.address}]`)))
    })
  })

  describe('MX records', () => {
    it('DNS-22 TLSA-01 first the addresses of a host, then its TLSA records, at _25._tcp', async () => {
      const mx = await place('mx.dns22.test')
      await lab.zone(
        'dns22.test',
        signed('@ MX 10 mx', `mx A ${mx.address}`, tlsaLine('mx', mx.leaf)),
      )
      const outcome = await haraka.deliver('u@dns22.test')
      await assertVerified(outcome, 'dns22.test', mx, 'mx.dns22.test')
      const log = (await queries())
        .filter(({ name }) => name.endsWith('dns22.test'))
        .map(({ name, type }) => `${name} ${type}`)
      const tlsa = log.indexOf('_25._tcp.mx.dns22.test TLSA')
      assert.ok(log.indexOf('mx.dns22.test A') < tlsa, log.join('\n'))
      assert.ok(log.indexOf('mx.dns22.test AAAA') < tlsa, log.join('\n'))
      assert.ok(log.indexOf('dns22.test MX') < log.indexOf('mx.dns22.test A'))
    })

    it('DNS-10 whose hosts have no address: the domain’s own address is not used', async () => {
      const own = await place('dns10.test')
      await lab.zone('dns10.test', signed('@ MX 10 mx', 'mx TXT nothing', `@ A ${own.address}`))
      assertDeferred(await haraka.deliver('u@dns10.test'), /no-address/)
      assert.equal(own.receiver.sessions.entries.length, 0)
    })

    it('DNS-12 none, and the address lookup of the domain fails: deferred, not bounced', async () => {
      await lab.zone('dns12.test', {
        ...signed('@ A 192.0.2.99'),
        brokenSignatures: ['@ A'],
      })
      assertDeferred(await haraka.deliver('u@dns12.test'), /address-lookup-failed/)
    })

    it('DNS-28 DNS-30 null MX of any preference, signed or not: bounced, nobody contacted', async () => {
      const own = await place('null')
      await lab.zones({
        'null28.test': signed('@ MX 10 .', `@ A ${own.address}`),
        'null30.test': unsigned('@ MX 0 .', `@ A ${own.address}`),
      })
      for (const domain of ['null28.test', 'null30.test']) {
        const outcome = await haraka.deliver(`u@${domain}`)
        assert.ok(outcome.kind === 'bounced' && outcome.dsn.status === '5.1.10', domain)
      }
      assert.equal(own.receiver.sessions.entries.length, 0)
    })

    it('DNS-30 a bogus null MX is a failed lookup: deferred', async () => {
      await lab.zone('bogus30.test', { ...signed('@ MX 0 .'), brokenSignatures: ['@ MX'] })
      assertDeferred(await haraka.deliver('u@bogus30.test'), /mx-lookup-failed/)
    })

    it('DNS-29 "." beside a host is left out', async () => {
      const mx = await place('mx.dns29.test')
      await lab.zone(
        'dns29.test',
        signed('@ MX 0 .', '@ MX 10 mx', `mx A ${mx.address}`, tlsaLine('mx', mx.leaf)),
      )
      await assertVerified(await haraka.deliver('u@dns29.test'), 'dns29.test', mx, 'mx.dns29.test')
    })

    it('DNS-34 SNI-06 names an IP address: contacted without policy and without SNI', async () => {
      const host = await place('literal')
      await lab.zone('dns34.test', signed(`@ MX 10 ${host.address}.`))
      const outcome = await haraka.deliver('u@dns34.test')
      assert.ok(outcome.kind === 'delivered', JSON.stringify(outcome))
      assert.equal(host.receiver.sessions.entries[0]?.tls?.servername, undefined)
      assert.deepEqual(await asked(`_25._tcp.${host.address}`), [])
    })

    it('TLSA-25 DNS-40 trouble with the second host’s records harms nobody while the first one takes the mail', async () => {
      const mx = await place('mx1.tlsa25.test')
      await lab.zone('tlsa25.test', {
        ...signed(
          '@ MX 10 mx1',
          '@ MX 20 mx2',
          `mx1 A ${mx.address}`,
          'mx2 A 192.0.2.99',
          tlsaLine('mx1', mx.leaf),
          tlsaLine('mx2', strange),
        ),
        brokenSignatures: ['_25._tcp.mx2 TLSA'],
      })
      const outcome = await haraka.deliver('u@tlsa25.test')
      await assertVerified(outcome, 'tlsa25.test', mx, 'mx1.tlsa25.test')
    })
  })

  describe('the MX host', () => {
    it('DNS-39 TLSA-05 SNI-01 is a secure alias: records of the expanded name, which is also SNI', async () => {
      const good = lab.certificate('host.prov05.test')
      const mx = await place('host.prov05.test', {
        certificate: lab.certificate('default.prov05.test'),
        certificates: { 'host.prov05.test': good },
      })
      await lab.zones({
        'tlsa05.test': signed(
          '@ MX 10 mx1',
          'mx1 CNAME host.prov05.test.',
          tlsaLine('mx1', strange),
        ),
        'prov05.test': signed(`host A ${mx.address}`, tlsaLine('host', good[0])),
      })
      const outcome = await haraka.deliver('u@tlsa05.test')
      await assertVerified(outcome, 'tlsa05.test', mx, 'host.prov05.test')
      await said('tlsa05.test', 'mx=mx1\\.tlsa05\\.test')
    })

    it('TLSA-06 SNI-01 is an alias, and the expanded name has no records: those of the name itself', async () => {
      const mx = await place('host.prov06.test')
      await lab.zones({
        'tlsa06.test': signed(
          '@ MX 10 mx1',
          'mx1 CNAME host.prov06.test.',
          tlsaLine('mx1', mx.leaf),
        ),
        'prov06.test': signed(`host A ${mx.address}`),
      })
      const outcome = await haraka.deliver('u@tlsa06.test')
      await assertVerified(outcome, 'tlsa06.test', mx, 'mx1.tlsa06.test')
      assert.deepEqual(await asked('_25._tcp.host.prov06.test'), ['TLSA'])
    })

    it('TLSA-07 is an alias, and the lookup at the expanded name fails: final, the name itself is not asked', async () => {
      const mx = await place('host.prov07.test')
      await lab.zones({
        'tlsa07.test': signed(
          '@ MX 10 mx1',
          'mx1 CNAME host.prov07.test.',
          tlsaLine('mx1', mx.leaf),
        ),
        'prov07.test': {
          ...signed(`host A ${mx.address}`, tlsaLine('host', mx.leaf)),
          brokenSignatures: ['_25._tcp.host TLSA'],
        },
      })
      assertDeferred(await haraka.deliver('u@tlsa07.test'), /tlsa-lookup-failed/)
      assert.deepEqual(await asked('_25._tcp.mx1.tlsa07.test'), [])
      assert.equal(mx.receiver.sessions.entries.length, 0)
    })

    it('TLSA-08 is an alias, and the expanded name has but unusable records: the search ends, TLS is owed', async () => {
      const mx = await place('host.prov08.test')
      await lab.zones({
        'tlsa08.test': signed(
          '@ MX 10 mx1',
          'mx1 CNAME host.prov08.test.',
          tlsaLine('mx1', strange),
        ),
        'prov08.test': signed(`host A ${mx.address}`, tlsaLine('host', strange, [1, 1, 1])),
      })
      await assertUnauthenticated(await haraka.deliver('u@tlsa08.test'), 'tlsa08.test')
      await said('tlsa08.test', 'reason=tls-unauthenticated')
      assert.deepEqual(await asked('_25._tcp.mx1.tlsa08.test'), [])
    })

    it('TLSA-09 is a secure alias of an insecure address: the name itself is the base, records there bind', async () => {
      const [bad, good] = [await place('h1.prov09.test'), await place('h2.prov09.test')]
      await lab.zones({
        'tlsa09.test': signed(
          'bad MX 10 mx1',
          'mx1 CNAME h1.prov09.test.',
          tlsaLine('mx1', strange),
          'good MX 10 mx2',
          'mx2 CNAME h2.prov09.test.',
          tlsaLine('mx2', good.leaf),
        ),
        'prov09.test': unsigned(
          `h1 A ${bad.address}`,
          `h2 A ${good.address}`,
          tlsaLine('h2', strange),
        ),
      })
      assertDeferred(await haraka.deliver('u@bad.tlsa09.test'), /dane-no-match/, bad)
      assert.ok((await asked('mx1.tlsa09.test')).includes('CNAME'))
      const outcome = await haraka.deliver('u@good.tlsa09.test')
      await assertVerified(outcome, 'good.tlsa09.test', good, 'mx2.tlsa09.test')
      assert.deepEqual(await asked('_25._tcp.h2.prov09.test'), [])
    })

    it('TLSA-10 DNS-23 is an insecure alias, or none, of an insecure address: nobody asks for TLSA', async () => {
      const mx = await place('host.prov10.test')
      await lab.zones({
        'tlsa10.test': unsigned(
          '@ MX 10 mx1',
          'mx1 CNAME host.prov10.test.',
          `mx2 A ${mx.address}`,
        ),
        'prov10.test': unsigned(`host A ${mx.address}`),
        '_tcp.host.prov10.test': { security: 'unsigned', server: 'refuses' },
        '_tcp.mx2.tlsa10.test': { security: 'unsigned', server: 'refuses' },
        'plain10.test': signed('@ MX 10 mx2.tlsa10.test.'),
      })
      for (const domain of ['tlsa10.test', 'plain10.test']) {
        await assertUnauthenticated(await haraka.deliver(`u@${domain}`), domain)
      }
      const tlsa = (await queries()).filter(({ name }) => /^_25\._tcp\..*10\.test$/.test(name))
      assert.deepEqual(tlsa, [])
    })

    it('TLSA-12 leads through names between: no records of theirs count or are asked for', async () => {
      const mx = await place('end.tlsa12.test')
      await lab.zone(
        'tlsa12.test',
        signed(
          '@ MX 10 mx1',
          'mx1 CNAME mid',
          'mid CNAME end',
          `end A ${mx.address}`,
          tlsaLine('mid', strange),
        ),
      )
      await assertUnauthenticated(await haraka.deliver('u@tlsa12.test'), 'tlsa12.test')
      assert.deepEqual(await asked('_25._tcp.mid.tlsa12.test'), [])
      assert.deepEqual(await asked('_25._tcp.end.tlsa12.test'), ['TLSA'])
      assert.deepEqual(await asked('_25._tcp.mx1.tlsa12.test'), ['TLSA'])
    })

    it('DNS-20 is an alias in a loop: the next host takes the mail', async () => {
      const mx = await place('mx2.hostloop.test')
      await lab.zone(
        'hostloop.test',
        signed(
          '@ MX 10 mx1',
          'mx1 CNAME back',
          'back CNAME mx1',
          '@ MX 20 mx2',
          `mx2 A ${mx.address}`,
          tlsaLine('mx2', mx.leaf),
        ),
      )
      const outcome = await haraka.deliver('u@hostloop.test')
      await assertVerified(outcome, 'hostloop.test', mx, 'mx2.hostloop.test')
      await said('hostloop.test', 'mx=mx1\\.hostloop\\.test .*reason=address-lookup-failed')
    })

    it('DNS-20 is nine aliases away: followed; a chain that no resolver follows: the next host', async () => {
      const [far, other] = [await place('h9.chain.test'), await place('other.chain.test')]
      const links = (prefix: string, count: number) =>
        Array.from({ length: count }, (_, i) => `${prefix}${i} CNAME ${prefix}${i + 1}`)
      await lab.zone(
        'chain.test',
        signed(
          'near MX 10 h0',
          ...links('h', 9),
          `h9 A ${far.address}`,
          tlsaLine('h9', far.leaf),
          'long MX 10 l0',
          'long MX 20 other',
          ...links('l', 40),
          `l40 A ${far.address}`,
          `other A ${other.address}`,
          tlsaLine('other', other.leaf),
        ),
      )
      const near = await haraka.deliver('u@near.chain.test')
      await assertVerified(near, 'near.chain.test', far, 'h9.chain.test')
      const long = await haraka.deliver('u@long.chain.test')
      await assertVerified(long, 'long.chain.test', other, 'other.chain.test')
    })

    it('DNS-21 lies under a DNAME: as an alias', async () => {
      const mx = await place('mx.target21.test')
      await lab.zones({
        'dns21.test': signed('@ MX 10 mx.moved', 'moved DNAME target21.test.'),
        'target21.test': signed(`mx A ${mx.address}`, tlsaLine('mx', mx.leaf)),
      })
      const outcome = await haraka.deliver('u@dns21.test')
      await assertVerified(outcome, 'dns21.test', mx, 'mx.target21.test')
    })

    it('DNS-17 behind an insecure MX is logged by the name in the MX record', async () => {
      const mx = await place('host.prov17.test')
      await lab.zones({
        'dns17.test': unsigned('@ MX 10 mx.alias17.test.'),
        'alias17.test': signed('mx CNAME host.prov17.test.'),
        'prov17.test': signed(`host A ${mx.address}`, tlsaLine('host', mx.leaf)),
      })
      const outcome = await haraka.deliver('u@dns17.test')
      assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.host === 'mx.alias17.test')
      await said('dns17.test', 'mx=mx\\.alias17\\.test .*verdict=trusted')
    })

    it('AUTH-18 is an alias, its records are at the expanded name: the name itself proves nothing', async () => {
      const mx = await place('host.prov18.test', {
        certificate: lab.certificate('mx1.auth18.test'),
      })
      await lab.zones({
        'auth18.test': signed('@ MX 10 mx1', 'mx1 CNAME host.prov18.test.'),
        'prov18.test': signed(`host A ${mx.address}`, tlsaLine('host', lab.ca, DANE_TA)),
      })
      const outcome = await haraka.deliver('u@auth18.test')
      assertDeferred(outcome, /dane-ta-name-mismatch: .*host\.prov18\.test/, mx)
    })

    it('SNI-07 ignores SNI or knows no such name: its default certificate is judged by the same rules', async () => {
      const mx = await place('mx.sni07.test', {
        certificates: { 'elsewhere.test': lab.certificate('elsewhere.test') },
      })
      await lab.zone(
        'sni07.test',
        signed('@ MX 10 mx', `mx A ${mx.address}`, tlsaLine('mx', mx.leaf)),
      )
      await assertVerified(await haraka.deliver('u@sni07.test'), 'sni07.test', mx, 'mx.sni07.test')
    })

    it('SNI-05 with unusable records, and without any: SNI is the MX hostname', async () => {
      const [mx, plain] = [await place('mx.sni05.test'), await place('mx2.sni05.test')]
      await lab.zone(
        'sni05.test',
        signed(
          'a MX 10 mx',
          `mx A ${mx.address}`,
          tlsaLine('mx', strange, [1, 1, 1]),
          'b MX 10 mx2',
          `mx2 A ${plain.address}`,
        ),
      )
      await assertUnauthenticated(await haraka.deliver('u@a.sni05.test'), 'a.sni05.test')
      assert.equal(mx.receiver.sessions.entries[0]?.tls?.servername, 'mx.sni05.test')
      await assertUnauthenticated(await haraka.deliver('u@b.sni05.test'), 'b.sni05.test')
      assert.equal(plain.receiver.sessions.entries[0]?.tls?.servername, 'mx2.sni05.test')
    })
  })

  describe('the owner of TLSA records', () => {
    it('TLSA-13 is a secure alias: followed, and the base stays the name asked at', async () => {
      const good = await place('mx.tlsa13.test')
      const bad = await place('mx2.tlsa13.test', { certificate: lab.certificate('x13.test') })
      await lab.zones({
        'tlsa13.test': signed(
          'good MX 10 mx',
          `mx A ${good.address}`,
          '_25._tcp.mx CNAME tlsa._dane.x13.test.',
          'bad MX 10 mx2',
          `mx2 A ${bad.address}`,
          '_25._tcp.mx2 CNAME tlsa._dane.x13.test.',
        ),
        'x13.test': signed(tlsaLine('m', lab.ca, DANE_TA).replace('_25._tcp.m', 'tlsa._dane')),
      })
      const outcome = await haraka.deliver('u@good.tlsa13.test')
      await assertVerified(outcome, 'good.tlsa13.test', good, 'mx.tlsa13.test')
      assertDeferred(await haraka.deliver('u@bad.tlsa13.test'), /dane-ta-name-mismatch/, bad)
    })

    it('TLSA-14 leads into an unsigned zone: as if there were none', async () => {
      const mx = await place('mx.tlsa14.test')
      await lab.zones({
        'tlsa14.test': signed(
          '@ MX 10 mx',
          `mx A ${mx.address}`,
          '_25._tcp.mx CNAME tlsa.x14.test.',
        ),
        'x14.test': unsigned(tlsaLine('m', strange).replace('_25._tcp.m', 'tlsa')),
      })
      await assertUnauthenticated(await haraka.deliver('u@tlsa14.test'), 'tlsa14.test')
      await said('tlsa14.test', 'reason=no-policy')
    })

    it('TLSA-15 lies below an insecure delegation: not used; below one whose server fails: the host is not used', async () => {
      const [mx, failing] = [await place('mx.tlsa15.test'), await place('mx2.tlsa15.test')]
      await lab.zones({
        'tlsa15.test': signed(
          'a MX 10 mx',
          `mx A ${mx.address}`,
          'b MX 10 mx2',
          `mx2 A ${failing.address}`,
        ),
        '_tcp.mx.tlsa15.test': unsigned(tlsaLine('m', strange).replace('_25._tcp.m', '_25')),
        '_tcp.mx2.tlsa15.test': { security: 'unsigned', server: 'refuses' },
      })
      await assertUnauthenticated(await haraka.deliver('u@a.tlsa15.test'), 'a.tlsa15.test')
      assertDeferred(await haraka.deliver('u@b.tlsa15.test'), /tlsa-lookup-failed/)
      assert.equal(failing.receiver.sessions.entries.length, 0)
    })

    it('TLSA-16 TLSA-23 is securely denied, and the server offers no TLS: delivered in cleartext', async () => {
      const mx = await place('mx.tlsa16.test', { fault: 'no-starttls' })
      await lab.zone('tlsa16.test', signed('@ MX 10 mx', `mx A ${mx.address}`))
      const outcome = await haraka.deliver('u@tlsa16.test')
      assert.ok(outcome.kind === 'delivered' && !outcome.tls)
      await said('tlsa16.test', 'verdict=cleartext reason=no-policy')
    })

    it('TLSA-21 is a wildcard: an ordinary answer, a match or a mismatch', async () => {
      const [good, bad] = [await place('mx.tlsa21.test'), await place('mx2.tlsa21.test')]
      const wild = (host: string, of: TestCertificate) =>
        tlsaLine(host, of).replace('_25._tcp', '*')
      await lab.zone(
        'tlsa21.test',
        signed(
          'a MX 10 mx',
          `mx A ${good.address}`,
          wild('mx', good.leaf),
          'b MX 10 mx2',
          `mx2 A ${bad.address}`,
          wild('mx2', strange),
        ),
      )
      const outcome = await haraka.deliver('u@a.tlsa21.test')
      await assertVerified(outcome, 'a.tlsa21.test', good, 'mx.tlsa21.test')
      assertDeferred(await haraka.deliver('u@b.tlsa21.test'), /dane-no-match/, bad)
    })
  })

  describe('routes of another plugin', () => {
    it('TLSA-02 RL-02 the port that is dialled is the port that is asked for', async () => {
      const relay = await place('relay.port.test', { port: 2525 })
      await lab.zone(
        'port.test',
        signed(
          `relay A ${relay.address}`,
          tlsaLine('relay', relay.leaf, DANE_EE, 2525),
          tlsaLine('relay', strange),
        ),
      )
      const outcome = await haraka.deliver('u@port.test')
      assert.ok(outcome.kind === 'delivered' && outcome.tls && outcome.port === 2525)
      await said('port.test', 'mx=relay\\.port\\.test .*verdict=verified')
      assert.deepEqual(await asked('_25._tcp.relay.port.test'), [])
      assert.deepEqual(await asked('port.test'), [])
    })

    it('RL-02 RL-06 records of the relay that do not match: deferred', async () => {
      const relay = await place('relay.bad-port.test', { port: 587 })
      await lab.zone(
        'bad-port.test',
        signed(`relay A ${relay.address}`, tlsaLine('relay', strange, DANE_EE, 587)),
      )
      assertDeferred(await haraka.deliver('u@bad-port.test'), /dane-no-match/, relay)
    })

    it('RL-01 RL-07 the relay’s policies count, not the recipient’s; its name in any case', async () => {
      const relay = await place('host.relayed.test')
      await lab.zone(
        'relayed.test',
        signed(
          '@ MX 10 mx',
          'mx A 192.0.2.99',
          'alias CNAME host',
          `host A ${relay.address}`,
          tlsaLine('host', lab.ca, DANE_TA),
        ),
      )
      const outcome = await haraka.deliver('u@relayed.test')
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
      await said('relayed.test', 'verdict=verified')
      assert.deepEqual(await asked('_mta-sts.relayed.test'), [])
      assert.deepEqual(await asked('relayed.test'), [])
      assertNothingLeaked(relay.receiver)
    })

    it('RL-05 RL-10 to an address, and over LMTP: no lookup of any policy', async () => {
      await lab.zone('lmtp.test', signed('store A 192.0.2.99', tlsaLine('store', strange)))
      const direct = await lab.receiver({
        address: '192.0.2.250',
        certificate: lab.certificate('x'),
      })
      const outcome = await haraka.deliver('u@literal-route.test')
      assert.ok(outcome.kind === 'delivered', JSON.stringify(outcome))
      assert.equal(direct.messages.entries.length, 1)
      const unreachable = await haraka.deliver('u@lmtp.test')
      assert.ok(unreachable.kind === 'deferred')
      assert.doesNotMatch(unreachable.reason, /tls-policy|safely/)
      const policies = (await queries()).filter(
        ({ name, type }) =>
          (type === 'TLSA' || type === 'TXT') && /literal-route|lmtp|192\.0\.2\.250/.test(name),
      )
      assert.deepEqual(policies, [])
    })
  })

  describe('beside each of these deliveries', function () {
    this.timeout(300_000)

    it('the command says what the delivery does', async () => {
      assert.ok((await assertCheckSaysTheSame(haraka, { routes, except: unknown })) > 30)
    })

    it('AUTH-40 mode observe only watches', async () => {
      const { recipients, hosts } = await assertObserveOnlyWatches(lab, haraka, {
        except: {
          ...unknown,
          'tlsa05.test':
            'the server shows a certificate by SNI, and Haraka by itself asks for another name',
        },
      })
      assert.ok(recipients > 30 && hosts > 20, `${recipients} recipients, ${hosts} hosts`)
    })
  })
})
