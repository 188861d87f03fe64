import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs' // prettier-ignore
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createStore } from '../../../plugins/store'
import { lmdbStore } from '../../../plugins/store/lmdb/store'
import { openLmdb } from '../../../plugins/store/lmdb/file'
import { octetsUsed } from '../../../plugins/store/lmdb/meta'
import { makeRoom } from '../../../plugins/store/lmdb/disk-space'
import { WAITING_LIFE, waitingPart } from '../../../plugins/store/waiting'
import {
  domains,
  makeClock,
  makeLog,
  NOW,
  record,
  storeContract,
  value,
} from '../../support/store-contract'
import { compiled } from '../../support/compiled'

const HOUR = 3_600_000
const STORE = compiled('plugins/store/lmdb/store.ts')

/** A second process on the same file: it runs each line of JavaScript it is sent and answers with the result. */
interface Peer {
  run(code: string): Promise<unknown>
  readonly child: ChildProcess
}

/** @param limit KiB that its files may have: what a full disk does */
function startPeer(path: string, limit?: number): Peer {
  const script = `
    const { lmdbStore } = require(${JSON.stringify(STORE)})
    const log = { info() {}, notice() {}, warn(text) { console.error(text) }, error() {} }
    const store = lmdbStore(${JSON.stringify(path)}, { log, now: () => ${NOW} })
    const heard = []
    store.onChange((domain) => heard.push(domain))
    process.on('message', async (code) => {
      process.send({ result: await new (Object.getPrototypeOf(async () => {}).constructor)('store', 'heard', code)(store, heard) })
    })`
  const bound = limit === undefined ? '' : `trap '' XFSZ; ulimit -f ${limit}; `
  const child = spawn(
    'bash',
    ['-c', `${bound}exec "$0" -e "$1"`, process.execPath, script],
    // Not our own stderr: were that a file, the limit would hold for it as well.
    { stdio: ['ignore', 'inherit', limit === undefined ? 'inherit' : 'ignore', 'ipc'] },
  )
  return {
    child,
    async run(code) {
      child.send(code)
      const [{ result }] = (await once(child, 'message')) as [{ result: unknown }]
      return result
    },
  }
}

describe('store in LMDB', () => {
  let folder: string
  let path: string
  const peers: Peer[] = []
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tls-policy-lmdb-'))
    path = join(folder, 'tls-policy.lmdb')
  })
  afterEach(async () => {
    for (const { child } of peers.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill('SIGKILL')
      await once(child, 'exit')
    }
    rmSync(folder, { recursive: true, force: true })
  })
  const peer = (): Peer => {
    const started = startPeer(path)
    peers.push(started)
    return started
  }

  storeContract(() => ({
    open: (clock) => Promise.resolve(lmdbStore(path, { now: () => clock.now(), log: makeLog() })),
    shared: true,
    movableClock: true,
  }))

  async function withStore(run: (store: ReturnType<typeof lmdbStore>, log: ReturnType<typeof makeLog>) => Promise<void>) {
    const log = makeLog()
    const store = lmdbStore(path, { now: () => NOW, log })
    try {
      await run(store, log)
    } finally {
      await store.close()
    }
  } // prettier-ignore

  it('SC-01 a policy is there after a restart', async () => {
    await withStore(async (store) => void (await value(store.setPolicy(record()))))
    await withStore(async (store, log) => {
      assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
      assert.deepEqual(log.lines, [])
    })
  })

  it('SC-01 a write that came too late for its caller is not made: by then there may be a later policy', async () => {
    const holder = peer()
    const go = join(folder, 'go')
    let now = NOW
    const log = makeLog()
    const store = lmdbStore(path, { now: () => now, log })
    try {
      const held = once(holder.child, 'message')
      holder.child.send(`
        const root = require('lmdb').open({ path: ${JSON.stringify(path)}, noSubdir: true, encoding: 'string', overlappingSync: false })
        root.transactionSync(() => {
          process.send({ result: 'held' })
          while (!require('fs').existsSync(${JSON.stringify(go)})) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
        })`)
      await held
      const released = once(holder.child, 'message')
      await value(store.setPolicy(record({ domain: 'late.test' })))
      assert.match(log.lines.join(), /no answer within 2000 ms/)
      writeFileSync(go, '')
      await released
      now += 60_000
      await value(store.setPolicy(record({ domain: 'next.test' })))
      const seen = (domain: string) => holder.run(`return (await store.getPolicy('${domain}')).value?.domain`)
      assert.deepEqual([await seen('late.test'), await seen('next.test')], [undefined, 'next.test'])
    } finally {
      await store.close()
    }
  }).timeout(30_000) // prettier-ignore

  it('room is made before it is needed, in whole steps, and not at all where less is free', async () => {
    await withStore(async (store) => void (await value(store.setPolicy(record()))))
    const descriptor = openSync(path, 'r+')
    try {
      const { size } = statSync(path)
      makeRoom(descriptor, 100_000, Infinity)
      assert.equal(statSync(path).size, size)
      assert.throws(() => {
        makeRoom(descriptor, 5_000_000, 4_999_999)
      }, /the disk is full/)
      assert.equal(statSync(path).size, size)
      // Twice what is needed has to be free: once to make the file longer, and once more where it is copied.
      const lack = octetsUsed(descriptor) ?? assert.fail()
      assert.throws(() => {
        makeRoom(descriptor, 5_000_000, 10_000_000 + lack - size - 1)
      }, /the disk is full/)
      assert.equal(statSync(path).size, size)
      makeRoom(descriptor, 5_000_000, 10_000_000 + lack - size)
      assert.equal(statSync(path).size, lack + 5_000_000)
      makeRoom(descriptor, 5_000_000, 5_000_000)
      assert.equal(statSync(path).size, lack + 5_000_000)
      makeRoom(descriptor, 6_000_000, Infinity)
      assert.equal(statSync(path).size, 7 * 1_048_576)
    } finally {
      closeSync(descriptor)
    }
    await withStore(async (store, log) => {
      assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
      assert.deepEqual(log.lines, [])
    })
  })

  it('SC-01 what is over is removed, but not after the clock has jumped', async () => {
    let now = NOW
    let ticks = 0
    const pass = async (store: ReturnType<typeof lmdbStore>, wall: number, steady: number) => {
      now += wall
      ticks += steady
      // A write does one step; a few of them go through the whole file.
      for (let step = 0; step < 5; step++) {
        await value(store.markUsed('x.test', step))
        now += 1000
        ticks += 1000
      }
    }
    const store = lmdbStore(path, { now: () => now, ticks: () => ticks, log: makeLog() })
    try {
      await value(store.setPolicy(record()))
      for (const jump of [50_000 * HOUR, -50_000 * HOUR]) {
        await pass(store, jump, 0)
        await pass(store, HOUR, HOUR)
        assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
      }
      await pass(store, HOUR, HOUR)
      await pass(store, 9_000 * HOUR, 9_000 * HOUR)
      assert.equal(await value(store.getPolicy('rcpt.test')), undefined)
    } finally {
      await store.close()
    }
  })

  it('two processes share policies, notes, leases and changes', async () => {
    const other = peer()
    assert.equal(await other.run(`return (await store.acquire('fetch/rcpt.test', 'peer', ${HOUR})).value`), true)
    await withStore(async (store) => {
      assert.equal(await value(store.acquire('fetch/rcpt.test', 'me', HOUR)), false)
      const heard = new Promise((resolve) => store.onChange(resolve))
      await other.run(`await store.setPolicy(${JSON.stringify(record())}); await store.setNote('rcpt.test', 'failed', 'x', ${HOUR})`)
      assert.equal(await heard, 'rcpt.test')
      assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
      assert.equal(await value(store.getNote('rcpt.test', 'failed')), 'x')
      await value(store.deletePolicy('rcpt.test'))
      assert.equal(await other.run(`return (await store.getPolicy('rcpt.test')).value`), undefined)
      await other.run(`while (heard.length < 2) await new Promise((resolve) => setTimeout(resolve, 10))`)
    })
  }) // prettier-ignore

  it('SC-16 of two processes that take a lease at once, one gets it, a hundred times over', async () => {
    const other = peer()
    await withStore(async (store) => {
      const theirs = other.run(`
        const got = []
        for (let n = 0; n < 100; n++) if ((await store.acquire('l' + n, 'peer', ${HOUR})).value) got.push(n)
        return got`)
      const mine: number[] = []
      for (let n = 99; n >= 0; n--)
        if (await value(store.acquire(`l${n}`, 'me', HOUR))) mine.push(n)
      const all = [...mine, ...((await theirs) as number[])]
      assert.equal(all.length, 100)
      assert.equal(new Set(all).size, 100)
    })
  })

  it('SC-16 processes killed while they write leave whole records, and a store that works', async () => {
    await withStore(async (store, log) => {
      await value(store.setPolicy(record()))
      for (let round = 0; round < 5; round++) {
        const other = peer()
        await other.run('return 0')
        const busy = new Promise((resolve) => {
          const stop = store.onChange(() => (stop(), resolve(undefined)))
        })
        other.child.send(`for (let n = 0; ; n++) await store.setPolicy({ ...${JSON.stringify(record())}, id: String(n % 10) })`)
        await busy
        other.child.kill('SIGKILL')
        await once(other.child, 'exit')
        assert.equal((await value(store.getPolicy('rcpt.test')))?.text, record().text)
        await value(store.setPolicy(record({ id: `after${round}` })))
        assert.equal((await value(store.getPolicy('rcpt.test')))?.id, `after${round}`)
        assert.equal(await value(store.acquire('fetch/rcpt.test', String(round), 0)), true)
      }
      assert.deepEqual(log.lines, [])
    })
    await withStore(async (store) => {
      assert.equal((await value(store.getPolicy('rcpt.test')))?.id, 'after4')
    })
  }).timeout(30_000) // prettier-ignore

  it('SC-16 workers that open a new file at the same time take none of it for broken', async () => {
    for (let round = 0; round < 3; round++) {
      const at = join(folder, `new${round}.lmdb`)
      const script = `
        const { lmdbStore } = require(${JSON.stringify(STORE)})
        const log = { info() {}, notice() {}, warn(text) { console.log(text) }, error() {} }
        process.on('message', async () => {
          const store = lmdbStore(${JSON.stringify(at)}, { log, now: () => ${NOW} })
          for (let n = 0; n < 30; n++) await store.setNote('rcpt.test', 'n' + process.pid, 'x'.repeat(1000), 9e6)
          await store.close()
          process.disconnect()
        })
        process.send('ready')`
      const children = Array.from({ length: 4 }, () =>
        spawn(process.execPath, ['-e', script], {
          stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
        }),
      )
      let output = ''
      for (const child of children)
        child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
      await Promise.all(children.map((child) => once(child, 'message')))
      const closed = children.map((child) => once(child, 'close'))
      for (const child of children) child.send('open')
      await Promise.all(closed)
      assert.equal(output, '')
    }
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.includes('broken')),
      [],
    )
  }).timeout(60_000)

  it('SC-16 a worker or command that opens the file while the last one closes it can use it', async () => {
    const at = join(folder, 'door.mdb')
    const script = `
      const { openLmdb } = require(${JSON.stringify(compiled('plugins/store/lmdb/file.ts'))})
      process.on('message', async () => {
        for (let n = 0; n < 300; n++) {
          const opened = openLmdb(${JSON.stringify(at)})
          if (!opened.ok || opened.unwritable) console.log(opened)
          else await opened.file.close()
        }
        process.disconnect()
      })
      process.send('ready')`
    const children = Array.from({ length: 3 }, () =>
      spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }),
    )
    let output = ''
    for (const stream of children.flatMap(({ stdout, stderr }) => [stdout, stderr]))
      stream?.on('data', (chunk: Buffer) => (output += chunk.toString()))
    await Promise.all(children.map((child) => once(child, 'message')))
    const closed = children.map((child) => once(child, 'close'))
    for (const child of children) child.send('open')
    await Promise.all(closed)
    assert.equal(output, '')
  }).timeout(60_000)

  it('a worker that falls behind more changes than are kept is told that anything may have changed', async () => {
    const busy = peer()
    await busy.run('return 0')
    const go = join(folder, 'go')
    // It looks at nothing while it is busy, however long that takes.
    const told = busy.run(`
      while (!require('fs').existsSync(${JSON.stringify(go)})) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
      while (!heard.includes(undefined)) await new Promise((resolve) => setTimeout(resolve, 10))
      return heard.length`)
    await withStore(async (store) => {
      await Promise.all(
        Array.from({ length: 1200 }, (_, n) => value(store.setPolicy(record({ domain: `d${n}.test` })))),
      )
      writeFileSync(go, '')
      assert.equal(await told, 1)
    })
  }).timeout(20_000) // prettier-ignore

  describe('what is over', () => {
    const clock = makeClock()
    /** Writes something each second, as a busy worker does, until it holds or an hour has passed. */
    async function writeUntil(
      store: ReturnType<typeof lmdbStore>,
      holds: () => Promise<boolean>,
    ): Promise<number> {
      for (let second = 1; second < 3600; second++) {
        clock.advance(1000)
        await value(store.acquire('x', 'me', 1))
        if (await holds()) return second
      }
      return assert.fail('not within an hour')
    }

    it('is removed little by little, and nothing else', async () => {
      const store = lmdbStore(path, {
        now: () => clock.now(),
        ticks: () => clock.now(),
        log: makeLog(),
      })
      const set = (domain: string, hours: number) =>
        store.setPolicy(
          record({ domain, fetchedAt: clock.now(), expiresAt: clock.now() + hours * HOUR }),
        )
      await Promise.all(Array.from({ length: 1_700 }, (_, n) => set(`over${n}.test`, 1)))
      await Promise.all(Array.from({ length: 300 }, (_, n) => set(`stays${n}.test`, 1000)))
      clock.advance(24 * HOUR)
      for (let n = 0; n < 20; n++) {
        clock.advance(1000)
        await value(store.acquire('x', 'me', 1))
      }
      assert.equal((await domains(store)).length, 2_000)
      clock.advance(HOUR)
      const left: number[] = []
      await writeUntil(store, async () => {
        left.push((await domains(store)).length)
        return left.at(-1) === 300
      })
      assert.ok(left.length >= 4, 'in one go')
      for (const domain of await domains(store)) assert.match(domain, /^stays/)
      const now = clock.now()
      const due = await value(store.takeDue({ now, beyond: 2 * now, until: 2 * now, limit: 5_000 }))
      assert.equal(due.domains.length, 300)
      await store.close()
    }).timeout(20_000)

    it('is removed of destinations that wait no more, too', async () => {
      const store = lmdbStore(path, {
        now: () => clock.now(),
        ticks: () => clock.now(),
        log: makeLog(),
      })
      const keep = (domain: string) => {
        const held = { since: clock.now(), last: clock.now(), marks: ['00000001'], text: 'why' }
        return value(store.noteWaiting(waitingPart(domain), [{ domain, held }]))
      }
      await keep('over.test')
      clock.advance(WAITING_LIFE)
      await keep('waits.test')
      const opened = openLmdb(path)
      assert.ok(opened.ok)
      const { file } = opened
      const kept = () => {
        file.root.resetReadTxn()
        return [...file.waiting.getKeys()].map((key) => key.split(' ')[1])
      }
      assert.deepEqual(kept().sort(), ['over.test', 'waits.test'])
      await writeUntil(store, () => Promise.resolve(kept().length === 1))
      assert.deepEqual(kept(), ['waits.test'])
      await file.close()
      await store.close()
    }).timeout(20_000)

    it('SC-09 a policy that is not on the agenda comes onto it', async () => {
      await withStore(async (store) => {
        await value(
          store.setPolicy(record({ fetchedAt: clock.now(), expiresAt: clock.now() + 90 * HOUR })),
        )
        await value(store.plan('rcpt.test', undefined))
      })
      const store = lmdbStore(path, {
        now: () => clock.now(),
        ticks: () => clock.now(),
        log: makeLog(),
      })
      clock.advance(HOUR)
      await writeUntil(store, async () => {
        const now = clock.now()
        const due = await value(store.takeDue({ now, beyond: 2 * now, until: 2 * now, limit: 9 }))
        return due.domains.includes('rcpt.test')
      })
      await store.close()
    })
  })

  describe('broken files', () => {
    async function fill(): Promise<void> {
      await withStore(async (store) => {
        await Promise.all(
          Array.from({ length: 500 }, (_, n) =>
            value(store.setPolicy(record({ domain: `d${n}.test` }))),
          ),
        )
      })
    }
    /** Octets up to where there is something in the file. */
    function used(): number {
      const descriptor = openSync(path, 'r')
      try {
        return octetsUsed(descriptor) ?? assert.fail('no LMDB file')
      } finally {
        closeSync(descriptor)
      }
    }
    /** The disk ends there from then on. @returns KiB that the file may have */
    function endDisk(): number {
      const kilobytes = Math.ceil(Math.max(used(), 1_048_576) / 1024) + 256
      truncateSync(path, 1024 * kilobytes)
      return kilobytes
    }
    const breakages: [string, () => void][] = [
      ['cut to half', () => truncateSync(path, Math.floor(used() / 2))],
      ['cut to one page', () => truncateSync(path, 4096)],
      ['cut to a few octets', () => truncateSync(path, 100)],
      ['overwritten with noise', () => writeFileSync(path, Buffer.alloc(100_000, 0x5a))],
      ['overwritten with text', () => writeFileSync(path, 'hello\n')],
      ['with broken meta pages', () => writeFileSync(path, Buffer.concat([Buffer.alloc(8192), readFileSync(path).subarray(8192)]))],
      ['of another data format', () => {
        const octets = readFileSync(path)
        for (const page of [0, 4096]) octets.writeUInt32LE(99, page + 28)
        writeFileSync(path, octets)
      }],
    ] // prettier-ignore
    for (const [title, breakIt] of breakages) {
      it(`SC-16 a file ${title} is moved aside, said once, and replaced`, async () => {
        await fill()
        breakIt()
        await withStore(async (store, log) => {
          assert.equal(log.lines.length, 1)
          assert.match(
            log.lines[0] ?? '',
            /^warn the store was broken and is begun anew: .*\.broken-/,
          )
          assert.equal(await value(store.getPolicy('d1.test')), undefined)
          await value(store.setPolicy(record()))
          assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
        })
        assert.equal(readdirSync(folder).filter((name) => name.includes('.broken-')).length, 1)
        await withStore(async (store, log) => {
          assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
          assert.deepEqual(log.lines, [])
        })
      })
    }
    it('SC-16 a file cut to nothing while it is in use: said once, no end of the process, and what is new is kept in memory', async () => {
      await fill()
      await withStore(async (store, log) => {
        store.onChange(() => undefined)
        await value(store.setPolicy(record()))
        truncateSync(path, 0)
        for (const call of [store.getPolicy('d1.test'), store.acquire('x', 'me', 1), store.listDomains()]) {
          assert.deepEqual(await call, { ok: false, detail: 'the file was cut short' })
        }
        await value(store.setPolicy(record({ domain: 'new.test' })))
        assert.deepEqual(await value(store.getPolicy('new.test')), record({ domain: 'new.test' }))
        assert.deepEqual((await value(store.listDomains())).domains, ['new.test'])
        assert.deepEqual(log.lines, ["warn the store's file was cut short while in use: policies are kept in memory until Haraka is restarted. Find out what cut it, and restart Haraka."])
      })
    }) // prettier-ignore
    it('SC-16 an empty file is a new one', async () => {
      writeFileSync(path, '')
      await withStore(async (store, log) => {
        await value(store.setPolicy(record()))
        assert.deepEqual(log.lines, [])
      })
    })
    it('a folder in the place of the file, a file in the place of the folder: memory, said once', async () => {
      mkdirSync(path)
      writeFileSync(join(folder, 'file'), '')
      for (const place of [path, join(folder, 'file', 'x.lmdb'), '/proc/x.lmdb']) {
        const log = makeLog()
        const store = await createStore(
          { backend: 'lmdb', path: place, prefix: 'x', redis: {} },
          { log, now: () => NOW },
        )
        await value(store.setPolicy(record()))
        assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
        assert.equal(log.lines.length, 1)
        assert.match(log.lines[0] ?? '', /^warn policies are kept in memory only/)
        assert.deepEqual(
          store.troubles().map(({ kind }) => kind),
          ['file-closed'],
        )
        await store.close()
      }
    })
    it('XC-11 what is there and cannot be opened may hold policies: not known; what is not there: none', async () => {
      mkdirSync(path)
      writeFileSync(join(folder, 'file'), '')
      const places = [
        [path, { ok: false, detail: 'its file cannot be read' }],
        [join(folder, 'file', 'x.lmdb'), { ok: true, value: undefined }],
        [join(folder, 'never', 'x.lmdb'), { ok: true, value: undefined }],
      ] as const
      for (const [place, expected] of places) {
        for (const backend of ['lmdb', 'redis'] as const) {
          const settings = { backend, path: place, prefix: 'x', redis: { tls: 'ture' } }
          const store = await createStore(settings, { log: makeLog(), now: () => NOW })
          const found = await store.getPolicy('rcpt.test')
          if (backend === 'lmdb') assert.deepEqual(found, expected)
          // What Redis holds is not known where its settings are none.
          else assert.equal(found.ok, false)
          await value(store.setPolicy(record()))
          assert.deepEqual(await value(store.getPolicy('rcpt.test')), record())
          await store.close()
        }
      }
    })
    it('no other user of the machine reads to whom mail goes, also where an earlier version made the file', async () => {
      const modes = () =>
        [path, `${path}-lock`].map((name) => (statSync(name).mode & 0o777).toString(8))
      await withStore(async (store) => void (await value(store.setPolicy(record()))))
      assert.deepEqual(modes(), ['640', '640'])
      for (const name of [path, `${path}-lock`]) chmodSync(name, 0o644)
      await withStore(async (store) => void (await value(store.getPolicy('rcpt.test'))))
      assert.deepEqual(modes(), ['640', '640'])
    })
    it('hostile contents of the file are as if they were absent', async () => {
      await withStore(async (store) => void (await value(store.setPolicy(record()))))
      const { open } = await import('lmdb')
      const root = open<string, string>({ path, noSubdir: true, encoding: 'string' })
      const policies = root.openDB<string, string>({ name: 'policies', encoding: 'string' })
      await policies.put('rcpt.test', '1 x 1 99999999999999999999 rcpt.test\nversion: STSv1')
      await root.close()
      await withStore(async (store) => {
        assert.equal(await value(store.getPolicy('rcpt.test')), undefined)
      })
    })
    it('a disk that takes no more: said once, memory takes what is new, and no rejection escapes', async () => {
      await fill()
      // As a full disk does, a limit on the size of files stops the writes.
      const script = `
        const { lmdbStore } = require(${JSON.stringify(STORE)})
        const log = { info() {}, notice() {}, warn: (text) => console.log('warn ' + text), error() {} }
        ;(async () => {
          let time = ${NOW}
          const store = lmdbStore(${JSON.stringify(path)}, { log, now: () => time })
          const text = 'x: ' + 'y'.repeat(20000)
          for (let round = 0; round < 5; round++) {
            time += 70000
            await Promise.all(Array.from({ length: 30 }, async (_, n) => {
              const domain = 'late' + round + '-' + n + '.test'
              const set = await store.setPolicy({ ...${JSON.stringify(record())}, domain, text })
              await store.acquire('lease' + n, 'me', 1000)
              const got = await store.getPolicy(domain)
              if (!set.ok || got.value?.text !== text) console.log('lost ' + domain, set, got)
            }))
          }
          const given = []
          for (let more = true; more; ) {
            const { value } = await store.takeDue({ now: time, beyond: 2 * time, until: 2 * time - 1, limit: 64 })
            given.push(...value.domains)
            more = value.more
          }
          console.log('given ' + given.length + ' of ' + new Set(given).size)
          console.log('old ' + (await store.getPolicy('d1.test')).value?.domain)
          await store.close()
        })()`
      const limit = endDisk()
      const child = spawn(
        'bash',
        ['-c', `trap '' XFSZ; ulimit -f ${limit}; exec "$0" -e "$1"`, process.execPath, script],
        // Not our own stderr: were that a file, the limit would hold for it as well.
        { stdio: ['ignore', 'pipe', 'pipe'] },
      )
      child.stderr.pipe(process.stderr, { end: false })
      let output = ''
      child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
      const [code] = (await once(child, 'close')) as [number | null]
      assert.equal(code, 0, output)
      assert.equal(output.match(/^warn the store takes no writes/gm)?.length, 1, output)
      assert.doesNotMatch(output, /lost/)
      const [, given, of] = /^given ([0-9]+) of ([0-9]+)/m.exec(output) ?? []
      assert.equal(given, of)
      assert.ok(Number(given) >= 500, output)
      assert.match(output, /old d1\.test/)
    }).timeout(30_000)

    it('wherever a disk ends, LMDB never writes there: what it says of that may end the process', async () => {
      const script = `
        const { lmdbStore } = require(${JSON.stringify(STORE)})
        const log = { info() {}, notice() {}, warn() {}, error() {} }
        ;(async () => {
          let time = ${NOW}
          const store = lmdbStore(process.argv[1], { log, now: () => time })
          for (let round = 0; round < 100; round++) {
            time += 70000
            const text = 'x: ' + 'y'.repeat(round * 1000)
            await store.setPolicy({ ...${JSON.stringify(record())}, domain: 'd' + round + '.test', text })
          }
          await store.close()
        })()`
      const ends = await Promise.all(
        [0, 4, 8, 12, 100, 300].map(async (kilobytes) => {
          const copy = join(folder, `copy-${kilobytes}`)
          const store = lmdbStore(copy, { now: () => NOW, log: makeLog() })
          await value(store.setPolicy(record()))
          await store.close()
          const limit = statSync(copy).size / 1024 + kilobytes
          const bound = `trap '' XFSZ; ulimit -f ${limit}; exec "$0" -e "$1" "$2"`
          const child = spawn('bash', ['-c', bound, process.execPath, script, copy], {
            stdio: ['ignore', 'ignore', 'pipe'],
          })
          let complaints = ''
          child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()))
          const [code] = (await once(child, 'close')) as [number | null]
          return [code, complaints]
        }),
      )
      assert.deepEqual(
        ends,
        ends.map(() => [0, '']),
      )
    }).timeout(60_000)

    it('many writes at once on a disk with room for few: each by itself, and all are taken', async () => {
      await fill()
      const limited = startPeer(path, endDisk())
      peers.push(limited)
      const oks = await limited.run(`
        const writes = Array.from({ length: 70 }, (_, n) => store.markUsed('d' + n + '.test', 1))
        return (await Promise.all(writes)).filter(({ ok }) => ok).length`)
      assert.equal(oks, 70)
      // Nor does what is asked for at once, and finds no room, keep a small one away.
      const little = await limited.run(`
        const due = { now: ${NOW}, beyond: ${2 * NOW}, until: ${NOW + HOUR}, limit: 64 }
        const taken = await store.takeDue(due)
        return [taken.ok && taken.value.domains.length, (await store.markUsed('d1.test', 2)).ok]`)
      assert.deepEqual(little, [64, true])
    })

    it('writes that wait when the store is closed come to an end, are there, and others are told', async () => {
      const store = lmdbStore(path, { now: () => NOW, log: makeLog() })
      const names = Array.from({ length: 70 }, (_, n) => `d${n}.test`)
      await withStore(async (reader) => {
        const heard = new Set<string | undefined>()
        const allHeard = new Promise<void>((resolve) => {
          reader.onChange((domain) => {
            if (heard.add(domain).size === names.length) resolve()
          })
        })
        const writes = names.map((domain) => value(store.setPolicy(record({ domain }))))
        await store.close()
        await Promise.all(writes)
        assert.equal((await store.setPolicy(record())).ok, false)
        await allHeard
        assert.deepEqual([...heard].sort(), [...names].sort())
        for (const name of names) assert.ok(await value(reader.getPolicy(name)), name)
      })
    })

    it('SC-01 SC-16 a worker that could not write does not prefer its own copy to a later one of another worker', async () => {
      await fill()
      const limited = startPeer(path, endDisk())
      peers.push(limited)
      const own = record({ id: 'own', expiresAt: NOW + HOUR })
      await limited.run(`
        const text = 'x: ' + 'y'.repeat(20000)
        for (let n = 0; n < 60; n++) {
          await store.setPolicy({ ...${JSON.stringify(record())}, domain: 'big' + n + '.test', text })
        }
        await store.setPolicy(${JSON.stringify({ ...own, fetchedAt: NOW - 2 })})`)
      const seen = async () =>
        ((await limited.run(`return store.getPolicy('rcpt.test')`)) as { value: { id: string } })
          .value.id
      await withStore(async (store) => {
        assert.equal(await value(store.getPolicy('rcpt.test')), undefined, 'the file took it')
        await value(store.setPolicy(record({ id: 'older', fetchedAt: NOW - 3 })))
        assert.equal(await seen(), 'own')
        await value(store.setPolicy(record({ id: 'later', fetchedAt: NOW - 1 })))
        // What a process has just read, it may read again for a moment.
        while ((await seen()) !== 'later') await new Promise((resolve) => setTimeout(resolve, 10))
      })
    }).timeout(30_000)
  })
})
