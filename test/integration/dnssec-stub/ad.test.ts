import assert from 'node:assert/strict'
import { adResolver, type AdOptions } from '../../../plugins/dnssec-stub/ad'
import type { ClosableResolver } from '../../../plugins/dnssec-stub/lookup'
import { parseServer, type TrustedServer } from '../../../plugins/dnssec-stub/servers'
import {
  closedPort,
  dnsServer,
  encodeReply,
  soa,
  type Query,
  type Reply,
  type Script,
  type ScriptedServer,
} from '../../support/dns-server'
import type { Answer } from 'dns-packet'

const a = (name: string, data = '192.0.2.1', ttl = 300): Answer => ({ type: 'A', name, ttl, data })
const cname = (name: string, data: string, ttl = 300): Answer => ({
  type: 'CNAME',
  name,
  ttl,
  data,
})

describe('the ad backend on the wire', () => {
  const opened: { close(): unknown }[] = []

  const serve = async (
    script: Script,
    options?: { udpOnly?: boolean },
  ): Promise<ScriptedServer> => {
    const server = await dnsServer(script, options)
    opened.push(server)
    return server
  }
  const resolverFor = (
    servers: readonly (ScriptedServer | TrustedServer)[],
    options: Partial<AdOptions> = {},
  ): ClosableResolver => {
    const resolver = adResolver({
      servers: servers.map((server) =>
        'spec' in server ? { ...parseServer(server.spec), trusted: true } : server,
      ),
      timeoutMs: 150,
      deadlineMs: 2000,
      concurrency: 100,
      randomId: () => 4711,
      ...options,
    })
    opened.push(resolver)
    return resolver
  }
  /** What one server's word comes to. */
  const outcomeOf = async (reply: Reply | Script, type: 'A' | 'MX' | 'TLSA' = 'A') => {
    const server = await serve(typeof reply === 'function' ? reply : () => reply)
    return resolverFor([server]).resolve('host.test', type)
  }

  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close()
  })

  it('DNS-02 a query carries EDNS0 with DO, AD and RD set, CD clear', async () => {
    const server = await serve(() => ({ answers: [a('host.test')] }))
    await resolverFor([server]).resolve('host.test', 'A')
    const [query] = server.queries
    assert.ok(query)
    assert.equal(query.message.flag_rd, true)
    assert.equal(query.message.flag_ad, true)
    assert.equal(query.message.flag_cd, false)
    const [opt] = query.message.additionals ?? []
    assert.ok(opt?.type === 'OPT')
    assert.equal(opt.flag_do, true)
    assert.equal(opt.udpPayloadSize, 1232)
  })

  it('DNS-01 AD from a server over a trusted path is secure, from another it is not', async () => {
    const server = await serve(() => ({ authenticData: true, answers: [a('host.test')] }))
    const { address, port } = parseServer(server.spec)
    const expected = { kind: 'answer', records: ['192.0.2.1'], ttl: 300, aliases: [] }
    for (const trusted of [true, false]) {
      const outcome = await resolverFor([{ address, port, trusted }]).resolve('host.test', 'A')
      assert.deepEqual(outcome, { ...expected, security: trusted ? 'secure' : 'insecure' })
    }
  })

  it('DNS-05 NOERROR without AD is insecure', async () => {
    const outcome = await outcomeOf({ answers: [a('host.test')] })
    assert.ok(outcome.kind === 'answer')
    assert.equal(outcome.security, 'insecure')
  })

  it('DNS-06 NXDOMAIN and NODATA are denials with their security', async () => {
    for (const authenticData of [true, false]) {
      const security = authenticData ? 'secure' : 'insecure'
      const reply = { authenticData, authorities: [soa('test')] }
      const known = { security, ttl: 300, aliases: [] }
      assert.deepEqual(await outcomeOf({ ...reply, rcode: 3 }), { kind: 'nxdomain', ...known })
      assert.deepEqual(await outcomeOf(reply), { kind: 'nodata', ...known })
    }
  })

  const failures: [string, Reply | Script, string, RegExp][] = [
    ['SERVFAIL', { rcode: 2 }, 'servfail', /SERVFAIL/],
    ['REFUSED', { rcode: 5 }, 'refused', /REFUSED/],
    ['FORMERR', { rcode: 1 }, 'rcode', /FORMERR/],
    ['NOTIMP', { rcode: 4 }, 'rcode', /NOTIMP/],
    ['FORMERR without a question', { rcode: 1, questions: [] }, 'rcode', /FORMERR/],
    ['silence', () => undefined, 'timeout', /no reply in time/],
    [
      'a reply to another question',
      { questions: [{ type: 'A', name: 'other.test' }] },
      'malformed',
      /another question/,
    ],
    [
      'a reply of another type',
      { questions: [{ type: 'MX', name: 'host.test' }] },
      'malformed',
      /another question/,
    ],
    ['an empty reply without a question', { questions: [] }, 'malformed', /another question/],
    [
      'a reply cut short',
      (query) => encodeReply(query, { answers: [a('host.test')] }).subarray(0, -20),
      'malformed',
      /cut short/,
    ],
    [
      'a reply with more behind it',
      (query) => Buffer.concat([encodeReply(query, {}), Buffer.alloc(1)]),
      'malformed',
      /left over/,
    ],
    ['an address of three octets', lyingLength, 'malformed', /wrong length/],
    [
      'NXDOMAIN with an answer',
      { rcode: 3, answers: [a('host.test')] },
      'malformed',
      /NXDOMAIN with an answer/,
    ],
    [
      'a referral',
      { recursionAvailable: false, authorities: [{ type: 'NS', name: 'test', data: 'ns.test' }] },
      'refused',
      /recurse/,
    ],
  ]
  for (const [what, reply, cause, detail] of failures) {
    it(`DNS-04 ${what} is a failure, never "no records"`, async () => {
      const outcome = await outcomeOf(reply)
      assert.ok(outcome.kind === 'failed')
      assert.equal(outcome.cause, cause)
      assert.match(outcome.detail, detail)
    })
  }

  it('DNS-04 nobody listening is a failure', async () => {
    const port = await closedPort()
    const outcome = await resolverFor([{ address: '127.0.0.1', port, trusted: true }]).resolve(
      'host.test',
      'A',
    )
    assert.ok(outcome.kind === 'failed')
    assert.equal(outcome.cause, 'network')
  })

  it('DNS-04 truncated and no TCP is a failure', async () => {
    const server = await serve(() => ({ truncated: true }), { udpOnly: true })
    const outcome = await resolverFor([server]).resolve('host.test', 'A')
    assert.ok(outcome.kind === 'failed')
    assert.equal(outcome.cause, 'network')
  })

  it('DNS-04 truncated over TCP too is a failure', async () => {
    const outcome = await outcomeOf({ truncated: true, answers: [a('host.test')] })
    assert.ok(outcome.kind === 'failed')
    assert.equal(outcome.cause, 'malformed')
  })

  for (const code of [6, 7, 8, 9, 10, 11, 12]) {
    it(`DNS-05 SERVFAIL with extended error ${code} is bogus`, async () => {
      const extendedError = { code, text: 'broken\u0007 signature' }
      const outcome = await outcomeOf({ rcode: 2, extendedError })
      assert.ok(outcome.kind === 'failed')
      assert.equal(outcome.cause, 'bogus')
      assert.deepEqual(outcome.extendedError, { code, text: 'broken? signature' })
    })
  }

  it('DNS-05 SERVFAIL with another extended error (indeterminate) is a failure that keeps it', async () => {
    const outcome = await outcomeOf({ rcode: 2, extendedError: { code: 5, text: '' } })
    assert.ok(outcome.kind === 'failed')
    assert.equal(outcome.cause, 'servfail')
    assert.deepEqual(outcome.extendedError, { code: 5, text: '' })
  })

  it('datagrams with a wrong id are not replies; the right one is still awaited', async () => {
    const forged = { id: 4712, authenticData: true, answers: [a('host.test', '203.0.113.9')] }
    const outcome = await outcomeOf((query) => [
      encodeReply(query, forged),
      Buffer.from('junk'),
      query.octets,
      encodeReply(query, { answers: [a('host.test')] }),
    ])
    assert.ok(outcome.kind === 'answer')
    assert.deepEqual(outcome.records, ['192.0.2.1'])
    assert.equal(outcome.security, 'insecure')
  })

  it('DNS-37 a truncated reply is asked for again over TCP, and large ones are taken', async () => {
    const certificate = Buffer.alloc(2048, 0xab)
    const tlsa: Answer = {
      type: 'TLSA',
      name: 'host.test',
      ttl: 60,
      data: { usage: 2, selector: 0, matchingType: 0, certificate },
    }
    const script = ({ transport }: Query): Reply =>
      transport === 'udp' ? { truncated: true } : { authenticData: true, answers: [tlsa] }
    const outcome = await outcomeOf(script, 'TLSA')
    assert.deepEqual(outcome, {
      kind: 'answer',
      security: 'secure',
      ttl: 60,
      aliases: [],
      records: [{ malformed: false, usage: 2, selector: 0, matchingType: 0, data: certificate }],
    })
  })

  it('a TLSA record too short for its fields is handed on as malformed', async () => {
    const script = (query: Query): Buffer =>
      withRawRecord(query, 52, Buffer.from([3, 1]), 'host.test')
    const outcome = await outcomeOf(script, 'TLSA')
    assert.ok(outcome.kind === 'answer')
    assert.deepEqual(outcome.records, [
      { malformed: true, usage: 255, selector: 255, matchingType: 255, data: Buffer.from([3, 1]) },
    ])
  })

  describe('aliases', () => {
    /** A resolver that returns no more than the CNAME of the name it is asked for. */
    const oneLink =
      (links: Record<string, [target: string, secure: boolean]>): Script =>
      ({ name }) => {
        const link = links[name]
        return link === undefined
          ? { authenticData: true, answers: [a(name)] }
          : { authenticData: link[1], answers: [cname(name, link[0], 60)] }
      }

    it('DNS-18 DNS-20 a bare CNAME is followed by asking at its target', async () => {
      const outcome = await outcomeOf(
        oneLink({ 'host.test': ['mid.test', true], 'mid.test': ['End.Test', true] }),
      )
      assert.deepEqual(outcome, {
        kind: 'answer',
        security: 'secure',
        ttl: 60,
        aliases: ['mid.test', 'end.test'],
        records: ['192.0.2.1'],
      })
    })

    it('DNS-19 one insecure link makes the rest insecure', async () => {
      const outcome = await outcomeOf(
        oneLink({ 'host.test': ['mid.test', false], 'mid.test': ['end.test', true] }),
      )
      assert.ok(outcome.kind === 'answer')
      assert.equal(outcome.security, 'insecure')
    })

    it('DNS-20 a loop over several replies is a failure', async () => {
      const outcome = await outcomeOf(
        oneLink({ 'host.test': ['b.test', true], 'b.test': ['host.test', true] }),
      )
      assert.ok(outcome.kind === 'failed')
      assert.equal(outcome.cause, 'alias-chain')
      assert.match(outcome.detail, /CNAME loop at host\.test/)
    })

    it('DNS-20 more than 16 aliases are a failure, 16 are not', async () => {
      const links = (count: number) =>
        Object.fromEntries(
          Array.from({ length: count }, (_, n) => [
            n === 0 ? 'host.test' : `n${n}.test`,
            [`n${n + 1}.test`, true] as [string, boolean],
          ]),
        )
      assert.equal((await outcomeOf(oneLink(links(16)))).kind, 'answer')
      const outcome = await outcomeOf(oneLink(links(17)))
      assert.ok(outcome.kind === 'failed')
      assert.equal(outcome.cause, 'alias-chain')
    })

    it('DNS-20 a failure at the target is the failure of the lookup', async () => {
      const outcome = await outcomeOf(({ name }) =>
        name === 'host.test'
          ? { authenticData: true, answers: [cname(name, 'end.test')] }
          : { rcode: 2 },
      )
      assert.ok(outcome.kind === 'failed')
      assert.equal(outcome.cause, 'servfail')
    })

    it('DNS-21 the CNAME that comes with a DNAME is enough', async () => {
      const outcome = await outcomeOf({
        authenticData: true,
        answers: [
          { type: 'DNAME', name: 'test', ttl: 300, data: 'example' },
          cname('host.test', 'host.example'),
          a('host.example'),
        ],
      })
      assert.ok(outcome.kind === 'answer')
      assert.deepEqual(outcome.aliases, ['host.example'])
    })
  })

  describe('several servers', () => {
    it('the next one is asked after SERVFAIL, silence and noise, and is asked first from then on', async () => {
      const bad: Script[] = [() => ({ rcode: 2 }), () => undefined, () => ({ questions: [] })]
      for (const script of bad) {
        const first = await serve(script)
        const second = await serve(() => ({ authenticData: true, answers: [a('host.test')] }))
        const resolver = resolverFor([first, second])
        assert.equal((await resolver.resolve('host.test', 'A')).kind, 'answer')
        assert.equal((await resolver.resolve('host.test', 'A')).kind, 'answer')
        assert.equal(first.queries.length, 1)
        assert.equal(second.queries.length, 2)
      }
    })

    it('a silent server is tried twice, one that answered is not', async () => {
      const silent = await serve(() => undefined)
      const refusing = await serve(() => ({ rcode: 5 }))
      const outcome = await resolverFor([silent, refusing]).resolve('host.test', 'A')
      assert.ok(outcome.kind === 'failed')
      assert.equal(outcome.cause, 'refused')
      assert.match(outcome.detail, /REFUSED; .*no reply in time/)
      assert.equal(silent.queries.length, 2)
      assert.equal(refusing.queries.length, 1)
    })

    it('DNS-01 untrusted servers are left out beside trusted ones: silencing one must not strip security', async () => {
      const trusted = await serve(() => undefined)
      const untrusted = await serve(() => ({ answers: [a('host.test', '203.0.113.9')] }))
      const outcome = await resolverFor([
        { ...parseServer(untrusted.spec), trusted: false },
        { ...parseServer(trusted.spec), trusted: true },
      ]).resolve('host.test', 'A')
      assert.equal(outcome.kind, 'failed')
      assert.equal(untrusted.queries.length, 0)
    })

    it('after one validator said bogus, an insecure answer of another does not count, a secure one does', async () => {
      const strict = await serve(() => ({ rcode: 2, extendedError: { code: 6, text: '' } }))
      for (const authenticData of [true, false]) {
        const other = await serve(() => ({ authenticData, answers: [a('host.test')] }))
        const outcome = await resolverFor([strict, other]).resolve('host.test', 'A')
        if (authenticData) assert.equal(outcome.kind, 'answer')
        else assert.ok(outcome.kind === 'failed' && outcome.cause === 'bogus')
      }
    })

    it('the deadline ends it all, however many servers and aliases are left', async () => {
      const silent = await serve(() => undefined)
      // Without it, this would take six minutes.
      const resolver = resolverFor([silent, silent, silent], { timeoutMs: 60_000, deadlineMs: 250 })
      const outcome = await resolver.resolve('host.test', 'A')
      assert.ok(outcome.kind === 'failed' && outcome.cause === 'timeout', JSON.stringify(outcome))
    })
  })

  it('an abort ends a lookup at once, and so does closing', async () => {
    const silent = await serve(() => undefined)
    const resolver = resolverFor([silent], { timeoutMs: 5000 })
    const abort = new AbortController()
    const one = resolver.resolve('host.test', 'A', { signal: abort.signal })
    const other = resolver.resolve('host.test', 'A')
    abort.abort()
    const outcome = await one
    assert.ok(outcome.kind === 'failed' && outcome.cause === 'aborted')
    resolver.close()
    const closed = await other
    assert.ok(closed.kind === 'failed' && closed.cause === 'aborted')
    const late = await resolver.resolve('host.test', 'A')
    assert.ok(late.kind === 'failed' && late.cause === 'aborted')
  })

  it('DNS-31 DNS-35 names are asked for as A-labels, lower case, without suffixes', async () => {
    const server = await serve(() => ({ rcode: 3, authorities: [soa('test')] }))
    const resolver = resolverFor([server])
    for (const name of ['BÜCHER.test.', 'mx1', 'Mx1.Rcpt.TEST']) await resolver.resolve(name, 'MX')
    assert.deepEqual(
      server.queries.map(({ name }) => name),
      ['xn--bcher-kva.test', 'mx1', 'mx1.rcpt.test'],
    )
  })

  it('a name that cannot be asked for is bad-name, and nobody is asked', async () => {
    const server = await serve(() => undefined)
    for (const name of [
      '',
      'a..test',
      '.test',
      `${'a'.repeat(64)}.test`,
      `${'a.'.repeat(127)}a`,
      'a b.test',
      'a\\.test',
    ]) {
      const outcome = await resolverFor([server]).resolve(name, 'A')
      assert.ok(outcome.kind === 'failed' && outcome.cause === 'bad-name', name)
    }
    assert.equal(server.queries.length, 0)
  })
})

/** A reply with one record whose RDATA is given as octets. */
function withRawRecord(query: Query, code: number, rdata: Buffer, name: string): Buffer {
  const reply = encodeReply(query, { answers: [{ type: 'A', name, ttl: 60, data: '0.0.0.0' }] })
  const at = reply.lastIndexOf(Buffer.from([0, 4, 0, 0, 0, 0]))
  reply.writeUInt16BE(code, at - 8)
  return Buffer.concat([
    reply.subarray(0, at),
    Buffer.from([0, rdata.length]),
    rdata,
    reply.subarray(at + 6),
  ])
}

function lyingLength(query: Query): Buffer {
  return withRawRecord(query, 1, Buffer.from([192, 0, 2]), 'host.test')
}
