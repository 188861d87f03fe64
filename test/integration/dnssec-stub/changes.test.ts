/** A resolver that changes while it is asked: it goes blind, falls silent, comes back, takes no EDNS, or is replaced by another. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createResolver,
  type Health,
  type ManagedResolver,
  type ResolverOptions,
  type SystemServers,
} from '../../../plugins/dnssec-stub'
import { parseServer } from '../../../plugins/dnssec-stub/servers'
import { adResolver } from '../../../plugins/dnssec-stub/ad'
import { watchResolvConf } from '../../../plugins/dnssec-stub/resolv-conf'
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

/** How long an answer that does not come is waited for, milliseconds; one that does must come in this, on any machine. */
const SILENCE_MS = 400
const ROOT = ''
const isTest = ({ name }: Query) => name === ROOT || name === '.'
const takesEdns = ({ message }: Query) =>
  (message.additionals ?? []).some(({ type }) => (type as string) === 'OPT')
/** A denial, signed or not. */
const denial = (authenticData: boolean): Reply => ({ authenticData, authorities: [soa('.')] })
const tests = ({ queries }: ScriptedServer) => queries.filter(isTest).length

describe('a resolver that changes', () => {
  const opened: { close(): unknown }[] = []
  const serve = async (script: Script): Promise<ScriptedServer> => {
    const server = await dnsServer(script)
    opened.push(server)
    return server
  }
  /** No timer runs: what is noticed is noticed by lookups. */
  const create = (
    servers: readonly string[],
    options: Partial<ResolverOptions> = {},
  ): ManagedResolver => {
    const managed = createResolver({
      backend: 'ad',
      servers,
      trustAd: 'loopback',
      timeoutMs: 2000,
      getdnsModule: '/nowhere/getdns',
      timers: { set: () => 0, clear: () => undefined },
      ...options,
    })
    opened.push(managed)
    return managed
  }
  const secured = async ({ resolver }: ManagedResolver, name: string) => {
    const outcome = await resolver.resolve(name, 'A')
    return outcome.kind === 'failed' ? outcome.cause : outcome.security
  }
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close()
  })

  describe('XC-12 goes blind', () => {
    const world = async () => {
      const state = { validates: true, answersTests: true, unsigned: new Set(['unsigned.test']) }
      const server = await serve((query) => {
        if (isTest(query) && !state.answersTests) return undefined
        return denial(state.validates && !state.unsigned.has(query.name))
      })
      const told: string[] = []
      const managed = create([server.spec], { onHealth: (health) => told.push(health.state) })
      await managed.check()
      return { state, server, managed, told }
    }

    it('an insecure answer is confirmed by a test that begins after it, one for all', async () => {
      const { server, managed } = await world()
      assert.equal(tests(server), 1)
      assert.equal(await secured(managed, 'unsigned.test'), 'insecure')
      const era = managed.era()
      const all = await Promise.all(Array.from({ length: 50 }, () => managed.confirm()))
      assert.ok(all.every((failure) => failure === undefined))
      assert.ok(tests(server) <= 3, `${tests(server)} tests`)
      const before = tests(server)
      assert.equal(await managed.confirm(), undefined)
      assert.equal(tests(server), before, 'nothing was said since')
      assert.equal(managed.era(), era)
      assert.equal(managed.health().state, 'validating')
    })

    it('secure answers are confirmed by themselves', async () => {
      const { server, managed } = await world()
      assert.equal(await secured(managed, 'signed.test'), 'secure')
      assert.equal(await managed.confirm(), undefined)
      assert.equal(tests(server), 1)
    })

    it('between two tests: told before anything rests on its answers, which are forgotten when it comes back', async () => {
      const { state, managed, told } = await world()
      assert.equal(await secured(managed, 'early.test'), 'secure')
      const era = managed.era()
      state.validates = false
      assert.equal(await secured(managed, 'signed.test'), 'insecure')
      assert.equal(await managed.confirm(), undefined)
      assert.notEqual(managed.era(), era)
      assert.equal(managed.health().state, 'blind')
      assert.deepEqual(told, ['validating', 'blind'])
      assert.equal(
        await secured(managed, 'early.test'),
        'secure',
        'a proof is a proof until its TTL',
      )
      assert.equal(await secured(managed, 'signed.test'), 'insecure')
      state.validates = true
      await managed.check()
      assert.equal(managed.health().state, 'validating')
      assert.equal(await secured(managed, 'signed.test'), 'secure')
    })

    it('a lookup that was under way when it came back is asked anew', async () => {
      let validates = false
      let answer: (() => void) | undefined
      const server = await serve(async (query) => {
        const said = denial(validates)
        if (query.name === 'slow.test' && answer === undefined) {
          await new Promise<void>((resolve) => (answer = resolve))
        }
        return said
      })
      const managed = create([server.spec], { timeoutMs: 5000 })
      assert.equal((await managed.check()).state, 'blind')
      const slow = secured(managed, 'slow.test')
      while (answer === undefined) await new Promise(setImmediate)
      validates = true
      await managed.check()
      answer()
      assert.equal(await slow, 'secure')
    })

    it('falls silent behind an insecure answer: that is not believed', async () => {
      const { state, managed } = await world()
      assert.equal(await secured(managed, 'unsigned.test'), 'insecure')
      state.answersTests = false
      state.validates = false
      // Not a word any more, for other names either.
      state.unsigned.clear()
      opened.splice(0, 1)[0]?.close()
      const failure = await managed.confirm()
      assert.equal(failure?.cause, 'timeout')
      assert.match(failure?.detail ?? '', /was then tested/)
    })
  })

  describe('falls silent', () => {
    it('XC-12 five lookups in a row that fail start a test at once, and one that does not ends it', async () => {
      let isUp = true
      const server = await serve(() => (isUp ? denial(true) : { rcode: 2 }))
      let time = 0
      let changed: (health: Health) => void = () => undefined
      const managed = create([server.spec], {
        now: () => time,
        onHealth: (health, before) => {
          if (before !== undefined) changed(health)
        },
      })
      await managed.check()
      const next = () => new Promise<Health>((resolve) => (changed = resolve))
      isUp = false
      const down = next()
      for (let n = 0; n < 5; n++) await managed.resolver.resolve(`n${n}.test`, 'A')
      assert.equal((await down).state, 'unreachable')
      isUp = true
      time += 10_000
      const up = next()
      await managed.resolver.resolve('again.test', 'A')
      assert.equal((await up).state, 'validating')
    })

    it('a server that nobody trusts is found silent as well', async () => {
      const port = await closedPort()
      const managed = create([`127.0.0.1:${port}`], { trustAd: 'never' })
      assert.equal((await managed.check()).state, 'unreachable')
    })
  })

  describe('does not look the signed name up', () => {
    const others: [string, Script, timeoutMs?: number][] = [
      ['refuses', () => ({ rcode: 5 })],
      ['implements it not', () => ({ rcode: 4 })],
      ['fails', () => ({ rcode: 2 })],
      ['keeps silent', () => undefined, SILENCE_MS],
    ]
    for (const [what, script, timeoutMs = 2000] of others) {
      it(`${what}, and answers for others: it is not called dead`, async () => {
        const server = await serve((query) => (isTest(query) ? script(query) : denial(false)))
        const managed = create([server.spec], { timeoutMs })
        await managed.check()
        assert.equal(await secured(managed, 'some.test'), 'insecure')
        const health = await managed.check()
        assert.equal(health.state, 'blind')
        assert.equal('cause' in health && health.cause, 'untestable')
        assert.equal(await managed.confirm(), undefined)
      })
      it(`${what}, for others as well: it is unreachable`, async () => {
        const server = await serve(script)
        const managed = create([server.spec], { timeoutMs })
        await managed.resolver.resolve('some.test', 'A')
        assert.equal((await managed.check()).state, 'unreachable')
      })
    }

    it('refuses it from the start, before anything else was asked', async () => {
      const server = await serve((query) => (isTest(query) ? { rcode: 5 } : denial(false)))
      assert.equal((await create([server.spec]).check()).state, 'blind')
    })
  })

  describe('takes no EDNS (RFC 6891 §7)', () => {
    const plainly = (query: Query) => encodeReply(query, denial(false)).subarray(0, -11)
    /** Without the OPT record that the script's encoder puts behind all replies. */
    const bare = (query: Query): Buffer => {
      const octets = Buffer.from(plainly(query))
      octets.writeUInt16BE(0, 10)
      return octets
    }
    const kinds: [string, Script, timeoutMs?: number][] = [
      ['FORMERR', () => ({ rcode: 1 })],
      ['FORMERR, a bare header', () => ({ rcode: 1, questions: [] })],
      ['NOTIMP', () => ({ rcode: 4 })],
      ['SERVFAIL', () => ({ rcode: 2 })],
      ['silence', () => undefined, SILENCE_MS],
    ]
    for (const trustAd of ['loopback', 'never'] as const) {
      const path = trustAd === 'never' ? 'an untrusted path' : 'a trusted path'
      for (const [what, script, timeoutMs = 2000] of kinds) {
        it(`${what}, over ${path}: answers come, none is secure, and that is said`, async () => {
          const server = await serve((query) => (takesEdns(query) ? script(query) : bare(query)))
          const managed = create([server.spec], { backend: 'auto', trustAd, timeoutMs })
          assert.equal(await secured(managed, 'some.test'), 'insecure')
          const health = await managed.check()
          assert.equal(health.state, 'blind')
          const cause = trustAd === 'never' ? 'untrusted' : 'no-edns'
          assert.equal('cause' in health && health.cause, cause)
          const asked = server.queries.length
          assert.equal(await secured(managed, 'other.test'), 'insecure')
          assert.equal(server.queries.length, asked + 1, 'that is remembered')
        })
      }
      it(`octets left over behind each reply, over ${path}: answers come, none is secure`, async () => {
        const server = await serve((query) =>
          Buffer.concat([encodeReply(query, denial(true)), Buffer.alloc(3)]),
        )
        const managed = create([server.spec], { backend: 'auto', trustAd })
        assert.equal(await secured(managed, 'some.test'), 'insecure')
        assert.equal((await managed.check()).state, 'blind')
      })
    }

    it('DNS-04 one FORMERR of a trusted server is a failure, and no reason to ask without', async () => {
      const server = await serve((query) => {
        if (isTest(query)) return denial(true)
        return takesEdns(query) ? { rcode: 1 } : denial(false)
      })
      const managed = create([server.spec])
      assert.equal(await secured(managed, 'pinned.test'), 'rcode')
      await managed.check()
      assert.equal(await secured(managed, 'other.test'), 'rcode')
    })

    it('a validator that loses what has EDNS, for a while, stays one', async () => {
      let loses = true
      const server = await serve((query) => (takesEdns(query) && loses ? undefined : denial(true)))
      const managed = create([server.spec], { timeoutMs: SILENCE_MS })
      assert.equal((await managed.check()).state, 'validating')
      assert.equal(await secured(managed, 'signed.test'), 'secure')
      loses = false
      await managed.check()
      await managed.resolver.resolve('later.test', 'A')
      const last = server.queries.at(-1)
      assert.ok(last && takesEdns(last), 'EDNS is taken up again')
    })
  })

  describe('is replaced in resolv.conf', () => {
    let folder: string
    beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'resolv-conf-'))))
    afterEach(() => rmSync(folder, { recursive: true }))

    it('the file is looked at again after a while, when it changes, and more closely in need', () => {
      const file = join(folder, 'resolv.conf')
      let time = 0
      const watch = watchResolvConf(() => time, file)
      assert.deepEqual(watch.current().servers, ['127.0.0.1'], 'absent: this machine')
      writeFileSync(file, '# later\n')
      time = 5000
      assert.equal(watch.look(), false)
      writeFileSync(file, 'nameserver 192.0.2.1\n')
      assert.equal(watch.look(), false, 'not each time')
      assert.equal(watch.look(true), true)
      assert.deepEqual(watch.current().servers, ['192.0.2.1:53'])
      time = 10_000
      assert.equal(watch.look(), false)
      writeFileSync(file, 'nameserver 192.0.2.1\noptions rotate # x\n')
      time = 15_000
      assert.equal(watch.look(), true)
      assert.equal(watch.current().rotate, true)
      writeFileSync(file, '')
      time = 20_000
      assert.equal(watch.look(), false, 'half written')
      assert.deepEqual(watch.current().servers, ['192.0.2.1:53'])
    })

    it('what was under way goes to the new servers, and what the old ones said is forgotten', async () => {
      const old = await serve((query) => (query.name === 'slow.test' ? undefined : denial(true)))
      const fresh = await serve(() => denial(false))
      let now: SystemServers = { servers: [old.spec] }
      let hasChanged = false
      const managed = create([], {
        timeoutMs: 5000,
        systemServers: () => now,
        systemChanged: () => hasChanged && !(hasChanged = false),
      })
      await managed.check()
      assert.equal(await secured(managed, 'known.test'), 'secure')
      const slow = secured(managed, 'slow.test')
      while (!old.queries.some(({ name }) => name === 'slow.test')) await new Promise(setImmediate)
      now = { servers: [fresh.spec] }
      hasChanged = true
      assert.equal(await secured(managed, 'known2.test'), 'insecure')
      assert.equal(await slow, 'insecure')
      assert.equal(await secured(managed, 'known.test'), 'insecure')
      assert.equal((await managed.check()).state, 'blind')
    })
  })

  describe('options of resolv.conf', () => {
    const ask = async (
      servers: readonly ScriptedServer[],
      options: Omit<SystemServers, 'servers'>,
      names = ['a.test'],
    ) => {
      const resolver = adResolver({
        servers: servers.map(({ spec }) => ({ ...parseServer(spec), trusted: true })),
        timeoutMs: 2000,
        deadlineMs: 10_000,
        concurrency: 10,
        randomId: () => 1,
        ...options,
      })
      opened.push(resolver)
      for (const name of names) await resolver.resolve(name, 'A')
    }

    it('attempts', async () => {
      const silent = await serve(() => undefined)
      await ask([silent], { attempts: 4, timeoutMs: 50 })
      assert.equal(silent.queries.length, 4)
    })
    it('rotate', async () => {
      const [one, other] = [await serve(() => denial(true)), await serve(() => denial(true))]
      await ask([one, other], { rotate: true }, ['a.test', 'b.test', 'c.test', 'd.test'])
      assert.deepEqual([one.queries.length, other.queries.length], [2, 2])
    })
    it('use-vc', async () => {
      const server = await serve(() => denial(true))
      await ask([server], { tcpOnly: true })
      assert.deepEqual(
        server.queries.map(({ transport }) => transport),
        ['tcp'],
      )
    })
  })
})
