/** The keeper of the getdns process against a child that crashes, hangs or keeps silent on demand. */
import assert from 'node:assert/strict'
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import {
  getdnsProcess,
  type GetdnsProcess,
  type Word,
} from '../../../plugins/dnssec-stub/getdns-process'

describe('the getdns process', () => {
  const never = new AbortController().signal
  let time: number
  let children: ChildProcess[]
  let keeper: GetdnsProcess

  /** @param patience milliseconds for a question; long, so that a loaded machine is not taken for a child that hangs */
  const keep = (modulePath = '/usable', patience = 30_000): void => {
    time = 0
    children = []
    keeper = getdnsProcess({
      modulePath,
      upstreams: [],
      // A second comes on top.
      timeoutMs: patience - 1000,
      now: () => time,
      start: () => {
        const child = fork(join(__dirname, '../../support/dns-getdns-child.cjs'), {
          execArgv: [],
          serialization: 'advanced',
        })
        children.push(child)
        return child
      },
    })
  }
  const ask = (name: string, signal = never): Promise<Word> => keeper.ask(`${name}.`, 1, signal)
  const whyOf = (word: Word): string => ('why' in word ? word.why : '')

  beforeEach(() => keep())
  afterEach(async () => {
    keeper.close()
    for (const child of children) {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    }
  })

  it('says whether getdns can be had', async () => {
    assert.deepEqual(await keeper.usable(), { ok: true })
    keeper.close()
    assert.deepEqual(await keeper.usable(), { ok: false, why: 'closed' })
    keep('/unusable')
    assert.deepEqual(await keeper.usable(), { ok: false, why: 'no library' })
  })

  it('a crash is the failure of all lookups under way, each told once, and the child is started again later', async () => {
    await keeper.usable()
    const words = await Promise.all(['mute', 'crash', 'mute'].map((name) => ask(name)))
    // The last question may have found the channel closed already.
    for (const word of words) {
      assert.match(whyOf(word), /ended \(SIGSEGV\)|takes no questions/)
    }
    assert.match(whyOf(await ask('ok')), /started again in 100 ms/)
    time += 100
    assert.match(whyOf(await ask('ok')), /^pid \d+$/)
    assert.equal(children.length, 2)
  })

  it('a child that dies soon each time is started later each time, at most half a minute', async () => {
    const pauses: number[] = []
    for (let round = 0; round < 11; round++) {
      await keeper.usable()
      await ask('crash')
      const pause = Number(/in (\d+) ms/.exec(whyOf(await ask('ok')))?.[1])
      pauses.push(pause)
      time += pause
    }
    assert.deepEqual(pauses.slice(0, 4), [100, 200, 400, 800])
    assert.equal(pauses.at(-1), 30_000)
    await keeper.usable()
    time += 60_000
    await ask('crash')
    assert.match(whyOf(await ask('ok')), /in 100 ms/)
  })

  it('a child that hangs is killed, and what it was asked has failed', async () => {
    keep('/usable', 400)
    await keeper.usable()
    const [child] = children
    assert.ok(child)
    const hung = ask('hang')
    assert.equal((await hung).kind, 'failed')
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null]
    assert.equal(signal, 'SIGKILL')
  })

  it('one silent question does not end a child that answers others', async () => {
    keep('/usable', 2000)
    await keeper.usable()
    const silent = ask('mute')
    await ask('ok')
    const word = await silent
    assert.ok(word.kind === 'failed' && word.cause === 'timeout')
    assert.match(whyOf(await ask('ok')), /^pid/)
    assert.equal(children.length, 1)
  })

  it('a signal ends one lookup, closing ends all', async () => {
    await keeper.usable()
    const abort = new AbortController()
    const one = ask('mute', abort.signal)
    const other = ask('mute')
    abort.abort()
    assert.match(whyOf(await one), /ended/)
    keeper.close()
    assert.match(whyOf(await other), /was closed/)
    assert.match(whyOf(await ask('ok')), /ended/)
  })

  it('a child that cannot be started is a failure', async () => {
    const broken = getdnsProcess({
      modulePath: '',
      upstreams: [],
      timeoutMs: 100,
      now: () => 0,
      start: () => {
        throw new Error('no more processes')
      },
    })
    assert.match(whyOf(await broken.ask('a.', 1, never)), /no more processes/)
    const usable = await broken.usable()
    assert.ok(!usable.ok)
    assert.match(usable.why, /no more processes/)
  })
})
