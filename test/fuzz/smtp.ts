/**
 * Target `smtp`: everything that a server can say between the connection and the verdict. Replies through the reader in any pieces,
 * and the whole pre-flight over loopback against a hostile server: greeting, EHLO, STARTTLS and TLS, mutated, cut, stalled.
 */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout } from 'node:timers/promises'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Requirement } from '../../plugins/delivery/types'
import { judge } from '../../plugins/delivery/judge'
import { preflight, type PreflightResult } from '../../plugins/haraka/preflight'
import { ReplyReader, type ReadResult } from '../../plugins/haraka/reply-reader'
import { connectStandalone } from '../../plugins/haraka/standalone-socket'
import { makeCertificate, tlsaRecord, type TestCertificate } from '../support/certificates'
import { HOST } from './certificate-shapes'
import { cut, damage, unmarked } from './octets'
import type { Random } from './random'
import { leadsToTls, readReplies } from './replies'
import {
  hostileServer,
  type Heard,
  type Meddling,
  type Script,
} from '../support/hostile-smtp-server'
import { claimOneLine, inTime, quickly, type Input, type Target } from './target'

/** For one session, milliseconds; honest ones on loopback need few. */
const TIMEOUT = 150
/** Beyond it, for a machine that is busy. */
const GRACE = 1500
/** Of 100 inputs so many are a whole session; the others go through the reader only. */
const SESSIONS = 25

const GREETINGS = [
  '220 mx ESMTP',
  '220-mx\r\n220 hi',
  '220',
  '554 no',
  '421 later',
  'hello',
  '',
  '250 mx',
  '220 \u001b[2J',
  `220 ${'x'.repeat(2100)}`,
  `${'220-x\r\n'.repeat(130)}220 x`,
] as const
const EHLOS = [
  '250-mx\r\n250 STARTTLS', '250-mx\r\n250-SIZE 1\r\n250-STARTTLS\r\n250 8BITMIME', '250-mx\r\n250 starttls ', '250 mx',
  '250-mx\r\n250 XXXXXXXA', '250-mx\r\n250 STARTTLS x', '502 no', '250-mx\r\n251 STARTTLS', '250 STARTTLS',
] as const // prettier-ignore
const READIES = [
  '220 go',
  '220 go',
  '220-a\r\n220 b',
  '454 no',
  '250 ok',
  '220 go\r\n250 injected',
  '221 bye',
  '2200 go',
] as const

const THENS = ['tls', 'silence', 'close', 'reset', 'drip', 'flood'] as const
const HOWS = ['flip', 'flip', 'flip', 'drop', 'insert', 'close', 'stall'] as const

/** Where TLS matters: the header of the server's first record, its hello, certificate and signature, and what is beyond. */
const TLS_ENDS = [6, 100, 400, 900, 3000] as const

/** What follows, which certificate and requirement, how many pieces each turn has; then the pieces. No control: for the reader alone. */
function make(random: Random): Input {
  const isHonest = random.percent(50)
  const lines = isHonest
    ? [GREETINGS[0], EHLOS[0], READIES[0]]
    : [random.pick(GREETINGS), random.pick(EHLOS), random.pick(READIES)]
  const isDamaged = !isHonest && random.percent(60)
  const turns = lines.map((text) => {
    const end = random.percent(95) ? '\r\n' : random.pick(['\n', '', '\r'])
    const octets = Buffer.from(text + end)
    return cut(random, isDamaged && random.percent(50) ? damage(random, unmarked(octets)) : octets)
  })
  if (!random.percent(SESSIONS)) return [Buffer.alloc(0), ...turns.flat()]
  if (random.percent(5)) hurry(random, turns)
  const isTls = random.percent(70)
  const said = isTls ? turns : turns.slice(0, random.below(4))
  const control = Buffer.from([
    isTls ? 0 : 1 + random.below(THENS.length - 1),
    random.percent(30) ? 0 : random.below(CERTIFICATES.length),
    random.below(REQUIREMENTS.length),
    random.percent(60) ? 1 + random.below(HOWS.length) : 0,
    random.below(256),
    0,
    0,
    ...said.map((pieces) => Math.min(pieces.length, 255)),
  ])
  control.writeUInt16BE(random.below(random.pick(TLS_ENDS)), 5)
  return [control, ...said.flatMap((pieces) => pieces.slice(0, 255))]
}

/** Says a turn together with the one before it, when nobody has asked for it yet. */
function hurry(random: Random, turns: Buffer[][]): void {
  const at = random.below(turns.length - 1)
  turns.splice(at, 2, [...(turns[at] ?? []), ...(turns[at + 1] ?? [])], [])
}

const CERTIFICATES = ['good', 'stranger', 'expired', 'nameless'] as const
const REQUIREMENTS = ['ee', 'ta', 'pkix', 'both', 'encrypt'] as const
type Required = Extract<Requirement, { level: 'encrypt' | 'authenticate' }>

interface World {
  readonly certificates: Readonly<Record<(typeof CERTIFICATES)[number], TestCertificate>>
  readonly contexts: Readonly<Record<(typeof CERTIFICATES)[number], SecureContext>>
  readonly requirements: Readonly<Record<(typeof REQUIREMENTS)[number], Required>>
  /** Which certificates satisfy which requirement. */
  readonly fits: Readonly<Record<(typeof REQUIREMENTS)[number], readonly string[]>>
  readonly client: SecureContext
}

function world(): World {
  const root = makeCertificate({ subject: 'Test root', ca: true })
  const stranger = makeCertificate({ subject: HOST, san: [HOST] })
  const past = new Date(Date.now() - 1000)
  const certificates = {
    good: makeCertificate({ subject: HOST, san: [HOST], issuer: root }),
    stranger,
    expired: makeCertificate({ subject: HOST, san: [HOST], issuer: root, notAfter: past }),
    nameless: makeCertificate({ subject: [], san: ['other.test'], issuer: root }),
  }
  const serverContext = ({ pem, keyPem }: TestCertificate): SecureContext =>
    createSecureContext({ cert: pem + root.pem, key: keyPem })
  const demand = (record: ReturnType<typeof tlsaRecord>) => ({
    dane: { base: HOST, records: [record], references: [HOST], presentation: [] },
  })
  const sts = { pkix: { host: HOST, patterns: [HOST] } }
  const strict = { level: 'authenticate', sni: HOST, success: 'verified' } as const
  const ee = demand(tlsaRecord(certificates.good, 3, 1, 1))
  return {
    certificates,
    contexts: {
      good: serverContext(certificates.good),
      stranger: serverContext(certificates.stranger),
      expired: serverContext(certificates.expired),
      nameless: serverContext(certificates.nameless),
    },
    requirements: {
      ee: { ...strict, ...ee },
      ta: { ...strict, ...demand(tlsaRecord(root, 2, 0, 1)) },
      pkix: { ...strict, ...sts },
      both: { ...strict, ...ee, ...sts },
      encrypt: { level: 'encrypt', sni: HOST, reason: 'tls-unauthenticated' },
    },
    fits: { ee: ['good'], ta: ['good'], pkix: ['good'], both: ['good'], encrypt: CERTIFICATES },
    client: createSecureContext({ ca: root.pem }),
  }
}

export async function smtpTarget(): Promise<Target> {
  const server = await hostileServer()
  const known = world()
  return {
    make,
    check([control = Buffer.alloc(0), ...pieces]) {
      const read = checkReader(pieces)
      if (control.length === 0) return `reader: ${read}`
      const [then = 0, certificate = 0, required = 0, how = 0, octet = 0, , , ...turns] = control
      const shown = CERTIFICATES[certificate] ?? 'good'
      const meddling: Meddling | undefined =
        how === 0 ? undefined : { at: control.readUInt16BE(5), how: HOWS[how - 1] ?? 'flip', octet }
      const rest = [...pieces]
      const script: Script = {
        says: turns.map((count) => rest.splice(0, count)),
        then: THENS[then] ?? 'tls',
        isPatient: false,
        context: known.contexts[shown],
        meddling,
      }
      return session(server.port, script, REQUIREMENTS[required] ?? 'ee', shown)
    },
    close: () => server.close(),
  }

  async function session(
    port: number,
    script: Script,
    required: (typeof REQUIREMENTS)[number],
    shown: string,
  ): Promise<string> {
    server.play(script)
    const connected = await connectStandalone({ address: '127.0.0.1', port, timeoutMs: 5000 })
    if (!connected.ok) {
      server.letGo()
      assert.ok(script.then === 'reset' && script.says.length <= 1, connected.detail)
      await inTime('the connection', server.heard(), 5000)
      return 'session: no connection'
    }
    const raw = connected.socket.targetsocket
    const started = performance.now()
    const options = {
      requirement: known.requirements[required],
      judge,
      helo: 'fuzz.test',
      context: known.client,
      timeoutMs: TIMEOUT,
      now: () => new Date(),
    }
    const result = await inTime('the pre-flight', preflight(connected.socket, options), 5000)
    const took = performance.now() - started
    if (result.ok) {
      server.letGo()
      result.tls.on('error', () => undefined)
      result.release()
      result.tls.end(ENVELOPE)
      void setTimeout(TIMEOUT).then(() => result.tls.destroy())
    } else {
      assert.ok(!raw.writable, 'a refused host can still be spoken to')
      await inTime("the client's socket", untilDestroyed(raw), 5000).finally(() => server.letGo())
    }
    const heard = await inTime('the connection', server.heard(), 5000)
    await inTime("the client's socket", untilDestroyed(raw), 5000)
    assert.ok(took < TIMEOUT + GRACE, `a pre-flight of ${took.toFixed(0)} ms`)
    return claimSession(result, heard, script, {
      isFit: known.fits[required].includes(shown),
      verdict: required === 'encrypt' ? 'encrypted' : 'verified',
    })
  }
}

/** The pre-flight takes the listeners of others off, as Haraka does; so it is looked at again and again. */
async function untilDestroyed(socket: Socket): Promise<void> {
  while (!socket.destroyed) await setTimeout(1)
}

/** Stands for what a delivery says once the socket is its own. */
const ENVELOPE = 'MAIL FROM:<a@fuzz.test>\r\n'
const ALLOWED = /^(EHLO fuzz\.test\r\n(STARTTLS\r\n)?)?(QUIT\r\n)?$/

function claimSession(
  result: PreflightResult,
  heard: Heard,
  { says, then, meddling }: Script,
  { isFit, verdict }: { readonly isFit: boolean; readonly verdict: string },
): string {
  claimNothingInCleartext(heard)
  const said = Buffer.concat(says.flat())
  const isHonest =
    then === 'tls' &&
    leadsToTls(said) &&
    says.every((pieces) => readReplies(Buffer.concat(pieces)).replies.length === 1)
  if (!result.ok) {
    assert.match(result.reason, /^(smtp|greeting|starttls|tls|dane|pkix)-/)
    claimOneLine(result.detail, 2500)
    assert.equal(heard.inside.length, 0, 'something was said to a host that is refused')
    const isLate = result.reason === 'smtp-timeout'
    assert.ok(
      !isHonest || !isFit || isLate || meddling !== undefined || isBeyondLimits(said),
      `an honest host is refused: ${result.detail}`,
    )
    return `session: ${result.reason}`
  }
  assert.equal(result.verdict.verdict, verdict)
  assert.equal(then, 'tls')
  assert.ok(isFit, 'a certificate that does not fit')
  assert.ok(leadsToTls(said), 'taken for a success though the server said something else')
  assert.ok(result.tls.encrypted && result.certificate instanceof X509Certificate)
  if (heard.inside.length > 0) assert.equal(heard.inside.toString(), ENVELOPE)
  return `session: ${result.verdict.verdict}${heard.inside.length > 0 ? ', envelope inside TLS' : ''}`
}

function claimNothingInCleartext({ cleartext }: Heard): void {
  // Where the server does no TLS, the client's hello stays among the cleartext.
  const hello = cleartext.indexOf(Buffer.from([0x16, 3]))
  const text = cleartext.toString('latin1')
  const said = hello < 0 ? text : text.slice(0, hello)
  assert.match(said, ALLOWED, 'more than EHLO, STARTTLS and QUIT in cleartext')
  if (hello >= 0) assert.match(said, /STARTTLS\r\n$/, 'TLS before STARTTLS')
  assert.doesNotMatch(text, /MAIL FROM|RCPT TO/i, 'an envelope in cleartext')
}

/** The reader's own limit: an honest server keeps far below it. */
function isBeyondLimits(octets: Buffer): boolean {
  return octets.length > 65_000
}

function checkReader(pieces: readonly Buffer[]): string {
  const whole = Buffer.concat(pieces)
  const inPieces = quickly('ReplyReader', () => readAll(pieces))
  const atOnce = quickly('ReplyReader', () => readAll([whole]))
  for (const result of [inPieces, atOnce]) {
    if (result.kind === 'malformed') claimOneLine(result.detail, 250)
    if (result.kind !== 'reply') continue
    assert.ok(result.reply.code >= 200 && result.reply.code < 600)
    assert.ok(result.reply.lines.length >= 1)
    for (const line of result.reply.lines) claimOneLine(line, 200)
  }
  if (inPieces.kind === 'reply' && atOnce.kind === 'reply')
    assert.deepEqual(inPieces.reply, atOnce.reply)
  else assert.equal(inPieces.kind, atOnce.kind)
  claimSameReply(atOnce, whole)
  return atOnce.kind
}

function claimSameReply(result: ReadResult, whole: Buffer): void {
  const [second] = readReplies(whole).replies
  if (result.kind !== 'reply')
    return assert.ok(second === undefined || isBeyondLimits(whole), 'a reply that is not seen')
  assert.equal(result.reply.code, second?.code, 'a reply that is none')
  assert.equal(result.reply.lines.length, second?.lines.length)
}

function readAll(pieces: readonly Buffer[]): ReadResult {
  const reader = new ReplyReader()
  for (const piece of pieces) {
    const result = reader.push(piece)
    if (result.kind !== 'incomplete') return result
  }
  return { kind: 'incomplete' }
}
