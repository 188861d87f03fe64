/**
 * The pre-flight against servers that stall, drip, flood, inject, mangle and hang up, over real sockets: it ends, the socket is gone,
 * and nothing but EHLO, STARTTLS and QUIT has been said in cleartext. The same claims, for longer: `npm run fuzz`.
 */
import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { createSecureContext } from 'node:tls'
import fc from 'fast-check'
import { judge } from '../../../plugins/delivery/judge'
import { preflight, type PreflightResult } from '../../../plugins/haraka/preflight'
import { connectStandalone } from '../../../plugins/haraka/standalone-socket'
import { makeCertificate, tlsaRecord } from '../../support/certificates'
import {
  hostileServer,
  type Heard,
  type HostileServer,
  type Script,
} from '../../support/hostile-smtp-server'

const HOST = 'mx1.rcpt.test'
const good = makeCertificate({ subject: HOST, san: [HOST] })
const other = makeCertificate({ subject: HOST, san: [HOST] })
const GREETING = '220 mx ESMTP\r\n'
const EHLO = '250-mx\r\n250 STARTTLS\r\n'
const READY = '220 go\r\n'
const NOTHING = ''
const HELLO = 'EHLO sender.test\r\n'
const UP_TO_STARTTLS = `${HELLO}STARTTLS\r\n`

interface Case {
  readonly title: string
  readonly says: readonly string[]
  readonly then: Script['then']
  readonly reason: string
  /** All that the server hears in cleartext, but for QUIT, which may come too late. */
  readonly hears: string
}

const CASES: readonly Case[] = [
  ...(
    [
      ['the greeting', [], NOTHING],
      ['the EHLO reply', [GREETING], HELLO],
      ['the STARTTLS reply', [GREETING, EHLO], UP_TO_STARTTLS],
    ] as const
  ).flatMap(([stage, says, hears]): Case[] => [
    { title: `silence instead of ${stage}`, says, then: 'silence', reason: 'smtp-timeout', hears },
    { title: `${stage}, one octet now and then`, says, then: 'drip', reason: 'smtp-timeout', hears },
    { title: `${stage} without end`, says, then: 'flood', reason: 'smtp-malformed-reply', hears },
    { title: `the end instead of ${stage}`, says, then: 'close', reason: 'smtp-closed', hears },
  ]),
  { title: 'STLS-03 silence instead of TLS', says: [GREETING, EHLO, READY], then: 'silence', reason: 'smtp-timeout', hears: UP_TO_STARTTLS },
  { title: 'STLS-03 octets without end instead of TLS', says: [GREETING, EHLO, READY], then: 'flood', reason: 'tls-handshake-failed', hears: UP_TO_STARTTLS },
  { title: 'STLS-03 the end instead of TLS', says: [GREETING, EHLO, READY], then: 'close', reason: 'tls-handshake-failed', hears: UP_TO_STARTTLS },
  { title: 'STLS-12 a reply behind the 220 to STARTTLS', says: [GREETING, EHLO, `${READY}250 injected\r\n`], then: 'tls', reason: 'starttls-injection', hears: UP_TO_STARTTLS },
  { title: 'an EHLO reply that nobody has asked for yet', says: [GREETING + EHLO], then: 'silence', reason: 'smtp-malformed-reply', hears: NOTHING },
  { title: 'STLS-14 a mangled keyword', says: [GREETING, '250-mx\r\n250 XXXXXXXX\r\n'], then: 'silence', reason: 'starttls-not-offered', hears: HELLO },
] // prettier-ignore

/** Milliseconds, for the whole of a pre-flight that must run into its end, and for others. */
const SHORT_DEADLINE = 1000
const DEADLINE = 20_000

describe('haraka: the pre-flight on hostile servers', function () {
  this.timeout(30_000)
  let server: HostileServer

  before(async () => {
    server = await hostileServer()
  })
  after(() => server.close())

  async function meet(
    says: readonly (readonly Buffer[])[],
    then: Script['then'],
    certificate = good,
    timeoutMs = then === 'silence' || then === 'drip' ? SHORT_DEADLINE : DEADLINE,
  ): Promise<{ result: PreflightResult; heard: Heard }> {
    const context = createSecureContext({ cert: certificate.pem, key: certificate.keyPem })
    server.play({ says, then, isPatient: true, context, meddling: undefined })
    const connected = await connectStandalone({
      address: '127.0.0.1',
      port: server.port,
      timeoutMs: 5000,
    })
    assert.ok(connected.ok)
    const raw = connected.socket.targetsocket
    const dane = {
      base: HOST,
      records: [tlsaRecord(good, 3, 1, 1)],
      references: [HOST],
      presentation: [],
    }
    const result = await preflight(connected.socket, {
      judge,
      requirement: { level: 'authenticate', sni: HOST, success: 'verified', dane },
      helo: 'sender.test',
      context: createSecureContext(),
      timeoutMs,
      now: () => new Date(),
    })
    if (result.ok) {
      result.tls.on('error', () => undefined)
      result.release()
      server.letGo()
      result.tls.end('MAIL FROM:<a@sender.test>\r\n')
    }
    while (!raw.destroyed) await setTimeout(1)
    server.letGo()
    const heard = await server.heard()
    return { result, heard }
  }

  for (const { title, says, then, reason, hears } of CASES) {
    it(`${title}: ${reason}, and the socket is gone`, async () => {
      const { result, heard } = await meet(
        says.map((text) => [Buffer.from(text)]),
        then,
      )
      assert.equal(result.ok ? 'ok' : result.reason, reason)
      const cleartext = heard.cleartext.toString('latin1')
      const hello = cleartext.indexOf('\u0016\u0003')
      const said = hello < 0 ? cleartext : cleartext.slice(0, hello)
      assert.equal(said.replace(/QUIT\r\n$/, ''), hears)
    })
  }

  it('STLS-13 whatever is said until TLS, and however it is cut, an envelope leaves inside verified TLS or not at all', async () => {
    const text = (...likely: readonly [string, ...string[]]) =>
      fc.oneof(
        { weight: 4, arbitrary: fc.constant(likely[0]) },
        { weight: 2, arbitrary: fc.constantFrom(...likely) },
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((octets) => Buffer.from(octets).toString('latin1')) },
      ) // prettier-ignore
    const cuts = fc.array(fc.nat(60), { maxLength: 4 })
    const turn = (said: fc.Arbitrary<string>) => fc.tuple(said, cuts).map(inPieces)
    const says = fc.tuple(
      turn(text(GREETING, '220-mx\r\n220 hi\r\n', '554 no\r\n', `220 hi\r\n${EHLO}`)),
      turn(text(EHLO, '250 STARTTLS\r\n', '502 no\r\n', '250-mx\r\n250 starttls \r\n')),
      turn(text(READY, `${READY}250 injected\r\n`, '454 no\r\n', '250 ok\r\n')),
    )
    const then = fc.constantFrom<Script['then']>('tls', 'tls', 'tls', 'close', 'reset', 'flood')
    let delivered = 0
    await fc.assert(
      fc.asyncProperty(says, then, fc.boolean(), async (turns, end, isGood) => {
        const { result, heard } = await meet(turns, end, isGood ? good : other, SHORT_DEADLINE)
        const cleartext = heard.cleartext.toString('latin1')
        assert.match(cleartext, /^(EHLO sender\.test\r\n(STARTTLS\r\n)?)?(QUIT\r\n|\x16\x03|$)/) // eslint-disable-line no-control-regex -- TLS begins so
        assert.doesNotMatch(cleartext, /MAIL FROM/)
        if (!result.ok) return assert.equal(heard.inside.length, 0)
        assert.ok(isGood && end === 'tls')
        assert.equal(result.verdict.verdict, 'verified')
        assert.equal(heard.inside.toString(), 'MAIL FROM:<a@sender.test>\r\n')
        delivered++
      }),
      {
        numRuns: 40,
        endOnFailure: true,
        // One that is honest is among them in any case.
        examples: [
          [[[Buffer.from(GREETING)], [Buffer.from(EHLO)], [Buffer.from(READY)]], 'tls', true],
        ],
      },
    )
    assert.ok(delivered > 0, 'no honest server among them')
  }).timeout(60_000)
})

function inPieces([text, cuts]: readonly [string, readonly number[]]): Buffer[] {
  const octets = Buffer.from(text, 'latin1')
  const places = [...cuts.filter((cut) => cut < octets.length), octets.length].sort((a, b) => a - b)
  return places.map((place, index) => octets.subarray(places[index - 1] ?? 0, place))
}
