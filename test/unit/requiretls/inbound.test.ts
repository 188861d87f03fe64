import assert from 'node:assert/strict'
import fc from 'fast-check'
import { mayRelay, offerTo } from '../../../plugins/requiretls/offer'
import type { Offer, OfferFacts } from '../../../plugins/requiretls/offer'
import { answerMail } from '../../../plugins/requiretls/parameter'

const offered: Offer = { kind: 'offered' }
const needsTls: Offer = { kind: 'needs-tls' }
const notOffered: Offer = { kind: 'not-offered', why: 'so' }

describe('REQUIRETLS on MAIL', () => {
  const table: readonly (readonly [string, Offer, unknown, string])[] = [
    ['offered', offered, { REQUIRETLS: null }, 'take'],
    ['among others', offered, { SIZE: '400', REQUIRETLS: null, BODY: '8BITMIME' }, 'take'],
    ['a value', offered, { REQUIRETLS: 'x' }, '501 5.5.4'],
    ['a value, where it is not offered', notOffered, { REQUIRETLS: 'x' }, '501 5.5.4'],
    ['an empty value', offered, { REQUIRETLS: '' }, '501 5.5.4'],
    ['in cleartext', needsTls, { REQUIRETLS: null }, '530 5.7.10'],
    ['not offered', notOffered, { REQUIRETLS: null }, '555 5.5.4'],
    ['another parameter', notOffered, { SIZE: '400' }, 'untagged'],
    ['a parameter with a name like it', notOffered, { XREQUIRETLS: null }, 'untagged'],
    ['inherited', notOffered, Object.create({ REQUIRETLS: null }) as unknown, 'untagged'],
    ['no parameters', notOffered, {}, 'untagged'],
    ['no parameters at all', notOffered, undefined, 'untagged'],
  ]
  for (const [title, offer, parameters, expected] of table) {
    it(`RQ-01 ${title} -> ${expected}`, () => {
      const answer = answerMail(parameters, () => offer)
      const said = answer.kind === 'refuse' ? `${answer.code} ${answer.text}` : answer.kind
      assert.ok(said.startsWith(expected), said)
    })
  }

  it('RQ-01 whatever comes: a success only where it is offered and has no value', () => {
    const parameters = fc.oneof(
      fc.anything(),
      fc.dictionary(fc.constantFrom('REQUIRETLS', 'SIZE', '__proto__'), fc.anything()),
    )
    fc.assert(
      fc.property(parameters, fc.constantFrom(offered, needsTls, notOffered), (given, offer) => {
        const has =
          typeof given === 'object' && given !== null && Object.hasOwn(given, 'REQUIRETLS')
        const { kind } = answerMail(given, () => offer)
        assert.equal(kind === 'untagged', !has)
        if (kind === 'take') assert.equal(offer, offered)
      }),
    )
  })
})

describe('to whom REQUIRETLS is offered', () => {
  const facts = (changes: Partial<OfferFacts>): OfferFacts => ({
    setting: 'relay',
    obstacle: undefined,
    secured: true,
    mayRelay: true,
    ...changes,
  })
  const table: readonly (readonly [string, Partial<OfferFacts>, Offer['kind']])[] = [
    ['a client that may relay, inside TLS', {}, 'offered'],
    ['before TLS', { secured: false }, 'needs-tls'],
    ['a stranger', { mayRelay: false }, 'not-offered'],
    ['a stranger before TLS', { mayRelay: false, secured: false }, 'not-offered'],
    ['a stranger, with offer=all', { setting: 'all', mayRelay: false }, 'offered'],
    ['offer=no', { setting: 'no' }, 'not-offered'],
    ['the promise cannot be kept', { obstacle: 'x' }, 'not-offered'],
    ['nor with offer=all', { obstacle: 'x', setting: 'all' }, 'not-offered'],
    ['nor before TLS', { obstacle: 'x', secured: false }, 'not-offered'],
  ]
  for (const [title, changes, expected] of table) {
    it(`RQ-05 ${title} -> ${expected}`, () => {
      assert.equal(offerTo(facts(changes)).kind, expected)
    })
  }

  it('RQ-01 a client that relays, has a port for it, or is offered AUTH may relay', () => {
    const nobody = { relaying: false, port: 25, capabilities: ['PIPELINING', 'SIZE 0'] }
    assert.equal(mayRelay(nobody), false)
    assert.equal(mayRelay({ ...nobody, relaying: true }), true)
    assert.equal(mayRelay({ ...nobody, port: 587 }), true)
    assert.equal(mayRelay({ ...nobody, port: 465 }), true)
    assert.equal(mayRelay({ ...nobody, capabilities: ['AUTH PLAIN LOGIN'] }), true)
    assert.equal(mayRelay({ ...nobody, capabilities: ['auth=PLAIN'] }), true)
    assert.equal(mayRelay({ ...nobody, capabilities: ['AUTHENTIC', 1, undefined] }), false)
  })
})
