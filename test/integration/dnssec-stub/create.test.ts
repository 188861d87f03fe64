import assert from 'node:assert/strict'
import {
  createResolver,
  type Health,
  type ManagedResolver,
  type ResolverOptions,
} from '../../../plugins/dnssec-stub'
import { dnsServer, soa, type Reply, type ScriptedServer } from '../../support/dns-server'

describe('createResolver', () => {
  const opened: { close(): unknown }[] = []
  const validating: Reply = { authenticData: true, authorities: [soa('.')] }
  const blind: Reply = { authorities: [soa('.')] }

  const serve = async (reply: Reply | undefined): Promise<ScriptedServer> => {
    const server = await dnsServer(() => reply)
    opened.push(server)
    return server
  }
  const create = (servers: string[], options: Partial<ResolverOptions> = {}): ManagedResolver => {
    const managed = createResolver({
      backend: 'ad',
      servers,
      trustAd: 'loopback',
      timeoutMs: 100,
      getdnsModule: '/nowhere/getdns',
      ...options,
    })
    opened.push(managed)
    return managed
  }
  afterEach(async () => {
    for (const one of opened.splice(0)) await one.close()
  })

  it('says which servers it asks, whose word it believes, and what it found', async () => {
    const server = await serve(validating)
    const managed = create([server.spec])
    assert.deepEqual(managed.health(), { state: 'unreachable', detail: 'not tested yet' })
    assert.equal((await managed.check()).state, 'validating')
    assert.deepEqual(managed.health(), {
      state: 'validating',
      detail: `${server.spec}: the signed name "." comes back secure`,
    })
    assert.equal(
      managed.describe(),
      `backend ad; servers ${server.spec} trusted (trust_ad=loopback)`,
    )
  })

  it('says when its lookups are a crowd, those that no mail waits for left aside', async () => {
    const server = await serve(undefined)
    const managed = create([server.spec], { timeoutMs: 2000 })
    const ask = (from: number, background: boolean) =>
      Array.from({ length: 15 }, (_, n) =>
        managed.resolver.resolve(`n${from + n}.test`, 'MX', { background }),
      )
    const all = [...ask(0, false), ...ask(15, true)]
    assert.equal(managed.isCrowded(), false)
    all.push(managed.resolver.resolve('one-more.test', 'MX'))
    assert.equal(managed.isCrowded(), true)
    managed.close()
    await Promise.all(all)
    assert.equal(managed.isCrowded(), false)
  })

  it('answers come from the cache while they hold', async () => {
    const server = await serve(validating)
    const { resolver } = create([server.spec])
    const first = await resolver.resolve('a.test', 'A')
    assert.ok(first.kind === 'nodata' && first.security === 'secure')
    assert.deepEqual(resolver.cachedOutcome('A.test', 'A'), first)
    await resolver.resolve('a.test', 'A')
    assert.equal(server.queries.filter(({ name }) => name === 'a.test').length, 1)
  })

  it('DNS-01 without a trusted server nothing is secure, and that is said', async () => {
    const server = await serve(validating)
    for (const backend of ['ad', 'auto'] as const) {
      const managed = create([server.spec], { backend, trustAd: 'never' })
      const { state, detail } = await managed.check()
      assert.equal(state, 'blind')
      assert.match(detail, /^no server on a trusted path: .* not trusted \(trust_ad=never\)/)
      const outcome = await managed.resolver.resolve('a.test', 'A')
      assert.ok(outcome.kind === 'nodata' && outcome.security === 'insecure')
    }
  })

  it('DNS-01 servers of the system are not listed ones', async () => {
    const server = await serve(validating)
    const systemServers = () => ({ servers: [server.spec] })
    const believes = async (servers: string[], trustAd: 'loopback' | 'listed'): Promise<string> =>
      (await create(servers, { trustAd, systemServers }).check()).state
    assert.equal(await believes([], 'loopback'), 'validating')
    assert.equal(await believes([], 'listed'), 'blind')
    assert.equal(await believes([server.spec], 'listed'), 'validating')
  })

  it('one blind server among several is told, one that is down is not held against the others', async () => {
    const good = await serve(validating)
    const bad = await serve(blind)
    const down = await serve(undefined)
    assert.equal((await create([good.spec, bad.spec]).check()).state, 'blind')
    const { state, detail } = await create([good.spec, down.spec]).check()
    assert.equal(state, 'validating')
    // By the end of its tries, or of the whole lookup, which a busy machine comes to first.
    assert.match(detail, /no (?:reply in time|outcome within)/)
    assert.equal((await create([down.spec]).check()).state, 'unreachable')
  })

  it('under auto a trusted validating server is enough; a blind one is told, with what is missing', async () => {
    const good = create([(await serve(validating)).spec], { backend: 'auto' })
    assert.equal((await good.check()).state, 'validating')
    assert.match(good.describe(), /^backend ad \(auto\); /)
    const bad = create([(await serve(blind)).spec], { backend: 'auto' })
    const { state, detail } = await bad.check()
    assert.equal(state, 'blind')
    assert.match(detail, /getdns is not installed/)
  })

  it('tells of changes, by its own timer', async () => {
    let reply = validating
    const server = await dnsServer(() => reply)
    opened.push(server)
    const due: (() => void)[] = []
    const told: string[] = []
    let hasChanged = (): void => undefined
    const changed = new Promise<void>((resolve) => (hasChanged = resolve))
    const managed = create([server.spec], {
      timers: { set: (run) => due.push(run), clear: () => undefined },
      onHealth: (health: Health, before) => {
        told.push(`${before?.state ?? 'start'} ${health.state}`)
        if (before !== undefined) hasChanged()
      },
    })
    await managed.check()
    reply = blind
    due[0]?.()
    await changed
    assert.deepEqual(told, ['start validating', 'validating blind'])
  })

  it('what a blind server said is forgotten when it validates', async () => {
    let reply = blind
    const server = await dnsServer(() => reply)
    opened.push(server)
    const managed = create([server.spec])
    assert.equal((await managed.check()).state, 'blind')
    const security = async () => {
      const outcome = await managed.resolver.resolve('a.test', 'A')
      return outcome.kind === 'nodata' && outcome.security
    }
    assert.equal(await security(), 'insecure')
    reply = validating
    assert.equal(await security(), 'insecure')
    assert.equal((await managed.check()).state, 'validating')
    assert.equal(await security(), 'secure')
  })

  it('refuses what it cannot use, in a sentence', () => {
    assert.throws(() => create(['dns.test']), /"dns\.test" is no DNS server: give an IP address/)
    assert.throws(
      () => create(['127.0.0.1'], { backend: 'getdns' }),
      /needs the npm package getdns .*not installed/,
    )
  })

  it('closed, it fails what is under way and what comes later', async () => {
    const managed = create([(await serve(undefined)).spec], { timeoutMs: 5000 })
    const pending = managed.resolver.resolve('a.test', 'A')
    managed.close()
    for (const outcome of [await pending, await managed.resolver.resolve('b.test', 'A')]) {
      assert.ok(outcome.kind === 'failed' && outcome.cause === 'aborted')
    }
  })
})
