import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Planner } from '../../../plugins/delivery/planner'
import type { Plan } from '../../../plugins/delivery/types'
import type { KnownPolicy, StsLookup } from '../../../plugins/mta-sts/types'
import type { HostEnd } from '../../../plugins/delivery/host-end'
import { NO_METRICS } from '../../../plugins/telemetry/metrics'
import type { Metrics } from '../../../plugins/telemetry/metrics'
import { createCensus } from '../../../plugins/telemetry/metrics-census'
import { createMetricsService } from '../../../plugins/telemetry/metrics-http'
import type { HttpResponse } from '../../../plugins/telemetry/metrics-http'
import { findPromClient, prometheusMetrics } from '../../../plugins/telemetry/metrics-prometheus'
import type { PrometheusMetrics } from '../../../plugins/telemetry/metrics-prometheus'
import { createStsTap, tapPlanner } from '../../../plugins/telemetry/metrics-taps'
import { isOfTheAddress, REASONS } from '../../../plugins/reasons/catalogue'
import type { ReasonCode } from '../../../plugins/reasons/codes'
import { refusedEnd } from '../../support/session-ends'

function makeMetrics(worker = 0): PrometheusMetrics {
  const client = findPromClient()
  assert.ok(client, 'prom-client is installed for the tests')
  return prometheusMetrics(client, worker)
}

/** The page of one worker, as a map from `name{labels}` to value. */
async function read(metrics: PrometheusMetrics): Promise<ReadonlyMap<string, number>> {
  return parse(await metrics.page([await metrics.snapshot()]))
}

function parse(page: string): ReadonlyMap<string, number> {
  const lines = page.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const space = line.lastIndexOf(' ')
      return [line.slice(0, space), Number(line.slice(space + 1))]
    }),
  )
}

/** With a session that the plugin held for so many seconds. */
function lasted(seconds: number): Pick<HostEnd, 'session'> {
  return { session: { stage: 'tls', peer: '192.0.2.1', seconds } }
}

describe('metrics for Prometheus', () => {
  it('counts verdicts by policy, and refusals by reason', async () => {
    const metrics = makeMetrics()
    metrics.ended(refusedEnd())
    metrics.ended(refusedEnd({ mode: 'observe' }))
    metrics.ended(refusedEnd({ policy: 'sts', verdict: 'verified', reason: 'sts-matched' }))
    const page = await read(metrics)
    const verdict = (labels: string) =>
      page.get(`haraka_tls_policy_verdicts_total{${labels},worker="0"}`)
    const refusal = (labels: string) =>
      page.get(`haraka_tls_policy_refusals_total{${labels},worker="0"}`)
    assert.equal(verdict('policy="dane",verdict="refused",mode="enforce"'), 1)
    assert.equal(verdict('policy="dane",verdict="refused",mode="observe"'), 1)
    assert.equal(verdict('policy="sts",verdict="verified",mode="enforce"'), 1)
    assert.equal(refusal('reason="dane-no-match",mode="enforce"'), 1)
    assert.equal(refusal('reason="dane-no-match",mode="observe"'), 1)
    assert.equal(refusal('reason="sts-matched",mode="enforce"'), undefined)
  })

  it('counts a host that was not reached, and a later loss, as a refusal but not as a verdict', async () => {
    const metrics = makeMetrics()
    metrics.ended(refusedEnd({ reason: 'connect-failed' }))
    metrics.ended(refusedEnd({ reason: 'tls-lost', corrects: true, ...lasted(1) }))
    const page = await read(metrics)
    for (const reason of ['connect-failed', 'tls-lost']) {
      const labels = `{reason="${reason}",mode="enforce",worker="0"}`
      assert.equal(page.get(`haraka_tls_policy_refusals_total${labels}`), 1)
    }
    assert.ok(![...page.keys()].some((key) => key.includes('verdicts_total')))
    assert.equal(page.get('haraka_tls_policy_preflight_seconds_count{worker="0"}'), undefined)
  })

  it('begins at zero for each reason that can hold mail back, so that the first event is a rise', async () => {
    const page = await read(makeMetrics())
    for (const [reason, { status }] of Object.entries(REASONS)) {
      const name = isOfTheAddress(reason) ? 'undeliverable_total' : 'refusals_total'
      const line = `haraka_tls_policy_${name}{reason="${reason}",mode="enforce",worker="0"}`
      assert.equal(page.get(line), status === undefined ? undefined : 0, reason)
    }
    const lookups = [...page.keys()].filter((line) => line.includes('sts_lookups_total'))
    assert.equal(lookups.length, 6)
    const fetches = [...page.keys()].filter((line) => line.includes('sts_fetches_total'))
    assert.equal(fetches.length, 12)
    const unavailable = [...page.keys()].filter((line) => line.includes('sts_unavailable_total'))
    assert.equal(unavailable.length, 3)
  })

  it('counts decisions, lookups and fetches, and measures their time', async () => {
    const metrics = makeMetrics()
    metrics.decided('hosts', 0.003)
    metrics.decided('defer', 20)
    metrics.ended(refusedEnd({ verdict: 'verified', reason: 'dane-ee-matched', ...lasted(0.2) }))
    metrics.ended(refusedEnd(lasted(30)))
    metrics.policyLookedUp('fetched', undefined)
    metrics.policyLookedUp('cache', 'sts-txt-invalid')
    metrics.policyFetched('delivery', 'ok', 0.4)
    metrics.policyFetched('refresh', 'sts-webpki-invalid', 1)
    const page = await read(metrics)
    const value = (line: string) => page.get(`haraka_tls_policy_${line}`)
    assert.equal(value('decisions_total{outcome="hosts",worker="0"}'), 1)
    assert.equal(value('decision_seconds_count{worker="0"}'), 2)
    assert.equal(value('decision_seconds_sum{worker="0"}'), 20.003)
    assert.equal(value('decision_seconds_bucket{le="0.005",worker="0"}'), 1)
    assert.equal(value('preflight_seconds_count{result="refused",worker="0"}'), 1)
    assert.equal(value('sts_lookups_total{source="fetched",worker="0"}'), 1)
    assert.equal(value('sts_problems_total{reason="sts-txt-invalid",worker="0"}'), 1)
    assert.equal(value('sts_fetches_total{cause="delivery",result="ok",worker="0"}'), 1)
    const failed = 'sts_fetches_total{cause="refresh",result="sts-webpki-invalid",worker="0"}'
    assert.equal(value(failed), 1)
    assert.equal(value('sts_fetch_seconds_count{worker="0"}'), 2)
  })

  it('shows the state of the resolver and the policies as they are when asked', async () => {
    const metrics = makeMetrics()
    const before = await read(metrics)
    assert.equal(
      before.get('haraka_tls_policy_resolver_state{state="validating",worker="0"}'),
      0,
      'nothing is known yet',
    )
    let state: 'validating' | 'blind' = 'validating'
    let mode: 'enforce' | 'observe' = 'enforce'
    const others = {
      about: () => ({ version: '1.2.3', mode, store: 'redis', resolver: 'ad' }) as const,
      endedExceptions: () => 3,
    }
    metrics.measure({
      ...others,
      resolverState: () => state,
      storeTroubles: () => ['redis-full'],
      policies: () =>
        Promise.resolve([
          { mode: 'enforce', held: 7, expiring: 2 },
          { mode: 'testing', held: 0, expiring: 0 },
        ]),
    })
    state = 'blind'
    const page = await read(metrics)
    const value = (line: string) => page.get(`haraka_tls_policy_${line}`)
    assert.equal(value('resolver_state{state="blind",worker="0"}'), 1)
    assert.equal(value('resolver_state{state="validating",worker="0"}'), 0)
    assert.equal(value('store_trouble{kind="redis-full",worker="0"}'), 1)
    assert.equal(value('store_trouble{kind="file-full",worker="0"}'), 0)
    assert.equal(value('sts_policies{mode="enforce",worker="0"}'), 7)
    assert.equal(value('sts_policies_expiring{mode="enforce",worker="0"}'), 2)
    const info = (its: string) =>
      `haraka_tls_policy_info{version="1.2.3",mode="${its}",store="redis",resolver="ad",worker="0"}`
    assert.equal(page.get(info('enforce')), 1)
    assert.equal(value('exceptions_ended{worker="0"}'), 3)
    mode = 'observe'
    const later = await read(metrics)
    assert.deepEqual([later.get(info('enforce')), later.get(info('observe'))], [undefined, 1])
    const policies = () => Promise.resolve(undefined)
    metrics.measure({ ...others, resolverState: () => state, storeTroubles: () => [], policies })
    const unknown = await read(metrics)
    assert.equal(
      unknown.get('haraka_tls_policy_sts_policies{mode="enforce",worker="0"}'),
      undefined,
    )
  })

  it('a domain that takes no mail is no refusal, whatever the mode', async () => {
    const metrics = makeMetrics()
    const others = { policy: 'none', require: 'refuse' } as const
    for (const reason of ['no-such-domain', 'null-mx', 'no-mail-host', 'bad-domain'] as const) {
      metrics.ended(refusedEnd({ ...others, reason }))
      metrics.ended(refusedEnd({ ...others, reason, mode: 'observe' }))
      const page = await read(metrics)
      for (const mode of ['enforce', 'observe']) {
        const labels = `{reason="${reason}",mode="${mode}",worker="0"}`
        assert.equal(page.get(`haraka_tls_policy_undeliverable_total${labels}`), 1)
        assert.equal(page.get(`haraka_tls_policy_refusals_total${labels}`), undefined)
      }
      assert.ok(![...page.keys()].some((key) => key.includes('verdicts_total')))
    }
    metrics.ended(refusedEnd({ ...others, policy: 'sts', reason: 'sts-domain-denied' }))
    const page = await read(metrics)
    const labels = '{reason="sts-domain-denied",mode="enforce",worker="0"}'
    assert.equal(page.get(`haraka_tls_policy_refusals_total${labels}`), 1)
  })

  it('no word from the network becomes a label', async () => {
    const metrics = makeMetrics()
    const series = (await read(metrics)).size
    const fields = fc.record({ policy: fc.string(), verdict: fc.string(), reason: fc.string() })
    fc.assert(
      fc.property(fields, (hostile) => {
        metrics.ended(refusedEnd(hostile as unknown as HostEnd))
        metrics.ended(refusedEnd({ ...(hostile as unknown as HostEnd), verdict: 'refused' }))
      }),
      { numRuns: 300 },
    )
    const page = await read(metrics)
    assert.ok(page.size <= series + 3, `${page.size - series} new series`)
    for (const line of page.keys()) assert.match(line, /^[a-z_]+\{[a-z0-9_="+,.Inf-]*\}$/i)
  })

  it('a time below zero or unknown ends no delivery', () => {
    const metrics = makeMetrics()
    for (const seconds of [-1, NaN, Infinity]) {
      metrics.decided('hosts', seconds)
      metrics.ended(refusedEnd(lasted(seconds)))
      metrics.policyFetched('refresh', 'ok', seconds)
    }
  })

  it('shows several workers side by side on one page', async () => {
    const workers = [makeMetrics(1), makeMetrics(2)] as const
    workers[0].decided('hosts', 1)
    workers[1].decided('hosts', 2)
    workers[1].decided('hosts', 2)
    const snapshots = await Promise.all(workers.map((worker) => worker.snapshot()))
    // As it comes out of the channel between processes.
    const sent = JSON.parse(JSON.stringify(snapshots)) as typeof snapshots
    const text = await workers[0].page(sent)
    const page = parse(text)
    const hosts = (worker: number) =>
      page.get(`haraka_tls_policy_decisions_total{outcome="hosts",worker="${worker}"}`)
    assert.equal(hosts(1), 1)
    assert.equal(hosts(2), 2)
    assert.equal(page.get('haraka_tls_policy_decision_seconds_sum{worker="2"}'), 4)
    assert.equal(text.split('# TYPE haraka_tls_policy_decisions_total').length, 2)
  })
})

/** Notes each call as `method: arguments`. */
function recording(): { readonly metrics: Metrics; readonly calls: string[] } {
  const calls: string[] = []
  const note =
    (method: string) =>
    (...args: readonly unknown[]) => {
      calls.push(`${method}: ${args.map(String).join(' ')}`)
    }
  return {
    calls,
    metrics: {
      ...NO_METRICS,
      decided: note('decided'),
      policyLookedUp: note('looked up'),
      policyUnavailable: note('unavailable'),
      policyFetched: note('fetched'),
    },
  }
}

/** A clock that is one second further at each look. */
function ticking(): () => number {
  let now = 0
  return () => (now += 1000)
}

const KNOWN: KnownPolicy = {
  domain: 'example.com',
  id: '1',
  policy: { mode: 'enforce', mx: ['mx.example.com'], maxAge: 604_800, lines: [] },
  fetchedAt: 0,
  expiresAt: 604_800_000,
}

describe('taps of the metrics', () => {
  it('time each decision and pass it on', async () => {
    const { metrics, calls } = recording()
    const plan = { outcome: { kind: 'defer' } } as Plan
    const failure = new Error('no')
    const planner: Planner = {
      planForDomain: (domain) =>
        domain === 'bad' ? Promise.reject(failure) : Promise.resolve(plan),
      planForRoute: () => Promise.resolve(plan),
    }
    const tapped = tapPlanner(planner, metrics, ticking())
    assert.equal(await tapped.planForDomain('good'), plan)
    await assert.rejects(tapped.planForDomain('bad'), failure)
    await tapped.planForRoute({ host: 'relay', port: 25 })
    assert.deepEqual(calls, ['decided: defer 1', 'decided: failed 1', 'decided: defer 1'])
  })

  it('tell warm answers from those that were asked for', async () => {
    const { metrics, calls } = recording()
    const tap = createStsTap(metrics, ticking())
    const warm: StsLookup = { kind: 'none' }
    const asked: StsLookup = {
      kind: 'policy',
      known: KNOWN,
      source: 'cache',
      problem: { reason: 'sts-txt-invalid', detail: '' },
    }
    const sts = tap.policies({
      peek: (domain) => (domain === 'warm' ? warm : undefined),
      lookup: () => Promise.resolve(asked),
    })
    assert.equal(await sts.lookup('warm'), warm)
    assert.equal(await sts.lookup('cold'), asked)
    assert.equal(await sts.lookup('warm', { recheck: true }), asked)
    assert.equal(sts.peek('warm'), warm)
    assert.equal(sts.peek('cold'), undefined)
    assert.deepEqual(calls, [
      'looked up: warm undefined',
      'looked up: cache sts-txt-invalid',
      'looked up: cache sts-txt-invalid',
      'looked up: warm undefined',
    ])
  })

  it('tell a policy that cannot be had from none, and from one that holds beside the trouble', async () => {
    const { metrics, calls } = recording()
    const tap = createStsTap(metrics, ticking())
    const problem = { reason: 'sts-webpki-invalid', detail: '' } as const
    const answers: readonly StsLookup[] = [
      { kind: 'none', problem },
      { kind: 'none' },
      { kind: 'policy', known: KNOWN, source: 'cache', problem },
      { kind: 'unknown', problem: { reason: 'sts-txt-lookup-failed', detail: '' } },
    ]
    for (const answer of answers) {
      const sts = tap.policies({ peek: () => undefined, lookup: () => Promise.resolve(answer) })
      await sts.lookup('cold')
      tap.policies({ peek: () => answer, lookup: () => Promise.resolve(answer) }).peek('warm')
    }
    assert.deepEqual(
      calls.filter((call) => call.startsWith('unavailable')),
      ['unavailable: sts-webpki-invalid', 'unavailable: sts-webpki-invalid'],
    )
  })

  it('are none at all where metrics are off', () => {
    const planner = {} as Planner
    assert.equal(tapPlanner(planner, NO_METRICS, ticking()), planner)
    const tap = createStsTap(NO_METRICS, ticking())
    const sts = { peek: () => undefined, lookup: () => Promise.reject(new Error('not asked')) }
    assert.equal(tap.policies(sts), sts)
  })

  it('tell a fetch that a delivery waits for from a refresh', async () => {
    const { metrics, calls } = recording()
    const tap = createStsTap(metrics, ticking())
    const fetch = tap.fetch((domain: string) =>
      Promise.resolve(
        domain === 'broken'
          ? ({ ok: false, problem: { reason: 'sts-policy-invalid', detail: '' } } as const)
          : ({ ok: true } as const),
      ),
    )
    const { signal } = new AbortController()
    const sts = tap.policies({
      peek: () => undefined,
      lookup: async (domain) => {
        await fetch(domain, signal)
        return { kind: 'none' }
      },
    })
    await sts.lookup('asked')
    await fetch('asked', signal)
    await fetch('broken', signal)
    assert.deepEqual(
      calls.filter((call) => call.startsWith('fetched')),
      ['fetched: delivery ok 1', 'fetched: refresh ok 1', 'fetched: refresh sts-policy-invalid 1'],
    )
  })
})

/** The policies, one by one, after a store that takes its time. */
async function* listed(
  policies: readonly KnownPolicy[],
  store: Promise<unknown> = Promise.resolve(),
): AsyncGenerator<KnownPolicy> {
  await store
  yield* policies
}

describe('census of the cached policies', () => {
  const HOUR = 3_600_000
  const policy = (mode: 'enforce' | 'none', maxAge: number, left: number, domain = 'a.test') => ({
    ...KNOWN,
    domain,
    policy: { ...KNOWN.policy, mode, maxAge },
    expiresAt: left,
  })

  it('counts by mode, and which of those in use are near their end', async () => {
    const census = createCensus({
      each: () =>
        listed([
          policy('enforce', 604_800, 600 * HOUR),
          policy('enforce', 604_800, HOUR),
          policy('enforce', 604_800, HOUR, 'unused.test'),
          policy('enforce', 3600, HOUR / 10),
          policy('none', 86_400, HOUR),
        ]),
      isInUse: (domain) => Promise.resolve(domain !== 'unused.test'),
      clock: () => 0,
    })
    assert.deepEqual(await census(), [
      { mode: 'enforce', held: 4, expiring: 1 },
      { mode: 'testing', held: 0, expiring: 0 },
      { mode: 'none', held: 1, expiring: 1 },
    ])
  })

  it('looks into the store once in five minutes, whoever asks, also after the clock was set back', async () => {
    let now = 1_000_000
    let looks = 0
    const census = createCensus({
      each: () => {
        looks += 1
        return listed([])
      },
      isInUse: () => Promise.resolve(true),
      clock: () => now,
    })
    await Promise.all([census(), census()])
    now += 299_000
    await census()
    assert.equal(looks, 1)
    now += 1000
    await census()
    assert.equal(looks, 2)
    now -= 900_000
    await census()
    assert.equal(looks, 3)
  })

  /** What several workers have in common, on one clock. */
  function commonWorld() {
    let now = 1_000_000
    let counts = 0
    let duration = 0
    let note: { text: string; until: number } | undefined
    let claimed = false
    const world = {
      advance: (ms: number) => void (now += ms),
      counts: () => counts,
      takes: (ms: number) => void (duration = ms),
      leave: (text: string, ms: number) => void (note = { text, until: now + ms }),
      claim: (taken: boolean) => void (claimed = taken),
      worker: () =>
        createCensus({
          each: () => {
            counts += 1
            now += duration
            return listed([policy('enforce', 604_800, 2_000_000_000)])
          },
          isInUse: () => Promise.resolve(true),
          clock: () => now,
          common: {
            recall: () =>
              Promise.resolve(note !== undefined && now < note.until ? note.text : undefined),
            leave: (text, ms) => Promise.resolve(world.leave(text, ms)),
            claim: () => Promise.resolve(!claimed && (claimed = true)),
            giveBack: () => Promise.resolve(world.claim(false)),
          },
        }),
    }
    return world
  }
  const ONE = [
    { mode: 'enforce', held: 1, expiring: 0 },
    { mode: 'testing', held: 0, expiring: 0 },
    { mode: 'none', held: 0, expiring: 0 },
  ]

  it('one worker counts for the whole cluster', async () => {
    const world = commonWorld()
    const workers = [world.worker(), world.worker(), world.worker()]
    for (const worker of workers) assert.deepEqual(await worker(), ONE)
    assert.equal(world.counts(), 1)
    world.advance(300_000)
    for (const worker of workers) assert.deepEqual(await worker(), ONE)
    assert.equal(world.counts(), 2)
  })

  it('while another worker counts, the last count stands', async () => {
    const world = commonWorld()
    const worker = world.worker()
    world.claim(true)
    assert.equal(await worker(), undefined)
    world.claim(false)
    world.advance(300_000)
    assert.deepEqual(await worker(), ONE)
    world.claim(true)
    world.advance(300_000)
    assert.deepEqual(await worker(), ONE)
    assert.equal(world.counts(), 1)
  })

  it('a count that takes a minute is made again after a hundred minutes, not after five', async () => {
    const world = commonWorld()
    const workers = [world.worker(), world.worker()]
    world.takes(60_000)
    await workers[0]?.()
    for (let minute = 0; minute < 99; minute++) {
      world.advance(60_000)
      for (const worker of workers) assert.deepEqual(await worker(), ONE)
    }
    assert.equal(world.counts(), 1)
    world.advance(60_000)
    for (const worker of workers) await worker()
    assert.equal(world.counts(), 2)
  })

  it('numbers that others have written are numbers, or not there', async () => {
    for (const text of [
      '',
      'x',
      '1 2 3',
      '1 0 0 0 0 -1',
      '1 0 0 0 0 0 0',
      '1e9 0 0 0 0 0',
      ' 1 0 0 0 0 0',
    ]) {
      const world = commonWorld()
      world.leave(text, 300_000)
      assert.deepEqual(await world.worker()(), ONE, text)
      assert.equal(world.counts(), 1)
    }
    const world = commonWorld()
    world.leave('7 1 2 0 3 0', 300_000)
    assert.deepEqual((await world.worker()())?.[0], { mode: 'enforce', held: 7, expiring: 1 })
    assert.equal(world.counts(), 0)
  })

  it('a store that hangs costs a moment, one that fails gives no number; neither is an error', async () => {
    const hanging = createCensus({
      each: () => listed([], new Promise(() => undefined)),
      isInUse: () => Promise.resolve(true),
      clock: () => 0,
      patienceMs: 5,
    })
    assert.equal(await hanging(), undefined)
    const failing = createCensus({
      each: () => listed([], Promise.reject(new Error('gone'))),
      isInUse: () => Promise.resolve(true),
      clock: () => 0,
    })
    assert.equal(await failing(), undefined)
  })
})

describe('metrics on Haraka’s HTTP listener', () => {
  interface Answered {
    code?: number
    type?: string
    body?: string
  }
  const respond = (done: (answered: Answered) => void): HttpResponse => {
    const answered: Answered = {}
    const response: HttpResponse = {
      status: (code) => {
        answered.code = code
        return response
      },
      type: (type) => {
        answered.type = type
        return response
      },
      send: (body) => {
        answered.body = body
        done(answered)
      },
    }
    return response
  }

  it('where the listener is off, nothing is loaded, counted or said', () => {
    const said: string[] = []
    const service = createMetricsService({
      httpOn: false,
      notice: (text) => said.push(text),
      findClient: () => assert.fail('prom-client was looked for'),
    })
    assert.equal(service.metrics, NO_METRICS)
    assert.deepEqual(said, [])
  })

  it('without prom-client there is one sentence and no metrics', () => {
    const said: string[] = []
    const service = createMetricsService({
      httpOn: true,
      notice: (text) => said.push(text),
      findClient: () => undefined,
    })
    assert.equal(service.metrics, NO_METRICS)
    assert.equal(said.length, 1)
    assert.match(said[0] ?? '', /npm install prom-client/)
    service.serve({ get: () => assert.fail('there is nothing to serve') })
  })

  it('serves the page as Prometheus reads it', async () => {
    const service = createMetricsService({ httpOn: true, notice: () => undefined })
    service.metrics.decided('bounce', 1)
    const answered = await new Promise<Answered>((resolve) => {
      service.serve({
        get: (path, handler) => {
          assert.equal(path, '/tls-policy/metrics')
          handler(undefined, respond(resolve))
        },
      })
    })
    assert.equal(answered.code, 200)
    assert.match(answered.type ?? '', /^text\/plain; version=0\.0\.4/)
    const page = parse(answered.body ?? '')
    assert.equal(page.get('haraka_tls_policy_decisions_total{outcome="bounce",worker="0"}'), 1)
  })
})

describe('reasons in the metrics', () => {
  it('each code of the catalogue is a label as it stands', async () => {
    const metrics = makeMetrics()
    for (const reason of Object.keys(REASONS) as ReasonCode[]) {
      metrics.ended(refusedEnd({ policy: 'sts', reason }))
    }
    const page = await read(metrics)
    for (const reason of Object.keys(REASONS)) {
      const name = isOfTheAddress(reason) ? 'undeliverable_total' : 'refusals_total'
      const line = `haraka_tls_policy_${name}{reason="${reason}",mode="enforce",worker="0"}`
      assert.equal(page.get(line), 1)
    }
  })
})
