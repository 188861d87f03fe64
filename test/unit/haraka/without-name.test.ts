/** Tagged mail on a route to a next hop without a name: what stays on this machine, and what the operator lets go. */
import assert from 'node:assert/strict'
import { createRoutes } from '../../../plugins/haraka/routes'
import type { Route } from '../../../plugins/haraka/routes'
import type { HarakaMx, HMailItem } from '../../../plugins/haraka/types'
import { planOfLiteral, withoutName } from '../../../plugins/haraka/without-name'
import type { HopRule } from '../../../plugins/haraka/without-name'
import type { MessageDemand } from '../../../plugins/requiretls/demand'

const left = (mx: HarakaMx) => ({ kind: 'left', mx }) as const
const under = (mx: HarakaMx, rule?: HopRule) => withoutName(left(mx), () => rule)

describe('tagged mail, and a next hop without a name', () => {
  const here: readonly HarakaMx[] = [
    { path: '/run/dovecot/lmtp', using_lmtp: true },
    { path: '/run/smtp' },
    { exchange: '127.0.0.1', port: 24, using_lmtp: true },
    { exchange: '127.8.0.25', port: 25 },
    { exchange: '::1', port: 24, using_lmtp: true },
    { exchange: 'localhost', port: 24, using_lmtp: true },
    { exchange: 'LOCALHOST.', port: 24, using_lmtp: true },
  ]
  for (const mx of here) {
    it(`RQ-22 what does not leave this machine is let through: ${JSON.stringify(mx)}`, () => {
      assert.equal(under(mx).kind, 'left')
    })
  }

  const elsewhere: readonly HarakaMx[] = [
    { exchange: '192.0.2.1', port: 25 },
    { exchange: '2001:db8::1', port: 25 },
    { exchange: '::ffff:192.0.2.1', port: 25 },
    { exchange: '0.0.0.0', port: 25 },
    { exchange: '10.127.0.1', port: 25 },
    { exchange: '128.0.0.1', port: 25 },
    { exchange: 'mx.rcpt.test', port: 24, using_lmtp: true },
    { exchange: '127.0.0.1.rcpt.test', port: 24, using_lmtp: true },
    { exchange: 'localhost.rcpt.test', port: 24, using_lmtp: true },
    { exchange: 'notlocalhost', port: 24, using_lmtp: true },
    { exchange: '127.rcpt.test', port: 24, using_lmtp: true },
    { exchange: '', port: 25 },
    { port: 25 },
  ]
  for (const mx of elsewhere) {
    it(`RQ-22 what does, or may, is refused: ${JSON.stringify(mx)}`, () => {
      for (const rule of [undefined, 'enforce'] as const) {
        const route = under(mx, rule)
        assert.ok(route.kind === 'refused')
        assert.equal(route.reason, 'requiretls-no-name')
        assert.equal(route.host, mx.exchange || undefined)
        assert.equal(route.detail.includes('in LMTP'), mx.using_lmtp === true)
      }
    })
  }

  it('RQ-23 the operator lets it go: if possible; or over TLS, to an address, in SMTP', () => {
    for (const mx of elsewhere) assert.equal(under(mx, 'if-possible').kind, 'left')
    for (const mx of elsewhere) {
      const isAddress = /^[\d.]+$|:/.test(mx.exchange ?? '')
      assert.equal(under(mx, 'tls').kind, isAddress && !mx.using_lmtp ? 'planned' : 'refused')
    }
    const lmtp = { exchange: '192.0.2.1', port: 24, using_lmtp: true }
    assert.equal(under(lmtp, 'tls').kind, 'refused')
    assert.equal(under({ exchange: '192.0.2.1' }, 'tls').kind, 'refused')
    const route = under({ exchange: '192.0.2.1', port: 587 }, 'tls')
    assert.ok(route.kind === 'planned' && route.plan.outcome.kind === 'hosts')
    const [planned, ...more] = route.plan.outcome.hosts
    assert.deepEqual(more, [])
    assert.deepEqual(planned?.addresses, ['192.0.2.1'])
    assert.equal(planned.port, 587)
    assert.deepEqual(planned.requirement, {
      level: 'encrypt',
      sni: undefined,
      reason: 'operator-encrypt',
      requiretls: 'may',
    })
  })

  it('RQ-22 the rule that counts is that of the host or address of the route', () => {
    const asked: string[] = []
    withoutName(left({ exchange: '192.0.2.1', port: 25 }), (host) => {
      asked.push(host)
      return undefined
    })
    assert.deepEqual(asked, ['192.0.2.1'])
  })

  it('RQ-22 an address for a domain goes back, with nothing to wait for', () => {
    const { outcome } = planOfLiteral('[192.0.2.1]')
    assert.deepEqual([outcome.kind, outcome.reason], ['bounce', 'requiretls-no-name'])
  })

  describe('as a route of another plugin', () => {
    class Mx {
      constructor(source: HarakaMx | string) {
        Object.assign(this, source)
      }
    }
    const kindFor = async (mx: HarakaMx, demand: MessageDemand | undefined) => {
      const asked: unknown[] = []
      const routes = createRoutes({
        harakaMx: Mx,
        treatment: () => 'off',
        planForRoute: (_route, tag) => {
          asked.push(tag)
          return Promise.reject(new Error('asked'))
        },
        requiretlsHop: () => undefined,
        inTime: (plan) => plan,
        lookedAt: (_hmail, plan) => plan,
        wouldRefuse: () => undefined,
      })
      const found = await routes
        .plan({} as HMailItem, mx, demand)
        .catch((): readonly Route[] | undefined => undefined)
      return found?.[0]?.kind ?? `planned for ${String(asked[0])}`
    }

    it('RQ-22 only tagged mail is held to a name: not notifications, No, or mail that asks for nothing', async () => {
      const lmtp = { exchange: '192.0.2.1', port: 24, using_lmtp: true }
      assert.equal(await kindFor(lmtp, 'requiretls'), 'refused')
      for (const demand of ['requiretls-if-possible', 'tls-required-no', undefined] as const) {
        assert.equal(await kindFor(lmtp, demand), 'left', demand)
      }
      for (const here of [
        { path: '/run/lmtp', using_lmtp: true },
        { exchange: '127.0.0.1', port: 24, using_lmtp: true },
      ]) {
        assert.equal(await kindFor(here, 'requiretls'), 'left')
      }
    })

    it('RQ-22 no exception for the receiver lets a tagged message go to a host with a name', async () => {
      const named = { exchange: 'mx.relay.test', port: 25 }
      assert.equal(await kindFor(named, 'requiretls'), 'planned for requiretls')
      assert.equal(
        await kindFor(named, 'requiretls-if-possible'),
        'planned for requiretls-if-possible',
      )
      for (const demand of ['tls-required-no', undefined] as const) {
        assert.equal(await kindFor(named, demand), 'left')
      }
    })
  })
})
