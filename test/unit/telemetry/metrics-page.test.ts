import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import type { Cluster, Worker } from 'node:cluster'
import { gatherMetrics, relayMetrics } from '../../../plugins/telemetry/metrics-page'
import type { Gathering } from '../../../plugins/telemetry/metrics-page'
import type { Snapshot } from '../../../plugins/telemetry/metrics-prometheus'

/** A snapshot that says whose it is. */
function snapshotOf(name: string): Snapshot {
  return [{ name, help: '', type: 'counter', values: [], aggregator: 'sum' }] as unknown as Snapshot
}

const names = (snapshots: readonly Snapshot[]) => snapshots.map(([metric]) => metric?.name).sort()

/** A master and its workers, whose messages are copied and arrive later, as between processes. */
class World {
  readonly workers: Record<number, Worker> = {}
  readonly cluster = Object.assign(new EventEmitter(), { workers: this.workers })
  readonly stop: () => void

  constructor(patienceMs = 1000) {
    this.stop = relayMetrics(this.cluster as unknown as Cluster, patienceMs)
  }

  /** @param own What the worker answers; undefined: it does not listen yet. */
  worker(id: number, own: (() => Promise<Snapshot>) | undefined, patienceMs = 1000): Gathering {
    const channel = new EventEmitter()
    const worker = {
      id,
      send: (message: unknown) => {
        setImmediate(() => channel.emit('message', structuredClone(message)))
        return true
      },
    } as unknown as Worker
    this.workers[id] = worker
    const process = Object.assign(channel, {
      send: (message: unknown) => {
        setImmediate(() => this.cluster.emit('message', worker, structuredClone(message)))
        return true
      },
    })
    const deaf = Object.assign(new EventEmitter(), { send: process.send })
    return gatherMetrics(
      (own === undefined ? deaf : process) as unknown as NodeJS.Process,
      own ?? (() => Promise.resolve(snapshotOf('deaf'))),
      patienceMs,
    )
  }

  exit(id: number): void {
    const worker = this.workers[id]

    delete this.workers[id]
    this.cluster.emit('exit', worker)
  }
}

const telling = (name: string) => () => Promise.resolve(snapshotOf(name))

describe('one page of metrics for all workers', () => {
  it('whichever worker is asked tells of all', async () => {
    const world = new World()
    const one = world.worker(1, telling('one'))
    const two = world.worker(2, telling('two'))
    assert.deepEqual(names(await one.gather()), ['one', 'two'])
    assert.deepEqual(names(await two.gather()), ['one', 'two'])
  })

  it('who asks at the same time shares one answer', async () => {
    const world = new World()
    let asked = 0
    const one = world.worker(1, () => {
      asked += 1
      return Promise.resolve(snapshotOf('one'))
    })
    await Promise.all([one.gather(), one.gather(), one.gather()])
    assert.equal(asked, 1)
    await one.gather()
    assert.equal(asked, 2)
  })

  it('two workers asked at the same time do not take each other’s answers', async () => {
    const world = new World()
    const one = world.worker(1, telling('one'))
    const two = world.worker(2, telling('two'))
    const answers = await Promise.all([one.gather(), two.gather()])
    assert.deepEqual(answers.map(names), [
      ['one', 'two'],
      ['one', 'two'],
    ])
  })

  it('a worker that does not answer costs its own lines only', async () => {
    const world = new World(20)
    const one = world.worker(1, telling('one'))
    world.worker(2, () => new Promise(() => undefined))
    world.worker(3, () => Promise.reject(new Error('no')))
    assert.deepEqual(names(await one.gather()), ['one'])
  })

  it('a worker that dies meanwhile is not waited for', async () => {
    const world = new World(60_000)
    const one = world.worker(1, telling('one'), 60_000)
    world.worker(2, () => {
      world.exit(2)
      return new Promise(() => undefined)
    })
    assert.deepEqual(names(await one.gather()), ['one'])
  })

  it('a master that does not answer: the worker tells of itself', async () => {
    const world = new World()
    world.stop()
    const one = world.worker(1, telling('one'), 20)
    assert.deepEqual(names(await one.gather()), ['one'])
  })

  it('messages of others, and malformed ones, are nobody’s business', async () => {
    const world = new World()
    const one = world.worker(1, telling('one'))
    const worker = world.workers[1]
    for (const message of [undefined, null, 'x', { cmd: 'flush' }, { event: 'plugins.shutdown' }]) {
      world.cluster.emit('message', worker, message)
    }
    world.cluster.emit('message', worker, { event: 'tls-policy.metrics.told', question: 99 })
    world.cluster.emit('message', worker, { event: 'tls-policy.metrics.wanted' })
    assert.deepEqual(names(await one.gather()), ['one'])
  })

  it('a channel that is closed throws at nobody', async () => {
    const channel = Object.assign(new EventEmitter(), {
      send: () => {
        throw new Error('ERR_IPC_CHANNEL_CLOSED')
      },
    })
    const one = gatherMetrics(channel as unknown as NodeJS.Process, telling('one'), 5)
    assert.deepEqual(names(await one.gather()), ['one'])
  })
})
