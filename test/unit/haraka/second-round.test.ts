/** Who is tried once more, and how, when no host has taken a message that would rather go with less. */
import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { decide } from '../../../plugins/delivery/decide'
import type { Rules } from '../../../plugins/delivery/decide'
import type { Facts } from '../../../plugins/delivery/types'
import { hideStartTls, secondRound } from '../../../plugins/haraka/anyhow'
import type { FirstEnd } from '../../../plugins/haraka/anyhow'
import type { HarakaSocket } from '../../../plugins/haraka/types'
import { facts, host, rules, secureMx } from '../../support/facts'

const TWO = ['192.0.2.1', '192.0.2.2']
const given = (changes: Partial<Facts> = {}): Facts =>
  facts({ hosts: [host({ addresses: { kind: 'resolved', list: TWO } })], ...changes })

function tried(demand: Rules['demand'], ends: readonly FirstEnd[], by = given()) {
  const plan = decide(by, rules({ demand }), () => 0)
  return secondRound(plan, ends).flatMap(({ addresses }) => addresses)
}

const end = (changes: Partial<FirstEnd>): FirstEnd => ({
  host: 'mx1.rcpt.test',
  address: '192.0.2.1',
  verdict: 'refused',
  require: 'encrypt',
  reason: 'starttls-refused',
  session: { stage: 'starttls' },
  ...changes,
})

describe('the second round', () => {
  const no: readonly (readonly [string, Partial<FirstEnd>, boolean])[] = [
    [
      'NO-07 STARTTLS not offered',
      { reason: 'starttls-not-offered', session: { stage: 'ehlo' } },
      true,
    ],
    ['NO-07 STARTTLS refused', {}, true],
    ['NO-07 no answer to it', { reason: 'smtp-timeout' }, true],
    [
      'NO-07 a handshake that fails',
      { reason: 'tls-handshake-failed', session: { stage: 'handshake' } },
      true,
    ],
    ['NO-07 injection', { reason: 'starttls-injection', session: { stage: 'handshake' } }, true],
    ['NO-12 no connection', { reason: 'connect-failed', session: { stage: 'connect' } }, false],
    [
      'NO-12 a greeting that refuses',
      { reason: 'greeting-refused', session: { stage: 'greeting' } },
      false,
    ],
    ['NO-12 lost inside TLS', { reason: 'tls-lost', session: { stage: 'tls' } }, false],
    ['MAND-08 force_tls_hosts', { require: 'authenticate' }, false],
    ['a host that took it', { verdict: 'encrypted' }, false],
    ['another host', { host: 'mx2.rcpt.test' }, false],
  ]
  for (const [title, changes, expected] of no) {
    it(`TLS-Required: No: ${title} -> ${expected ? 'cleartext' : 'not again'}`, () => {
      assert.deepEqual(tried('tls-required-no', [end(changes)]), expected ? ['192.0.2.1'] : [])
    })
  }

  it('NO-12 a host that was never tried is not begun with in cleartext', () => {
    assert.deepEqual(tried('tls-required-no', []), [])
  })

  it('RQ-16 a notification: every address but those that cannot be connected to', () => {
    assert.deepEqual(tried('requiretls-if-possible', [end({ require: 'authenticate' })]), TWO)
    const down = end({ reason: 'connect-failed' })
    assert.deepEqual(tried('requiretls-if-possible', [down]), ['192.0.2.2'])
  })

  it('RQ-07 RQ-17 a tagged message and an ordinary one have none', () => {
    for (const demand of ['requiretls', undefined] as const) {
      assert.deepEqual(tried(demand, [end({})]), [])
    }
  })

  it('NO-07 nor have the hosts of a route, which may have credentials', () => {
    const route = given({ mx: { kind: 'route' } })
    assert.deepEqual(tried('tls-required-no', [end({})], route), [])
    assert.deepEqual(
      tried('tls-required-no', [end({})], given({ mx: secureMx('mx1.rcpt.test') })),
      ['192.0.2.1'],
    )
  })
})

describe('STARTTLS that has failed', () => {
  it('NO-07 is hidden from Haraka, and nothing else is', () => {
    const socket = new EventEmitter() as unknown as HarakaSocket
    const lines: unknown[] = []
    const others: unknown[] = []
    socket.on('line', (...line: unknown[]) => lines.push(...line))
    socket.on('data', (...data: unknown[]) => others.push(...data))
    hideStartTls(socket)
    const sent = ['250-mx.test\r\n', '250-STARTTLS\r\n', '250-starttls \r\n', '250 STARTTLS\r\n']
    for (const line of [
      ...sent,
      '250-X-STARTTLS\r\n',
      '250-SIZE 9\r\n',
      'odd\r\n',
      '354 go on\r\n',
    ])
      socket.emit('line', line)
    socket.emit('data', '250-STARTTLS\r\n')
    assert.ok(lines.every((line) => !/^\d{3}[ -]starttls\b/i.test(String(line))))
    assert.equal(lines[0], '250-mx.test\r\n')
    // The last line of the reply stays the last.
    assert.match(String(lines[3]), /^250 /)
    assert.deepEqual(lines.slice(4), [
      '250-X-STARTTLS\r\n',
      '250-SIZE 9\r\n',
      'odd\r\n',
      '354 go on\r\n',
    ])
    assert.deepEqual(others, ['250-STARTTLS\r\n'])
  })
})
