/**
 * Many messages at once to one domain that nobody has looked at yet, in several workers and on several machines: one TXT
 * lookup and one fetch for all of them, and nobody goes without the policy; also when the worker dies that does it.
 */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Haraka, Lab, type PolicyAnswer, type PolicyHost, policyText } from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { assertNothingLeaked, type Domain, makeDomain } from '../support/lab/world'

const POLICY_HOST = '198.51.100.80'
const EACH = 100
/** Milliseconds: how long a worker that died in a fetch may keep the others from it. */
const LEASE = 10_000
/** Milliseconds for all that comes before and after the wait for the lease, on a busy machine. */
const BUSY = 20_000

describe('end to end: a herd', function () {
  this.timeout(240_000)
  let lab: Lab
  let policies: PolicyHost
  const running: Haraka[] = []

  before(async () => {
    lab = await Lab.start()
    policies = await lab.policyHost({ address: POLICY_HOST, hosts: {} })
    await lab.redis()
  })
  after(() => lab.stop())
  afterEach(() => Promise.all(running.splice(0).map((haraka) => haraka.stop())))

  function serve(name: string, answer: PolicyAnswer): void {
    const host = `mta-sts.${name}`
    policies.set(host, { answer, certificate: lab.certificate(host) })
  }
  const good = (name: string) => policyText('enforce', [`mx1.${name}`])
  /** A domain with an enforce policy, under a name that was never asked for. */
  function coldDomain(name: string): Promise<Domain> {
    return makeDomain(lab, name, {
      security: 'unsigned',
      records: ['_mta-sts TXT "v=STSv1; id=1"', `mta-sts A ${POLICY_HOST}`],
      hosts: [{}],
    })
  }
  const requests = (name: string) =>
    policies.requests.entries.filter(({ host }) => host === `mta-sts.${name}`).length
  /** What all workers together asked the resolver. */
  const questions = (name: string) =>
    lab.resolver.queries.filter(
      (query) => query.name === `_mta-sts.${name}` && query.type === 'TXT',
    ).length

  interface Machines {
    readonly backend: 'lmdb' | 'redis'
    readonly port: number
    readonly nodes: number
    /** Mail to this domain waits until the file `go` is there. */
    readonly held?: string
  }
  const go = (name: string) => join(lab.folder, `go-${name}`)

  async function start({ backend, port, nodes, held }: Machines): Promise<Haraka> {
    const haraka = await lab.haraka({
      plugins: ['lab-meddler', 'tls-policy'],
      port,
      nodes,
      config: {
        plugin_timeout: '100',
        'outbound.ini': 'always_split=true',
        'meddler.json': JSON.stringify(held ? { [held]: { do: 'wait', for: go(held) } } : {}),
        'tls-policy.ini': [
          `[store]\nbackend=${backend}\nprefix=${backend}`,
          `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true`,
          '[dns]\ntimeout=30\ndeadline=60\n',
        ].join('\n'),
      },
    })
    running.push(haraka)
    return haraka
  }

  function assertVerified(haraka: Haraka, name: string, count: number): void {
    const verdicts = haraka
      .log()
      .filter((line) => line.includes(`domain=${name} `) && line.includes('verdict='))
    assert.equal(verdicts.length, count)
    for (const line of verdicts) assert.match(line, /verdict=verified/)
  }

  /** How many messages each worker holds: its pid stands in the name of the queue file. */
  async function heldByWorker(haraka: Haraka): Promise<ReadonlyMap<number, number>> {
    const counts = new Map<number, number>()
    for (const file of await haraka.queue()) {
      const pid = Number(file.split('_')[3])
      counts.set(pid, (counts.get(pid) ?? 0) + 1)
    }
    return counts
  }

  /** Submissions, one after the other, until each worker has had one. @returns how many there were */
  async function feed(haraka: Haraka, nodes: number, to: readonly string[]): Promise<number> {
    for (let sent = 1; ; sent += 1) {
      assert.ok(sent <= 10 * nodes, 'there is a worker that gets no mail')
      await haraka.send({ from: 'a@sender.test', to })
      if ((await heldByWorker(haraka)).size === nodes) return sent
    }
  }

  const herds = [
    { title: 'LMDB, one machine', backend: 'lmdb', machines: 1, nodes: 4 },
    { title: 'Redis, one machine', backend: 'redis', machines: 1, nodes: 4 },
    { title: 'Redis, two machines', backend: 'redis', machines: 2, nodes: 2 },
  ] as const
  for (const [index, { title, backend, machines, nodes }] of herds.entries()) {
    it(`SF-22 ${title}: four workers, a hundred messages each -> one TXT lookup, one fetch, all verified`, async () => {
      const name = `herd${index}.test`
      const domain = await coldDomain(name)
      serve(name, good(name))
      const harakas: Haraka[] = []
      for (let machine = 0; machine < machines; machine += 1) {
        harakas.push(await start({ backend, port: 2525 + machine, nodes, held: name }))
      }
      const to = Array.from({ length: EACH }, (_, number) => `u${number}@${name}`)
      const sent = await Promise.all(harakas.map((haraka) => feed(haraka, nodes, to)))
      await writeFile(go(name), '')
      for (const [machine, haraka] of harakas.entries()) {
        const options = { timeout: 60_000 }
        for (let round = sent[machine] ?? 0; round > 0; round -= 1) {
          const outcomes = await Promise.all(to.map((one) => haraka.outcome(one, options)))
          for (const outcome of outcomes) {
            assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
          }
        }
        assertVerified(haraka, name, (sent[machine] ?? 0) * EACH)
      }
      assertNothingLeaked(...domain.hosts)
      assert.equal(requests(name), 1)
      assert.equal(questions(name), 1)
      for (const haraka of harakas) assert.equal(await assertCheckSaysTheSame(haraka), 1)
    })
  }

  for (const [index, backend] of (['lmdb', 'redis'] as const).entries()) {
    it(`SF-22 ${backend}: a worker killed in its fetch delays the others by no more than the lease, and loses no mail`, async () => {
      const name = `killed-${backend}.test`
      const domain = await coldDomain(name)
      serve(name, { fault: 'hang' })
      const haraka = await start({ backend, port: 2600 + index, nodes: 2 })
      await haraka.send({ from: 'a@sender.test', to: [domain.recipient] })
      await policies.requests.waitFor('the fetch', ({ host }) => host === `mta-sts.${name}`)
      const [victim = 0] = (await heldByWorker(haraka)).keys()
      const sent = 1 + (await feed(haraka, 2, [domain.recipient]))
      serve(name, good(name))
      const killed = Date.now()
      process.kill(victim, 'SIGKILL')
      const outcomes = await Promise.all(
        Array.from({ length: sent }, () =>
          haraka.outcome(domain.recipient, { timeout: LEASE + BUSY }),
        ),
      )
      for (const outcome of outcomes) assert.ok(outcome.kind === 'delivered' && outcome.tls)
      assert.ok(Date.now() - killed < LEASE + BUSY)
      assertVerified(haraka, name, sent)
      assert.equal(requests(name), 2)
      assert.equal(await assertCheckSaysTheSame(haraka), 1)
    })
  }
})
