/**
 * Haraka ends, in each way that it has, while mail moves: a message that is in the middle of its hosts, and messages that come in
 * afterwards over connections that were open before. In front of the receivers stands an attacker who strips STARTTLS.
 */
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { fault, wordsOf } from '../support/faults-page'
import {
  type Haraka,
  type HarakaSettings,
  Lab,
  type MailClient,
  type Outcome,
} from '../support/lab'
import { assertCheckSaysTheSame } from '../support/lab/beside'
import { FaultsWorld } from '../support/lab/faults-world'
import { assertNothingLeaked, type Domain, makeDomain } from '../support/lab/world'

const EE = [3, 1, 1] as const
/** Its policy is in the store, and nowhere else any more. */
const KNOWN = 'known.test'
const GRACEFULLY = 'graceful_shutdown=true'
const METRICS = { host: '127.0.0.1', port: 8080 }

interface Way {
  readonly settings?: Partial<HarakaSettings>
  /** More of tls-policy.ini. */
  readonly ini?: string
  readonly begin: (haraka: Haraka) => unknown
  /** What ends then: Haraka, its workers, or nothing. */
  readonly ends: 'haraka' | 'workers' | 'nothing'
}

describe('end to end: Haraka ends while mail moves', function () {
  this.timeout(180_000)
  let lab: Lab
  let world: FaultsWorld
  let good: Domain
  let stripped: Domain
  /** The better host says nothing for two seconds. */
  let slow: Domain
  let store: string
  let running: Haraka | undefined
  const clients: MailClient[] = []

  before(async () => {
    lab = await Lab.start()
    world = await FaultsWorld.start(lab)
    good = await makeDomain(lab, 'good.test', { hosts: [{ tlsa: [EE] }] })
    stripped = await makeDomain(lab, 'stripped.test', {
      hosts: [{ tlsa: [EE], fault: 'no-starttls' }],
    })
    slow = await makeDomain(lab, 'slow.test', {
      hosts: [
        { tlsa: [EE], fault: 'hang-greeting' },
        { tlsa: [EE], fault: 'no-starttls' },
      ],
    })
    store = `path=${join(lab.folder, 'store')}`
    await world.domains([KNOWN])
    const teacher = await start({ begin: () => undefined, ends: 'haraka' })
    await world.learn(teacher, KNOWN)
    await teacher.stop()
    world.bad.fault = 'no-starttls'
  })
  after(() => lab.stop())
  afterEach(async () => {
    for (const client of clients.splice(0)) client.cut()
    await running?.stop()
    assertNothingLeaked(world.bad, ...good.hosts, ...stripped.hosts, ...slow.hosts)
  })

  async function start({ settings = {}, ini = '' }: Way): Promise<Haraka> {
    const { config = {}, plugins = [], ...others } = settings
    const common = `[mta_sts]\nca_file=${lab.caFile}\nfetch_private=true\n[store]\n${store}\n`
    running = await lab.haraka({
      ...others,
      plugins: ['tls-policy', ...plugins],
      config: {
        'outbound.ini': 'connect_timeout=2',
        ...config,
        'tls-policy.ini': `${common}${ini}`,
      },
    })
    return running
  }

  const shuttingDown = /\[plugins\] Shutting down/
  const workersOf = (haraka: Haraka) => Math.max(1, haraka.settings.nodes ?? 0)

  /** Mail is under way and clients are connected; then the end begins, and the clients hand in what they have. */
  async function endAmid(way: Way): Promise<{ haraka: Haraka; after: readonly Outcome[] }> {
    const haraka = await start(way)
    // Haraka gives connections to its workers in turn.
    for (let count = 0; count < 2 * workersOf(haraka); count++) clients.push(await haraka.connect())
    const from = slow.hosts[0]?.sessions.entries.length ?? 0
    await haraka.send({ from: 'a@sender.test', to: [slow.recipient] })
    await slow.hosts[0]?.sessions.waitFor('a session at the better host', () => true, { from })
    await way.begin(haraka)
    // Of two workers the second is told when the first one has ended.
    await haraka.linesSaid(shuttingDown, 1)

    const recipients = [stripped.recipient, `u@${KNOWN}`, good.recipient]
    for (const client of clients) {
      for (const to of recipients) await client.send({ from: 'a@sender.test', to: [to] })
    }
    const all = clients.flatMap(() => recipients).map((one) => haraka.outcome(one))
    const after = await Promise.all([haraka.outcome(slow.recipient), ...all])
    for (const client of clients) await client.quit()
    await ended(haraka, way)
    return { haraka, after }
  }

  /** It ends by itself, and not because Haraka's patience with it is over. */
  async function ended(haraka: Haraka, { ends }: Way): Promise<void> {
    if (ends === 'haraka') assert.deepEqual(await haraka.exited, { code: 0, signal: null })
    if (ends === 'workers') {
      await haraka.linesSaid(/\[core\] Shutting down$/, workersOf(haraka), { timeout: 60_000 })
      await haraka.workersReady(2 * workersOf(haraka))
    }
    const lines = haraka.log()
    assert.deepEqual(
      lines.filter((line) => /Failed to shutdown|failed to shutdown|never received/.test(line)),
      [],
    )
    assert.deepEqual(
      lines.filter((line) => /Caught exception|[Uu]nhandled/.test(line)),
      [],
    )
  }

  /** Each message is verified, or waits for the reason for which it would have waited before. */
  async function assertEnforced(haraka: Haraka, outcomes: readonly Outcome[]): Promise<void> {
    const lines = haraka.log()
    const verdicts = (domain: string) =>
      lines.flatMap((line) => {
        const said = / tls-policy: domain=(\S+) mx=(\S+) .* verdict=(\S+) reason=(\S+)/.exec(line)
        return said?.[1] === domain ? [said.slice(2).join(' ')] : []
      })
    let waiting = 0
    for (const outcome of outcomes) {
      const domain = outcome.recipient.slice(2)
      if (domain === good.name) {
        assert.ok(outcome.kind === 'delivered' && outcome.tls, JSON.stringify(outcome))
        continue
      }
      waiting++
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.equal(outcome.dsn.status, '4.7.4')
      assert.match(outcome.reason, /starttls-not-offered/)
    }
    const each = (outcomes.length - 1) / 3
    const times = (line: string) => Array.from({ length: each }, () => line)
    assert.deepEqual(verdicts(good.name), times('mx1.good.test verified dane-ee-matched'))
    assert.deepEqual(
      verdicts(stripped.name),
      times('mx1.stripped.test refused starttls-not-offered'),
    )
    assert.deepEqual(verdicts(KNOWN), times('bad.mx.test refused starttls-not-offered'))
    assert.deepEqual(verdicts(slow.name), [
      'mx1.slow.test refused smtp-timeout',
      'mx2.slow.test refused starttls-not-offered',
    ])
    await haraka.queueHolds(waiting)
  }

  const interrupted = (nodes: number): Way => ({
    settings: { nodes, config: { 'smtp.ini': GRACEFULLY } },
    begin: (haraka) => {
      haraka.signal('SIGINT')
    },
    ends: 'haraka',
  })
  const restarted = (nodes: number): Way => ({
    settings: { nodes },
    begin: (haraka) => haraka.command('--graceful'),
    ends: 'workers',
  })

  it(fault('Haraka is stopped gracefully'), async () => {
    const { haraka, after } = await endAmid(interrupted(0))
    await assertEnforced(haraka, after)
  })
  it(fault('Haraka is restarted gracefully'), async () => {
    const { haraka, after } = await endAmid(restarted(1))
    await assertEnforced(haraka, after)
    const next = await haraka.deliver(good.recipient)
    assert.ok(next.kind === 'delivered' && next.tls)
    assert.equal((await haraka.deliver(`u@${KNOWN}`)).kind, 'deferred')
  })
  for (const nodes of [1, 2]) {
    it(`XC-09 stopped gracefully, nodes=${nodes}: enforced to the end`, async () => {
      const { haraka, after } = await endAmid(interrupted(nodes))
      await assertEnforced(haraka, after)
    })
  }
  it('XC-09 restarted gracefully, nodes=2: enforced to the end', async () => {
    const { haraka, after } = await endAmid(restarted(2))
    await assertEnforced(haraka, after)
  })
  it('XC-09 SIGTERM to Haraka as process 1, as in a container: enforced to the end', async () => {
    const node = join(lab.folder, 'node-as-process-1')
    const isolated = `unshare --pid --fork --kill-child ${process.execPath}`
    await writeFile(node, `#!/bin/sh\nexec ${isolated} "$@"\n`, { mode: 0o755 })
    const { haraka, after } = await endAmid({
      ...interrupted(1),
      settings: { ...interrupted(1).settings, node },
      begin: async ({ pid = 0 }) => {
        const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
        process.kill(Number(children.trim()), 'SIGTERM')
      },
    })
    await assertEnforced(haraka, after)
  })
  it('XC-09 the plugins alone are told to shut down: enforced, and Haraka goes on', async () => {
    const rules = { 'shutdown.test': { do: 'shutdown' } }
    const { haraka, after } = await endAmid({
      settings: { plugins: ['lab-meddler'], config: { 'meddler.json': JSON.stringify(rules) } },
      begin: (haraka) => haraka.send({ from: 'a@sender.test', to: ['u@shutdown.test'] }),
      ends: 'nothing',
    })
    // The mail to a domain that does not exist went back, and its sender does not exist either.
    await assertEnforced(haraka, after)
    const next = await haraka.deliver(good.recipient)
    assert.ok(next.kind === 'delivered' && next.tls)
  })
  it('XC-09 what is delivered after the end has begun is counted', async () => {
    const haraka = await start({
      ...interrupted(0),
      settings: {
        config: { 'smtp.ini': GRACEFULLY, 'http.ini': `listen=${METRICS.host}:${METRICS.port}` },
      },
    })
    await haraka.waitForLine('the page', /metrics for Prometheus are at/)
    const client = await haraka.connect()
    clients.push(client)
    // Half a request: Haraka closes connections on which nothing is going on.
    const page = connect(METRICS)
    page.write('GET /tls-policy/metrics HTTP/1.1\r\nHost: haraka\r\n')
    await haraka.deliver(good.recipient)
    haraka.signal('SIGINT')
    await haraka.linesSaid(shuttingDown, 1)
    await client.send({ from: 'a@sender.test', to: [good.recipient] })
    await haraka.outcome(good.recipient)
    page.write('Connection: close\r\n\r\n')
    let text = ''
    for await (const bytes of page) text += String(bytes)
    assert.match(text, /^haraka_tls_policy_verdicts_total\{[^}]*verdict="verified"[^}]*\} 2$/m)
    await client.quit()
    await haraka.exited
  })

  for (const [signal, title] of [
    ['SIGINT', fault('Haraka is stopped at once, or killed')],
    ['SIGTERM', 'XC-09 SIGTERM to Haraka: after the start the mail waits by its policy'],
    ['SIGKILL', 'XC-09 SIGKILL to Haraka: after the start the mail waits by its policy'],
  ] as const) {
    it(title, async () => {
      const haraka = await start({ begin: () => undefined, ends: 'haraka' })
      const from = slow.hosts[0]?.sessions.entries.length ?? 0
      await haraka.send({ from: 'a@sender.test', to: [slow.recipient] })
      await slow.hosts[0]?.sessions.waitFor('a session', () => true, { from })
      await haraka.stop(signal)
      await haraka.queueHolds(1)
      await haraka.restart()
      const outcome = await haraka.outcome(slow.recipient)
      assert.ok(outcome.kind === 'deferred' && outcome.dsn.status === '4.7.4')
    })
  }

  it(fault('The plugin cannot start'), async () => {
    // Refused where the package is there, and where it is not.
    const ini = '[dns]\nbackend=getdns\ntrust_anchor=/nonexistent\n'
    const haraka = await start({ ...interrupted(0), ini })
    const [words = ''] = wordsOf('The plugin cannot start')
    await haraka.waitForLine('the reason', new RegExp(words))
    const client = await haraka.connect()
    clients.push(client)
    haraka.signal('SIGINT')
    await haraka.linesSaid(shuttingDown, 1)
    const recipients = [stripped.recipient, `u@${KNOWN}`, good.recipient]
    for (const to of recipients) await client.send({ from: 'a@sender.test', to: [to] })
    for (const recipient of recipients) {
      const outcome = await haraka.outcome(recipient)
      assert.ok(outcome.kind === 'deferred', JSON.stringify(outcome))
      assert.match(outcome.reason, /could not decide how to deliver: .*getdns/)
    }
    await client.quit()
    await ended(haraka, interrupted(0))
    await haraka.queueHolds(recipients.length)
  })

  for (const redis of ['there', 'not there'] as const) {
    it(`XC-09 stopped gracefully, Redis ${redis}: enforced to the end, which Redis does not put off`, async () => {
      const server = redis === 'there' ? await lab.redis() : undefined
      const { haraka, after } = await endAmid({
        ...interrupted(0),
        ini: 'backend=redis\n[redis]\nport=6379\n',
      })
      await assertEnforced(haraka, after)
      await server?.stop()
    })
  }

  it('the command says what the deliveries did', async () => {
    const haraka = await start({ begin: () => undefined, ends: 'haraka' })
    const only = [good.name, stripped.name, slow.name, KNOWN]
    assert.equal(await assertCheckSaysTheSame(haraka, { only }), only.length)
  })
})
