/**
 * The rows of docs/faults.md on errors with which Redis answers: two real Harakas and one Redis. The first has learned the
 * policies; the second has not when an attacker takes TXT record and policy host away and strips STARTTLS.
 */
import assert from 'node:assert/strict'
import { mkdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fault, wordsOf } from '../support/faults-page'
import { type Haraka, Lab, policyText, type Redis } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { FaultsWorld } from '../support/lab/faults-world'
import { assertNothingLeaked, type Domain, makeDomain } from '../support/lab/world'

const POLICY_HOST = '198.51.100.80'
const DOWN = wordsOf('Redis is absent at start')
const OVER = ['it is over: ']
const USER = ['ACL', 'SETUSER', 'haraka', 'on', '>secret', '~*', '&*', '+@all'] as const

interface Scene {
  readonly begin: () => Promise<unknown>
  readonly end: () => Promise<unknown>
  /** The reason for which mail waits: what Redis still tells is applied, else nothing is known. */
  readonly reason: 'starttls-not-offered' | 'sts-store-unread'
  /** It begins with the end of the connections, or with a moment without answers. */
  readonly mayBeSilent?: true
}

describe('end to end: Redis that answers with errors', function () {
  this.timeout(240_000)
  let lab: Lab
  let world: FaultsWorld
  let redis: Redis
  let knowing: Haraka
  let other: Haraka
  let folder: string
  const attacked = new Map<string, Domain>()

  const scenes: Readonly<Record<string, Scene>> = {
    'Redis is full': {
      begin: () => redis.command('CONFIG', 'SET', 'maxmemory', '1'),
      end: () => redis.command('CONFIG', 'SET', 'maxmemory', '0'),
      reason: 'starttls-not-offered',
    },
    'Redis is a replica': {
      begin: () => redis.command('REPLICAOF', '127.0.0.1', '1'),
      end: () => redis.command('REPLICAOF', 'NO', 'ONE'),
      reason: 'starttls-not-offered',
    },
    'Redis cannot save to its disk': {
      begin: async () => {
        await redis.command('CONFIG', 'SET', 'save', '3600 1')
        // A folder in the place of its file.
        await mkdir(join(folder, 'dump.rdb'))
        await redis.command('BGSAVE')
        while (!(await redis.command('INFO')).includes('rdb_last_bgsave_status:err'));
      },
      end: async () => {
        await rmdir(join(folder, 'dump.rdb'))
        await redis.command('CONFIG', 'SET', 'save', '')
      },
      reason: 'starttls-not-offered',
    },
    'Redis has too few replicas': {
      begin: () => redis.command('CONFIG', 'SET', 'min-replicas-to-write', '1'),
      end: () => redis.command('CONFIG', 'SET', 'min-replicas-to-write', '0'),
      reason: 'starttls-not-offered',
    },
    'Redis denies us to write': {
      begin: () => redis.command('ACL', 'SETUSER', 'haraka', '-@write', '-eval'),
      end: () => redis.command(...USER),
      reason: 'starttls-not-offered',
    },
    'Redis denies us to read': {
      begin: () => redis.command('ACL', 'SETUSER', 'haraka', '-@read'),
      end: () => redis.command(...USER),
      reason: 'sts-store-unread',
    },
    'Redis has a new password': {
      begin: async () => {
        await redis.command('ACL', 'SETUSER', 'haraka', 'resetpass', '>new')
        await redis.command('CLIENT', 'KILL', 'USER', 'haraka')
      },
      end: () => redis.command('ACL', 'SETUSER', 'haraka', '>secret'),
      reason: 'sts-store-unread',
      mayBeSilent: true,
    },
    'Redis is loading its data': {
      begin: async () => {
        const fill = "for n = 1, 4000 do redis.call('set', 'filler' .. n, string.rep('x', 100)) end"
        await redis.command('EVAL', fill, '0')
        await redis.command('CONFIG', 'SET', 'loading-process-events-interval-bytes', '1024')
        await redis.command('CONFIG', 'SET', 'key-load-delay', '5000')
        void redis.command('DEBUG', 'RELOAD').catch(() => undefined)
        while (!(await redis.command('GET', 'filler1')).includes('LOADING'));
      },
      end: async () => {
        await redis.command('CONFIG', 'SET', 'key-load-delay', '0')
        while ((await redis.command('GET', 'filler1')).includes('LOADING'));
      },
      reason: 'sts-store-unread',
      mayBeSilent: true,
    },
  }
  const silent: Readonly<Record<string, Scene>> = {
    'Redis hangs': {
      begin: () => Promise.resolve(redis.pause()),
      end: () => Promise.resolve(redis.resume()),
      reason: 'sts-store-unread',
    },
    'Redis is gone': {
      begin: () => redis.stop(),
      end: () => Promise.resolve(),
      reason: 'sts-store-unread',
    },
  }
  const all = ['Redis is well', ...Object.keys(scenes), ...Object.keys(silent)]
  const nameOf = (title: string) => `attacked${all.indexOf(title)}.test`

  before(async function () {
    this.timeout(180_000)
    lab = await Lab.start()
    world = await FaultsWorld.start(lab)
    folder = join(lab.folder, 'redis')
    await mkdir(folder)
    redis = await lab.redis({ options: ['--dir', folder, '--enable-debug-command', 'yes'] })
    await redis.command(...USER)
    const ini =
      `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n` +
      '[store]\nbackend=redis\n[redis]\nusername=haraka\npassword=secret\n'
    const haraka = (port: number) =>
      lab.haraka({ plugins: ['tls-policy'], port, config: { 'tls-policy.ini': ini } })
    knowing = await haraka(2525)
    other = await haraka(2526)
    await world.domains(Array.from({ length: all.length + 4 }, (_, n) => `cold${n + 1}.test`))
    await world.domains(['known.test'])
    await world.learn(other, 'known.test')
    for (const title of all) {
      const name = nameOf(title)
      world.serve(name, policyText('enforce', [`mx1.${name}`]))
      const records = ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`]
      const domain = await makeDomain(lab, name, { security: 'unsigned', records, hosts: [{}] })
      const outcome = await knowing.deliver(domain.recipient)
      assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
      attacked.set(title, domain)
    }
    for (const { name, hosts } of attacked.values()) {
      await lab.changeRecord(name, '_mta-sts TXT "v=STSv1; id=1"', '_mta-sts NS ns-refuses.test.')
      world.serve(name, { fault: 'drop' })
      for (const host of hosts) host.fault = 'no-starttls'
    }
  })
  after(() => lab.stop())

  const linesWith = (words: readonly string[], from: number) =>
    other
      .log()
      .slice(from)
      .filter((line) => words.every((word) => line.includes(word)))

  /** Resolves when a line has these words: Redis is looked at every ten seconds. */
  async function saidSince(from: number, words: readonly string[]): Promise<void> {
    const literally = words.map((word) => word.replace(/[^\w ]/g, '\\$&')).join('.*')
    await other.waitForLine(words.join(' … '), new RegExp(literally), { from, timeout: 60_000 })
  }

  async function play(title: string, { begin, end, reason }: Scene): Promise<number> {
    const domain = attacked.get(title) ?? assert.fail(title)
    const from = other.log().length
    await begin()
    try {
      // A domain that this machine knows is protected, one that answers is delivered to, and between them the attack.
      const [outcome] = await Promise.all([
        other.deliver(domain.recipient, {}),
        world.goesOn(other, 'known.test', world.nextCold()),
      ])
      assert.equal(outcome.kind, 'deferred', JSON.stringify(outcome))
      assert.ok(outcome.kind === 'deferred')
      assert.match(outcome.reason, new RegExp(reason))
      assertNothingLeaked(...domain.hosts)
      if (title in scenes) await saidSince(from, wordsOf(title))
    } finally {
      await end()
    }
    return from
  }

  it('XC-11 without an error, what the first machine has learned holds back the mail of the second', async () => {
    await knowing.stop()
    await play('Redis is well', {
      begin: () => Promise.resolve(),
      end: () => Promise.resolve(),
      reason: 'starttls-not-offered',
    })
  })

  async function playError(title: string): Promise<void> {
    const scene = scenes[title] ?? assert.fail(title)
    const from = await play(title, scene)
    await saidSince(from, OVER)
    assert.equal(linesWith(wordsOf(title), from).length, 1)
    const outages = linesWith(DOWN, from).length
    assert.ok(outages <= (scene.mayBeSilent === true ? 1 : 0), `${outages} outages`)
  }
  it(`XC-11 ${fault('Redis is full')}`, () => playError('Redis is full'))
  it(`XC-11 ${fault('Redis is a replica')}`, () => playError('Redis is a replica'))
  it(`XC-11 ${fault('Redis cannot save to its disk')}`, () =>
    playError('Redis cannot save to its disk'))
  it(`XC-11 ${fault('Redis has too few replicas')}`, () => playError('Redis has too few replicas'))
  it(`XC-11 ${fault('Redis denies us to write')}`, () => playError('Redis denies us to write'))
  it(`XC-11 ${fault('Redis denies us to read')}`, () => playError('Redis denies us to read'))
  it(`XC-11 ${fault('Redis has a new password')}`, () => playError('Redis has a new password'))
  it(`XC-11 ${fault('Redis is loading its data')}`, () => playError('Redis is loading its data'))
  for (const [title, scene] of Object.entries(silent)) {
    it(`XC-11 ${title}: mail to a domain that only Redis knows waits`, async () => {
      const from = await play(title, scene)
      assert.equal(linesWith(DOWN, from).length, 1)
      if (title === 'Redis hangs') await saidSince(from, ['Redis is back'])
    })
  }
  it('the command says what the delivery does', async () => {
    const only = ['known.test', nameOf('Redis is gone')]
    await assertCheckSaysTheSame(other, { only, complains: /Redis is not reachable/ })
  })
})
