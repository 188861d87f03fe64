import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { HostEnd } from '../../../plugins/delivery/host-end'
import { REASONS } from '../../../plugins/reasons/catalogue'
import type { ReasonCode } from '../../../plugins/reasons/codes'
import { WAITING_OCTETS } from '../../../plugins/store/waiting'
import {
  curesOf,
  readKeptBack,
  saidOfDestination,
  writeKeptBack,
} from '../../../plugins/waiting/kept-back'
import { facts } from '../../support/facts'
import { refusedEnd } from '../../support/session-ends'
import { codePoint } from '../../support/code-point'

const kind = (changes: Partial<HostEnd>) => saidOfDestination(refusedEnd(changes))?.kind

describe('what the end of a host says of its destination', () => {
  const table: readonly (readonly [string, Partial<HostEnd>, string | undefined])[] = [
    ['DANE does not match', {}, 'kept-back'],
    ['no STARTTLS under MTA-STS', { policy: 'sts', reason: 'starttls-not-offered' }, 'kept-back'],
    ['not listed', { policy: 'sts', require: 'refuse', reason: 'sts-mx-not-listed' }, 'kept-back'],
    ['TLSA lookup failed', { require: 'refuse', reason: 'tlsa-lookup-failed' }, 'kept-back'],
    ['a resolver that is blind', { policy: 'none', require: 'refuse', reason: 'resolver-blind' }, 'kept-back'],
    ['no decision', { policy: 'none', require: 'refuse', reason: 'decision-failed' }, 'kept-back'],
    ['a session that was lost', { reason: 'tls-lost', corrects: true }, 'kept-back'],
    ['a host that cannot be connected to', { reason: 'connect-failed' }, undefined],
    ['a host that does not greet', { reason: 'smtp-timeout' }, undefined],
    ['no MX records to be had', { policy: 'none', require: 'refuse', reason: 'mx-lookup-failed' }, undefined],
    ['a domain that there is not', { policy: 'none', require: 'refuse', reason: 'no-such-domain' }, undefined],
    ['TLS that nobody demanded', { policy: 'none', require: 'opportunistic', reason: 'tls-handshake-failed' }, undefined],
    ['verified', { verdict: 'verified', reason: 'dane-ee-matched' }, 'took-mail'],
    ['cleartext', { policy: 'none', require: 'opportunistic', verdict: 'cleartext', reason: 'no-policy' }, 'took-mail'],
    ['only observed', { mode: 'observe' }, 'took-mail'],
  ] // prettier-ignore
  for (const [title, changes, expected] of table) {
    it(`${title} -> ${expected ?? 'nothing'}`, () => {
      assert.equal(kind(changes), expected)
    })
  }

  it('it is of the next-hop domain, else of the recipients’, as it is looked up', () => {
    const domainOf = (changes: Partial<HostEnd>) => saidOfDestination(refusedEnd(changes))?.domain
    assert.equal(domainOf({ domain: 'other.test', facts: facts() }), 'rcpt.test')
    assert.equal(domainOf({ domain: 'Bücher.TEST' }), 'xn--bcher-kva.test')
    for (const domain of ['a b', '[192.0.2.1]', '', 'x'.repeat(300)]) {
      assert.equal(domainOf({ domain }), undefined, domain)
    }
  })

  it('is kept in a line of bounded length, and read out again', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(REASONS) as ReasonCode[])),
        fc.option(fc.constantFrom('mx1.rcpt.test', '192.0.2.1', 'a'.repeat(253))),
        fc.string({ unit: codePoint, maxLength: 900 }),
        (reason, host, detail) => {
          const end = refusedEnd({ reason, detail, ...(host === null ? {} : { host }) })
          const said = saidOfDestination(end)
          if (said?.kind !== 'kept-back') return
          const text = writeKeptBack(said.why)
          assert.match(text, /^[\x20-\x7e]*$/)
          assert.ok(text.length <= WAITING_OCTETS)
          assert.deepEqual(readKeptBack(text), said.why)
        },
      ),
    )
  })

  it('of what others have written only what is one is read', () => {
    for (const text of [
      '',
      'dane',
      'dane nothing-known h d',
      'sts toString h d',
      'x dane-no-match h d',
    ]) {
      assert.equal(readKeptBack(text), undefined, text)
    }
  })

  it('each reason that can keep mail back has a cure for somebody', () => {
    for (const reason of Object.keys(REASONS) as ReasonCode[]) {
      if (REASONS[reason].status === undefined) continue
      const { receiver, sender } = curesOf(reason)
      assert.ok(receiver ?? sender, reason)
    }
  })
})
