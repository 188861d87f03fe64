/** The rows of docs/faults.md on Redis and on the file, each with a real Haraka in the midst of its work. */
import assert from 'node:assert/strict'
import { mkdir, open, readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { octetsUsed } from '../../plugins/store/lmdb/meta'
import { fault, wordsOf } from '../support/faults-page'
import { type Haraka, type HarakaSettings, Lab, type Redis } from '../support/lab'
import { run } from '../support/lab/daemon'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { FaultsWorld } from '../support/lab/faults-world'
import { SlowLink } from '../support/lab/slow-link'

const REDIS = 6379
const LINK = 6380
const KNOWN = 'known.test'
const DOWN = wordsOf('Redis is absent at start')
const BACK = ['Redis is back']

describe('end to end: faults of the store', function () {
  this.timeout(240_000)
  let lab: Lab
  let world: FaultsWorld

  const colds = Array.from({ length: 40 }, (_, index) => `cold${index + 1}.test`)
  before(async () => {
    lab = await Lab.start()
    world = await FaultsWorld.start(lab)
    await world.domains([KNOWN, ...colds])
  })
  after(() => lab.stop())

  const ini = (store: string) =>
    `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n[dns]\ntimeout=30\ndeadline=60\n${store}`
  function settings(port: number, store: string): HarakaSettings {
    return { plugins: ['tls-policy'], port, config: { 'tls-policy.ini': ini(store) } }
  }
  /** How many lines have all these words. */
  const said = (haraka: Haraka, words: readonly string[], from = 0) =>
    haraka
      .log()
      .slice(from)
      .filter((line) => words.every((word) => line.includes(word))).length
  /** The command beside the delivery, both without anything in memory. @param complains what the command says of the fault */
  async function beside(haraka: Haraka, complains?: RegExp): Promise<void> {
    const only = [KNOWN, world.nextCold()]
    const options = complains === undefined ? { only } : { only, complains }
    assert.equal(await assertCheckSaysTheSame(haraka, options), 2)
  }
  const goesOn = (haraka: Haraka) => world.goesOn(haraka, KNOWN, world.nextCold())

  describe('Redis', () => {
    let redis: Redis
    let haraka: Haraka
    let link: SlowLink
    const through = (port: number) => `[store]\nbackend=redis\n[redis]\nport=${port}\n`

    before(async () => {
      redis = await lab.redis()
      link = await SlowLink.start(LINK, REDIS)
      haraka = await lab.haraka(settings(2525, through(REDIS)))
      await world.learn(haraka, KNOWN)
    })
    after(() => link.stop())

    /** Until Haraka has noticed that Redis serves again: each message to a name never asked for makes it ask. */
    async function isBack(from: number): Promise<void> {
      for (let number = 0; said(haraka, BACK, from) === 0; number += 1) {
        await haraka.deliver(`u@x${from}-${number}.mx.test`)
      }
    }
    /** Mail is under way while it happens. @returns the length of the log before */
    async function amid(happens: () => unknown): Promise<number> {
      const from = haraka.log().length
      const mail = goesOn(haraka)
      await happens()
      await mail
      await goesOn(haraka)
      return from
    }

    it(fault('Redis stops'), async () => {
      const from = await amid(() => redis.stop())
      assert.equal(said(haraka, DOWN, from), 1)
    })
    it(fault('Redis is restarted, empty'), async () => {
      const from = await amid(() => redis.start())
      await isBack(from)
      assert.equal(said(haraka, BACK, from), 1)
      assert.equal(said(haraka, DOWN, from), 0)
    })
    it(fault('Redis is flushed'), async () => {
      const from = await amid(() => run('redis-cli', ['-p', `${REDIS}`, 'flushall']))
      assert.equal(said(haraka, DOWN, from), 0)
    })
    it(fault('Redis hangs'), async () => {
      const from = await amid(() => {
        redis.pause()
      })
      assert.equal(said(haraka, DOWN, from), 1)
      redis.resume()
      await isBack(from)
      assert.equal(said(haraka, DOWN, from), 1)
    })
    it(fault('Redis is slow'), async () => {
      await haraka.configure('tls-policy.ini', ini(through(LINK)))
      await haraka.restart()
      link.delay = 20
      await goesOn(haraka)
      await amid(() => (link.delay = 2_000))
      // Once for each outage; on a busy machine twenty milliseconds may have been one.
      assert.equal(said(haraka, DOWN) - said(haraka, BACK), 1)
    })
    it(fault('Redis is absent at start'), async () => {
      await redis.stop()
      await haraka.configure('tls-policy.ini', ini(through(REDIS)))
      await haraka.restart()
      await goesOn(haraka)
      await goesOn(haraka)
      assert.equal(said(haraka, DOWN), 1)
      await world.nothingLost(haraka)
    })
    it('the command says what the delivery does in each of these states, and names the fault', async () => {
      await beside(haraka, /redis/i)
      await redis.start()
      await beside(haraka)
      redis.pause()
      await beside(haraka, /redis/i)
      redis.resume()
      await haraka.configure('tls-policy.ini', ini(through(LINK)))
      await beside(haraka, /redis/i)
      await haraka.configure('tls-policy.ini', ini(through(REDIS)))
      await run('redis-cli', ['-p', `${REDIS}`, 'flushall'])
      await beside(haraka)
      await haraka.stop()
    })
  })

  describe('the file', () => {
    /** A folder of its own for the file, of a file system of its own: what is done to it is done to nothing else. */
    async function disk(name: string, options: string): Promise<string> {
      const folder = join(lab.folder, name)
      await mkdir(folder)
      await run('mount', ['-t', 'tmpfs', '-o', options, 'disk', folder])
      return folder
    }
    async function octetsUsedIn(file: string): Promise<number> {
      const handle = await open(file)
      try {
        return octetsUsed(handle.fd) ?? assert.fail('no LMDB file')
      } finally {
        await handle.close()
      }
    }
    async function fillUp(folder: string): Promise<void> {
      const filler = writeFile(join(folder, 'filler'), Buffer.alloc(16_777_216))
      await assert.rejects(filler, /ENOSPC/)
    }
    async function withFile(
      folder: string,
      act: (haraka: Haraka, file: string) => Promise<void>,
      complains?: RegExp,
    ): Promise<void> {
      const haraka = await lab.haraka(settings(2526, `[store]\npath=${folder}\n`))
      try {
        await world.learn(haraka, KNOWN)
        await act(haraka, join(folder, 'policies.mdb'))
        await world.nothingLost(haraka)
        await beside(haraka, complains)
      } finally {
        await haraka.stop()
        await run('umount', ['-l', folder])
      }
    }

    it(fault('The file is cut while in use'), async () => {
      await withFile(await disk('cut', 'size=8m'), async (haraka, file) => {
        const mail = goesOn(haraka)
        await truncate(file, 0)
        await mail
        await goesOn(haraka)
        assert.equal(said(haraka, wordsOf('The file is cut while in use')), 1)
      })
    })
    it(fault('The file was cut short'), async () => {
      const folder = await disk('broken', 'size=8m')
      await withFile(folder, async (haraka, file) => {
        await haraka.stop()
        await truncate(file, 6_000)
        await haraka.restart()
        await world.learn(haraka, KNOWN)
        await goesOn(haraka)
        assert.equal(said(haraka, wordsOf('The file was cut short')), 1)
        const aside = (await readdir(folder)).filter((name) => name.includes('.broken-'))
        assert.equal(aside.length, 1)
      })
    })
    it(fault('The file cannot be written'), async () => {
      const folder = await disk('fixed', 'size=8m')
      await withFile(
        folder,
        async (haraka) => {
          await haraka.stop()
          await run('mount', ['-o', 'remount,ro', folder])
          await haraka.restart()
          await goesOn(haraka)
          await goesOn(haraka)
          assert.equal(said(haraka, wordsOf('The file cannot be written')), 1)
          assert.equal(said(haraka, ['the store takes no writes']), 0)
        },
        /the store can only be read/,
      )
    })
    it(fault('The disk is full'), async () => {
      const folder = await disk('full', 'size=8m')
      // Where a policy is known, nothing must be written.
      const complains = /^$|the store takes no writes/
      await withFile(
        folder,
        async (haraka) => {
          await fillUp(folder)
          await goesOn(haraka)
          await goesOn(haraka)
          assert.equal(said(haraka, wordsOf('The disk is full')), 1)
        },
        complains,
      )
    })
    it('a full disk at start, with a file that was copied without its room: what it holds counts', async () => {
      const folder = await disk('compact', 'size=8m')
      await withFile(
        folder,
        async (haraka, file) => {
          await haraka.stop()
          await truncate(file, await octetsUsedIn(file))
          await fillUp(folder)
          await haraka.restart()
          await goesOn(haraka)
          assert.equal(said(haraka, ['the store can only be read']), 1)
        },
        /the store can only be read/,
      )
    })
    it(fault('The disk is full at start, without a file'), async () => {
      const words = wordsOf('The disk is full at start, without a file')
      const folder = await disk('never', 'size=8m')
      await fillUp(folder)
      await withFile(
        folder,
        async (haraka) => {
          await goesOn(haraka)
          await goesOn(haraka)
          assert.equal(said(haraka, words), 1)
        },
        /policies are kept in memory only/,
      )
    })
  })
})
