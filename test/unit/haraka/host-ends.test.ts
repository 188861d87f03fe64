/**
 * One end for each host. Haraka's part is played by its order of calls, the server's by octets and events in any order: whatever comes,
 * and whoever holds the session, each address that was dialled and each host that was refused has exactly one end.
 */
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { createSecureContext } from 'node:tls'
import fc from 'fast-check'
import { cont, ok } from 'haraka-constants'
import { decide } from '../../../plugins/delivery/decide'
import type { HostEnd } from '../../../plugins/delivery/host-end'
import { logLine } from '../../../plugins/telemetry/log-line'
import type { HostFacts, Plan, PlannedHost } from '../../../plugins/delivery/types'
import { createControl } from '../../../plugins/haraka/control'
import type { HarakaMx, HarakaSocket, HMailItem } from '../../../plugins/haraka/types'
import { facts, host, policy, rules, secureMx, servfail, tlsa } from '../../support/facts'

class Mx {
  constructor(source: HarakaMx | string) {
    Object.assign(this, source)
  }
}

/** Haraka's stream, as far as it is used before TLS. */
class Stream extends EventEmitter {
  targetsocket = { localAddress: '192.0.2.99', on: () => undefined, destroy: () => undefined }
  readonly cleartext = {
    authorized: true,
    getProtocol: () => 'TLSv1.3',
    getCipher: () => ({ name: 'TLS_AES_256_GCM_SHA384' }),
    getPeerX509Certificate: () => undefined,
  }
  _timeout = 1
  write(): boolean {
    return true
  }
  upgrade(): void {
    // Nobody answers.
  }
  clean(): void {
    // Nothing is attached.
  }
  destroy(): void {
    this.emit('close')
  }
}

const NATURES = ['plain', 'dane', 'unusable', 'broken', 'nowhere', 'unlisted'] as const
type Nature = (typeof NATURES)[number]

const server = fc.oneof(
  fc.constantFrom('220 mx.test\r\n', '250-mx.test\r\n250 STARTTLS\r\n', '250 mx.test\r\n'),
  fc.constantFrom('220 go\r\n', '220 go\r\n250 more\r\n', '454 no\r\n', '554 no\r\n', 'what?\r\n'),
)
const event = fc.oneof(
  {
    weight: 4,
    arbitrary: server.map((octets) => (s: Stream) => s.emit('data', Buffer.from(octets))),
  },
  {
    weight: 3,
    arbitrary: fc
      .constantFrom('EHLO me\r\n', 'STARTTLS\r\n', 'HELO me\r\n', 'MAIL FROM:<>\r\n', 'QUIT\r\n')
      .map((line) => (s: Stream) => (s as unknown as HarakaSocket).write(line)),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      (s: Stream) => s.emit('secureConnect'),
      (s: Stream) => s.emit('close'),
      (s: Stream) => s.emit('timeout'),
      (s: Stream) => s.emit('error', new Error('ECONNRESET')),
      (s: Stream) => s.removeAllListeners(),
    ),
  },
)
const session = fc.oneof(
  { weight: 1, arbitrary: fc.constant('refused' as const) },
  { weight: 5, arbitrary: fc.array(event, { maxLength: 8 }) },
)

function hostFacts(nature: Nature, index: number): HostFacts {
  const name = nature === 'unlisted' ? `other${index}.test` : `mx${index}.rcpt.test`
  const common = { host: name, preference: 10 * index }
  switch (nature) {
    case 'plain':
    case 'unlisted':
      return host(common)
    case 'dane':
      return host({ ...common, tlsa: tlsa.usable })
    case 'unusable':
      return host({ ...common, tlsa: tlsa.unusable })
    case 'broken':
      return host({ ...common, tlsa: { kind: 'failed', name, failure: servfail } })
    case 'nowhere':
      return host({ ...common, addresses: { kind: 'failed', failure: servfail } })
  }
}

interface World {
  readonly natures: readonly Nature[]
  readonly sts: 'enforce' | 'testing' | undefined
  readonly treatment: 'enforce' | 'observe'
  readonly sessions: readonly ('refused' | readonly ((s: Stream) => unknown)[])[]
}

function planOf({ natures, sts }: World): Plan {
  const hosts = natures.map(hostFacts)
  const world = { mx: secureMx(...hosts.map((one) => one.host)), hosts }
  const listed = { sts: policy(sts ?? 'none', ['mx0.rcpt.test', 'mx1.rcpt.test', 'mx2.rcpt.test']) }
  return decide(facts({ ...world, ...(sts === undefined ? {} : listed) }), rules(), () => 0)
}

/** Haraka takes one entry after the other, whatever became of the one before. @returns ends, and what was dialled */
async function deliver(world: World, told: () => void = () => undefined) {
  const plan = planOf(world)
  const ends: HostEnd[] = []
  const dialled: string[] = []
  const context = createSecureContext()
  const control = createControl({
    planner: {
      planForDomain: () => Promise.resolve(plan),
      planForRoute: () => Promise.reject(new Error('no route')),
    },
    honourTlsRequiredNo: () => true,
    requiretlsHop: () => undefined,
    treatment: () => world.treatment,
    harakaMx: Mx,
    contexts: {
      contextFor: () => context,
      sessionOptions: () => ({}),
      withSharedContext: (given) => given,
    },
    contextSettings: () => ({ minVersion: 'TLSv1.2', ca: undefined }),
    now: () => new Date(),
    decisionTimeoutMs: () => 1000,
    ended: (_hmail, end) => {
      ends.push(end)
      told()
    },
  })
  const log = () => undefined
  const hmail = {
    todo: { domain: 'rcpt.test', rcpt_to: [{}], notes: {} },
    cfg: { temp_fail_intervals: [60, 60] },
    num_failures: 0,
    temp_fail: log,
    bounce: log,
    ...{ loginfo: log, lognotice: log, logerror: log, logcrit: log },
  } as unknown as HMailItem
  const list: HarakaMx[] = []
  await control.getMxRespond(hmail, cont, undefined, (retval, mxlist) => {
    if (retval === ok) list.push(...(mxlist as HarakaMx[]))
  })
  if (world.treatment === 'observe' && plan.outcome.kind === 'hosts') {
    for (const { host: from_dns, addresses, port } of plan.outcome.hosts)
      for (const exchange of addresses) list.push(new Mx({ exchange, from_dns, port }))
  }
  for (const [index, mx] of list.entries()) {
    const script = world.sessions[index % world.sessions.length] ?? 'refused'
    dialled.push(`${mx.from_dns ?? ''} ${mx.exchange ?? ''}`)
    control.getForceTls(hmail, mx, () => false)
    await new Promise<void>((done) => {
      control.getClient(
        mx,
        (_err, socket) => {
          if (socket) setImmediate(done)
          else done()
        },
        (_mx, callback) => {
          if (script === 'refused') {
            callback('connect ECONNREFUSED', null)
            return
          }
          const stream = new Stream()
          stream.on('error', () => undefined)
          callback(null, stream as unknown as HarakaSocket)
          for (const happens of script) happens(stream)
          // Haraka is done with it, or the server is.
          stream.emit('close')
          stream.removeAllListeners()
        },
      )
    })
  }
  await new Promise((done) => setImmediate(done))
  return { plan, ends, dialled }
}

const worlds: fc.Arbitrary<World> = fc.record({
  natures: fc.array(fc.constantFrom(...NATURES), { minLength: 1, maxLength: 3 }),
  sts: fc.constantFrom(undefined, 'enforce', 'testing'),
  treatment: fc.constantFrom('enforce', 'observe'),
  sessions: fc.array(session, { minLength: 1, maxLength: 3 }),
})

describe('what became of a host', () => {
  it('XC-05 is told exactly once, for each host that was dialled or refused', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, async (world) => {
        const { plan, ends, dialled } = await deliver(world)
        assert.ok(plan.outcome.kind === 'hosts')
        const refused =
          world.treatment === 'observe'
            ? []
            : plan.outcome.hosts.filter(({ requirement }) => requirement.level === 'refuse')
        const first = ends.filter(({ corrects }) => corrects === undefined)
        assert.deepEqual(
          first.map(({ host: name, address }) => `${name ?? ''} ${address ?? ''}`).sort(),
          [...refused.map(({ host: name }) => `${name} `), ...dialled].sort(),
        )
      }),
      { numRuns: 300 },
    )
  })

  it('XC-03 costs no delivery, and not Haraka, where it cannot be told', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, async (world) => {
        const fine = await deliver(world)
        const broken = await deliver(world, () => {
          throw new Error('the count is out of order')
        })
        assert.deepEqual(broken.dialled, fine.dialled)
        assert.equal(broken.ends.length, fine.ends.length)
      }),
      { numRuns: 200 },
    )
  })

  it('is corrected only where a session had come to TLS, once and as lost', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, async (world) => {
        const { ends } = await deliver(world)
        for (const end of ends.filter(({ corrects }) => corrects)) {
          assert.equal(end.reason, 'tls-lost')
          const same = ends.filter(({ host: h, address: a }) => h === end.host && a === end.address)
          assert.equal(same.length, 2)
          assert.notEqual(same[0]?.verdict, 'refused')
          assert.notEqual(same[0]?.session?.tls, undefined)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('SA-17 names each policy that demanded something, also where it is not insisted on', async () => {
    await fc.assert(
      fc.asyncProperty(worlds, async (world) => {
        const { plan, ends } = await deliver(world)
        assert.ok(plan.outcome.kind === 'hosts')
        for (const end of ends) {
          const planned: PlannedHost | undefined = plan.outcome.hosts.find(
            ({ host: name }) => name === end.host,
          )
          const isJudged = end.session?.leftAlone === undefined && end.require !== 'refuse'
          if (planned && isJudged && planned.requirement.level !== 'refuse') {
            assert.equal(end.byPolicy.length, planned.demands.length)
          }
          assert.ok(
            end.verdict === 'refused' || end.byPolicy.every((one) => one.met || !one.enforced),
          )
          assert.match(logLine(end), /^domain=rcpt\.test .*verdict=/)
        }
      }),
      { numRuns: 200 },
    )
  })
})
