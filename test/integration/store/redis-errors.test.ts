/** What Redis may answer instead of doing as asked: each costs the call, is told once, and hides nothing that can be read. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createClient, ErrorReply } from 'redis'
import { memoryStore } from '../../../plugins/store/memory'
import { redisStore } from '../../../plugins/store/redis/store'
import { partOf } from '../../../plugins/store/tally'
import { isAnswer, troubleKind, troubleOf } from '../../../plugins/store/redis/errors'
import type { Store } from '../../../plugins/store/types'
import type { TroubleKind } from '../../../plugins/store/troubles'
import { startRedis, type TestRedis } from '../../support/redis'
import { makeClock, makeLog, record, type TestLog, value } from '../../support/store-contract'

const HOUR = 3_600_000
/** Milliseconds: Redis is looked at more often than an operator would want. */
const PROBE = 50

describe('XC-11 Redis that answers with errors', () => {
  let redis: TestRedis
  let admin: ReturnType<typeof createClient>
  const open: Store[] = []
  before(async () => {
    redis = await startRedis()
    admin = createClient({ url: `redis://127.0.0.1:${redis.port}` })
    admin.on('error', () => undefined)
    await admin.connect()
  })
  after(async () => {
    admin.destroy()
    await redis.close()
  })
  afterEach(async () => {
    for (const store of open.splice(0)) await store.close()
    await admin.flushAll()
  })

  interface Machine {
    readonly store: Store
    readonly log: TestLog
    readonly counted: TroubleKind[]
  }
  function machine(settings: Readonly<Record<string, string>> = {}): Machine {
    const clock = makeClock()
    const log = makeLog()
    const counted: TroubleKind[] = []
    const store = redisStore(
      { prefix: 'tlspolicy', redis: { host: '127.0.0.1', port: redis.port, ...settings } },
      memoryStore(clock),
      { log, now: () => clock.now(), count: (kind) => void counted.push(kind), probeMs: PROBE },
    )
    open.push(store)
    return { store, log, counted }
  }
  async function until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const words = (...list: string[]) => admin.sendCommand(list)
  const kinds = (store: Store) => store.troubles().map(({ kind }) => kind)

  interface Refusal {
    readonly kind: TroubleKind
    readonly begin: () => Promise<unknown>
    readonly end: () => Promise<unknown>
    /** Whether what Redis holds can still be read. */
    readonly reads: boolean
    readonly settings?: Readonly<Record<string, string>>
    /** Named in the log. */
    readonly says: RegExp
  }
  const user = { username: 'haraka', password: 'secret' }
  const ALL = ['ACL', 'SETUSER', 'haraka', 'on', '>secret', '~tlspolicy:*', '&tlspolicy:*', '+@all']
  const refusals: Readonly<Record<string, Refusal>> = {
    'OOM: at maxmemory, noeviction': {
      kind: 'redis-full',
      begin: () => words('CONFIG', 'SET', 'maxmemory', '1'),
      end: () => words('CONFIG', 'SET', 'maxmemory', '0'),
      reads: true,
      says: /full.*OOM.*maxmemory/,
    },
    'READONLY: a replica': {
      kind: 'redis-read-only',
      begin: async () => {
        await words('CONFIG', 'SET', 'replica-serve-stale-data', 'yes')
        await words('REPLICAOF', '127.0.0.1', '1')
      },
      end: () => words('REPLICAOF', 'NO', 'ONE'),
      reads: true,
      says: /replica.*READONLY.*master/i,
    },
    'MASTERDOWN: a replica that has lost its master': {
      kind: 'redis-no-master',
      begin: async () => {
        await words('CONFIG', 'SET', 'replica-serve-stale-data', 'no')
        await words('REPLICAOF', '127.0.0.1', '1')
      },
      end: () => words('REPLICAOF', 'NO', 'ONE'),
      reads: false,
      says: /no master.*MASTERDOWN/,
    },
    'NOREPLICAS: too few of them': {
      kind: 'redis-replicas',
      begin: () => words('CONFIG', 'SET', 'min-replicas-to-write', '1'),
      end: () => words('CONFIG', 'SET', 'min-replicas-to-write', '0'),
      reads: true,
      says: /NOREPLICAS.*min-replicas-to-write/,
    },
    'NOPERM: no rights to write': {
      kind: 'redis-rights',
      begin: () => words('ACL', 'SETUSER', 'haraka', '-@write', '-eval'),
      end: () => words(...ALL),
      reads: true,
      settings: user,
      says: /NOPERM.*docs\/cluster\.md/,
    },
    'NOPERM: no rights to read': {
      kind: 'redis-rights',
      begin: () => words('ACL', 'SETUSER', 'haraka', '-@read'),
      end: () => words(...ALL),
      reads: false,
      settings: user,
      says: /NOPERM.*docs\/cluster\.md/,
    },
  }
  for (const [title, refusal] of Object.entries(refusals)) {
    it(`${title}: told once, and ${refusal.reads ? 'what it holds is read' : 'not known is not none'}`, async () => {
      await words(...ALL)
      const writer = machine(refusal.settings)
      await value(writer.store.setPolicy(record()))
      const { store, log, counted } = machine(refusal.settings)
      await value(store.getNote('rcpt.test', 'failed'))
      await refusal.begin()
      try {
        for (let n = 0; n < 50; n++) {
          const domain = `new${n}.test`
          await value(store.setPolicy(record({ domain })))
          assert.ok((await store.getPolicy(domain)).ok, 'what this machine has set holds')
          if (refusal.reads) {
            assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
            assert.equal(await value(store.getPolicy('never.test')), undefined)
          } else {
            const found = await store.getPolicy('rcpt.test')
            assert.equal(found.ok, false, 'not known')
            assert.ok(!found.ok && !/127\.0\.0\.1|NOPERM|MASTERDOWN/.test(found.detail))
          }
        }
        assert.ok(kinds(store).includes(refusal.kind), String(kinds(store)))
        assert.ok(counted.includes(refusal.kind))
        const lines = log.lines.filter((line) => refusal.says.test(line))
        assert.equal(lines.length, 1, log.lines.join('\n'))
        assert.doesNotMatch(log.lines.join('\n'), /not reachable|is back|Start Redis/)
      } finally {
        await refusal.end()
      }
      await until(() => store.troubles().length === 0)
      await until(() => log.lines.some((line) => /^notice it is over: /.test(line)))
      await value(store.setPolicy(record({ domain: 'after.test' })))
      assert.ok(await admin.exists('tlspolicy:{after.test}:policy'))
    })
  }

  it('READONLY looks for the master again, without a gap in which nothing is read', async () => {
    const { store } = machine()
    await value(store.getNote('rcpt.test', 'failed'))
    const list = () => admin.sendCommand<string>(['CLIENT', 'LIST'])
    const before = await list()
    await words('CONFIG', 'SET', 'replica-serve-stale-data', 'yes')
    await words('REPLICAOF', '127.0.0.1', '1')
    try {
      await value(store.setPolicy(record()))
      for (let n = 0; n < 100; n++) {
        assert.equal(await value(store.getPolicy(`never${n}.test`)), undefined)
      }
    } finally {
      await words('REPLICAOF', 'NO', 'ONE')
    }
    const ids = (clients: string) => [...clients.matchAll(/^id=(\d+)/gm)].map(([, id]) => id)
    const fresh = ids(await list()).filter((id) => !ids(before).includes(id))
    assert.equal(fresh.length, 1, 'one new connection, however often it was refused')
  })

  it('a wrong password is called that, not an absent Redis; and a right one that comes is taken', async () => {
    await words('ACL', 'SETUSER', 'other', 'on', '>right', '~*', '&*', '+@all')
    const { store, log } = machine({ username: 'other', password: 'wrong' })
    const found = await store.getPolicy('rcpt.test')
    assert.deepEqual(found, { ok: false, detail: 'Redis does not let its user in' })
    assert.deepEqual(kinds(store), ['redis-login'])
    assert.equal(log.lines.length, 1, log.lines.join('\n'))
    assert.match(log.lines[0] ?? '', /WRONGPASS.*Correct username and password/)
    await words('ACL', 'SETUSER', 'other', '>wrong')
    await until(() => store.troubles().length === 0)
  })

  it('each right that is missing is named with what is lost', async () => {
    const rights: Readonly<Record<string, RegExp>> = {
      '-getrange': /reading policies/,
      '-set': /sharing policies.*failures and use/,
      '-eval': /sharing policies.*dividing refreshes.*once for all machines/,
      '-publish': /sharing policies/,
      '-del': /purging policies/,
      '-zadd': /planning refreshes/,
      '-zrangebyscore': /dividing refreshes/,
      '-zscan': /listing policies/,
      '-pexpire': /planning refreshes/,
      resetchannels: /sharing policies/,
    }
    for (const [right, lost] of Object.entries(rights)) {
      await words(...ALL)
      await words('ACL', 'SETUSER', 'haraka', right)
      const { store } = machine(user)
      const found = await store.examine()
      const trouble = found.find(({ kind }) => kind === 'redis-rights')
      assert.match(trouble?.text ?? JSON.stringify(found), lost, right)
      await store.close()
    }
  })

  it('the rights of docs/cluster.md are enough', async () => {
    const page = readFileSync('docs/cluster.md', 'utf8')
    const [, list = ''] = /redis-cli ACL SETUSER ([\s\S]*?)\n```/.exec(page) ?? []
    const granted = list.replaceAll('\\\n', ' ').replaceAll("'", '').split(/\s+/)
    await words('ACL', 'DELUSER', 'haraka')
    await words('ACL', 'SETUSER', ...granted)
    await words('ACL', 'LOG', 'RESET')
    const { store } = machine(user)
    assert.deepEqual(await store.examine(), [])
    await until(() => kinds(store).length === 0)
    const [day, part] = [20_000, partOf('rcpt.test')]
    const adds = [
      { domain: 'rcpt.test', by: 1, ways: [{ counter: 'D n d', texts: [['T d', 'x']] }] as const },
    ]
    assert.ok((await store.addToTally({ day, part, worker: 'w', sequence: 1, adds })).ok)
    assert.ok((await store.readTally(day, part)).ok)
    assert.ok((await store.dropTally(day, 'rcpt.test', ['D n d', 'T d'])).ok)
    assert.ok((await store.clusterName()).ok)
    assert.deepEqual(await words('ACL', 'LOG'), [])
  })

  it('SUBSCRIBE denied is told, tried again, and works once it is granted', async () => {
    await words(...ALL)
    await words('ACL', 'SETUSER', 'haraka', '-subscribe')
    const { store, log } = machine(user)
    assert.deepEqual(
      (await store.examine()).map(({ kind }) => kind),
      ['redis-deaf'],
    )
    assert.match(log.lines.join('\n'), /changes by other machines are heard of only minutes later/)
    await words(...ALL)
    await until(() => !kinds(store).includes('redis-deaf'))
    const heard: unknown[] = []
    store.onChange((domain) => heard.push(domain))
    await admin.publish('tlspolicy:changed', 'good.test')
    await until(() => heard.includes('good.test'))
  })

  it('a Redis that is missing at the start is told without any call', async () => {
    const { store, log } = machine({ port: '1' })
    await until(() => log.lines.length > 0)
    assert.match(log.lines[0] ?? '', /^warn Redis is not reachable/)
    assert.deepEqual(kinds(store), ['redis-unreachable'])
  })

  it('connections say whose they are', async () => {
    const { store } = machine()
    await value(store.getNote('rcpt.test', 'failed'))
    let list = ''
    while ((list.match(/ name=haraka-tls-policy@[\w.-]+ /g) ?? []).length < 2) {
      list = await admin.sendCommand<string>(['CLIENT', 'LIST'])
    }
  })

  it('a purge that Redis refuses is no purge: the policy would come back from there', async () => {
    const { store } = machine()
    await value(store.setPolicy(record()))
    await words('CONFIG', 'SET', 'maxmemory', '1')
    try {
      assert.equal((await store.deletePolicy('rcpt.test')).ok, false)
    } finally {
      await words('CONFIG', 'SET', 'maxmemory', '0')
    }
  })

  it('a record of this machine that is over stands for nothing while Redis cannot be read', async () => {
    const clock = makeClock()
    const local = memoryStore(clock)
    const store = redisStore(
      { prefix: 'tlspolicy', redis: { host: '127.0.0.1', port: 1 } },
      local,
      {
        log: makeLog(),
        now: () => clock.now(),
      },
    )
    open.push(store)
    await value(local.setPolicy(record()))
    assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
    clock.advance(25 * HOUR)
    const found = await store.getPolicy('rcpt.test')
    assert.deepEqual(found, { ok: false, detail: 'Redis is not reachable' })
  })

  it('every error reply has its kind, and its own cure', () => {
    const table: readonly (readonly [string, TroubleKind])[] = [
      ["OOM command not allowed when used memory > 'maxmemory'.", 'redis-full'],
      ["READONLY You can't write against a read only replica.", 'redis-read-only'],
      ['MISCONF Redis is configured to save RDB snapshots, but …', 'redis-disk'],
      ['NOPERM this user has no permissions to run the command', 'redis-rights'],
      ["ERR The user executing the script can't run this command", 'redis-rights'],
      ['LOADING Redis is loading the dataset in memory', 'redis-loading'],
      ['CLUSTERDOWN The cluster is down', 'redis-no-master'],
      [
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        'redis-no-master',
      ],
      ['BUSY Redis is busy running a script.', 'redis-busy'],
      ['NOREPLICAS Not enough good replicas to write.', 'redis-replicas'],
      ['WRONGTYPE Operation against a key holding the wrong kind of value', 'redis-wrong-type'],
      ['NOAUTH Authentication required.', 'redis-login'],
      ['WRONGPASS invalid username-password pair or user is disabled.', 'redis-login'],
      ['NOSCRIPT No matching script.', 'redis-error'],
      ['constructor', 'redis-error'],
      ['', 'redis-error'],
    ]
    for (const [text, kind] of table) {
      const error = new ErrorReply(text)
      assert.ok(isAnswer(error))
      assert.equal(troubleKind(error), kind, text)
      const { text: told, cure } = troubleOf(kind as ReturnType<typeof troubleKind>, text)
      assert.ok(cure.length > 10 && told.length > 10)
      assert.doesNotMatch(cure, /Start Redis/)
    }
    assert.equal(troubleKind(new Error('connect ECONNREFUSED')), 'redis-unreachable')
  })
})
