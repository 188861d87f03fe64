/** Where REQUIRETLS is not offered at all, and where a recipient is refused before the message is taken. */
import assert from 'node:assert/strict'
import { decide } from '../../../plugins/delivery/decide'
import type { Facts } from '../../../plugins/delivery/types'
import { neverTaken } from '../../../plugins/haraka/never-taken'
import { obstacleOf } from '../../../plugins/haraka/obstacle'
import type { ObstacleFacts } from '../../../plugins/haraka/obstacle'
import { facts, host, policy, rules, secureMx, tlsa } from '../../support/facts'

const hook = (plugin: string) => ({ plugin, method: 'hook' })
const OURS = hook('tls-policy')

describe('why REQUIRETLS cannot be kept for any message', () => {
  const table: readonly (readonly [string, Partial<ObstacleFacts>, RegExp | undefined])[] = [
    ['nothing', {}, undefined],
    ['no hooks at all', { hooks: {} }, undefined],
    ['mode=observe', { mode: 'observe' }, /mode=observe/],
    ['enable_tls=false', { tlsSwitchedOff: true }, /enable_tls=false/],
    [
      'another plugin is asked about senders first',
      { hooks: { mail: [hook('x'), OURS] } },
      /x is asked/,
    ],
    ['another one after us', { hooks: { mail: [OURS, hook('x')] } }, undefined],
    [
      'an unknown plugin may take mail',
      { hooks: { queue_outbound: [OURS, hook('x')] } },
      /x may have/,
    ],
    [
      'one that the operator vouches for',
      { vouched: true, hooks: { queue_outbound: [hook('x')] } },
      undefined,
    ],
    [
      'a known one',
      { hooks: { queue_outbound: [hook('queue/smtp_forward')] } },
      /smtp_forward may/,
    ],
    [
      'a known one, which nobody can vouch for, behind one that he can',
      { vouched: true, hooks: { queue_outbound: [hook('x'), hook('queue/smtp_forward')] } },
      /smtp_forward may/,
    ],
    [
      'harmless ones',
      { hooks: { queue_outbound: [hook('karma'), hook('dkim'), OURS] } },
      undefined,
    ],
  ]
  for (const [title, changes, expected] of table) {
    it(`RQ-01 ${title}: ${expected ? 'told' : 'offered'}`, () => {
      const why = obstacleOf({
        ...{ mode: 'enforce', tlsSwitchedOff: false, vouched: false },
        hooks: { mail: [OURS] },
        ...changes,
      })
      if (expected) assert.match(why ?? '', expected)
      else assert.equal(why, undefined)
    })
  }
})

describe('a recipient whom no host could ever take a tagged message for', () => {
  const word = (given: Facts, demands: unknown[] = []) =>
    neverTaken('rcpt.test', {
      planForDomain: (_domain, options) => {
        demands.push(options?.demand)
        return Promise.resolve(decide(given, rules({ demand: options?.demand }), () => 0))
      },
    })
  const unsigned = { ...secureMx('mx1.rcpt.test'), security: 'insecure' } as Facts['mx']
  const failed = host({ tlsa: tlsa.failed })

  it('RQ-02 an unsigned MX without a policy: refused, with the reason in one bounded line', async () => {
    const demands: unknown[] = []
    const why = (await word(facts({ mx: unsigned }), demands)) ?? ''
    assert.match(why, /^requiretls-mx-not-validated: /)
    assert.deepEqual(demands, ['requiretls'])
    const long = `${'a'.repeat(60)}.`.repeat(4)
    const bounded = await word(
      facts({ mx: unsigned, nextHop: long, hosts: [host({ host: long })] }),
    )
    assert.equal(bounded?.length, 300)
  })

  const may: readonly (readonly [string, Facts])[] = [
    ['a signed MX', facts()],
    ['a policy that names the host', facts({ mx: unsigned, sts: policy('enforce') })],
    ['what may be over in an hour', facts({ hosts: [failed] })],
    [
      'one host that may, beside one that never will',
      facts({ hosts: [host({ host: '192.0.2.9' }), host({ host: 'mx2.rcpt.test' })] }),
    ],
    [
      'one that may later, beside one that never will',
      facts({ hosts: [host({ host: '192.0.2.9' }), failed] }),
    ],
    [
      'a domain that does not answer',
      facts({
        mx: {
          kind: 'failed',
          failure: { kind: 'failed', cause: 'servfail', detail: 'x' },
        } as never,
        hosts: [],
      }),
    ],
  ]
  for (const [title, given] of may) {
    it(`RQ-09 ${title}: the delivery looks`, async () => {
      assert.equal(await word(given), undefined)
    })
  }
})
