/**
 * What was looked up is what is dialled: hosts, ports and binds in every shape that another plugin may give, led through the plugin
 * as Haraka leads them; the question that was asked beside the connection that node:net makes, and beside plain Haraka's.
 */
import assert from 'node:assert/strict'
import { connect, type NetConnectOpts } from 'node:net'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import fc from 'fast-check'
import { ok } from 'haraka-constants'
import type { RouteHost } from '../../../plugins/delivery/gather'
import { decide } from '../../../plugins/delivery/decide'
import { createControl } from '../../../plugins/haraka/control'
import type {
  HarakaMx,
  HarakaMxClass,
  HarakaSocket,
  HMailItem,
} from '../../../plugins/haraka/types'
import { facts, host, rules } from '../../support/facts'

const { HarakaMx: Mx } = createRequire(resolve('node_modules/Haraka/outbound/index.js'))(
  'haraka-net-utils',
) as { readonly HarakaMx: HarakaMxClass }

const ADDRESS = '127.93.0.25'
const NAME = 'mx.relay.test'

/** What came of one entry. */
interface Led {
  /** Hosts and ports for which TLSA records were asked. */
  readonly asked: readonly RouteHost[]
  readonly dialled: readonly string[]
  /** The words with which the message waits, if it does. */
  readonly deferred: string | undefined
  readonly reasons: readonly string[]
  /** Failures of single hosts, as Haraka hears of them. */
  readonly failed: readonly unknown[]
}

/** As Haraka does it (hmail.js, client_pool.js). */
function dial(mx: HarakaMx): Promise<string> {
  mx.port ||= mx.using_lmtp ? 24 : 25
  const { path, port, exchange, bind } = mx
  const to = path ? { path } : { port, host: exchange, localAddress: bind }
  const socket = connect(to as NetConnectOpts)
  return new Promise((done) => {
    socket.once('connectionAttempt', (ip: string, to: number) => {
      done(`${ip}:${to}`)
      setImmediate(() => socket.destroy())
    })
    socket.on('error', (err) => {
      done(`not dialled: ${err.message}`)
    })
  })
}

/** Where plain Haraka would connect to; undefined where it would end by an exception. */
async function plainDials(entry: object): Promise<string | undefined> {
  try {
    return await dial(new Mx({ ...entry, exchange: ADDRESS }))
  } catch {
    return undefined
  }
}

/** @param meddle what another plugin does to an entry between the decision and the connection */
async function lead(
  answer: unknown,
  meddle: (mx: HarakaMx) => unknown = () => undefined,
): Promise<Led> {
  const asked: RouteHost[] = []
  const dials: Promise<string>[] = []
  const reasons: string[] = []
  const failed: unknown[] = []
  let deferred: string | undefined
  const control = createControl({
    planner: {
      planForDomain: () => Promise.reject(new Error('no domain')),
      planForRoute(route) {
        asked.push(route)
        const addresses = { kind: 'resolved', list: [ADDRESS] } as const
        const found = facts({ mx: { kind: 'route' }, hosts: [host({ ...route, addresses })] })
        return Promise.resolve(decide(found, rules(), () => 0))
      },
    },
    honourTlsRequiredNo: () => true,
    requiretlsHop: () => undefined,
    treatment: () => 'enforce',
    harakaMx: Mx,
    contexts: {
      contextFor: () => assert.fail('nothing is demanded'),
      sessionOptions: () => assert.fail('nothing is demanded'),
      withSharedContext: () => assert.fail('no connection is made'),
    },
    contextSettings: () => ({ minVersion: 'TLSv1.2', ca: undefined }),
    now: () => new Date(),
    decisionTimeoutMs: () => 1000,
    ended: (_hmail, { reason }) => reasons.push(reason),
  })
  const log = () => undefined
  const hmail = {
    todo: { domain: 'rcpt.test', rcpt_to: [{}] },
    cfg: { temp_fail_intervals: [60, 60] },
    num_failures: 0,
    temp_fail: (text: string) => (deferred = text),
    bounce: () => assert.fail('no mail goes back'),
    ...{ loginfo: log, lognotice: log, logerror: log, logcrit: log },
  } as unknown as HMailItem
  await control.getMxRespond(hmail, ok, answer, (_retval, list) => {
    for (const mx of (list as HarakaMx[]).map((one) => new Mx(one))) {
      meddle(mx)
      control.getForceTls(hmail, mx, () => false)
      control.getClient(
        mx,
        (err: unknown, socket: HarakaSocket | null) => {
          if (socket === null) failed.push(err)
        },
        (entry) => dials.push(dial(entry)),
      )
    }
  })
  return { asked, dialled: await Promise.all(dials), deferred, reasons, failed }
}

const odd = fc.constantFrom<unknown>(
  ...[undefined, null, '', ' ', '  ', 0, -0, NaN, Infinity, -1, 1, 24, 25, 25.5, 65_535, 65_536],
  ...[
    '25',
    '025',
    '0025',
    ' 25',
    '25 ',
    '\t25\n',
    '25.0',
    '25.5',
    '0x19',
    '0X19',
    '0b11001',
    '0o31',
  ],
  ...['1e1', '1e9', '+25', '-25', '-0', '0', '00', '25n', 'smtp', '25,26', '٢٥', '65536', 'NaN'],
  ...[true, false, 25n, 0n, [], [25], ['25'], {}, { valueOf: () => 25 }, { toString: () => '25' }],
  ...[() => '25', Symbol('25'), new Date(25), new Number(25), new String('25')],
)
const ports = fc.oneof(
  odd,
  fc.integer(),
  fc.double(),
  fc.string(),
  fc.nat(70_000).map(String),
  fc.nat(70_000).map((port) => `0x${port.toString(16)}`),
  fc.anything(),
)
const binds = fc.oneof(
  fc.constantFrom<unknown>(undefined, null, '', 0, false, '127.0.0.1', '127.93.0.1'),
  odd,
  fc.constantFrom<unknown>('localhost', '127.1', '256.0.0.1', '[::1]', ' 127.0.0.1', {}, []),
)

describe('routes: what was looked up is what is dialled', function () {
  this.timeout(60_000)

  it('XC-10 ports of any shape: as plain Haraka dials them, and asked for as dialled, or refused', async () => {
    await fc.assert(
      fc.asyncProperty(ports, async (port) => {
        const plain = await plainDials({ port })
        const led = await lead({ exchange: NAME, port })
        if (plain === undefined || plain.endsWith(':0')) {
          assert.deepEqual([led.asked, led.dialled, led.reasons], [[], [], ['bad-route']])
          assert.match(led.deferred ?? '', / bad-route: another plugin's route cannot be dialled: /)
          return
        }
        assert.equal(led.deferred, undefined)
        assert.deepEqual(led.dialled, [plain])
        assert.deepEqual(led.asked, [{ host: NAME, port: Number(plain.split(':').at(-1)) }])
      }),
      { numRuns: 400 },
    )
  })

  it('XC-10 binds of any shape: as plain Haraka takes them, or refused', async () => {
    await fc.assert(
      fc.asyncProperty(binds, async (bind) => {
        const plain = await plainDials({ port: 2525, bind })
        const led = await lead({ exchange: NAME, port: 2525, bind })
        if (plain === undefined) {
          assert.deepEqual([led.asked, led.dialled, led.reasons], [[], [], ['bad-route']])
        } else assert.deepEqual([led.dialled, led.deferred], [[plain], undefined])
      }),
      { numRuns: 200 },
    )
  })

  it('XC-10 an address, over SMTP or LMTP, has its port and bind settled as well', async () => {
    for (const [entry, dialled] of [
      [{ exchange: ADDRESS }, [`${ADDRESS}:25`]],
      [{ exchange: ADDRESS, port: '', using_lmtp: true }, [`${ADDRESS}:24`]],
      [{ exchange: ADDRESS, port: '0x19' }, [`${ADDRESS}:25`]],
      [{ exchange: ADDRESS, port: 'smtp' }, []],
      [{ exchange: ADDRESS, bind: 'nowhere' }, []],
      [`smtp://[::ffff:127.93.0.25]:2525`, ['::ffff:7f5d:19:2525']],
    ] as const) {
      const led = await lead(entry)
      assert.deepEqual(led.asked, [])
      assert.deepEqual(led.dialled, dialled, JSON.stringify(entry))
      assert.equal(led.deferred === undefined, dialled.length > 0)
    }
  })

  /** As Haraka 3.2 has the domain of an address. */
  function callable(text: string): unknown {
    return Object.assign(() => text, { toString: () => text })
  }

  it('XC-10 a host in each form that Haraka takes: asked for by its name, and dialled at the address that was found', async () => {
    for (const answer of [
      { exchange: NAME },
      { exchange: callable(NAME) },
      { exchange: NAME, path: '' },
      NAME,
      callable(NAME),
      `smtp://${NAME}`,
      `${NAME}:25`,
      `[${NAME}]:25`,
      new Mx(NAME),
      Object.freeze(new Mx(NAME)),
      [{ exchange: NAME, port: 25 }],
    ]) {
      const led = await lead(answer)
      assert.deepEqual(led.asked, [{ host: NAME, port: 25 }])
      assert.deepEqual(led.dialled, [`${ADDRESS}:25`])
    }
  })

  it('XC-10 a route to what is no host: told, and nobody is dialled', async () => {
    const shapes = [null, undefined, 25, true, {}, [], [[]], [null], [{}], { exchange: null }]
    const more = [{ exchange: 25 }, { exchange: {} }, { exchange: ['mx'] }, { exchange: 'a b' }]
    const others = [{ exchange: '', priority: 10 }, { path: {} }, 'smtp://']
    for (const answer of [...shapes, ...more, ...others, Symbol('x'), [NaN]]) {
      const led = await lead(answer)
      assert.deepEqual([led.asked, led.dialled], [[], []])
      assert.deepEqual(led.reasons, ['bad-route'])
      assert.match(
        led.deferred ?? '',
        /^No mail host of rcpt\.test could be used safely: .*bad-route: /,
      )
    }
  })

  it('XC-10 of several, those that cannot be dialled are left out', async () => {
    const led = await lead([{ exchange: NAME, port: 'x' }, null, { exchange: NAME, port: '587' }])
    assert.deepEqual(led.asked, [{ host: NAME, port: 587 }])
    assert.deepEqual(led.dialled, [`${ADDRESS}:587`])
    assert.deepEqual(led.reasons, ['bad-route', 'bad-route'])
  })

  it('XC-10 an entry that is another one by the time it is dialled is not', async () => {
    for (const change of [{ port: 26 }, { exchange: '127.93.0.26' }, { path: '/tmp/socket' }]) {
      const led = await lead(NAME, (mx) => Object.assign(mx, change))
      assert.deepEqual([led.dialled, led.failed.length], [[], 1])
    }
  })

  it('what node:net throws at is a failure of this host', async () => {
    const led = await lead(NAME, (mx) => (mx.bind = 'nowhere'))
    assert.deepEqual(led.dialled, [])
    assert.match(String(led.failed[0]), /^tls-policy: .*nowhere/)
  })
})
