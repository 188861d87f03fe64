import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StoreSettings } from '../../../plugins/store/types'
import {
  plain,
  type PolicyHost,
  policyText,
  type Respond,
  startPolicyHost,
} from '../../support/https-policy-host'
import { compiled } from '../../support/compiled'
import { startRedis, type TestRedis } from '../../support/redis'
import type { WorkerAnswer, WorkerSettings } from '../../support/sts-worker'

const LEASE = 2_000
const HOUR = 3_600_000
const DAY = 24 * HOUR

interface Worker {
  readonly child: ChildProcess
  look(times: number): Promise<readonly WorkerAnswer[]>
  /** @returns how many policies it fetched */
  refreshAfter(ms: number): Promise<number>
}

for (const backend of ['lmdb', 'redis'] as const) {
  describe(`workers of a cluster, store ${backend}`, () => {
    let folder: string
    let host: PolicyHost
    let redis: TestRedis | undefined
    const workers: Worker[] = []
    before(async () => {
      if (backend === 'redis') redis = await startRedis()
    })
    after(() => redis?.close())
    beforeEach(async () => {
      folder = mkdtempSync(join(tmpdir(), 'tls-policy-workers-'))
      host = await startPolicyHost()
    })
    afterEach(async () => {
      for (const { child } of workers.splice(0)) {
        if (child.exitCode !== null || child.signalCode !== null) continue
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      await host.close()
      rmSync(folder, { recursive: true, force: true })
    })

    /** @param machine workers of one machine share its file */
    async function start(prefix: string, machine = 'one'): Promise<Worker> {
      const store: StoreSettings = {
        backend,
        path: join(folder, `${machine}.lmdb`),
        prefix,
        redis: redis?.settings ?? {},
      }
      const settings: WorkerSettings = { store, ca: host.ca, port: host.port, leaseMs: LEASE }
      const child = fork(compiled('test/support/sts-worker.ts'), {
        execArgv: [],
        env: { ...process.env, STS_WORKER: JSON.stringify(settings) },
      })
      const worker: Worker = {
        child,
        async look(times) {
          child.send(times)
          const [answers] = (await once(child, 'message')) as [readonly WorkerAnswer[]]
          return answers
        },
        async refreshAfter(refreshAfterMs) {
          child.send({ refreshAfterMs })
          const [fetched] = (await once(child, 'message')) as [number]
          return fetched
        },
      }
      workers.push(worker)
      await once(child, 'message')
      return worker
    }
    const slowly: Respond = (request, response) => {
      setTimeout(() => plain(200, policyText())(request, response), 300)
    }

    it('SF-22 four workers, a hundred lookups each, one cold domain: one GET, and all are protected', async () => {
      host.serve('mta-sts.rcpt.test', slowly)
      const four = await Promise.all([0, 1, 2, 3].map(() => start('cold')))
      const answers = (await Promise.all(four.map((worker) => worker.look(100)))).flat()
      assert.equal(answers.length, 400)
      for (const answer of answers) assert.equal(answer.mode, 'enforce', JSON.stringify(answer))
      assert.equal(host.requests.length, 1)
    }).timeout(30_000)

    it('SF-14 SF-22 the same with a policy host that fails: one GET', async () => {
      host.serve('mta-sts.rcpt.test', plain(500, 'no'))
      const four = await Promise.all([0, 1, 2, 3].map(() => start('failing')))
      const answers = (await Promise.all(four.map((worker) => worker.look(100)))).flat()
      for (const answer of answers) assert.equal(answer.problem, 'sts-policy-fetch-error')
      assert.equal(host.requests.length, 1)
    }).timeout(30_000)

    it('SF-22 a worker killed while it fetches holds the others up no longer than its lease', async () => {
      host.serve('mta-sts.rcpt.test', () => undefined)
      const [victim, other] = await Promise.all([start('killed'), start('killed')])
      victim.look(1).catch(() => undefined)
      await host.reached(1)
      const waiting = other.look(10)
      host.serve('mta-sts.rcpt.test', policyText())
      victim.child.kill('SIGKILL')
      for (const answer of await waiting) {
        assert.equal(answer.mode, 'enforce')
        assert.ok(answer.ms < LEASE + 1_500, `waited ${answer.ms} ms`)
      }
      assert.equal(host.requests.length, 2)
    }).timeout(30_000)

    it('SC-09 SC-10 a day later, four workers refresh: one GET, and all have the changed body of the same id', async () => {
      host.serve('mta-sts.rcpt.test', policyText())
      const four = await Promise.all([0, 1, 2, 3].map(() => start('refresh')))
      for (const worker of four) assert.equal((await worker.look(1))[0]?.mode, 'enforce')
      host.serve('mta-sts.rcpt.test', (request, response) => {
        setTimeout(() => plain(200, policyText({ mode: 'testing' }))(request, response), 300)
      })
      for (const past of [DAY, DAY + HOUR, 2.1 * DAY]) {
        const before = host.requests.length
        const fetched = await Promise.all(four.map((worker) => worker.refreshAfter(past)))
        const made = past === DAY + HOUR ? 0 : 1
        assert.equal(
          fetched.reduce((sum, each) => sum + each, 0),
          made,
          `${past}: ${String(fetched)}`,
        )
        assert.equal(host.requests.length - before, made)
      }
      for (const worker of four) assert.equal((await worker.look(1))[0]?.mode, 'testing')
      assert.equal(host.requests.length, 3)
    }).timeout(30_000)

    it('SF-14 SC-08 a day later, four workers cannot refresh: one GET, no other for long, and the policy holds', async () => {
      host.serve('mta-sts.rcpt.test', policyText())
      const four = await Promise.all([0, 1, 2, 3].map(() => start('stale')))
      for (const worker of four) assert.equal((await worker.look(1))[0]?.mode, 'enforce')
      host.serve('mta-sts.rcpt.test', plain(500, 'no'))
      for (const minutes of [0, 10, 20, 30, 40]) {
        const past = DAY + minutes * 60_000
        await Promise.all(four.map((worker) => worker.refreshAfter(past)))
        assert.equal(host.requests.length, 2, `after ${minutes} minutes`)
      }
      for (const worker of four) assert.equal((await worker.look(1))[0]?.mode, 'enforce')
    }).timeout(30_000)

    it('a fetch longer than the lease keeps it, as long as its worker lives', async () => {
      host.serve('mta-sts.rcpt.test', (request, response) => {
        setTimeout(() => plain(200, policyText())(request, response), 2 * LEASE)
      })
      const [one, other] = await Promise.all([start('slow'), start('slow')])
      const answers = (await Promise.all([one.look(5), other.look(5)])).flat()
      for (const answer of answers) assert.equal(answer.mode, 'enforce')
      assert.equal(host.requests.length, 1)
    }).timeout(30_000)

    it('SC-01 workers started later, with the policy host gone, apply the policy', async () => {
      const first = await start('later')
      assert.equal((await first.look(1))[0]?.mode, 'enforce')
      first.child.kill('SIGKILL')
      await once(first.child, 'exit')
      host.serve('mta-sts.rcpt.test', plain(404, ''))
      const second = await start('later')
      assert.equal((await second.look(1))[0]?.mode, 'enforce')
      assert.equal(host.requests.length, 1)
    }).timeout(30_000)

    if (backend === 'redis') {
      it('SF-22 two machines: one GET', async () => {
        host.serve('mta-sts.rcpt.test', slowly)
        const two = await Promise.all([start('machines', 'one'), start('machines', 'two')])
        const answers = (await Promise.all(two.map((worker) => worker.look(100)))).flat()
        for (const answer of answers) assert.equal(answer.mode, 'enforce')
        assert.equal(host.requests.length, 1)
      }).timeout(30_000)

      it('SC-09 a day later, two machines that both know the policy refresh: one GET', async () => {
        host.serve('mta-sts.rcpt.test', policyText())
        const two = [await start('refreshing', 'one'), await start('refreshing', 'two')]
        for (const worker of two) assert.equal((await worker.look(1))[0]?.mode, 'enforce')
        host.serve('mta-sts.rcpt.test', slowly)
        const fetched = await Promise.all(two.map((worker) => worker.refreshAfter(DAY)))
        assert.deepEqual(fetched.sort(), [0, 1])
        for (const worker of two) assert.equal(await worker.refreshAfter(DAY + HOUR), 0)
        assert.equal(host.requests.length, 2)
      }).timeout(30_000)

      it('SC-01 Redis dies and workers restart: the policy holds', async () => {
        const first = await start('outage')
        assert.equal((await first.look(1))[0]?.mode, 'enforce')
        first.child.kill('SIGKILL')
        await once(first.child, 'exit')
        await redis?.kill()
        host.serve('mta-sts.rcpt.test', plain(404, ''))
        const second = await start('outage')
        const [answer] = await second.look(1)
        assert.equal(answer?.mode, 'enforce')
        assert.ok((answer?.ms ?? Infinity) < 2_000)
        await redis?.start()
      }).timeout(30_000)
    }
  })
}
